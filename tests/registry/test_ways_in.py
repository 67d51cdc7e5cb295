"""V1–V14 of the national rules on each way in: a single addition, a batch, a file of declarations."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filters.model import Channel, RecipientType, Status
from registry.importer import Importer
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.lines import COLUMNS, CsvError
from registry.national.errors import status_of
from registry.publish import Publisher
from registry.quotas import set_quota
from registry.rules import DATE_MIN, VALIDATION, Move
from registry.subscription import Subscriptions
from tests.registry.national.support import A1, BRAND, IYS, B, Served, codes, served
from tests.registry.support import KEY, NOW, record

TAKEN = ""
HELD = b"+905321122999"
RET = {"status": "RET", "consentDate": "2026-03-04 09:30:00"}


class Row(NamedTuple):
    """What is said, one after the other, and the code that the last of it gets."""

    rule: str
    said: list[Mapping[str, Any]]
    stands: tuple[Status, str] | None = None  # before, with its date
    elsewhere: str | None = None  # what single additions and files answer where the rule is about batches alone
    quota: int | None = None  # of the provider, who holds one consent beside what stands


ROWS = [
    Row("V1", [RET]),
    Row("V2", [RET], stands=(Status.RET, "2026-03-04 09:00:00")),
    Row("V3", [{}], stands=(Status.ONAY, "2026-03-03 18:05:01")),
    Row("V4", [{"consentDate": "2015-04-30 23:59:59"}]),
    Row("V5", [{"source": "HS_2015", "consentDate": "2015-05-01 00:00:01"}]),
    Row("V6", [{"consentDate": "2026-03-04 10:00:01"}]),
    Row("V7", [{"consentDate": "2026-02-26 23:59:59"}]),
    Row("V8", [{"source": "HS_KARAR"}]),
    Row("V9", [{**RET, "source": "HS_KARAR"}]),
    Row("V10", [{"source": "IYS_WEB"}]),
    Row("V11", [{}, RET], elsewhere=TAKEN),
    Row("V12", [{"name": "x"}]),
    Row("V13", [{}], quota=1),
    Row("V13", [{"recipient": "+905321122998"}, {}], quota=2),
    Row("V14", [{"status": "RET"}], stands=(Status.ONAY, "2026-03-03 18:05:00")),
]
GOOD = [
    Row("V2", [RET], stands=(Status.ONAY, "2026-03-04 09:00:00")),
    Row("V2", [{"consentDate": "2026-03-04 09:30:00"}], stands=(Status.ONAY, "2026-03-04 09:00:00")),
    Row("V4", [{"source": "HS_2015", "consentDate": "2015-05-01 00:00:00"}]),
    Row("V6", [{"consentDate": "2026-03-04 10:00:00"}]),
    Row("V7", [{"consentDate": "2026-02-27 00:00:00"}]),
    Row("V9", [{**RET, "source": "HS_KARAR"}], stands=(Status.ONAY, "2026-03-04 09:00:00")),
    Row("V13", [{}], quota=100),
    Row("V13", [{"consentDate": "2026-03-04 09:30:00"}], stands=(Status.ONAY, "2026-03-04 09:00:00"), quota=0),
    Row("V13", [RET], stands=(Status.ONAY, "2026-03-04 09:00:00"), quota=0),
]


@pytest.fixture
def sqlite_ledger(sqlite_ledger: Ledger) -> Ledger:
    """One that knows whose brands are whose."""
    return Ledger(sqlite_ledger.engine, sqlite_ledger.fingerprint, subscriptions=Subscriptions({IYS: IYS, BRAND: IYS}))


@pytest.fixture
async def api(tmp_path: Path, sqlite_ledger: Ledger) -> AsyncIterator[Served]:
    writer = SqliteIndexWriter(tmp_path / "data" / "index.sqlite", sqlite_ledger.fingerprint.check_value())
    publisher = Publisher(sqlite_ledger, writer)
    publisher.ensure()
    async with served(sqlite_ledger, publisher) as one:
        yield one
    writer.close()


async def single(api: Served, _ledger: Ledger, _path: Path, said: list[dict[str, Any]]) -> str:
    for one in said:
        answer = await api.ask("POST", f"{B}/consents", one)
    if answer.status_code == 200:
        return TAKEN
    (code,) = codes(answer)
    assert answer.status_code == status_of(code)
    assert answer.json()["errors"][0]["location"]
    return code


async def batch(api: Served, _ledger: Ledger, _path: Path, said: list[dict[str, Any]]) -> str:
    answer = await api.ask("POST", f"{B}/consents/request", said)
    if answer.status_code == 422:
        (fault,) = answer.json()["errors"]
        assert fault["index"] == len(said) - 1
        assert fault["location"]
        return str(fault["code"])
    while api.api.rest.batches.work_off():
        pass
    found = (await api.ask("GET", f"{B}/consents/request/{answer.json()['requestId']}")).json()
    return TAKEN if found[-1]["status"] == "success" else str(found[-1]["error"]["code"])


async def declare(api: Served, ledger: Ledger, path: Path, said: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for one in said for name in one))
    file, rejects = path / "in.csv", path / "rejects.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows(said)
    run = Importer(ledger, KEY, BRAND, now=api.clock(), declare=True)
    if not set(columns) <= set(COLUMNS):
        with pytest.raises(CsvError, match="unknown column"):
            run.run(file, rejects)
        return VALIDATION["V12"]
    run.run(file, rejects)
    if not run.rejected:
        return TAKEN
    with rejects.open(newline="") as told:
        (row,) = csv.DictReader(told)
    assert int(row["line"]) == len(said) + 1
    return row["code"]


Way = Callable[[Served, Ledger, Path, list[dict[str, Any]]], Awaitable[str]]
WAYS: tuple[Way, ...] = (single, batch, declare)


def prepare(ledger: Ledger, row: Row) -> list[dict[str, Any]]:
    if row.stands is not None:
        status, date = row.stands
        recipient = A1["recipient"].encode()
        record(ledger, Move(BRAND, Channel.MESAJ, recipient, RecipientType.BIREYSEL, status, "HS_WEB", date))
    if row.quota is not None:
        record(ledger, Move(IYS, Channel.MESAJ, HELD, RecipientType.BIREYSEL, Status.ONAY, "HS_WEB", DATE_MIN))
        set_quota(ledger, IYS, row.quota, "user ayse", NOW)
    return [{**A1, **fields} for fields in row.said]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("row", ROWS, ids=[row.rule for row in ROWS])
async def test_a_rule_has_its_code_on_every_way_in(
    api: Served, sqlite_ledger: Ledger, tmp_path: Path, row: Row, way: Way
) -> None:
    expected = VALIDATION[row.rule]
    if row.elsewhere is not None and way is not batch:
        expected = row.elsewhere
    assert await way(api, sqlite_ledger, tmp_path, prepare(sqlite_ledger, row)) == expected


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_what_just_obeys_is_taken_on_every_way_in(
    api: Served, sqlite_ledger: Ledger, tmp_path: Path, way: Way
) -> None:
    for index, row in enumerate(GOOD):
        said = [
            {**one, "recipient": f"+90532111220{index}"} for one in prepare(sqlite_ledger, row._replace(stands=None))
        ]
        if row.stands is not None:
            status, date = row.stands
            recipient = f"+90532111220{index}".encode()
            record(sqlite_ledger, Move(BRAND, Channel.MESAJ, recipient, RecipientType.BIREYSEL, status, "HS_WEB", date))
        assert await way(api, sqlite_ledger, tmp_path, said) == TAKEN, row


def test_every_rule_of_the_table_has_its_row() -> None:
    assert {row.rule for row in ROWS} == VALIDATION.keys()

"""All that was ever recorded about one recipient."""

from __future__ import annotations

from datetime import timedelta

import pytest

from registry.awaiting import MISSING, REGISTERED, REVIEWED
from registry.ledger import Ledger, transaction_id
from registry.national.rates import Rates
from registry.publish import Publisher
from tests.registry.national.support import BRAND, B, Served, codes, served
from tests.registry.support import NOW, fingerprint, onay, record, ret

PATH = f"{B}/consents/history"
ONE = {"recipient": "+905550000001", "type": "MESAJ", "recipientType": "BIREYSEL"}


def dated(day: int) -> str:
    return f"2026-02-{day:02d} 10:00:00"


@pytest.fixture
def recorded(sqlite_ledger: Ledger) -> Ledger:
    """Ten moves, the newest of which came first."""
    moves = [(ret if day % 2 else onay)(1, dated(day))._replace(brand=BRAND) for day in range(10, 0, -1)]
    for hours, one in enumerate(moves):
        record(sqlite_ledger, one, now=NOW + timedelta(hours=hours))
    record(sqlite_ledger, onay(2)._replace(brand=BRAND), now=NOW)
    return sqlite_ledger


async def test_the_newest_date_stands_first(api: Served, recorded: Ledger) -> None:
    answer = await api.ask("POST", f"{PATH}?limit=3&offset=2", ONE)
    assert answer.status_code == 200
    assert answer.json()["pagination"] == {"totalCount": 10, "pageSize": 3, "offset": 2}
    rows = answer.json()["list"]
    assert [row["consentDate"] for row in rows] == [dated(8), dated(7), dated(6)]
    assert rows[0] == {
        **ONE,
        "consentDate": dated(8),
        "creationDate": "2026-03-04 12:00:00",
        "source": "HS_WEB",
        "status": "ONAY",
        "transactionId": transaction_id(onay(1, dated(8))._replace(brand=BRAND)).hex(),
    }


async def test_everything_by_default_and_nothing_of_others(api: Served, recorded: Ledger) -> None:
    answer = (await api.ask("POST", PATH, ONE)).json()
    assert (len(answer["list"]), answer["pagination"]) == (10, {"totalCount": 10, "pageSize": 100, "offset": 0})
    for other in ({"recipient": "+905550000003"}, {"recipientType": "TACIR"}, {"type": "ARAMA"}):
        assert (await api.ask("POST", PATH, ONE | other)).json()["list"] == []


async def test_that_a_consent_began_to_count_is_no_move(api: Served, sqlite_ledger: Ledger) -> None:
    move = onay(1, dated(1))._replace(brand=BRAND, source="IYS_WEB")
    one = fingerprint(sqlite_ledger, move)
    moments = {origin: NOW - timedelta(hours=hours) for hours, origin in enumerate((REVIEWED, MISSING, REGISTERED), 2)}
    record(sqlite_ledger, move, now=NOW - timedelta(hours=9))
    for origin, now in moments.items():
        with sqlite_ledger.append() as log:
            log.write([(one, move, True)], origin=origin, now=now)
    answer = (await api.ask("POST", PATH, ONE)).json()
    assert (len(answer["list"]), answer["pagination"]["totalCount"]) == (1, 1)
    changes = (await api.ask("GET", f"{B}/consents/changes")).json()["list"]
    assert [row["creationDate"] for row in changes] == [row["creationDate"] for row in answer["list"]]


async def test_what_the_national_system_would_not_take_is_there(api: Served) -> None:
    assert codes(await api.add(recipient=ONE["recipient"], status="RET")) == ["H175"]
    (row,) = (await api.ask("POST", PATH, ONE)).json()["list"]
    assert row["status"] == (await api.status(ONE["recipient"])).json()["status"] == "RET"


NO_PAGES = [
    ("offset=-1", "H182"),
    ("offset=x", "H182"),
    ("limit=x", "H183"),
    ("limit=1.5", "H183"),
    ("limit=101", "H186"),
    ("limit=0", "H187"),
    ("limit=00", "H187"),
]


async def test_pages_that_there_are_not(api: Served) -> None:
    for query, code in NO_PAGES:
        answer = await api.ask("POST", f"{PATH}?{query}", ONE)
        assert (answer.status_code, codes(answer)) == (422, [code]), (query, code)


async def test_bodies(api: Served) -> None:
    assert codes(await api.ask("POST", PATH, [])) == ["H097"]
    assert codes(await api.ask("POST", PATH, {**ONE, "recipientType": ""})) == ["H170"]


async def test_how_often(sqlite_ledger: Ledger, embedded: object) -> None:
    rates = Rates(per_second=0, tokens_per_hour=0, history_per_hour=2)
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), rates) as api:  # type: ignore[arg-type]
        answers = [await api.ask("POST", PATH, ONE) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert codes(answers[-1]) == ["H089"]

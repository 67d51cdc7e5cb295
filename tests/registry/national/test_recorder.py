"""Additions in one transaction are judged as if each had come alone, on both kinds of ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError

from filters.model import Status
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.national.recorder import Addition, NoRetailers, Recorder
from registry.national.tables import api_audit
from registry.publish import Publisher
from registry.rules import Move
from tests.registry.national.support import Served, codes
from tests.registry.support import NOW, differences, fingerprint, onay, ret

JAN, FEB, MARCH = (f"2026-0{month}-01 00:00:00" for month in (1, 2, 3))


def clock() -> datetime:
    return NOW


@pytest.fixture
def recorder(ledger: Ledger, tmp_path: Path) -> Iterator[tuple[Ledger, Recorder, SqliteIndexWriter]]:
    writer = SqliteIndexWriter(tmp_path / "index.sqlite", ledger.fingerprint.check_value())
    publisher = Publisher(ledger, writer)
    publisher.ensure()
    yield ledger, Recorder(ledger, publisher, NoRetailers(), clock), writer
    writer.close()


def addition(ledger: Ledger, move: Move, *, v2: bool = False, late: bool = False) -> Addition:
    return Addition(fingerprint(ledger, move), move, "api@firma.test", v2, late)


def test_each_sees_what_came_before_it(recorder: tuple[Ledger, Recorder, SqliteIndexWriter]) -> None:
    ledger, record, writer = recorder
    moves = [
        *(onay(1, JAN), onay(1, JAN), ret(1, FEB), ret(1, MARCH), onay(1, MARCH), onay(2, JAN), ret(3, JAN)),
        *(ret(3, FEB), onay(3, MARCH), onay(4, MARCH), onay(4, FEB)),
    ]
    answers = record([addition(ledger, move) for move in moves])
    assert [one.code for one in answers] == ["", "H178", "", "H174", "", "", "H175", "H175", "", "", "H178"]
    assert differences(writer, ledger) == []
    with ledger.engine.connect() as connection:
        origins = connection.execute(text("SELECT origin FROM consent_event ORDER BY seq")).scalars().all()
        audited = connection.execute(select(api_audit.c.event).order_by(api_audit.c.id)).scalars().all()
    assert origins == ["api"] * 4 + ["api-first"] + ["api"] * 2
    assert audited == [1, 2, 3, 4, 5, 6, 7]


def test_in_v2_the_same_again_is_the_same_wherever_it_stands(
    recorder: tuple[Ledger, Recorder, SqliteIndexWriter],
) -> None:
    ledger, record, _ = recorder
    first = record([addition(ledger, move, v2=True) for move in (onay(1, JAN), ret(1, FEB), onay(1, JAN), ret(1, FEB))])
    again = record([addition(ledger, move, v2=True) for move in (onay(1, JAN), ret(1, FEB))])
    assert [one.code for one in (*first, *again)] == [""] * 6
    told = [(one.transaction, one.created) for one in (*first, *again)]
    assert told == told[:2] * 3
    assert first[0].transaction != first[1].transaction
    assert ledger.head() == 2


def test_the_order_of_the_log_is_that_of_the_additions_also_among_refused_ones(
    recorder: tuple[Ledger, Recorder, SqliteIndexWriter],
) -> None:
    ledger, record, writer = recorder
    late = addition(ledger, ret(1, FEB), late=True)
    answers = record([addition(ledger, onay(1, JAN)), late, addition(ledger, onay(1, MARCH))])
    assert [one.code for one in answers] == ["", "H467", ""]
    with ledger.engine.connect() as connection:
        statuses = connection.execute(text("SELECT status FROM consent_event ORDER BY seq")).scalars().all()
    assert statuses == [Status.ONAY, Status.RET, Status.ONAY]
    assert differences(writer, ledger) == []


async def test_many_at_once_are_few_transactions(api: Served, sqlite_ledger: Ledger) -> None:
    await api.token()
    answers = await asyncio.gather(*(api.add(recipient=f"+9055500{index:05}") for index in range(300)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["transactionId"] for one in answers}) == 300
    assert sqlite_ledger.head() == 300


async def test_of_two_at_once_one_is_taken(api: Served, sqlite_ledger: Ledger) -> None:
    await api.token()
    answers = await asyncio.gather(api.add(), api.add())
    assert sorted(one.status_code for one in answers) == [200, 400]
    assert sqlite_ledger.head() == 1


async def test_without_the_ledger_nothing_is_acknowledged(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise OperationalError("BEGIN", {}, Exception("disk I/O error"))

    await api.token()
    await api.ask("GET", "/sps/700100/brands")
    with monkeypatch.context() as broken:
        broken.setattr(api.api.ledger, "append", down)
        answer = await api.add()
        assert (answer.status_code, codes(answer)) == (503, ["H192"])
    assert (await api.add()).status_code == 200


async def test_i7_what_is_too_much_is_told_to_come_again(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.token()
    await api.ask("GET", "/sps/700100/brands")
    monkeypatch.setattr(api.api.adding, "_waiting_max", 0)
    answer = await api.add()
    assert (answer.status_code, codes(answer)) == (400, ["H123"])


class OneRetailer:
    """Knows the retailer 7 of every brand, and what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, tuple[int, ...]]] = []

    def known(self, _connection: Connection, wanted: object) -> list[tuple[int, int]]:
        assert isinstance(wanted, set)
        return [pair for pair in wanted if pair[1] == 7]

    def attach(self, _connection: Connection, taken: object) -> None:
        assert isinstance(taken, list)
        self.told += [(number, one.retailer, one.retailer_access) for number, one in taken]


def test_retailers_are_told_what_was_taken_and_unknown_ones_refused(
    sqlite_ledger: Ledger, embedded: SqliteIndexWriter
) -> None:
    retailers = OneRetailer()
    record = Recorder(sqlite_ledger, Publisher(sqlite_ledger, embedded), retailers, clock)
    additions = [addition(sqlite_ledger, onay(index)) for index in range(4)]
    additions[1] = additions[1]._replace(retailer=7, retailer_access=(7,))
    additions[2] = additions[2]._replace(retailer=8)
    additions[3] = additions[3]._replace(retailer_access=(7, 9))
    assert [one.code for one in record(additions)] == ["", "", "H180", "H180"]
    assert retailers.told == [(2, 7, (7,))]

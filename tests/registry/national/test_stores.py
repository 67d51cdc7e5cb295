"""What the API keeps, on both kinds of ledger: batches, retailers, receivers, agreements' days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from filters.model import Channel, RecipientType, Status
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.national import day_file
from registry.national.batch_store import Batches, item_of
from registry.national.moves import Side
from registry.national.push_store import Registrations, TooManyReceivers
from registry.national.recorder import Recorder
from registry.national.retailer_store import (
    Actor,
    Repeated,
    RetailerStore,
    UnknownConsents,
    UnknownRetailers,
    target_of,
)
from registry.national.seal import Seal
from registry.national.stored import DONE
from registry.publish import Publisher
from registry.rules import Move
from tests.registry.national.support import Clock
from tests.registry.support import BRAND, NOW, differences, number, onay, record, ret

CLIENT = "api@firma.test"
DATE = "2026-03-03 18:05:00"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(ledger: Ledger, tmp_path: Path) -> Iterator[SqliteIndexWriter]:
    one = SqliteIndexWriter(tmp_path / "index.sqlite", ledger.fingerprint.check_value())
    Publisher(ledger, one).ensure()
    yield one
    one.close()


def details(tckn: str) -> dict[str, object]:
    return {"title": "Deneme Bayi", "tckn": tckn}


def test_a_batch_with_retailers(ledger: Ledger, writer: SqliteIndexWriter, clock: Clock) -> None:
    retailers = RetailerStore(ledger.engine)
    recorder = Recorder(ledger, Publisher(ledger, writer), retailers, clock)
    batches = Batches(ledger, recorder, clock)
    code = retailers.add(BRAND, details("12345678950"), CLIENT, NOW)
    with pytest.raises(Repeated):
        retailers.add(BRAND, details("12345678950"), CLIENT, NOW)
    moves = [onay(index, DATE) for index in range(3)]
    items = [item_of(moves[0], False, code, (code,)), item_of(moves[1], False, 0, (5,)), item_of(moves[2], True, 0, ())]
    request = batches.accept(BRAND, CLIENT, items, repeatable=True)
    while batches.work_off():
        pass
    polled = batches.find(BRAND, request)
    assert polled is not None
    assert polled.state == DONE
    assert [result.code for result in polled.results] == ["", "H180", "H467"]
    again = batches.accept(BRAND, CLIENT, [item_of(moves[0], False, 0, ())], repeatable=True)
    while batches.work_off():
        pass
    second = batches.find(BRAND, again)
    assert second is not None
    assert second.results[0].first == (request, polled.items[0].sub_request)
    assert retailers.marks([(target_of(moves[0]), 1)])[0]._asdict() == {
        "code": code,
        "title": "Deneme Bayi",
        "access": 1,
    }
    assert [one.code for one in retailers.using(target_of(moves[0]), 0, 100).retailers] == [code]
    assert retailers.count([BRAND]) == {BRAND: 1}
    assert differences(writer, ledger) == []
    clock.forward(days=61)
    assert batches.forget() == 2
    assert batches.find(BRAND, request) is None


BY = Actor(CLIENT, NOW)


def test_access(ledger: Ledger) -> None:
    retailers = RetailerStore(ledger.engine)
    first, second = (retailers.add(BRAND, details(tckn), CLIENT, NOW) for tckn in ("12345678950", "10000000146"))
    record(ledger, onay(1), ret(1, kind=RecipientType.TACIR))
    here = target_of(onay(1))
    with pytest.raises(UnknownRetailers):
        retailers.change(ledger, [here], [1], BY, keep=True, grant=True)
    with pytest.raises(UnknownConsents):
        retailers.change(ledger, [here, target_of(onay(2))], [first], BY, keep=True, grant=True)
    for codes, keep, grant, left in (
        ([first], True, True, {first}),
        ([second, first], True, True, {first, second}),
        ([second], False, True, {second}),
        ([first], True, False, {second}),
        ([], False, False, set[int]()),
    ):
        retailers.change(ledger, [here], codes, BY, keep=keep, grant=grant)
        assert {one.code for one in retailers.using(here, 0, 100).retailers} == left
    retailers.change(ledger, [here], [first, second], BY, keep=True, grant=True)
    assert retailers.remove(BRAND, first, CLIENT, NOW)
    assert not retailers.remove(BRAND, first, CLIENT, NOW)
    assert [(one.code, one.access) for one in retailers.page(BRAND, 0, None).retailers] == [(second, 1)]
    assert retailers.using(target_of(ret(1, kind=RecipientType.TACIR)), 0, 100).total == 0


def test_receivers(ledger: Ledger, clock: Clock) -> None:
    kept = Registrations(ledger.engine, Seal(bytes(32)), clock)
    record(ledger, onay(1))
    for url in ("https://a.example.com.tr/", "https://b.example.com.tr/", "https://a.example.com.tr/"):
        kept.add(BRAND, Channel.MESAJ, url, "user", "password", CLIENT)
    assert not kept.room(BRAND, Channel.MESAJ, "https://c.example.com.tr/")
    with pytest.raises(TooManyReceivers):
        kept.add(BRAND, Channel.MESAJ, "https://c.example.com.tr/", "user", "password", CLIENT)
    first, second = kept.due()
    assert (first.cursor, kept.password_of(first)) == (1, "password")
    assert kept.take(first, "here") is not None
    assert kept.take(first, "there") is None
    assert kept.failed(first, "here") == 5
    assert kept.due() == [second]
    kept.delivered(second, "there", 7)  # not its holder
    assert kept.due() == [second]
    kept.release(first, "here")
    assert kept.take(first, "there") is not None
    moved = Registrations(ledger.engine, Seal(b"x" * 32), clock)  # a machine with another key
    assert moved.password_of(first) == ""
    assert not moved.remove(BRAND, Channel.MESAJ, first.url, "user", "password", CLIENT)
    assert kept.remove(BRAND, Channel.MESAJ, first.url, "user", "password", CLIENT)
    assert kept.of(BRAND) == [second]


def test_a_days_counters(ledger: Ledger) -> None:
    yesterday: datetime = NOW - timedelta(days=1)
    citizen = Move(BRAND, Channel.MESAJ, number(1), RecipientType.BIREYSEL, Status.RET, "IYS_WEB", DATE)
    record(ledger, onay(1), onay(2), citizen, now=yesterday)
    record(ledger, onay(3), now=NOW)
    with ledger.engine.connect() as connection:
        found = day_file.counts(connection, BRAND, yesterday.date(), RecipientType.BIREYSEL)
        assert day_file.has_moves(connection, BRAND, yesterday.date())
        assert not day_file.has_moves(connection, BRAND, yesterday.date(), 3)
    mesaj = Channel.MESAJ
    assert found == {(mesaj, Side.HS, Status.ONAY): 2, (mesaj, Side.IYS, Status.RET): 1}

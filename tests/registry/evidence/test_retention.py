"""Retention in the ledger: what goes is gone, what stays stays right, and the chain says what was taken away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from filters.model import RecipientType, Status
from registry.evidence import check, retention
from registry.evidence.clock import ClockInDoubt
from registry.evidence.daily import Daily
from registry.ledger import RECORDED, Ledger
from registry.limits import RETAIN_AGAIN_SECONDS, RETAIN_SECONDS
from registry.publish import Publisher, open_index
from registry.rules import declaration_fault
from tests.registry.support import BRAND, differences, fingerprint, fold, is_member, number, onay, record, ret

TACIR = RecipientType.TACIR
THEN = datetime(2020, 6, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 4, 7, 0, tzinfo=UTC)
DAY = "2020-0{}-01 00:00:00"


def retain(ledger: Ledger, *, dry_run: bool = False, vouched: bool = False) -> retention.Retained:
    return retention.retain(ledger, NOW, "user ayse", dry_run=dry_run, vouched=vouched)


def rows(ledger: Ledger, statement: str) -> list[tuple[Any, ...]]:
    with ledger.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def numbers(ledger: Ledger) -> list[int]:
    return [row[0] for row in rows(ledger, "SELECT seq FROM consent_event ORDER BY seq")]


@pytest.fixture
def aged(ledger: Ledger) -> Ledger:
    """1, 2: over. 3: stands. 4, 5: over, and 6 stands. 7, 8: a merchant's, and 8 stands. 9, 10: over too lately."""
    moves = [onay(1, DAY.format(1)), ret(1, DAY.format(2)), onay(2, DAY.format(1))]
    moves += [onay(3, DAY.format(1)), ret(3, DAY.format(2)), onay(3, DAY.format(3))]
    moves += [onay(4, DAY.format(1), kind=TACIR), ret(4, DAY.format(2), kind=TACIR), onay(5, DAY.format(1))]
    assert record(ledger, *moves, now=THEN) == [RECORDED] * 9
    record(ledger, ret(5, DAY.format(2)), now=NOW)
    return ledger


def test_what_is_over_goes_and_what_stands_stays(aged: Ledger) -> None:
    done = retain(aged)
    assert (done.events, done.removals, done.cutoff) == (5, 1, "2023-03-04 10:00:00")
    assert numbers(aged) == [3, 6, 8, 9, 10]
    assert fold(aged, onay(1)) is None
    assert fold(aged, onay(2)) is fold(aged, onay(3)) is Status.ONAY
    assert fold(aged, onay(4, kind=TACIR)) is fold(aged, onay(5)) is Status.RET
    assert retain(aged).events == 0


def test_a_removal_says_what_when_and_by_which_rule_and_the_chain_verifies(aged: Ledger) -> None:
    kept = check.verify(aged.engine).digest
    leaves = rows(aged, "SELECT seq, digest FROM recording ORDER BY seq")
    retain(aged)
    found = check.verify(aged.engine, kept)
    assert (found.events, found.removed, found.removals, found.head, found.faults) == (5, 5, 1, 11, [])
    ((seq, at, rule, cutoff, events, first, last, digest),) = rows(aged, "SELECT * FROM removal")
    assert (seq, at, rule, cutoff) == (11, "2026-03-04T07:00:00Z", "ended-3-years", "2023-03-04 10:00:00")
    assert (events, first, last) == (5, 1, 7)
    removed = rows(aged, "SELECT seq, leaf FROM removed_event ORDER BY seq")
    assert [number for number, _ in removed] == [1, 2, 4, 5, 7]
    octets = b"".join(number.to_bytes(8, "big") + bytes(leaf) for number, leaf in removed)
    assert bytes(digest) == blake2b(octets, digest_size=32).digest()
    recordings = rows(aged, "SELECT seq, digest FROM recording ORDER BY seq")
    assert recordings[:-1] == leaves  # nothing that was sealed is sealed anew
    assert rows(aged, "SELECT actor FROM recording WHERE seq = 11") == [("user ayse",)]


TAMPERED = {
    "a removed event more": ("INSERT INTO removed_event SELECT 12, leaf, 11 FROM removed_event WHERE seq = 1", 2),
    "one that a removal does not name": (
        "INSERT INTO removed_event SELECT 3, leaf, 11 FROM removed_event WHERE seq = 1",
        3,
    ),
    "a removed event less": ("DELETE FROM removed_event WHERE seq = 4", 3),
    "another leaf": ("UPDATE removed_event SET leaf = (SELECT digest FROM removal) WHERE seq = 4", 2),
    "another rule": ("UPDATE removal SET rule = 'because'", 1),
    "no removal": ("DELETE FROM removal", 3),
}


@pytest.mark.parametrize(("statement", "faults"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_removal_cannot_be_made_to_hide_more(aged: Ledger, statement: str, faults: int) -> None:
    retain(aged)
    with aged.append() as log:
        log.connection.execute(text(statement))
    assert len(check.verify(aged.engine).faults) == faults


def test_nothing_personal_stays(tmp_path: Path, aged: Ledger) -> None:
    retain(aged)
    kept = rows(aged, "SELECT recipient FROM consent_event WHERE recipient = '+905550000001'")
    assert kept == rows(aged, f"SELECT 1 FROM consent WHERE fingerprint = {_literal(aged, 1)}") == []
    if aged.engine.dialect.name == "sqlite":
        aged.close()  # the write-ahead log is merged
        assert number(1) not in (tmp_path / "data/ledger.sqlite").read_bytes()
        assert number(2) in (tmp_path / "data/ledger.sqlite").read_bytes()


def _literal(ledger: Ledger, index: int) -> str:
    octets = fingerprint(ledger, onay(index)).hex()
    return f"X'{octets}'" if ledger.engine.dialect.name == "sqlite" else f"decode('{octets}', 'hex')"


def test_a_dry_run_says_the_same_and_changes_nothing(aged: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for endings in (2000, 1):
        monkeypatch.setattr(retention, "RETAIN_ENDINGS", endings)
        assert retain(aged, dry_run=True) == retention.Retained("2023-03-04 10:00:00", 5, 0)
    assert numbers(aged) == list(range(1, 11))
    assert aged.head() == 10


def test_a_long_list_goes_in_parts_and_each_part_is_whole(aged: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETAIN_ENDINGS", 1)
    done = retain(aged)
    assert (done.events, done.removals, numbers(aged)) == (5, 3, [3, 6, 8, 9, 10])
    assert check.verify(aged.engine).faults == []


def test_the_next_declaration_is_a_first_record(aged: Ledger) -> None:
    retain(aged)
    again = [(fingerprint(aged, one), one) for one in (ret(1, "2026-03-02 00:00:00"), onay(1, "2026-03-03 00:00:00"))]
    assert aged.record(again, origin="declare", now=NOW, judge=declaration_fault) == ["H175", RECORDED]
    assert aged.head() == 12
    assert check.verify(aged.engine).faults == []


def test_a_ledger_can_be_folded_anew_afterwards(tmp_path: Path, ledger_url: str, aged: Ledger) -> None:
    retain(aged)
    refolded = Ledger.open(ledger_url, tmp_path / "data", b"x" * 32, refold=True)
    assert [fold(refolded, onay(index)) for index in (1, 2, 3)] == [None, Status.ONAY, Status.ONAY]
    assert fold(refolded, onay(4, kind=TACIR)) is Status.RET
    refolded.close()


def test_the_index_is_as_it_was(tmp_path: Path, aged: Ledger) -> None:
    writer = open_index("sqlite", tmp_path / "data", aged.fingerprint.check_value())
    publisher = Publisher(aged, writer)
    epoch = publisher.ensure().epoch
    retain(aged)
    state = publisher.tick()
    assert (state.epoch, state.cursor) == (epoch, aged.head())
    assert differences(writer, aged) == []
    assert is_member(writer, aged, ret(4, kind=TACIR))
    assert not is_member(writer, aged, onay(1))
    record(aged, onay(1, "2026-03-03 00:00:00"), now=NOW)
    assert publisher.tick().epoch == epoch
    assert is_member(writer, aged, onay(1))
    writer.close()


def test_i5_an_index_that_never_saw_what_went_is_built_anew(tmp_path: Path, ledger: Ledger) -> None:
    record(ledger, onay(1, DAY.format(1)), now=THEN)
    writer = open_index("sqlite", tmp_path / "data", ledger.fingerprint.check_value())
    publisher = Publisher(ledger, writer)
    epoch = publisher.ensure().epoch
    record(ledger, ret(1, DAY.format(2)), now=THEN)  # it is not told
    assert retain(ledger, vouched=True).events == 2
    assert is_member(writer, ledger, onay(1))
    assert publisher.tick().epoch > epoch
    assert not is_member(writer, ledger, onay(1))
    writer.close()


def test_what_the_national_api_keeps_beside_goes_too(aged: Ledger) -> None:
    with aged.append() as log:
        have = {row[0] for row in log.connection.execute(text(_TABLES[aged.engine.dialect.name]))}
        if "api_event_retailer" not in have:
            log.connection.execute(text("CREATE TABLE api_event_retailer (seq BIGINT, retailer BIGINT)"))
        if "api_retailer_access" not in have:
            columns = "brand BIGINT, channel TEXT, recipient TEXT, recipient_type TEXT, retailer BIGINT"
            log.connection.execute(text(f"CREATE TABLE api_retailer_access ({columns})"))
        for seq, index in ((1, 1), (3, 2)):
            log.connection.execute(text(f"INSERT INTO api_event_retailer VALUES ({seq}, 7)"))
            key = f"{BRAND}, 'MESAJ', '{number(index).decode()}', 'BIREYSEL', 7"
            log.connection.execute(text(f"INSERT INTO api_retailer_access VALUES ({key})"))
    retain(aged)
    assert rows(aged, "SELECT seq FROM api_event_retailer") == [(3,)]
    assert rows(aged, "SELECT recipient FROM api_retailer_access") == [(number(2).decode(),)]


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}


def test_one_process_at_a_time(aged: Ledger, open_ledger: Callable[[], Ledger]) -> None:
    other = open_ledger()
    with retention.alone(aged.engine) as first:
        with retention.alone(other.engine) as second:
            assert (first, second) == (True, False)
        assert Daily(other, threading.Event(), lambda: NOW).turn() == RETAIN_SECONDS
        assert len(numbers(aged)) == 10
    assert Daily(other, threading.Event(), lambda: NOW).turn() == RETAIN_SECONDS
    assert len(numbers(aged)) == 5
    assert check.verify(aged.engine).faults == []


def test_the_service_ends_between_two_parts(aged: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETAIN_ENDINGS", 1)
    stop = threading.Event()
    stop.set()
    assert Daily(aged, stop, lambda: NOW).turn() == 0
    assert len(numbers(aged)) == 8
    assert check.verify(aged.engine).faults == []


def test_a_clock_that_is_far_ahead_takes_nothing_away(aged: Ledger) -> None:
    """2 stands, and is the one that 2040 would not touch; all others had been over for years by then."""
    ahead = datetime(2040, 1, 1, tzinfo=UTC)
    with pytest.raises(ClockInDoubt, match=r"2040-01-01.*2026-03-04"):
        retention.retain(aged, ahead, "user ayse")
    assert Daily(aged, threading.Event(), lambda: NOW).turn() == RETAIN_SECONDS
    assert len(numbers(aged)) == 5
    record(aged, onay(6, DAY.format(1)), ret(6, DAY.format(2)), now=ahead)  # recorded by the same clock
    for later in (ahead, ahead + timedelta(days=1), ahead + timedelta(days=100)):
        assert Daily(aged, threading.Event(), lambda later=later: later).turn() == RETAIN_AGAIN_SECONDS
    assert len(numbers(aged)) == 7
    assert Daily(aged, threading.Event(), lambda: NOW + timedelta(days=30)).turn() == RETAIN_SECONDS  # put right
    assert len(numbers(aged)) == 7
    assert retention.retain(aged, ahead, "user ayse", dry_run=True).events == 2
    assert retention.retain(aged, ahead, "user ayse", vouched=True).events == 2
    assert retention.retain(aged, ahead + timedelta(days=30), "user ayse").events == 0


def test_a_ledger_that_is_away_is_asked_again_later(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.append() as log:
        log.connection.execute(text("DROP TABLE consent_event"))
    assert Daily(sqlite_ledger, threading.Event()).turn() == RETAIN_AGAIN_SECONDS

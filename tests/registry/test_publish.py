"""The publisher keeps the index equal to the fold, whatever happens to either, and a withdrawal wins."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis

from filters.layout import Family
from filters.model import RecipientType
from registry import publish, publisher_loop
from registry.index import lanes
from registry.index.interface import Change, Facts, IndexDown, IndexState, IndexWriter
from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from registry.publisher_loop import PublisherLoop
from tests.conftest import RedisServer, eventually
from tests.registry.support import KEY, differences, fingerprint, is_member, may_be_sent, onay, record, ret, withdraw

TACIR = RecipientType.TACIR


def empty(index_url: str, data_dir: Path) -> None:
    """What an operator's slip does: FLUSHALL, or the file deleted."""
    if index_url != publish.EMBEDDED:
        with redis.Redis.from_url(index_url) as client:
            client.flushall()
    for path in data_dir.glob("index.sqlite*"):
        path.unlink()


def test_ensure_builds_from_nothing_and_then_follows(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    record(sqlite_ledger, onay(1), onay(2), ret(3), ret(4, kind=TACIR), onay(5, kind=TACIR))
    state = publisher.ensure()
    assert (state.epoch, state.count, state.cursor) == (1, 3, 5)
    assert differences(writer, sqlite_ledger) == []
    record(sqlite_ledger, ret(1, "2026-01-02 00:00:00"), onay(6), ret(5, "2026-01-02 00:00:00", kind=TACIR))
    state = publisher.ensure()
    assert (state.epoch, state.count, state.cursor) == (1, 4, 8)
    assert differences(writer, sqlite_ledger) == []


def test_a_tick_takes_bounded_steps_and_beats_once_level(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.ensure()
    monkeypatch.setattr(publish, "TAIL_CHANGES_MAX", 10)
    record(sqlite_ledger, *(onay(index) for index in range(35)))
    steps: list[int] = []
    put, beat = writer.put, writer.beat

    def noting(facts: Facts) -> list[Change]:
        steps.append(len(facts.changes))
        return put(facts)

    def beating(cursor: int) -> IndexState:
        steps.append(-cursor)
        return beat(cursor)

    monkeypatch.setattr(writer, "put", noting)
    monkeypatch.setattr(writer, "beat", beating)
    assert publisher.tick().cursor == 35
    assert steps == [10, 10, 10, 5, -35]
    assert differences(writer, sqlite_ledger) == []


def test_i4_an_emptied_index_is_built_again(
    tmp_path: Path, index_url: str, sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    record(sqlite_ledger, onay(1), ret(2, kind=TACIR))
    publisher.ensure()
    empty(index_url, tmp_path / "data")
    assert publisher.status().fault != ""
    assert publisher.tick().epoch == 2
    assert differences(writer, sqlite_ledger) == []


def test_an_index_of_another_key_is_built_again(
    tmp_path: Path, index_url: str, sqlite_ledger: Ledger, writer: IndexWriter
) -> None:
    record(sqlite_ledger, onay(1))
    Publisher(sqlite_ledger, writer).ensure()
    other_ledger = Ledger.open("sqlite", tmp_path / "data", b"x" * 32, refold=True)
    other_writer = open_index(index_url, tmp_path / "data", other_ledger.fingerprint.check_value())
    assert Publisher(other_ledger, other_writer).ensure().epoch == 2
    assert differences(other_writer, other_ledger) == []
    assert writer.state() is None
    other_writer.close()
    other_ledger.close()


def test_a_build_that_was_begun_elsewhere_is_a_reason_at_the_start_only(
    sqlite_ledger: Ledger, publisher: Publisher
) -> None:
    publisher.ensure()
    sqlite_ledger.next_epoch(1)
    assert publisher.tick().epoch == 1
    assert publisher.ensure().epoch == 3


def test_i5_an_index_that_is_ahead_of_an_older_ledger_is_built_again(
    tmp_path: Path, sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    """A ledger that was restored from a backup: the index has a cursor into a future that did not happen."""
    record(sqlite_ledger, ret(1, kind=TACIR))
    publisher.ensure()
    with (
        closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite")) as source,
        closing(sqlite3.connect(tmp_path / "copy")) as copy,
    ):
        source.backup(copy)
    record(sqlite_ledger, onay(2), onay(1, "2026-01-02 00:00:00", kind=TACIR))
    publisher.tick()
    restored = Ledger.open(f"sqlite:///{tmp_path / 'copy'}", tmp_path, KEY)
    assert Publisher(restored, writer).tick().epoch == 2
    assert differences(writer, restored) == []
    assert not may_be_sent(writer, restored, ret(1, kind=TACIR))
    restored.close()


def test_an_index_of_another_ledger_is_built_again(tmp_path: Path, sqlite_ledger: Ledger, writer: IndexWriter) -> None:
    record(sqlite_ledger, onay(1))
    for _ in range(3):
        Publisher(sqlite_ledger, writer).rebuild()
    other = Ledger.open("sqlite", tmp_path / "other", KEY)
    record(other, onay(2), onay(3))
    assert Publisher(other, writer).tick().epoch == 4
    assert differences(writer, other) == []
    other.close()


@pytest.mark.interop
def test_a_redis_index_that_has_outgrown_its_layout_is_built_again(
    redis_server: RedisServer, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "BUCKET_ROOM", 0)
    writer = open_index(redis_server.url, Path(), sqlite_ledger.fingerprint.check_value())
    publisher = Publisher(sqlite_ledger, writer)
    assert publisher.ensure().room == (0, 0)
    record(sqlite_ledger, onay(1))
    publisher.tick()
    assert publisher.status().fault.startswith("laid out for")
    assert publisher.tick().epoch == 2
    monkeypatch.undo()
    second = publisher.tick()
    assert (second.epoch, second.full) == (2, False)
    assert differences(writer, sqlite_ledger) == []
    writer.close()


def test_i5_a_withdrawal_is_out_of_the_index_when_it_returns(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    record(sqlite_ledger, onay(1), onay(2))
    publisher.ensure()
    withdraw(sqlite_ledger, publisher, 1)
    assert not may_be_sent(writer, sqlite_ledger, onay(1))
    assert not may_be_sent(writer, sqlite_ledger, onay(1, kind=TACIR))
    assert may_be_sent(writer, sqlite_ledger, onay(2))
    assert publisher.tick().cursor == 4
    assert differences(writer, sqlite_ledger) == []


def test_i5_a_withdrawal_is_not_acknowledged_into_an_index_that_is_not_there(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    record(sqlite_ledger, onay(1))
    with pytest.raises(IndexDown):
        withdraw(sqlite_ledger, publisher, 1)
    publisher.ensure()
    withdraw(sqlite_ledger, publisher, 1)
    assert differences(writer, sqlite_ledger) == []


@pytest.mark.interop
def test_i5_a_withdrawal_is_not_acknowledged_while_redis_is_down(
    redis_server: RedisServer, sqlite_ledger: Ledger
) -> None:
    writer = open_index(redis_server.url, Path(), sqlite_ledger.fingerprint.check_value())
    publisher = Publisher(sqlite_ledger, writer)
    record(sqlite_ledger, onay(1))
    publisher.ensure()
    redis_server.stop()
    with pytest.raises(IndexDown):
        withdraw(sqlite_ledger, publisher, 1)
    redis_server.start()
    with pytest.raises(IndexDown):  # it came back empty
        withdraw(sqlite_ledger, publisher, 1)
    publisher.tick()
    withdraw(sqlite_ledger, publisher, 1)
    assert not may_be_sent(writer, sqlite_ledger, onay(1))
    writer.close()


def test_an_index_with_facts_that_the_ledger_lost_is_built_again(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    """A ledger from a backup whose head the index's cursor has not passed, but a withdrawal's facts have."""
    record(sqlite_ledger, onay(1))
    publisher.ensure()
    one = Change(Family.BIREYSEL, fingerprint(sqlite_ledger, onay(1)), False)
    assert writer.put(Facts(1000, [one])) == []
    with pytest.raises(IndexDown, match="does not have"):
        publisher.publish_now([(one.fingerprint, RecipientType.BIREYSEL)])
    record(sqlite_ledger, ret(1, "2026-01-02 00:00:00"), onay(1, "2026-01-03 00:00:00"))
    assert publisher.tick().epoch == 2
    assert differences(writer, sqlite_ledger) == []


def test_i5_no_publisher_puts_back_what_another_has_removed(
    tmp_path: Path, index_url: str, sqlite_ledger: Ledger, open_writer: Callable[[], IndexWriter]
) -> None:
    """Two processes' publishers tick and build as fast as they can while consents come and go."""
    writer = open_writer()
    publisher = Publisher(sqlite_ledger, writer)
    publisher.ensure()
    stop = threading.Event()
    faults: list[BaseException] = []

    def other(*, building: bool) -> None:
        mine = Ledger.open("sqlite", tmp_path / "data", KEY)
        theirs = Publisher(mine, open_writer())
        try:
            while not stop.is_set():
                theirs.rebuild() if building else theirs.tick()
        except BaseException as error:  # noqa: BLE001  told by the test
            faults.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=other, kwargs={"building": building}) for building in (True, False)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(60):
            record(sqlite_ledger, onay(round_ % 5, f"2026-01-01 {round_ // 60:02}:{round_ % 60:02}:00"))
            publisher.tick()
            withdraw(sqlite_ledger, publisher, round_ % 5, f"2026-01-01 {round_ // 60:02}:{round_ % 60:02}:30")
            for _ in range(3):
                assert not may_be_sent(writer, sqlite_ledger, onay(round_ % 5))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == []
    # Counts that went astray between builds and ticks are true again with a pass over the lanes, a writer's first beat.
    Publisher(sqlite_ledger, open_writer()).tick()
    assert differences(writer, sqlite_ledger) == []


@pytest.mark.parametrize(("events", "epoch"), [(9, 1), (30, 2)])
def test_after_a_large_import_a_build_is_faster_than_the_tail(
    sqlite_ledger: Ledger,
    writer: IndexWriter,
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    events: int,
    epoch: int,
) -> None:
    monkeypatch.setattr(publish, "REBUILD_EVENTS_MIN", 10)
    publisher.ensure()
    record(sqlite_ledger, *(onay(index) for index in range(events)))
    assert publisher.follow().epoch == epoch
    assert differences(writer, sqlite_ledger) == []


def test_the_status_of_an_index(sqlite_ledger: Ledger, publisher: Publisher) -> None:
    record(sqlite_ledger, onay(1))
    before = publisher.status()
    assert (before.fault != "", before.heartbeat_age_s, before.head) == (True, None, 1)
    publisher.ensure()
    after = publisher.status()
    assert (after.fault, after.epoch, after.count, after.cursor, after.published_epoch) == ("", 1, 1, 1, 1)
    assert after.heartbeat_age_s is not None


@pytest.mark.interop
def test_the_loop_survives_an_index_that_goes_and_comes_back(
    redis_server: RedisServer, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_loop, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(publisher_loop, "FAULT_SECONDS", 0.05)
    writer = open_index(redis_server.url, Path(), sqlite_ledger.fingerprint.check_value())
    stop = threading.Event()
    loop = PublisherLoop(Publisher(sqlite_ledger, writer), stop)
    assert loop.fault
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        eventually(lambda: loop.fault == "", what="level")
        redis_server.stop()
        eventually(lambda: loop.fault.startswith("IndexDown"), what="a fault that is shown")
        record(sqlite_ledger, onay(1))
        redis_server.start()
        eventually(lambda: loop.fault == "" and is_member(writer, sqlite_ledger, onay(1)), what="level again")
        assert loop.level_age_s < 30
        assert loop.moved_age_s < 30
    finally:
        stop.set()
        thread.join()
    assert differences(writer, sqlite_ledger) == []
    writer.close()


def test_the_loop_stops_within_a_build(sqlite_ledger: Ledger, publisher: Publisher) -> None:
    record(sqlite_ledger, onay(1))
    stop = threading.Event()
    loop = PublisherLoop(publisher, stop)
    stop.set()
    with pytest.raises(IndexDown, match="stopping"):
        publisher.rebuild(loop._moving)

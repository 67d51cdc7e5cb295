"""Both forms of the index obey one interface; the same tests for the SQLite file and a real Redis."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from filters.key import Fingerprinter
from filters.layout import LANES, Family, lane_of
from registry.index.interface import Change, Facts, IndexState, IndexUnusable, IndexWriter, Superseded
from registry.publish import open_index

ONE, TWO, THREE = b"one.........", b"two.........", b"three......."
BIREYSEL, TACIR = Family.BIREYSEL, Family.TACIR


def built(writer: IndexWriter, epoch: int = 1, members: list[bytes] | None = None, cursor: int = 5) -> IndexState:
    build = writer.build(epoch, (10, 10), cursor)
    build.add(BIREYSEL, sorted([ONE, TWO] if members is None else members))
    build.announce()
    return build.switch(cursor)


def holds(writer: IndexWriter, *fingerprints: bytes, family: Family = BIREYSEL) -> list[bool]:
    return writer.contains(family, fingerprints)


def facts(as_of: int, *changes: tuple[bytes, bool], family: Family = BIREYSEL) -> Facts:
    return Facts(as_of, [Change(family, fingerprint, member) for fingerprint, member in changes])


def state_of(writer: IndexWriter) -> IndexState:
    state = writer.state()
    assert state is not None
    return state


def test_i4_an_empty_index_is_unusable_not_empty(writer: IndexWriter) -> None:
    assert writer.state() is None
    assert writer.last_epoch() == 0
    assert writer.unfinished() is None
    for ask in (
        lambda: writer.put(facts(1, (ONE, True))),
        lambda: writer.beat(1),
        lambda: holds(writer, ONE),
        lambda: writer.lane(TACIR, 0),
    ):
        with pytest.raises(IndexUnusable):
            ask()


def test_i4_a_build_is_not_seen_before_its_switch(writer: IndexWriter) -> None:
    build = writer.build(1, (10, 0), 4)
    build.add(BIREYSEL, [ONE])
    assert writer.state() is None
    assert (writer.last_epoch(), build.epoch, build.cursor) == (1, 1, 4)
    assert build.put(facts(6, (TWO, True))) == []
    build.announce()
    assert writer.state() is None
    with pytest.raises(IndexUnusable):
        writer.put(facts(7, (THREE, True)))
    state = build.switch(7)
    assert state == writer.state()
    assert (state.epoch, state.counts, state.cursor) == (1, (2, 0), 7)
    assert holds(writer, ONE, TWO, THREE) == [True, True, False]


def test_a_new_epoch_replaces_the_old_one_whole(writer: IndexWriter) -> None:
    built(writer)
    built(writer, 2, [THREE])
    assert holds(writer, ONE, TWO, THREE) == [False, False, True]
    state = state_of(writer)
    assert (state.epoch, state.count) == (2, 1)


def test_facts_become_true_and_are_counted(writer: IndexWriter) -> None:
    built(writer)
    changes = [Change(BIREYSEL, ONE, False), Change(TACIR, ONE, True), Change(BIREYSEL, THREE, True)]
    for as_of in (6, 6, 7):  # also when they are true already
        assert writer.put(Facts(as_of, changes)) == []
        assert state_of(writer).counts == (2, 1)
    assert holds(writer, ONE, TWO, THREE) == [False, True, True]
    assert holds(writer, ONE, TWO, family=TACIR) == [True, False]
    assert writer.beat(7).counts == (2, 1)


def test_i5_older_facts_are_refused(writer: IndexWriter) -> None:
    built(writer, cursor=5)
    assert writer.put(facts(8, (ONE, False))) == []
    older = facts(7, (ONE, True))
    assert writer.put(older) == list(older.changes)
    assert holds(writer, ONE) == [False]
    assert writer.put(facts(8, (ONE, True))) == []
    assert holds(writer, ONE) == [True]


def test_only_a_beat_moves_the_cursor_and_never_back(writer: IndexWriter) -> None:
    before = built(writer)
    writer.put(facts(9, (ONE, False)))
    state = state_of(writer)
    assert (state.cursor, state.heartbeat_ms) == (before.cursor, before.heartbeat_ms)
    beaten = writer.beat(9)
    assert beaten == writer.state()
    assert (beaten.cursor, beaten.heartbeat_ms >= before.heartbeat_ms) == (9, True)
    assert writer.beat(6).cursor == 9


def test_an_older_build_never_replaces_a_newer_one(writer: IndexWriter) -> None:
    late = writer.build(1, (10, 10), 5)
    late.add(BIREYSEL, [THREE])
    built(writer, 2)
    with pytest.raises((Superseded, IndexUnusable)):
        late.announce()
    with pytest.raises((Superseded, IndexUnusable)):
        late.switch(9)
    late.abandon()
    assert holds(writer, ONE, TWO, THREE) == [True, True, False]
    assert state_of(writer).epoch == 2


def test_an_abandoned_build_leaves_nothing(writer: IndexWriter) -> None:
    built(writer)
    before = writer.last_epoch()
    build = writer.build(2, (10, 10), 5)
    build.add(BIREYSEL, sorted([ONE, TWO, THREE]))
    build.announce()
    build.abandon()
    assert writer.put(facts(6, (ONE, False))) == []
    assert holds(writer, ONE, TWO, THREE) == [False, True, False]
    assert writer.unfinished() is None
    assert writer.last_epoch() == before


def test_abandoning_what_is_current_does_nothing(writer: IndexWriter) -> None:
    build = writer.build(1, (10, 10), 5)
    build.add(BIREYSEL, [ONE])
    build.announce()
    build.switch(5)
    build.abandon()
    assert holds(writer, ONE) == [True]


def test_an_announced_build_gets_every_fact(writer: IndexWriter) -> None:
    built(writer)
    build = writer.build(2, (10, 10), 6)
    build.add(BIREYSEL, sorted([ONE, TWO]))
    build.announce()
    assert writer.put(Facts(9, [Change(BIREYSEL, ONE, False), Change(TACIR, THREE, True)])) == []
    assert holds(writer, ONE, TWO) == [False, True]
    # what the builder read before is older by now
    assert build.put(facts(8, (ONE, True))) == [Change(BIREYSEL, ONE, True)]
    state = build.switch(9)
    assert (state.epoch, state.counts) == (2, (1, 1))
    assert holds(writer, ONE, TWO) == [False, True]
    assert holds(writer, THREE, family=TACIR) == [True]


def test_a_killed_build_is_taken_up_and_its_builder_fenced(open_writer: Callable[[], IndexWriter]) -> None:
    killed = open_writer()
    first = killed.build(1, (10, 10), 4)
    assert first.done is None
    first.add(BIREYSEL, sorted([ONE, TWO]))
    writer = open_writer()
    second = writer.unfinished()
    assert second is not None
    assert (second.epoch, second.cursor, second.done) == (1, 4, (BIREYSEL, TWO))
    for forbidden in (lambda: first.add(BIREYSEL, [THREE]), first.announce, lambda: first.switch(9)):
        with pytest.raises(Superseded):
            forbidden()
    first.abandon()
    second.add(TACIR, [THREE])
    second.announce()
    assert second.switch(5).counts == (2, 1)
    assert holds(writer, ONE, TWO, THREE) == [True, True, False]
    assert writer.unfinished() is None


def test_a_build_that_was_killed_is_dropped_by_a_newer_one(open_writer: Callable[[], IndexWriter]) -> None:
    open_writer().build(1, (10, 10), 1).add(BIREYSEL, sorted([ONE, TWO]))
    writer = open_writer()
    assert writer.last_epoch() == 1
    built(writer, 2, [THREE])
    assert holds(writer, ONE, TWO, THREE) == [False, False, True]
    assert writer.unfinished() is None
    assert writer.last_epoch() == 2


def test_i4_an_index_of_another_key_is_unusable(tmp_path: Path, index_url: str, writer: IndexWriter) -> None:
    built(writer)
    other = open_index(index_url, tmp_path / "data", Fingerprinter(b"x" * 32).check_value())
    assert other.state() is None
    assert other.last_epoch() == 1
    with pytest.raises(IndexUnusable):
        other.put(facts(9, (ONE, False)))
    other.close()
    assert holds(writer, ONE) == [True]


def test_two_writers_see_each_other(open_writer: Callable[[], IndexWriter]) -> None:
    first, second = open_writer(), open_writer()
    built(first)
    assert second.put(facts(6, (ONE, False))) == []
    assert first.put(facts(5, (ONE, True))) != []
    state = first.beat(7)
    assert (state.count, state.cursor) == (1, 7)


def test_many_writers_at_once_count_exactly(open_writer: Callable[[], IndexWriter]) -> None:
    writers = [open_writer() for _ in range(4)]
    built(writers[0], members=[])
    everybody = [secrets.token_bytes(12) for _ in range(400)]
    gone = everybody[::3]
    faults: list[Exception] = []

    def put(writer: IndexWriter) -> None:
        try:
            assert writer.put(facts(9, *((one, True) for one in everybody))) == []
            assert writer.put(facts(9, *((one, False) for one in gone))) == []
        except Exception as fault:  # noqa: BLE001 - shown below
            faults.append(fault)

    threads = [threading.Thread(target=put, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert writers[0].put(facts(10, *((one, False) for one in gone))) == []
    assert state_of(writers[0]).counts == (len(everybody) - len(gone), 0)
    assert holds(writers[0], *everybody).count(True) == len(everybody) - len(gone)


def test_lanes_name_their_members(writer: IndexWriter) -> None:
    members = sorted(secrets.token_bytes(12) for _ in range(2000))
    build = writer.build(1, (300_000, 10), 5)
    build.add(BIREYSEL, members)
    build.announce()
    assert build.switch(5).counts == (2000, 0)
    wanted: dict[int, set[bytes]] = {lane: set() for lane in range(LANES)}
    for one in members:
        wanted[lane_of(int.from_bytes(one[:4]))].add(writer.name(BIREYSEL, one))
    for lane in range(0, LANES, 10):
        assert writer.lane(BIREYSEL, lane) == wanted[lane]
    assert writer.lane(TACIR, 5) == set()
    name = next(iter(wanted[700] or wanted[710] or wanted[720]))
    assert writer.put(Facts(6, [Change(BIREYSEL, name, False)])) == []
    assert state_of(writer).counts == (1999, 0)


def test_members_at_both_ends_of_the_range(writer: IndexWriter) -> None:
    ends = [b"\x00" * 12, b"\x00" * 4 + b"\x7f" + b"\xff" * 7, b"\xff" * 4 + b"\x00" * 8, b"\xff" * 4 + b"\x7f" * 8]
    built(writer, members=ends)
    assert holds(writer, *ends) == [True] * 4
    assert state_of(writer).counts == (4, 0)
    assert len(writer.lane(BIREYSEL, 0)) == len(writer.lane(BIREYSEL, LANES - 1)) == 2


def test_nothing_is_lost_where_nothing_happened(writer: IndexWriter) -> None:
    built(writer)
    assert writer.lost_after() is None
    writer.vouch()
    assert writer.lost_after() is None
    assert writer.memory() > 0

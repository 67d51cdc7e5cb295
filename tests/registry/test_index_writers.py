"""Both forms of the index obey one interface; the same tests for the SQLite file and a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from filters.key import Fingerprinter
from filters.layout import Family
from registry.index import shared
from registry.index.interface import Change, IndexDown, IndexUnusable, IndexWriter, Superseded, Update
from registry.index.shared import RedisIndexWriter, bits_for
from registry.publish import open_index
from tests.conftest import RedisServer
from tests.registry.support import KEY

ONE, TWO, THREE = b"one.........", b"two.........", b"three......."


def built(writer: IndexWriter, epoch: int = 1, members: list[bytes] | None = None, cursor: int = 5) -> None:
    build = writer.build(epoch, 10)
    build.add(Family.BIREYSEL, sorted([ONE, TWO] if members is None else members))
    build.switch(lambda _state: Update([], cursor, beat=True))


def holds(writer: IndexWriter, *fingerprints: bytes, family: Family = Family.BIREYSEL) -> list[bool]:
    return writer.contains(family, fingerprints)


def test_i4_an_empty_index_is_unusable_not_empty(writer: IndexWriter) -> None:
    assert writer.state() is None
    assert writer.last_epoch() == 0
    for ask in (
        lambda: writer.update(lambda _: Update([])),
        lambda: holds(writer, ONE),
        lambda: writer.members(Family.TACIR),
    ):
        with pytest.raises(IndexUnusable):
            ask()


def test_i4_a_build_is_not_seen_before_its_switch(writer: IndexWriter) -> None:
    build = writer.build(1, 10)
    build.add(Family.BIREYSEL, [ONE])
    assert writer.state() is None
    assert writer.last_epoch() == 1
    state = build.switch(lambda _state: Update([Change(Family.BIREYSEL, TWO, True)], 7, beat=True))
    assert state == writer.state()
    assert (state.epoch, state.count, state.cursor) == (1, 2, 7)
    assert holds(writer, ONE, TWO, THREE) == [True, True, False]


def test_a_new_epoch_replaces_the_old_one_whole(writer: IndexWriter) -> None:
    built(writer)
    built(writer, 2, [THREE])
    assert holds(writer, ONE, TWO, THREE) == [False, False, True]
    assert writer.members(Family.BIREYSEL) == 1
    state = writer.state()
    assert state is not None
    assert (state.epoch, state.count) == (2, 1)


def test_an_update_applies_its_changes_and_counts_them(writer: IndexWriter) -> None:
    built(writer)
    changes = [Change(Family.BIREYSEL, ONE, False), Change(Family.TACIR, ONE, True), Change(Family.BIREYSEL, TWO, True)]
    state = writer.update(lambda _state: Update(changes, 9))
    assert (state.count, state.cursor) == (2, 9)
    assert holds(writer, ONE, TWO) == [False, True]
    assert holds(writer, ONE, family=Family.TACIR) == [True]
    again = writer.update(lambda _state: Update(changes))
    assert (again.count, again.cursor) == (2, 9)


def test_only_a_beat_renews_the_heartbeat(writer: IndexWriter) -> None:
    built(writer)
    before = writer.state()
    assert before is not None
    assert writer.update(lambda _state: Update([], 6)).heartbeat_ms == before.heartbeat_ms
    assert writer.update(lambda _state: Update([], beat=True)).heartbeat_ms >= before.heartbeat_ms


def test_a_plan_that_raises_changes_nothing(writer: IndexWriter) -> None:
    built(writer)
    before = writer.state()

    def plan(_state: object) -> Update:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        writer.update(plan)
    build = writer.build(2, 10)
    with pytest.raises(RuntimeError):
        build.switch(plan)
    assert writer.state() == before
    assert holds(writer, ONE, TWO) == [True, True]


def test_an_older_build_never_replaces_a_newer_one(writer: IndexWriter) -> None:
    late = writer.build(1, 10)
    late.add(Family.BIREYSEL, [THREE])
    built(writer, 2)
    with pytest.raises(Superseded):
        late.switch(lambda _state: Update([], 1, beat=True))
    late.abandon()
    assert holds(writer, ONE, TWO, THREE) == [True, True, False]


def test_an_abandoned_build_leaves_nothing(writer: IndexWriter) -> None:
    built(writer)
    build = writer.build(2, 10)
    build.add(Family.BIREYSEL, [ONE, TWO, THREE])
    build.apply([Change(Family.TACIR, ONE, True), Change(Family.BIREYSEL, TWO, False)])
    build.abandon()
    assert holds(writer, ONE, TWO, THREE) == [True, True, False]
    if isinstance(writer, RedisIndexWriter):
        assert writer.client.keys("izinli:2:*") == []
        assert set(writer.client.hkeys(shared.BUILDS)) == {b"1"}


def test_a_build_that_was_killed_is_dropped_by_the_next(open_writer: Callable[[], IndexWriter]) -> None:
    killed = open_writer()
    killed.build(1, 10).add(Family.BIREYSEL, [ONE, TWO])
    writer = open_writer()
    assert writer.last_epoch() == 1
    built(writer, 2, [THREE])
    assert holds(writer, ONE, TWO, THREE) == [False, False, True]
    if isinstance(writer, RedisIndexWriter):
        assert writer.client.keys("izinli:1:*") == []


def test_what_a_build_applies_is_counted(writer: IndexWriter) -> None:
    build = writer.build(1, 10)
    build.add(Family.BIREYSEL, [ONE, TWO])
    build.apply(
        [Change(Family.BIREYSEL, ONE, False), Change(Family.BIREYSEL, TWO, True), Change(Family.TACIR, TWO, True)]
    )
    build.apply([Change(Family.BIREYSEL, THREE, False)])
    build.apply([Change(Family.BIREYSEL, THREE, True)])
    state = build.switch(lambda _state: Update([], 1, beat=True))
    assert state.count == 3 == writer.members(Family.BIREYSEL) + writer.members(Family.TACIR)


def test_i4_an_index_of_another_key_is_unusable(tmp_path: Path, index_url: str, writer: IndexWriter) -> None:
    built(writer)
    other = open_index(index_url, tmp_path / "data", Fingerprinter(b"x" * 32).check_value())
    assert other.state() is None
    assert other.last_epoch() == 1
    other.close()


def test_two_writers_see_each_other(open_writer: Callable[[], IndexWriter]) -> None:
    first, second = open_writer(), open_writer()
    built(first)
    second.update(lambda _state: Update([Change(Family.BIREYSEL, ONE, False)], 6))
    state = first.update(lambda state: Update([], state.cursor + 1))
    assert (state.count, state.cursor) == (1, 7)


def test_an_index_file_that_is_deleted_is_noticed(tmp_path: Path) -> None:
    writer = open_index("sqlite", tmp_path, b"k" * 8)
    built(writer)
    for path in tmp_path.glob("index.sqlite*"):
        path.unlink()
    assert writer.state() is None
    built(writer, 2)
    assert holds(writer, ONE) == [True]
    writer.close()


def test_an_index_file_that_is_none_is_down_not_unusable(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"something else entirely, and longer than a header " * 100)
    writer = open_index("sqlite", tmp_path, b"k" * 8)
    with pytest.raises(IndexDown):
        writer.state()
    writer.close()


@pytest.mark.interop
def test_redis_faults_are_index_down(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "INDEX_WAIT_SECONDS", 0.2)
    writer = open_index(redis_server.url, Path(), b"k" * 8)
    built(writer)
    redis_server.pause()
    with pytest.raises(IndexDown):
        writer.update(lambda _state: Update([], beat=True))
    redis_server.resume()
    assert writer.state() is not None
    redis_server.stop()
    with pytest.raises(IndexDown):
        writer.state()
    redis_server.start()
    assert writer.state() is None
    writer.close()


@pytest.mark.interop
def test_i5_redis_that_may_evict_is_refused(redis_server: RedisServer) -> None:
    writer = RedisIndexWriter(redis_server.url, b"k" * 8)
    writer.client.config_set("maxmemory", "100mb")
    writer.client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(IndexDown, match="noeviction"):
        writer.build(1, 10)
    writer.close()


@pytest.mark.interop
def test_redis_keeps_members_as_intsets(redis_server: RedisServer) -> None:
    """The 10.4 bytes per consent depend on it."""
    writer = RedisIndexWriter(redis_server.url, b"k" * 8)
    fingerprint = Fingerprinter(KEY)
    members = sorted(fingerprint._key[:4] + index.to_bytes(8) for index in range(100))
    built(writer, 1, members)
    keys = writer.client.keys("izinli:1:b:*")
    assert {writer.client.object("encoding", key) for key in keys} == {b"intset"}
    writer.close()


@pytest.mark.parametrize(
    ("members", "bits"), [(0, 7), (5_000, 7), (5_001, 7), (8_193, 8), (1_000_000, 14), (10**9, 24)]
)
def test_buckets_are_laid_out_for_twice_the_members(members: int, bits: int) -> None:
    assert bits_for(members) == bits


def test_an_unknown_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sqlite"):
        open_index("memcached://somewhere", tmp_path, b"k" * 8)

"""The Redis form of the index by itself: builds that are cut short, fenced or lost, what a full server still takes,
and what filters are told.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filters.key import split
from filters.layout import CHANGES_KEY, INDEX_KEY, LANES, MARKER, Family, bucket_key, lane_key, lane_of
from registry.index import lanes, shared
from registry.index.build import BUILDS_KEY, bits_for
from registry.index.interface import Change, Facts, IndexDown, IndexUnusable, Superseded
from registry.index.shared import RedisIndexWriter
from tests.conftest import require
from tests.redis_farm import RedisServer, running
from tests.registry.test_index_writers import ONE, THREE, TWO, built, facts, holds, state_of

pytestmark = pytest.mark.interop

BIREYSEL, TACIR = Family.BIREYSEL, Family.TACIR
KEY_CHECK = b"k" * 8


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that can be given another replication id, as by a promotion, without losing anything."""
    with running(RedisServer(require("redis-server"), tmp_path, "--enable-debug-command", "local")) as server:
        yield server


@pytest.fixture
def opened(redis_server: RedisServer) -> Iterator[Callable[[], RedisIndexWriter]]:
    """Opens the same index, each time as another process would."""
    writers: list[RedisIndexWriter] = []

    def open_one() -> RedisIndexWriter:
        writers.append(RedisIndexWriter(redis_server.url, KEY_CHECK))
        return writers[-1]

    yield open_one
    for writer in writers:
        writer.close()


@pytest.fixture
def writer(opened: Callable[[], RedisIndexWriter]) -> RedisIndexWriter:
    return opened()


def lane_of_one(epoch: int = 1, fingerprint: bytes = ONE) -> str:
    return lane_key(epoch, lane_of(split(fingerprint)[0]))


def bucket(fingerprint: bytes, epoch: int = 1, bits: int = 10) -> str:
    return bucket_key(epoch, BIREYSEL, bits, split(fingerprint)[0])


def told(server: RedisServer) -> list[int]:
    """The members that the stream of changes names, in its order."""
    with server.client() as client:
        entries = client.xrange(CHANGES_KEY)
    packed = b"".join(fields[b"m"] for _, fields in entries)  # type: ignore[union-attr]
    return [int.from_bytes(packed[at : at + 8]) for at in range(0, len(packed), 8)]


@pytest.mark.parametrize(
    ("members", "bits"),
    [(0, 10), (131_072, 10), (131_073, 11), (1_000_000, 13), (10**7, 17), (10**9, 23), (10**12, 26)],
)
def test_buckets_are_laid_out_for_64_to_128_members(members: int, bits: int) -> None:
    assert bits_for(members) == bits


def test_members_are_kept_as_intsets(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    """The 10.4 octets per consent depend on it."""
    lane = secrets.token_bytes(1)
    built(writer, members=sorted(lane + secrets.token_bytes(11) for _ in range(500)))
    with redis_server.client() as client:
        keys = [bucket_key(1, BIREYSEL, 10, one << 22) for one in range(LANES)]
        assert {client.object("encoding", key) for key in keys} == {b"intset"}
        assert all(client.sismember(key, str(MARKER)) for key in keys)


def test_an_epoch_is_dropped_whole(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    built(writer)
    abandoned = writer.build(2, (300_000, 10), 5)
    abandoned.add(BIREYSEL, sorted([ONE, TWO, THREE]))
    abandoned.announce()
    abandoned.abandon()
    writer.build(3, (10, 10), 5).add(BIREYSEL, [ONE])  # killed
    assert state_of(writer).epoch == 1
    built(writer, 4, [THREE])
    with redis_server.client() as client:
        assert {key.split(b":")[1] for key in client.scan_iter("izinli:*:{*", count=10_000)} == {b"4"}
        assert client.dbsize() == 3 * LANES + 2  # lanes, their buckets, the state and the builds
        assert client.hkeys(BUILDS_KEY) == [b"4"]


def test_what_could_not_be_dropped_goes_later(
    redis_server: RedisServer, writer: RedisIndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(writer)
    with redis_server.client() as client, monkeypatch.context() as unreachable:
        entry = client.hget(BUILDS_KEY, "1")
        unreachable.setattr("registry.index.build.drop_older", _down)
        assert built(writer, 2).epoch == 2
        assert client.hget(BUILDS_KEY, "1") == entry
        unreachable.undo()
        writer.beat(6)
        assert client.hkeys(BUILDS_KEY) == [b"2"]
        assert client.exists(lane_key(1, 0), bucket(ONE)) == 0


def _down(*_: object) -> None:
    raise IndexDown("the network")


def test_a_sealed_build_can_be_taken_up(opened: Callable[[], RedisIndexWriter]) -> None:
    killed = opened().build(1, (10, 10), 4)
    killed.add(BIREYSEL, sorted([ONE, TWO]))
    killed.announce()
    killed._sealed(9)  # and then it was killed
    writer = opened()
    second = writer.unfinished()
    assert second is not None
    assert second.done == (BIREYSEL, TWO)
    with pytest.raises(Superseded):
        killed.add(BIREYSEL, [THREE])
    second.add(TACIR, [THREE])
    second.put(facts(6, (ONE, False)))
    second.announce()
    assert second.switch(9).counts == (1, 1)
    for late in (killed, second):  # nothing fills an epoch that is read
        with pytest.raises(Superseded):
            late.add(BIREYSEL, [THREE])
    assert holds(writer, ONE, TWO, THREE) == [False, True, False]


def test_of_two_that_take_a_build_up_the_last_one_has_it(opened: Callable[[], RedisIndexWriter]) -> None:
    opened().build(1, (10, 10), 4).add(BIREYSEL, [ONE])
    first, second = opened().unfinished(), opened().unfinished()
    assert first is not None
    assert second is not None
    with pytest.raises(Superseded):
        first.add(BIREYSEL, [TWO])
    first.abandon()
    second.announce()
    assert second.switch(4).counts == (1, 0)


def test_a_build_whose_opening_was_cut_short_is_dropped(
    redis_server: RedisServer, opened: Callable[[], RedisIndexWriter]
) -> None:
    opened().build(1, (10, 10), 4)
    with redis_server.client() as client:
        client.delete(lane_key(1, LANES - 1))
        assert opened().unfinished() is None
        assert client.keys("*izinli*") == []


def test_a_build_of_another_key_is_not_gone_on_with(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    writer.build(1, (10, 10), 4).add(BIREYSEL, [ONE])
    other = RedisIndexWriter(redis_server.url, b"x" * 8)
    assert other.unfinished() is None
    assert other.last_epoch() == 0
    other.close()


def test_an_announced_build_that_was_outrun_may_not_win(
    opened: Callable[[], RedisIndexWriter],
) -> None:
    """Facts went to the newer one from its announcement on."""
    writer = opened()
    built(writer)
    older, newer = writer.build(2, (10, 10), 5), opened().build(3, (10, 10), 5)
    older.announce()
    newer.announce()
    writer.put(facts(6, (ONE, True)))
    with pytest.raises(Superseded):
        older.announce()
    with pytest.raises(Superseded):
        older.switch(6)
    assert newer.switch(6).counts == (1, 0)


def test_a_switch_needs_its_announcement(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    build = writer.build(1, (10, 10), 5)
    with pytest.raises(IndexUnusable):
        build.switch(5)
    build.announce()
    with redis_server.client() as client:
        client.delete(INDEX_KEY)
    with pytest.raises(IndexUnusable):
        build.switch(5)


@pytest.mark.parametrize("lost", [lane_of_one(2), bucket(ONE, 2)])
def test_a_build_that_was_lost_in_part_is_noticed(
    redis_server: RedisServer, writer: RedisIndexWriter, lost: str
) -> None:
    built(writer)
    build = writer.build(2, (10, 10), 5)
    build.add(BIREYSEL, [ONE])
    build.announce()
    with redis_server.client() as client:
        client.delete(lost)
    assert writer.put(facts(6, (ONE, False))) == []  # in the current epoch
    for step in (
        lambda: build.add(BIREYSEL, [ONE]),
        lambda: build.put(facts(6, (ONE, False))),
        lambda: build.switch(6),
    ):
        with pytest.raises(IndexUnusable):
            step()
    build.abandon()
    assert state_of(writer).counts == (1, 0)


@pytest.mark.parametrize("lost", [lane_of_one(), bucket(ONE)])
def test_i4_a_part_that_was_lost_is_not_empty(redis_server: RedisServer, writer: RedisIndexWriter, lost: str) -> None:
    built(writer)
    with redis_server.client() as client:
        client.delete(lost)
        with pytest.raises(IndexUnusable):
            writer.put(facts(6, (ONE, True)))
        assert not client.exists(lost)
    if lost == bucket(ONE):
        with pytest.raises(IndexUnusable):
            holds(writer, TWO, ONE)
        with pytest.raises(IndexUnusable):
            writer.lane(BIREYSEL, lane_of(split(ONE)[0]))
    else:
        with pytest.raises(IndexUnusable):
            writer.beat(6)


def test_a_switch_fails_after_a_server_had_another_life(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    built(writer)
    build = writer.build(2, (10, 10), 5)
    build.add(BIREYSEL, [ONE])
    build.announce()
    redis_server.cli("DEBUG", "CHANGE-REPL-ID")
    with pytest.raises(IndexDown, match="started or promoted"):
        build.switch(6)
    assert state_of(writer).epoch == 1
    assert writer.unfinished() is None
    with redis_server.client() as client:
        assert client.hkeys(BUILDS_KEY) == [b"1"]
        assert client.hget(INDEX_KEY, "next") is None


def test_i5_a_full_server_still_takes_withdrawals(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    built(writer)
    redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    redis_server.cli("SCRIPT", "FLUSH")
    with pytest.raises(IndexDown, match="full"):
        writer.put(facts(6, (THREE, True)))
    with pytest.raises(IndexDown, match="full"):
        writer.put(facts(6, (THREE, True), (TWO, False)))
    assert holds(writer, TWO) == [False]
    assert writer.put(facts(7, (ONE, False))) == []
    assert writer.put(facts(7, (ONE, True), family=TACIR)) == []  # there a member is who refuses
    assert (writer.beat(8).counts, holds(writer, ONE)) == ((0, 1), [False])
    with pytest.raises(IndexDown, match="full"):
        writer.build(2, (10, 10), 8)
    redis_server.cli("CONFIG", "SET", "maxmemory", "0")
    assert writer.put(facts(9, (THREE, True))) == []
    assert writer.beat(9).counts == (1, 1)


def test_i5_a_server_that_may_evict_is_refused(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    redis_server.cli("CONFIG", "SET", "maxmemory", "100mb")
    redis_server.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(IndexDown, match="noeviction"):
        writer.build(1, (10, 10), 5)


def test_small_intsets_are_refused(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    redis_server.cli("CONFIG", "SET", "set-max-intset-entries", "128")
    with pytest.raises(IndexDown, match="set-max-intset-entries"):
        writer.build(1, (10, 10), 5)
    assert writer.last_epoch() == 0


def test_filters_are_told_of_everything_that_was_added(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    built(writer)
    many = [secrets.token_bytes(12) for _ in range(1300)]
    writer.put(facts(6, *((one, True) for one in many), (ONE, False)))
    writer.put(facts(6, (many[0], True)))  # a predecessor may have been killed before it told
    writer.put(facts(6, (many[1], True), family=TACIR))
    assert told(redis_server) == [split(one)[1] for one in [*many, many[0]]]
    with redis_server.client() as client:
        ids = [identifier for identifier, _ in client.xrange(CHANGES_KEY)]  # type: ignore[misc]
        assert ids == [b"%d-0" % number for number in range(1, 5)]
        assert client.hget(INDEX_KEY, "changes") == b"4"


def test_a_switch_begins_the_stream_anew_and_goes_on_counting(
    redis_server: RedisServer, writer: RedisIndexWriter
) -> None:
    built(writer)
    writer.put(facts(6, (THREE, True)))
    with redis_server.client() as client:
        before = client.hget(INDEX_KEY, "history")
        built(writer, 2)
        assert client.hget(INDEX_KEY, "history") not in (before, None)
        assert told(redis_server) == []
        writer.put(facts(7, (THREE, True)))
        assert [identifier for identifier, _ in client.xrange(CHANGES_KEY)] == [b"2-0"]  # type: ignore[misc]


def test_i7_the_stream_has_a_bound(
    redis_server: RedisServer, writer: RedisIndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "CHANGES_ENTRIES_MAX", 200)
    built(writer)
    for _ in range(1000):
        writer.put(facts(6, (ONE, True)))
    with redis_server.client() as client:
        assert 200 <= client.xlen(CHANGES_KEY) <= 400
        assert client.hget(INDEX_KEY, "changes") == b"1000"


def test_a_put_follows_a_switch_that_happens_meanwhile(
    opened: Callable[[], RedisIndexWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = opened(), opened()
    built(writer)
    build = other.build(2, (10, 10), 5)
    build.add(BIREYSEL, sorted([ONE, TWO]))
    read = writer._epochs

    def late() -> object:
        found = read()
        monkeypatch.undo()
        build.announce()
        build.switch(5)
        return found

    monkeypatch.setattr(writer, "_epochs", late)
    assert writer.put(facts(6, (ONE, False))) == []
    assert holds(writer, ONE, TWO) == [False, True]


def test_a_question_follows_a_switch_that_happens_meanwhile(
    opened: Callable[[], RedisIndexWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = opened(), opened()
    built(writer)
    ask = lanes.contains

    def late(*question: Any) -> object:
        monkeypatch.undo()
        built(other, 2, [ONE, THREE])
        return ask(*question)

    monkeypatch.setattr(lanes, "contains", late)
    assert holds(writer, ONE, TWO, THREE) == [True, False, True]


def test_a_put_follows_an_announcement_that_happens_meanwhile(
    opened: Callable[[], RedisIndexWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = opened(), opened()
    built(writer)
    build = other.build(2, (10, 10), 5)
    build.add(BIREYSEL, sorted([ONE, TWO]))
    read = writer._epochs

    def late() -> object:
        found = read()
        monkeypatch.undo()
        build.announce()
        return found

    monkeypatch.setattr(writer, "_epochs", late)
    assert writer.put(facts(6, (ONE, False), (THREE, True))) == []
    assert build.switch(6).counts == (2, 0)
    assert holds(writer, ONE, TWO, THREE) == [False, True, True]


def test_a_build_that_is_filled_in_many_calls_counts_exactly(
    redis_server: RedisServer, writer: RedisIndexWriter
) -> None:
    everybody = sorted(secrets.token_bytes(12) for _ in range(30_000))
    crowd = sorted(b"crowd" + secrets.token_bytes(7) for _ in range(2500))  # more in a bucket than a call takes
    build = writer.build(1, (len(everybody), len(crowd)), 5)
    build.add(BIREYSEL, everybody[:20_000])
    build.add(BIREYSEL, everybody[19_000:])  # what was not noted before a crash comes again
    build.add(TACIR, crowd)
    build.put(Facts(6, [Change(BIREYSEL, one, False) for one in everybody[:100]]))
    build.announce()
    assert build.switch(6).counts == (29_900, 2500)
    with redis_server.client() as client, client.pipeline(transaction=False) as pipe:
        for lane in range(LANES):
            pipe.scard(bucket_key(1, BIREYSEL, build._layout.bits[BIREYSEL], lane << 22))
        assert sum(pipe.execute()) - LANES == 29_900
    assert writer.beat(7).counts == (29_900, 2500)


def test_scripts_that_redis_forgot_are_sent_again(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    built(writer)
    redis_server.cli("SCRIPT", "FLUSH")
    assert writer.put(facts(6, (ONE, False), (THREE, True))) == []
    assert holds(writer, ONE, THREE) == [False, True]
    redis_server.cli("SCRIPT", "FLUSH")
    assert writer.beat(7).cursor == 7


def test_a_cursor_is_left_in_every_lane(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    built(writer, cursor=5)
    writer.beat(9)
    writer.beat(8)
    with redis_server.client() as client:
        assert {client.hget(lane_key(1, lane), "level") for lane in range(LANES)} == {b"9"}


def test_a_server_that_nobody_vouches_for_gets_no_level(redis_server: RedisServer, writer: RedisIndexWriter) -> None:
    built(writer, cursor=5)
    redis_server.cli("DEBUG", "CHANGE-REPL-ID")
    with pytest.raises(IndexDown, match="started or promoted"):  # what was put since may be lost
        writer.beat(9)
    assert writer.beat(9).cursor == 9
    with redis_server.client() as client:
        assert client.hget(lane_key(1, 0), "level") == b"5"
    assert writer.lost_after() == 5
    writer.vouch()
    assert writer.lost_after() is None

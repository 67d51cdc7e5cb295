"""Following the index: level means that every member is known, and everything else means that nothing is claimed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from filters.bloom import Origin
from filters.index_url import parse
from filters.layout import CHANGES_KEY
from gateway import limits
from gateway.index.changes import Additions, Follower, Standing
from gateway.index.snapshot import FILE, build
from tests.conftest import RedisServer, eventually_async
from tests.gateway.hand import CHECK, Hand, fingerprints, member

MEMBERS = fingerprints(500)
NEW = fingerprints(500, "new")
RUN = b"a" * 40
ORIGIN = Origin(3, b"h", 10, CHECK)


def fields(changes: int, epoch: int = 3, history: bytes = b"h", runs: bytes = RUN) -> list[bytes]:
    return [b"%d" % epoch, history, b"%d" % changes, runs]


def entry(number: int, *members: int) -> list[object]:
    return [b"%d-0" % number, [b"m", b"".join(one.to_bytes(8) for one in members)]]


# what a poll means


def test_entries_up_to_the_newest_number_make_it_level() -> None:
    additions = Additions(ORIGIN)
    assert additions.hear(fields(12), [entry(11, 1, 2), entry(12, (1 << 63) - 1)], RUN) is Standing.LEVEL
    assert (additions.members, additions.number) == ({1: 11, 2: 11, (1 << 63) - 1: 12}, 12)


def test_no_news_is_level() -> None:
    assert Additions(ORIGIN).hear(fields(10), [], RUN) is Standing.LEVEL


def test_what_came_between_state_and_entries_counts() -> None:
    additions = Additions(ORIGIN)
    assert additions.hear(fields(10), [entry(11, 1)], RUN) is Standing.LEVEL
    assert additions.hear(fields(11), [], RUN) is Standing.LEVEL


def test_more_than_one_answer_holds_is_behind() -> None:
    additions = Additions(ORIGIN)
    entries = [entry(11 + number, number) for number in range(limits.FILTER_ENTRIES_AT_ONCE)]
    assert additions.hear(fields(11 + len(entries)), entries, RUN) is Standing.BEHIND
    assert additions.hear(fields(11 + len(entries)), [entry(11 + len(entries), 7)], RUN) is Standing.LEVEL


@pytest.mark.parametrize(
    ("changes", "entries"),
    [
        (12, [entry(12, 1)]),  # 11 was trimmed
        (12, []),  # both were
        (13, [entry(11, 1), entry(13, 1)]),
        (12, [entry(11, 1)]),  # the newest is not there
        (9, []),  # numbers are given again
        (11, [[b"11-1", [b"m", bytes(8)]]]),
        (11, [[b"11-0", [b"x", bytes(8)]]]),
        (11, [[b"11-0", [b"m", bytes(7)]]]),
        (11, [[b"11-0", [b"m", bytes(8), b"x", b""]]]),
    ],
)
def test_a_gap_is_for_good(changes: int, entries: list[object]) -> None:
    additions = Additions(ORIGIN)
    assert additions.hear(fields(changes), entries, RUN) is Standing.CUT
    assert additions.hear(fields(10), [], RUN) is Standing.CUT


def test_more_than_a_worker_keeps_is_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILTER_DELTA_MAX", 3)
    additions = Additions(ORIGIN)
    assert additions.hear(fields(11), [entry(11, 1, 2, 3)], RUN) is Standing.LEVEL
    assert additions.hear(fields(12), [entry(12, 3, 4)], RUN) is Standing.FULL
    assert additions.hear(fields(12), [], RUN) is Standing.FULL
    assert additions.members == {}


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (fields(11, epoch=4), Standing.OTHER_INDEX),
        (fields(11, epoch=2), Standing.OTHER_INDEX),
        (fields(11, history=b"i"), Standing.OTHER_INDEX),
        ([None] * 4, Standing.OTHER_INDEX),
        (fields(11, runs=b"b" * 40), Standing.UNVOUCHED),
        (fields(11, runs=b""), Standing.UNVOUCHED),
    ],
)
def test_another_index_is_not_followed(heard: list[bytes], expected: Standing) -> None:
    additions = Additions(ORIGIN)
    assert additions.hear(heard, [entry(11, 1)], RUN) is expected
    assert (additions.members, additions.number) == ({}, 10)
    assert additions.hear(fields(11), [entry(11, 1)], RUN) is Standing.LEVEL


def test_a_server_that_does_not_say_who_it_is_is_not_vouched_for() -> None:
    """A replica's run is empty, and nothing is a part of everything."""
    assert Additions(ORIGIN).hear(fields(10), [], b"") is Standing.UNVOUCHED


def test_a_newer_snapshot_keeps_what_is_known_beyond_it() -> None:
    additions = Additions(ORIGIN)
    additions.hear(fields(13), [entry(11, 1, 2), entry(12, 2, 3), entry(13, 4)], RUN)
    carried = additions.carried_to(Origin(3, b"h", 11, CHECK))
    assert carried is not None
    assert (carried.number, carried.members) == (13, {2: 12, 3: 12, 4: 13})
    assert carried.hear(fields(14), [entry(14, 5)], RUN) is Standing.LEVEL


@pytest.mark.parametrize("origin", [Origin(3, b"h", 12, CHECK), Origin(3, b"h", 9, CHECK)])
def test_a_snapshot_beyond_or_before_all_that_is_known_begins_anew(origin: Origin) -> None:
    additions = Additions(ORIGIN)
    additions.hear(fields(11), [entry(11, 1)], RUN)
    assert additions.carried_to(origin) is None


@pytest.mark.parametrize("origin", [Origin(4, b"h", 10, CHECK), Origin(3, b"i", 10, CHECK)])
def test_nothing_is_kept_for_another_index(origin: Origin) -> None:
    assert Additions(ORIGIN).carried_to(origin) is None


def test_nothing_is_kept_of_what_was_cut() -> None:
    additions = Additions(ORIGIN)
    additions.hear(fields(12), [], RUN)
    assert additions.carried_to(Origin(3, b"h", 10, CHECK)) is None


# over a real Redis


@pytest.fixture
def unhurried(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being level lasts, on a machine that has other things to do."""
    monkeypatch.setattr(limits, "FILTER_LEVEL_S", 20.0)


@pytest.fixture
def hand(unhurried: None, redis_server: RedisServer) -> Iterator[Hand]:
    with redis_server.client() as client:
        yield Hand(client)


@asynccontextmanager
async def following(server: RedisServer, data_dir: Path, check: bytes = CHECK) -> AsyncIterator[Follower]:
    follower = Follower(parse(server.url), data_dir / FILE, check)
    follower.start()
    try:
        yield follower
    finally:
        await follower.close()


async def stands(follower: Follower, standing: Standing) -> None:
    def holds() -> bool:
        return follower.standing is standing and follower.level is (standing is Standing.LEVEL)

    await eventually_async(holds, within=90, what=standing.value)


async def take(server: RedisServer, data_dir: Path) -> None:
    await build(parse(server.url), CHECK, data_dir)


@pytest.mark.interop
async def test_it_becomes_level_and_hears_of_every_grant(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)
    hand.grant(NEW[0])
    await take(redis_server, tmp_path)
    hand.grant(NEW[1])
    hand.grant(NEW[2], NEW[3])
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.LEVEL)
        assert follower.bloom is not None
        assert follower.additions is not None
        assert follower.epoch == 1
        assert all(member(one) in follower.bloom for one in [*MEMBERS, NEW[0]])
        assert set(follower.additions.members) == {member(one) for one in NEW[1:4]}
        hand.grant(NEW[4])
        await eventually_async(lambda: member(NEW[4]) in follower.additions.members, within=90, what="the grant")
        assert follower.level
        assert 0 <= follower.age_s < 600


@pytest.mark.interop
async def test_it_catches_up_with_many_entries(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    for one in NEW:
        hand.grant(one)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.LEVEL)
        assert follower.additions is not None
        assert set(follower.additions.members) == {member(one) for one in NEW}


@pytest.mark.interop
async def test_without_a_file_nothing_is_claimed_until_there_is_one(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.NO_SNAPSHOT)
        await take(redis_server, tmp_path)
        await stands(follower, Standing.LEVEL)
        (tmp_path / FILE).unlink()
        await stands(follower, Standing.NO_SNAPSHOT)
        assert follower.bloom is None
        assert follower.epoch == 0


@pytest.mark.interop
async def test_a_damaged_file_and_one_of_another_key_are_not_used(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    async with following(redis_server, tmp_path) as follower, following(redis_server, tmp_path, bytes(8)) as foreign:
        await stands(follower, Standing.LEVEL)
        octets = bytearray((tmp_path / FILE).read_bytes())
        octets[20] ^= 1
        (tmp_path / "damaged").write_bytes(octets)
        (tmp_path / "damaged").rename(tmp_path / FILE)
        await stands(follower, Standing.NO_SNAPSHOT)
        await stands(foreign, Standing.NO_SNAPSHOT)
        await take(redis_server, tmp_path)
        await stands(follower, Standing.LEVEL)
        assert not foreign.level


@pytest.mark.interop
@pytest.mark.parametrize("what", ["epoch", "history", "state", "runs", "nonsense"])
async def test_what_it_does_not_know_it_does_not_claim(
    hand: Hand, redis_server: RedisServer, tmp_path: Path, what: str
) -> None:
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.LEVEL)
        if what == "epoch":
            hand.build(MEMBERS, history="same")
        elif what == "state":
            hand.client.delete("izinli:index")
        else:
            hand.state(**{"changes" if what == "nonsense" else what: "another"})
        await stands(follower, Standing.UNVOUCHED if what == "runs" else Standing.OTHER_INDEX)


@pytest.mark.interop
async def test_a_new_snapshot_mends_a_stream_that_was_cut(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    for one in NEW[:3]:
        hand.grant(one)
    hand.trim(2)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.CUT)
        await take(redis_server, tmp_path)
        await stands(follower, Standing.LEVEL)
        assert follower.bloom is not None
        assert all(member(one) in follower.bloom for one in NEW[:3])
        hand.client.delete(CHANGES_KEY)
        hand.state(changes=4)
        await stands(follower, Standing.CUT)


@pytest.mark.interop
async def test_a_server_that_is_silent_or_gone_ends_it_and_one_that_is_back_without_its_data_too(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.LEVEL)
        redis_server.pause()
        await stands(follower, Standing.DOWN)
        redis_server.resume()
        await stands(follower, Standing.LEVEL)
        redis_server.stop()
        await stands(follower, Standing.DOWN)
        redis_server.start()
        await stands(follower, Standing.OTHER_INDEX)


@pytest.mark.interop
async def test_a_server_that_was_promoted_is_not_believed_before_it_is_vouched_for(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.LEVEL)
        hand.client.replicaof("127.0.0.1", 1)
        await stands(follower, Standing.UNVOUCHED)
        hand.client.replicaof("NO", "ONE")
        await eventually_async(lambda: follower._nodes.state.run in [r.encode() for r in hand.runs()], within=90)  # type: ignore[union-attr]
        assert not follower.level
        hand.state(runs=" ".join(hand.runs()))
        await stands(follower, Standing.LEVEL)


@pytest.mark.interop
async def test_level_is_a_claim_about_the_moment_of_asking_and_runs_out(
    hand: Hand, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody polls any more, as when a loop is stuck: what was true is no longer claimed."""
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.LEVEL)
        monkeypatch.setattr(limits, "FILTER_LEVEL_S", 0.6)
        monkeypatch.setattr(limits, "FILTER_POLL_S", 3600)
        await eventually_async(lambda: not follower.level, within=90, what="the claim running out")
        assert follower.standing is Standing.LEVEL


@pytest.mark.interop
async def test_readers_leave_nothing_open(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)
    await take(redis_server, tmp_path)
    async with following(redis_server, tmp_path) as follower:
        await stands(follower, Standing.LEVEL)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            held = follower.bloom
            await take(redis_server, tmp_path)
            await eventually_async(lambda held=held: follower.bloom not in (None, held), within=90, what="the new file")
        await stands(follower, Standing.LEVEL)
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= before + 1

"""The index behind its filter: the same answers as without it, fewer questions, and silence where it cannot know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from filters.index_url import parse
from filters.layout import CHANGES_KEY, INDEX_KEY, Family
from filters.model import Reason
from gateway import limits
from gateway.index.changes import Follower, Standing
from gateway.index.filter import FilteredIndex
from gateway.index.interface import Answers
from gateway.index.snapshot import FILE, build
from gateway.metrics import Metrics
from tests.conftest import RedisServer, eventually_async
from tests.gateway.asking import WITHIN_S, ask, becomes, citizen, citizens, each, reader
from tests.gateway.conftest import FINGERPRINT, TACIR, Asking, Written, written_to

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("patient")]
CHECK = FINGERPRINT.check_value()


@pytest.fixture
def written(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    monkeypatch.setattr(limits, "FILTER_LEVEL_S", 20.0)
    with written_to(redis_server) as house:
        yield house


class House:
    """A filtered index with a snapshot, and what it counted."""

    def __init__(self, server: RedisServer, data_dir: Path) -> None:
        self.metrics = Metrics()
        self.server = server
        self.data_dir = data_dir
        self.follower = Follower(parse(server.url), data_dir / FILE, CHECK)
        self.index = FilteredIndex(reader(server.url), self.follower, self.metrics)

    async def take(self) -> None:
        await build(parse(self.server.url), CHECK, self.data_dir)

    async def level(self, expected: bool = True) -> None:
        def holds() -> bool:
            self.index.poll()
            return bool(self.metrics.index_filter_level) is expected

        await eventually_async(holds, within=WITHIN_S, what=f"level: {expected}")

    def counted(self) -> tuple[int, int, int]:
        """(absent, maybe, bypassed) since the last time."""
        found = self.metrics.index_filter
        counts = found["absent"], found["maybe"], found["bypassed"]
        self.metrics.index_filter = dict.fromkeys(found, 0)
        return counts


@asynccontextmanager
async def filtered(server: RedisServer, data_dir: Path, *, take: bool = True) -> AsyncIterator[House]:
    house = House(server, data_dir)
    if take:
        await house.take()
    await house.index.start()
    try:
        if take:
            await house.level()
        yield house
    finally:
        await house.index.close()


async def test_who_is_certainly_absent_is_answered_at_once(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path) as house:
        told: list[Answers] = []
        house.index.ask(citizens(20, b"nobody"), lambda _, answers: told.append(answers))
        assert told == [[False] * 20]
        assert house.counted() == (20, 0, 0)


async def test_a_batch_is_answered_as_without_the_filter(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    members, others = citizens(200), citizens(300, b"other")
    written.build(*(one.recipient for one in members if one.recipient))
    async with filtered(redis_server, tmp_path) as house:
        mixed = [question for pair in zip(members, others[:200], strict=True) for question in pair] + others[200:]
        answers = await each(house.index, mixed)
        assert answers == [question in members for question in mixed]
        absent, maybe, bypassed = house.counted()
        assert (absent + maybe, bypassed) == (500, 0)
        assert 200 <= maybe < 210  # members, and hardly a false alarm


async def test_it_rests_while_nearly_everybody_has_consented(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    members = citizens(limits.FILTER_LOOKED_MIN)
    written.build(*(one.recipient for one in members if one.recipient))
    async with filtered(redis_server, tmp_path) as house:
        assert await each(house.index, members[:-1]) == [True] * (len(members) - 1)
        assert await ask(house.index, members[-1]) == [True]
        house.counted()
        assert await ask(house.index, citizen(b"other"), members[0]) == [False, True], "the index knows it as well"
        assert house.counted() == (0, 0, 2)
        await house.level()  # as once a second
        assert await ask(house.index, citizen(b"other"), members[0]) == [False, True]
        assert house.counted() == (1, 1, 0)


async def test_it_goes_on_while_one_in_four_has_not_consented(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    members, others = citizens(3 * limits.FILTER_LOOKED_MIN), citizens(limits.FILTER_LOOKED_MIN + 20, b"other")
    written.build(*(one.recipient for one in members if one.recipient))
    async with filtered(redis_server, tmp_path) as house:
        await each(house.index, members + others)
        house.counted()
        assert await ask(house.index, citizen(b"another"), members[0]) == [False, True]
        assert house.counted() == (1, 1, 0)


async def test_a_withdrawal_is_asked_for_and_a_grant_is_heard_of(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path) as house:
        written.change(b"a@example.test", member=False)
        assert await ask(house.index, citizen(b"a"), citizen(b"b")) == [False, False]
        assert house.counted() == (1, 1, 0)
        written.change(b"b@example.test", member=True)

        async def granted() -> bool:
            return await ask(house.index, citizen(b"b")) == [True]

        await eventually_async(granted, within=WITHIN_S, what="the grant")
        await house.level()


async def test_merchants_are_always_asked_for(written: Written, redis_server: RedisServer, tmp_path: Path) -> None:
    written.build(b"a@example.test")
    written.change(b"refused@example.test", member=True, family=Family.TACIR)
    async with filtered(redis_server, tmp_path) as house:
        merchants = [Asking(TACIR, b"refused@example.test"), Asking(TACIR, b"a@example.test")]
        assert await each(house.index, merchants) == [True, False]
        assert house.counted() == (0, 0, 2)


async def test_without_a_snapshot_everybody_is_asked_for(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path, take=False) as house:
        await becomes(house.index, [citizen(b"a"), citizen(b"b")], [True, False])
        absent, maybe, bypassed = house.counted()
        assert (absent, maybe) == (0, 0)
        assert bypassed >= 2
        await house.take()
        await house.level()
        assert await ask(house.index, citizen(b"b")) == [False]
        assert house.counted() == (1, 0, 0)


async def test_a_new_epoch_passes_the_filter_by_until_there_is_a_snapshot_of_it(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path) as house:
        written.build(b"b@example.test")
        await house.level(False)
        await becomes(house.index, [citizen(b"a"), citizen(b"b")], [False, True])
        await house.take()
        await house.level()
        assert await ask(house.index, citizen(b"a"), citizen(b"b")) == [False, True]


async def test_a_stream_that_was_cut_passes_the_filter_by(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path) as house:
        with redis_server.client() as client:
            client.hincrby(INDEX_KEY, "changes", 1)
            client.delete(CHANGES_KEY)
        await house.level(False)
        assert house.follower.standing is Standing.CUT
        house.counted()
        assert await ask(house.index, citizen(b"b")) == [False]
        assert house.counted() == (0, 0, 1)


async def test_an_index_that_is_down_defers(written: Written, redis_server: RedisServer, tmp_path: Path) -> None:
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path) as house:
        redis_server.stop()
        await house.level(False)
        assert await ask(house.index, citizen(b"a"), citizen(b"b")) is Reason.INDEX_DOWN


@pytest.mark.parametrize("fields", [{"heartbeat_ms": 1}, {"key_check": b"12345678"}, {"format": 99}])
async def test_an_index_that_nobody_may_believe_defers_whatever_the_filter_knows(
    written: Written, redis_server: RedisServer, tmp_path: Path, fields: dict[str, object]
) -> None:
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path) as house:
        with redis_server.client() as client:
            client.hset(INDEX_KEY, mapping=fields)  # type: ignore[arg-type]
        await house.level(False)
        assert await ask(house.index, citizen(b"b")) is Reason.INDEX_STALE
        assert house.follower.level, "the filter itself has no reason to be silent"


async def test_an_older_epoch_than_the_index_knows_is_not_asked(
    written: Written, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The index has seen the switch, the follower not yet."""
    written.build(b"a@example.test")
    async with filtered(redis_server, tmp_path) as house:
        running = house.follower._running
        assert running is not None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        written.build(b"b@example.test")
        house.follower._level_until = float("inf")
        await becomes(house.index, [citizen(b"c")], [False])

        async def switched() -> bool:
            house.index.poll()
            return house.index.status.epoch == 2

        await eventually_async(switched, within=WITHIN_S, what="the index seeing the switch")
        house.counted()
        assert house.follower.level
        assert await ask(house.index, citizen(b"b")) == [True]
        assert house.counted() == (0, 0, 1)


async def test_what_the_metrics_say(written: Written, redis_server: RedisServer, tmp_path: Path) -> None:
    written.build(b"a@example.test", b"b@example.test")
    async with filtered(redis_server, tmp_path) as house:
        metrics = house.metrics
        assert metrics.index_filter_members == 2
        assert metrics.index_filter_capacity >= 2
        assert 0 <= metrics.index_filter_age_s < 600
        (tmp_path / FILE).unlink()
        await house.level(False)
        assert (metrics.index_filter_members, metrics.index_filter_capacity) == (0, 0)
        assert metrics.snapshot()["index_filter_age_s"] is None

"""A master that real Sentinels watch: the reader follows it, and believes its successor once that is vouched for."""

from __future__ import annotations

import asyncio

import pytest

from filters.layout import INDEX_KEY
from filters.model import Reason
from gateway.index.interface import Fault
from tests.conftest import RedisSentinel, RedisServer, eventually_async
from tests.gateway.asking import WITHIN_S, Load, ask, becomes, citizens, each, reader, shows
from tests.gateway.hand import Hand

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("patient")]
PEOPLE = citizens(20)
EXPECTED = [number < 10 for number in range(20)]
RIGHT = {one.recipient: answer for one, answer in zip(PEOPLE, EXPECTED, strict=True)}


def build(server: RedisServer) -> None:
    with server.client() as client:
        Hand(client).build(one.fingerprint for one in PEOPLE[:10])
        client.wait(1, 10_000)  # the replica has it too


def vouch(server: RedisServer) -> None:
    server.cli("HSET", INDEX_KEY, "runs", server.info("replication")["master_replid"])


async def test_the_master_is_found_whichever_sentinel_lives(redis_sentinel: RedisSentinel) -> None:
    build(redis_sentinel.master())
    redis_sentinel.sentinels[0].kill()
    index = reader(redis_sentinel.url)
    await index.start()
    await becomes(index, PEOPLE, EXPECTED)
    redis_sentinel.sentinels[1].kill()
    index.poll()
    assert await each(index, PEOPLE) == EXPECTED, "a sentinel is not needed while the master is known"
    await index.close()


async def test_i5_the_successor_of_a_dead_master_is_believed_when_it_is_vouched_for(
    redis_sentinel: RedisSentinel,
) -> None:
    build(redis_sentinel.master())
    index = reader(redis_sentinel.url)
    await index.start()
    load = Load(index, PEOPLE, lambda one, answer: RIGHT[one.recipient] is answer)

    async def die() -> None:
        await eventually_async(lambda: load.answered > 0, within=WITHIN_S, what="answers before")
        await asyncio.to_thread(redis_sentinel.kill_master)
        successor = await asyncio.to_thread(redis_sentinel.wait_failover)
        await eventually_async(lambda: index.status.faults == {Fault.UNVOUCHED}, within=WITHIN_S, what="unvouched")
        seen = load.answered
        await asyncio.to_thread(vouch, successor)
        await eventually_async(lambda: load.answered > seen, within=WITHIN_S, what="answers after")

    await load.during(die())
    assert load.wrong == []
    assert load.deferred > 0
    await shows(index)
    await index.close()


async def test_i5_a_master_that_was_replaced_while_it_lives_is_left(redis_sentinel: RedisSentinel) -> None:
    """What the old master says is not asked for any more, although it never went away."""
    build(redis_sentinel.master())
    index = reader(redis_sentinel.url)
    await index.start()
    assert await each(index, PEOPLE) == EXPECTED
    successor = await asyncio.to_thread(redis_sentinel.failover)
    await shows(index, Fault.UNVOUCHED)
    assert await ask(index, *PEOPLE) == Reason.INDEX_STALE
    vouch(successor)
    await becomes(index, PEOPLE, EXPECTED)
    await index.close()


async def test_a_master_that_nobody_knows_is_down(redis_sentinel: RedisSentinel) -> None:
    index = reader(redis_sentinel.url.rsplit("/", 1)[0] + "/unknown")
    await index.start()
    assert await ask(index, *PEOPLE) == Reason.INDEX_DOWN
    assert index.status.faults == {Fault.DOWN}
    await index.close()

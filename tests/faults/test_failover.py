"""A replica that lags takes over: what was acknowledged and never reached it must not come back.

Redis acknowledges before its replicas have it. The replica is cut off, withdrawals are acknowledged, the master dies,
and the replica takes over with the consents that were withdrawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filters.index_url import parse
from filters.key import split
from filters.layout import INDEX_KEY, Family, lane_of
from registry.index.interface import IndexDown
from registry.index.nodes import Servers
from tests.conftest import RedisCluster, RedisSentinel, RedisServer, eventually_async, require, running
from tests.faults.support import WITHIN_S, Campaign, House, Recipient, gateway

pytestmark = pytest.mark.interop

MEMBERS, REFUSING, STRANGERS = range(800), range(800, 900), range(900, 1000)
LOST = 20  # withdrawals that the replica does not know of


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """A replica may take over however long it was away: on a busy machine that takes a while."""
    options = ("--cluster-replica-validity-factor", "0")
    with running(RedisCluster(require("redis-server"), tmp_path / "cluster", *options)) as one:
        yield one


def people_of(url: str, master: RedisServer) -> list[int]:
    """The members whose lanes lie on this master."""
    servers = Servers(parse(url))
    try:
        there = [who for who in MEMBERS if servers.of(lane_of(_bucket_hash(who))).name == master.address]
    finally:
        servers.close()
    return there


def _bucket_hash(who: int) -> int:
    return split(Recipient(who).fingerprint)[0]


def cut_off(master: RedisServer, replica: RedisServer) -> None:
    """From now on the replica hears nothing, not even what is under way."""
    replica.pause()
    master.cli("CLIENT", "KILL", "TYPE", "replica")


@pytest.mark.parametrize("holds", ["the state", "lanes only"])
async def test_i5_a_master_of_a_cluster_dies(
    cluster: RedisCluster, holds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = cluster.owner(INDEX_KEY)
    master = owner if holds == "the state" else next(one for one in cluster.masters() if one is not owner)
    replica = cluster.replica_of(master)

    async def fails_over() -> None:
        cut_off(master, replica)
        await asyncio.to_thread(withdraw)
        master.kill()
        replica.resume()
        await asyncio.to_thread(cluster.wait_ok)
        assert replica in cluster.masters()

    with House(tmp_path, cluster.url) as house:
        house.settle(MEMBERS, REFUSING, STRANGERS)
        lost = people_of(cluster.url, master)[:LOST]
        assert len(lost) == LOST

        def withdraw() -> None:
            for who in lost:
                assert house.withdraw(who)

        def begin_again() -> None:
            master.start()
            cluster.wait_ok()

        campaign = await survives(cluster.url, house, lost, fails_over, begin_again)
        with capsys.disabled():
            print(f"\n  a master of {holds}: {campaign}")


async def test_i5_a_watched_master_dies(
    redis_sentinel: RedisSentinel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    master = redis_sentinel.master()
    replica = next(one for one in redis_sentinel.servers if one is not master)

    async def fails_over() -> None:
        cut_off(master, replica)
        await asyncio.to_thread(withdraw)
        master.kill()
        replica.resume()
        assert await asyncio.to_thread(redis_sentinel.wait_failover) is replica

    with House(tmp_path, redis_sentinel.url) as house:
        house.settle(MEMBERS, REFUSING, STRANGERS)
        lost = list(MEMBERS[:LOST])

        def withdraw() -> None:
            for who in lost:
                assert house.withdraw(who)

        def begin_again() -> None:
            master.start()
            redis_sentinel.wait_ok()

        campaign = await survives(redis_sentinel.url, house, lost, fails_over, begin_again)
        with capsys.disabled():
            print(f"\n  a watched master: {campaign}")


def still_there(house: House, people: list[Recipient]) -> bool:
    """The successor has what the replica did not hear of; False: it cannot be asked yet."""
    try:
        listed = house.writer.contains(Family.BIREYSEL, [one.fingerprint for one in people])
    except IndexDown:
        return False
    assert all(listed), "the replica was not behind: nothing was proven"
    return True


async def survives(
    url: str, house: House, lost: list[int], fails_over: Callable[[], Any], begin_again: Callable[[], None]
) -> Campaign:
    index = gateway(url)
    await index.start()
    campaign = Campaign(index, house)
    await campaign.until_right("the beginning")
    # nobody mends: however long that takes, nothing is said about what might be lost
    await campaign.during(fails_over())
    assert campaign.wrong == []
    people = [Recipient(who) for who in lost]
    await eventually_async(lambda: still_there(house, people), within=WITHIN_S, what="a successor that answers")
    for _ in range(20):
        found = await campaign.round()
        assert not {one.key for one in people} & found.keys()
    with house.publishing():
        await campaign.until_right("after the failover")
        await campaign.during(asyncio.to_thread(begin_again))
        await campaign.until_right("with the old master back")
    assert campaign.wrong == []
    await index.close()
    return campaign

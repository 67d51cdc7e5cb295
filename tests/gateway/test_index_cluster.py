"""A real Redis Cluster under a reader: what it answers is right, whatever happens to the masters; else it defers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from filters.key import split
from filters.layout import INDEX_KEY, lane_key, lane_of
from filters.model import Reason
from gateway.index.interface import Fault
from tests.conftest import RedisCluster, RedisServer, eventually_async, require, running
from tests.gateway.asking import WITHIN_S, Load, becomes, citizens, each, reader, shows
from tests.gateway.conftest import Asking
from tests.gateway.hand import Hand

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("patient")]


@dataclass
class House:
    """A cluster with an index of sixty people, of whom the first thirty consent."""

    cluster: RedisCluster
    hand: Hand
    people: list[Asking]

    @property
    def expected(self) -> list[bool]:
        return [number < 30 for number in range(60)]

    def home(self, one: Asking) -> RedisServer:
        """The master that has this citizen's lane."""
        return self.cluster.owner(lane_key(self.hand.epoch, lane_of(split(one.fingerprint)[0])))

    def vouch(self) -> None:
        """What a publisher does after it has put everything right."""
        runs = [server.info("replication")["master_replid"] for server in self.cluster.masters()]
        self.cluster.owner(INDEX_KEY).cli("HSET", INDEX_KEY, "runs", " ".join(runs))

    def one_of(self, server: RedisServer, *, beginning: int) -> Asking:
        """A citizen, from this number on, whose lane this master has."""
        return next(one for one in self.people[beginning:] if self.home(one) is server)


@pytest.fixture
def house(redis_cluster: RedisCluster) -> Iterator[House]:
    first = redis_cluster.servers[0]
    with redis.RedisCluster(host="127.0.0.1", port=first.port) as client:
        hand, people = Hand(client), citizens(60)
        hand.build(one.fingerprint for one in people[:30])
        house = House(redis_cluster, hand, people)
        house.vouch()
        yield house


async def test_one_tick_is_spread_over_the_masters(house: House) -> None:
    assert len({house.home(one).port for one in house.people}) == 3
    index = reader(house.cluster.url)
    await index.start()
    assert await each(index, house.people) == house.expected
    assert index.status.faults == frozenset()
    await index.close()


async def test_i5_a_master_dies_under_load_and_its_replica_takes_over(house: House) -> None:
    """Nothing is answered wrongly; the new master is believed only when it is vouched for."""
    victim = house.cluster.owner(INDEX_KEY)
    index = reader(house.cluster.url)
    await index.start()
    right = dict(zip([one.recipient for one in house.people], house.expected, strict=True))
    load = Load(index, house.people, lambda one, answer: right[one.recipient] is answer)

    async def die() -> None:
        await eventually_async(lambda: load.answered > 0, within=WITHIN_S, what="answers before")
        await asyncio.to_thread(house.cluster.kill, victim)
        await asyncio.to_thread(house.cluster.wait_ok)
        await eventually_async(lambda: index.status.faults == {Fault.UNVOUCHED}, within=WITHIN_S, what="unvouched")
        seen = load.answered
        await asyncio.sleep(0)
        assert index.status.reason is Reason.INDEX_STALE
        await asyncio.to_thread(house.vouch)
        await eventually_async(lambda: load.answered > seen + 60, within=WITHIN_S, what="answers after")

    await load.during(die())
    assert load.wrong == []
    assert load.deferred > 0
    await becomes(index, house.people, house.expected)
    await shows(index)
    await index.close()


async def test_i5_a_replica_that_missed_a_withdrawal_is_not_believed(house: House) -> None:
    state = house.cluster.owner(INDEX_KEY)
    gone = next(one for one in house.people[:30] if house.home(one) is not state)
    victim = house.home(gone)
    replica = house.cluster.replica_of(victim)
    index = reader(house.cluster.url)
    await index.start()
    assert await each(index, [gone]) == [True]
    replica.pause()
    victim.cli("CLIENT", "KILL", "TYPE", "replica")  # or it would find the withdrawal in its socket
    house.hand.withdraw(gone.fingerprint)
    assert await each(index, [gone]) == [False]
    house.cluster.kill(victim)
    replica.resume()

    async def deferred() -> None:
        await asyncio.to_thread(house.cluster.wait_ok)
        await eventually_async(lambda: index.status.faults == {Fault.UNVOUCHED}, within=WITHIN_S, what="unvouched")

    load = Load(index, [gone], lambda _, answer: answer is False)
    await load.during(deferred())
    assert load.wrong == []
    assert replica.cli("SCARD", house.hand.bucket(gone.fingerprint)) > 1, "the replica has not missed it"
    assert await each(index, [gone]) == [Reason.INDEX_STALE]
    assert index.status.reason is None, "only a part of the index is not believed"
    replica.cli("SREM", house.hand.bucket(gone.fingerprint), split(gone.fingerprint)[1])
    house.vouch()
    expected = [answer and one is not gone for one, answer in zip(house.people, house.expected, strict=True)]
    await becomes(index, house.people, expected)
    await index.close()


async def test_a_planned_failover_is_followed(house: House) -> None:
    """The old master lives on and says MOVED."""
    victim = house.home(house.people[0])
    index = reader(house.cluster.url)
    await index.start()
    right = dict(zip([one.recipient for one in house.people], house.expected, strict=True))
    load = Load(index, house.people, lambda one, answer: right[one.recipient] is answer)

    async def change() -> None:
        await asyncio.to_thread(house.cluster.failover, victim)
        await asyncio.to_thread(house.vouch)

    await load.during(change())
    assert load.wrong == []
    await becomes(index, house.people, house.expected)
    assert index.status.reason is None
    await index.close()


async def test_a_lane_on_the_move_is_deferred(house: House) -> None:
    """ASK: the bucket may be here or there."""
    one = house.people[0]
    home = house.home(one)
    other = next(server for server in house.cluster.masters() if server is not home)
    slot = home.cli("CLUSTER", "KEYSLOT", house.hand.bucket(one.fingerprint))
    index = reader(house.cluster.url)
    await index.start()
    home.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", other.cli("CLUSTER", "MYID"))
    kept = home.cli("SMEMBERS", house.hand.bucket(one.fingerprint))
    home.cli("DEL", house.hand.bucket(one.fingerprint))
    assert await each(index, [one]) == [Reason.INDEX_DOWN]
    assert index.status.faults == {Fault.CLUSTER_DOWN}
    home.cli("CLUSTER", "SETSLOT", slot, "STABLE")
    home.cli("SADD", house.hand.bucket(one.fingerprint), *kept)
    assert await each(index, house.people) == house.expected
    await index.close()


async def test_i4_a_master_that_is_lost_defers_its_share_alone(tmp_path: Path) -> None:
    options = ("--cluster-require-full-coverage", "no")
    cluster = RedisCluster(require("redis-server"), tmp_path / "cluster", *options, replicas=0)
    with running(cluster), redis.RedisCluster(host="127.0.0.1", port=cluster.servers[0].port) as client:
        hand, people = Hand(client), citizens(60)
        hand.build(one.fingerprint for one in people[:30])
        house = House(cluster, hand, people)
        house.vouch()
        state = cluster.owner(INDEX_KEY)
        victim = next(server for server in cluster.masters() if server is not state)
        lost = [house.home(one) is victim for one in people]
        index = reader(cluster.url)
        await index.start()
        victim.pause()
        expected: list[bool | Reason] = [
            Reason.INDEX_DOWN if away else answer for away, answer in zip(lost, house.expected, strict=True)
        ]
        assert await each(index, people) == expected
        assert index.status.reason is None
        assert index.status.faults == {Fault.DOWN}
        victim.resume()
        await becomes(index, people, house.expected)
        await index.close()


async def test_a_reader_finds_the_cluster_when_most_of_what_it_was_told_is_gone(house: House) -> None:
    (last,) = house.cluster.url.rsplit(",", 1)[1:]
    index = reader(f"redis+cluster://127.0.0.1:1,{last}")
    await index.start()
    await becomes(index, house.people, house.expected)
    await index.close()

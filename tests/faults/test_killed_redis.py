"""Redis dies under traffic and comes back empty, older, or of an epoch that is over.

Until the publisher has put what is missing nobody is told anything; a restarted gateway is as careful as one that knew
the index before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from filters.layout import INDEX_KEY
from filters.model import Reason
from tests.conftest import RedisCluster, RedisServer, eventually, require, running
from tests.faults.support import WITHIN_S, Campaign, House, gateway

pytestmark = pytest.mark.interop

MEMBERS, REFUSING, STRANGERS = range(600), range(600, 700), range(700, 1000)
KILLS = 12


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """It loads what was saved last when it is started again."""
    directory = tmp_path / "redis"
    directory.mkdir()
    with running(RedisServer(require("redis-server"), directory, keep=True)) as one:
        yield one


@pytest.mark.parametrize("comes_back", ["empty", "older", "with an old epoch"])
async def test_i5_a_redis_that_lost_something_says_nothing_before_it_is_mended(
    server: RedisServer, comes_back: str, tmp_path: Path
) -> None:
    with House(tmp_path, server.url) as house:
        house.settle(MEMBERS, REFUSING, STRANGERS)
        index = gateway(server.url)
        await index.start()
        campaign = Campaign(index, house)
        await campaign.until_right("the beginning")
        if comes_back != "empty":
            server.cli("SAVE")
        for who in MEMBERS[:20]:
            assert house.withdraw(who)
        house.grant(*STRANGERS[:20])
        if comes_back == "with an old epoch":
            house.publisher.rebuild()
        house.publisher.tick()
        await campaign.until_right("before the fault")

        server.kill()
        assert await campaign.round() == {}
        assert campaign.deferred[Reason.INDEX_DOWN]
        assert not house.withdraw(MEMBERS[30])  # recorded, and the citizen is told to try again
        server.start()
        restarted = gateway(server.url)
        await restarted.start()
        for asking in (campaign, Campaign(restarted, house)):
            asking.deferred[Reason.INDEX_STALE] = 0
            deadline = time.monotonic() + WITHIN_S
            while not asking.deferred[Reason.INDEX_STALE]:  # connected, and not believed
                assert await asking.round() == {}
                assert time.monotonic() < deadline
            for _ in range(5):
                assert await asking.round() == {}

        mended = Campaign(restarted, house)
        with house.publishing():
            await asyncio.gather(campaign.until_right("after the fault"), mended.until_right("a restarted gateway"))
        assert campaign.wrong == mended.wrong == []
        await asyncio.gather(index.close(), restarted.close())


async def test_i4_a_part_of_a_cluster_is_emptied(redis_cluster: RedisCluster, tmp_path: Path) -> None:
    """The state stands on another server and is in perfect order; only the markers tell."""
    emptied = next(one for one in redis_cluster.masters() if one is not redis_cluster.owner(INDEX_KEY))
    with House(tmp_path, redis_cluster.url) as house:
        house.settle(MEMBERS, REFUSING, STRANGERS)
        index = gateway(redis_cluster.url)
        await index.start()
        campaign = Campaign(index, house)
        await campaign.until_right("the beginning")
        everybody = len(await campaign.round())
        emptied.cli("FLUSHALL")
        for _ in range(5):
            assert 0 < len(await campaign.round()) < everybody  # the others' lanes are there
        with house.publishing():
            await campaign.until_right("after it was built anew")
        assert campaign.wrong == []
        assert set(filter(campaign.deferred.get, campaign.deferred)) == {Reason.INDEX_STALE}
        await index.close()


async def test_i5_kills_under_traffic(
    server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """Withdrawals, grants, snapshots and kills in a random order, while the publisher's loop runs."""
    seed = time.time_ns()
    with capsys.disabled():
        print(f"\n  {request.node.name}: seed {seed}")
    random = Random(seed)
    leaving, coming = iter(MEMBERS[:400]), iter(STRANGERS)
    with House(tmp_path, server.url) as house:
        house.settle(MEMBERS, REFUSING, STRANGERS)
        index = gateway(server.url)
        await index.start()
        campaign = Campaign(index, house)
        await campaign.until_right("the beginning")
        acknowledged = refused = 0

        def life() -> None:
            nonlocal acknowledged, refused
            for _ in range(random.randrange(30)):
                what = random.random()
                if what < 0.1:
                    server.cli("SAVE")
                elif what < 0.3:
                    house.grant(next(coming))
                elif house.withdraw(next(leaving)):
                    acknowledged += 1
                else:
                    refused += 1

        def mended() -> None:
            """A withdrawal is tried again until it is acknowledged: else all kills may come before the publisher."""
            nonlocal acknowledged
            who = next(leaving)
            if not house.withdraw(who):
                eventually(lambda: house.acknowledge(who), within=WITHIN_S, what="the publisher's mending", every=0.05)
            acknowledged += 1

        async def kills() -> None:
            for number in range(KILLS):
                if number % 3 == 0:
                    await asyncio.to_thread(mended)
                await asyncio.to_thread(life)
                server.kill()
                if random.random() < 0.5:
                    (server.directory / "dump.rdb").unlink(missing_ok=True)
                await asyncio.sleep(random.random() * 0.1)
                await asyncio.to_thread(server.start)

        with house.publishing():
            await campaign.during(kills())
            await campaign.until_right("after the kills")
        with capsys.disabled():
            print(f"  {KILLS} kills: {campaign}; withdrawals: {acknowledged} acknowledged, {refused} not")
        assert campaign.wrong == []
        assert acknowledged >= KILLS // 3
        await index.close()

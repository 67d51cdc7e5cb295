"""Rebuilds while a campaign runs: every answer is about one whole epoch, whichever it is."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from filters.layout import LANE_BITS
from registry import publish
from registry.index import build
from tests.conftest import eventually_async
from tests.faults.support import WITHIN_S, Campaign, House, filtered, gateway, take_snapshot

pytestmark = pytest.mark.interop

MEMBERS, REFUSING, STRANGERS = range(4000), range(4000, 4500), range(4500, 4900)
REBUILDS = 5


@pytest.fixture(params=["redis_server", "redis_cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """One server, and a cluster."""
    found: str = request.getfixturevalue(request.param).url
    return found


@pytest.mark.parametrize("with_filter", [False, True], ids=["", "filter"])
async def test_i1_rebuilds_change_no_answer(
    url: str, with_filter: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "BUILD_CHUNK_MEMBERS", 300)
    with House(tmp_path, url) as house:
        house.settle(MEMBERS, REFUSING, STRANGERS)
        index = gateway(url)
        if with_filter:
            await take_snapshot(url, tmp_path / "machine")
            index = filtered(url, tmp_path / "machine")
        await index.start()
        campaign = Campaign(index, house)
        await campaign.until_right("the beginning")

        over = threading.Event()

        def rebuilds() -> None:
            try:
                for number in range(REBUILDS):
                    if number == 2:  # more buckets than before: nothing lies where it lay
                        monkeypatch.setattr(build, "BUCKET_MEMBERS", 1)
                    assert house.publisher.rebuild(anew=True).epoch == number + 2
            finally:
                over.set()

        def life() -> None:
            for who in MEMBERS:
                if over.is_set():
                    return
                assert house.withdraw(who)
                if who % 10 == 0 and who // 10 < len(STRANGERS):
                    house.grant(STRANGERS[who // 10])

        with house.publishing() as loop:
            # its first step would take up a build that it finds begun
            await eventually_async(lambda: not loop.fault, within=WITHIN_S, what="the publisher being level")
            await campaign.during(asyncio.gather(asyncio.to_thread(rebuilds), asyncio.to_thread(life)))
            await campaign.until_right("after the rebuilds")
        assert build.bits_for(len(MEMBERS)) > LANE_BITS
        with capsys.disabled():
            print(f"\n  rebuilds under traffic: {campaign}")
        assert campaign.wrong == []
        assert REBUILDS + 1 in campaign.epochs
        await index.close()

"""The filter over every way to keep the index, written by the registry's own writer: Sentinel, Cluster, TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from filters.index_url import parse
from filters.layout import Family
from gateway import limits
from gateway.index.changes import Follower, Standing
from gateway.index.snapshot import FILE, build
from registry.index.interface import Change, Facts
from registry.index.shared import RedisIndexWriter
from tests.conftest import RedisCluster, RedisSentinel, RedisTls, eventually_async
from tests.gateway.asking import WITHIN_S
from tests.gateway.hand import CHECK, fingerprints, member

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.usefixtures("patient")]


@pytest.mark.parametrize("farm", ["redis_cluster", "redis_sentinel", "redis_tls"])
async def test_snapshot_and_stream(
    farm: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILTER_LEVEL_S", 20.0)
    servers: RedisCluster | RedisSentinel | RedisTls = request.getfixturevalue(farm)
    members, new = sorted(fingerprints(2000)), fingerprints(5, "new")
    writer = RedisIndexWriter(servers.url, CHECK)
    epoch = writer.build(1, (2000, 0), 0)
    epoch.add(Family.BIREYSEL, members)
    epoch.announce()
    epoch.switch(0)
    url = parse(servers.url)
    info = await build(url, CHECK, tmp_path)
    assert (info.epoch, info.members) == (1, len(members))
    follower = Follower(url, tmp_path / FILE, CHECK)
    follower.start()
    try:

        def level() -> bool:
            return follower.level and follower.standing is Standing.LEVEL

        await eventually_async(level, within=WITHIN_S, what="level")
        bloom, additions = follower.bloom, follower.additions
        assert bloom is not None
        assert additions is not None
        assert all(member(one) in bloom for one in members)
        assert writer.put(Facts(1, [Change(Family.BIREYSEL, one, True) for one in new])) == []
        await eventually_async(
            lambda: set(additions.members) == {member(one) for one in new}, within=WITHIN_S, what="the grants"
        )
        assert level()
    finally:
        await follower.close()
        writer.close()

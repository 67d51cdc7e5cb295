"""Each test that uses sockets runs on the loop that production runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from filters.index_url import parse
from gateway.smpp.ids_redis import RedisIds
from tests.conftest import RedisServer
from tests.gateway.loops import Factories, loop_factories
from tests.gateway.smpp.folding import Memory, sqlite_in


@pytest.hookimpl(optionalhook=True)  # unknown to older versions of the plugin, which then run the second loop alone
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Factories:
    return loop_factories()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def memory(request: pytest.FixtureRequest, tmp_path: Path, patient: None) -> Memory:
    """Of message ids, in both its forms; other modules have a `memory` of their own."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return Memory(lambda: RedisIds(parse(server.url)))
    return sqlite_in(tmp_path)


@pytest.fixture
def on_disk(tmp_path: Path) -> Memory:
    """In one of its forms, where the other would show nothing new."""
    return sqlite_in(tmp_path)

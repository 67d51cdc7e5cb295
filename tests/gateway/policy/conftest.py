"""Each test that uses sockets runs on the loop that production runs on."""

from __future__ import annotations

import pytest

from tests.gateway.loops import Factories, loop_factories


@pytest.hookimpl(optionalhook=True)  # unknown to older versions of the plugin, which then run the second loop alone
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Factories:
    return loop_factories()

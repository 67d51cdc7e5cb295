"""What the end-to-end tests share."""

from __future__ import annotations

import pytest

from tests.conftest import RedisServer


@pytest.fixture(params=["sqlite", "redis"])
def index(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The edit of the configuration that chooses the index."""
    if request.param == "sqlite":
        return ('url = "sqlite"', 'url = "sqlite"')
    server: RedisServer = request.getfixturevalue("redis_server")
    return ('url = "sqlite"', f'url = "{server.url}"')

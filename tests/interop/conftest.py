"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.demo import house as demo
from gateway.demo.messages import BRAND
from tests.conftest import RedisServer
from tests.forked import izinli


def _import_consents(house: demo.House) -> None:
    consents = house.directory / "consents.csv"
    consents.write_text(demo.CONSENTS, encoding="utf-8")
    done = izinli("import", "-c", house.config.path, "--brand", BRAND, consents)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session", autouse=True)
def imports() -> Iterator[None]:
    """All houses import the same dozen consents before they are served; `test_demo.py` shows one doing it itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo.House, "import_consents", _import_consents)
        yield


@pytest.fixture(params=["sqlite", "redis"])
def index(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The edit of the configuration that chooses the index."""
    if request.param == "sqlite":
        return ('url = "sqlite"', 'url = "sqlite"')
    server: RedisServer = request.getfixturevalue("redis_server")
    return ('url = "sqlite"', f'url = "{server.url}"')

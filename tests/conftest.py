"""What every test may lean on: free ports, programs that were not written here, a real Redis, waiting without sleeping.

`from tests.conftest import eventually, free_port, require` — the fixtures come by themselves.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.demo.house import free_ports
from tests.certificates import make_authority
from tests.redis_farm import RedisCluster, RedisSentinel, RedisServer, RedisTls, running
from tests.waiting import eventually, eventually_async

__all__ = [
    "RedisCluster",
    "RedisSentinel",
    "RedisServer",
    "RedisTls",
    "accepts",
    "eventually",
    "eventually_async",
    "free_port",
    "require",
    "require_root",
    "running",
    "unavailable",
]

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"])


# Left out of `make check`, like whatever is marked `slow`: they wait for real processes, databases and deadlines.
SLOW = (
    *("bench/", "faults/", "properties/", "registry/", "gateway/test_cli.py", "gateway/test_index"),
    *("gateway/smpp/test_mo.py", "gateway/smpp/test_handsets.py", "gateway/smpp/test_hostile"),
    *("gateway/smpp/test_listener.py", "gateway/smpp/test_secured.py", "gateway/smpp/test_upstream.py"),
    *("gateway/smpp/test_pool.py", "gateway/smpp/test_deliveries.py", "gateway/smpp/test_owners.py"),
    *("gateway/smpp/test_accounts.py", "gateway/smpp/test_link.py", "gateway/smpp/test_multi.py"),
    *("gateway/smtp/test_listener.py", "gateway/smtp/test_upstream", "gateway/smtp/test_hostile_hop.py"),
    *("gateway/smtp/test_late.py", "gateway/smtp/test_undisturbed.py", "gateway/smtp/test_spellings.py"),
    *("gateway/smtp/test_inbound.py", "gateway/smtp/test_secured.py", "gateway/test_passwords.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Some hundred thousand objects live from here to the end: the collector need not go through them again and again.

    What a test leaves behind is found as before; only that a young generation is full later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago."""
    return free_ports(1)[0]


def unavailable(what: str) -> NoReturn:
    """What cannot be proven here: a failure in CI, a visible skip on a laptop."""
    if IN_CI:
        pytest.fail(f"{what}: missing in CI, where a skip would mean “not proven”", pytrace=False)
    pytest.skip(what)


def require(program: str) -> str:
    """The path of a foreign program; also looks where Debian keeps daemons and an ordinary user's PATH does not."""
    found = shutil.which(program, path=SEARCH_PATH)
    if found is None:
        unavailable(f"{program} is not installed")
    return found


def require_root(what: str) -> None:
    """Some foreign programs (Postfix's master) only start as root."""
    if os.geteuid() != 0:
        unavailable(f"{what} needs root")


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Does somebody listen there?"""
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis of this test alone, on a free port of 127.0.0.1."""
    directory = tmp_path / "redis"
    directory.mkdir()
    with running(RedisServer(require("redis-server"), directory)) as server:
        yield server


@pytest.fixture
def redis_tls(tmp_path: Path) -> Iterator[RedisTls]:
    """The same behind TLS; its `url` names the authority that a client has to trust."""
    directory = tmp_path / "redis-tls"
    authority = make_authority(directory / "authority")
    with running(RedisTls(require("redis-server"), directory, authority)) as server:
        yield server


@pytest.fixture
def redis_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Three masters and a replica of each; up in two seconds, so each test may have one to break."""
    with running(RedisCluster(require("redis-server"), tmp_path / "redis-cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis_sentinel(tmp_path: Path) -> Iterator[RedisSentinel]:
    """A master and its replica, watched by three Sentinels."""
    with running(RedisSentinel(require("redis-server"), tmp_path / "redis-sentinel")) as watched:
        yield watched

"""What every test may lean on: free ports, programs that were not written here, a real Redis, waiting without sleeping.

`from tests.conftest import eventually, free_port, require` — the fixtures come by themselves.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.demo.house import free_ports

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"])


# Left out of `make check`, like whatever is marked `slow`: they wait for real processes, databases and deadlines.
SLOW = (
    *("bench/", "properties/", "registry/", "gateway/test_cli.py", "gateway/test_index.py"),
    *("gateway/smpp/test_listener.py", "gateway/smpp/test_upstream.py"),
    *("gateway/smtp/test_listener.py", "gateway/smtp/test_upstream.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


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


def eventually(holds: Callable[[], object], *, within: float = 10.0, what: str = "condition") -> None:
    """Poll until `holds()` is true; the deadline (seconds) only ends a test that has failed anyway."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        time.sleep(0.01)


async def eventually_async(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], *, within: float = 10.0, what: str = "condition"
) -> None:
    """As `eventually`, without blocking the loop; `holds` may be a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        await asyncio.sleep(0.01)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Does somebody listen there?"""
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


class RedisServer:
    """A private Redis: nothing on disk, and every fault a test wants to see it in."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, or start again on the same port (emptied: it keeps nothing)."""
        assert self._process is None
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        log = (self._directory / "redis.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._program, *arguments, "--dir", str(self._directory)], stdout=log, stderr=log
            )
        eventually(self._answers, what="Redis answering PING")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "redis.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
        return False

    def stop(self) -> None:
        """Kill it: its connections are reset, new ones are refused. Harmless when it is stopped already."""
        if self._process is not None:
            self.resume()
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It accepts connections and answers nothing: the fault a deadline is for."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis of this test alone, on a free port of 127.0.0.1."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RedisServer(require("redis-server"), directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()

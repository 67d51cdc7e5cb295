"""What a cluster and a watched master have in common: several servers, one URL, one life.

Both fail over in a few seconds. Who is master is asked of the servers each time and remembered nowhere: on a busy
machine they may change their minds without being told to.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import redis

from tests.redis_farm.server import RedisServer, with_user
from tests.waiting import eventually

CONVERGED_S = 60.0
# Each look at a farm is a dozen questions; on two cores, asking all the time would slow down what is waited for.
LOOK_EVERY_S = 0.1
# A replica that asks for everything gets it at once, and knows soon that its master is away.
REPLICATION = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


class Farm(ABC):
    """What both have in common: many servers, one URL, one life."""

    servers: list[RedisServer]  # those that hold data

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def start(self) -> None:
        """Start all, and wait until they have found each other."""

    @abstractmethod
    def is_ok(self) -> bool: ...

    @property
    def everyone(self) -> list[RedisServer]:
        return self.servers

    def url_as(self, user: str, password: str) -> str:
        """The same for one of the users of `acl`."""
        return with_user(self.url, user, password)

    def alive(self) -> list[RedisServer]:
        return [server for server in self.servers if server.alive]

    def stop(self) -> None:
        for server in self.everyone:
            server.stop()

    def wait_ok(self) -> None:
        """Every part has a living master, whoever is alive agrees on it, and has caught up with it."""
        self.until(self.is_ok, f"{type(self).__name__} being well")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """`holds` is asked again while a server cannot answer it: dead, loading, or in the middle of a change."""

        def asked() -> bool:
            with suppress(redis.RedisError):
                return holds()
            return False

        try:
            eventually(asked, within=CONVERGED_S, what=what, every=LOOK_EVERY_S)
        except AssertionError as error:
            for server in self.everyone:
                error.add_note(f"--- {server}\n{server.log()[-2000:]}")
            raise

    def insist(self, ask: Callable[[], object], holds: Callable[[], bool], what: str, *, again_s: float) -> None:
        """`ask` for what shall hold: until the servers agree to try, and again when they must have given up."""
        agreed = float("-inf")

        def done() -> bool:
            nonlocal agreed
            if holds():
                return True
            if time.monotonic() > agreed + again_s:
                ask()
                agreed = time.monotonic()
            return False

        self.until(done, what)


def room(directory: Path, name: str) -> Path:
    made = directory / name
    made.mkdir(parents=True)
    return made


def start_all(servers: Iterable[RedisServer]) -> None:
    """All at the same time."""
    started = list(servers)
    for server in started:
        server.launch()
    for server in started:
        server.wait_ready()

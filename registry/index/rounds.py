"""Rounds of commands to Redis servers: sent as they come, answered together.

One connection to a server serves one round at a time; what could not be read to the end is closed, because the next
round would take the rest for its own answers (I3). Nothing is tried again in here, but for a script that Redis does
not know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from registry.index.interface import IndexDown
from registry.index.scripts import Script
from registry.limits import SERVER_IDLE_CONNECTIONS_MAX

VERSION: Final = (7, 0)  # scripts that say by themselves what they may do when Redis is full
WRITE_OCTETS: Final = 1 << 16  # small commands are sent together

_pack: Any = hiredis.pack_command  # its own types know tuples of one element only


class Server:
    """One master. Connections are made when they are needed; each has asked whether it still is a master."""

    def __init__(self, name: str, make: Callable[[], Any], *, clustered: bool) -> None:
        self.name = name
        self._make = make
        self._mode = "cluster" if clustered else "standalone"
        self._lock = threading.Lock()
        self._idle: list[Any] = []

    def take(self) -> Any:
        """A connection that nobody else uses and nothing is to be read from."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._opened()
            if not _stale(connection):
                return connection
            connection.disconnect()

    def give(self, connection: Any) -> None:
        with self._lock:
            if len(self._idle) < SERVER_IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.disconnect()

    def close(self) -> None:
        """Let go of the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.disconnect()

    def _opened(self) -> Any:
        connection = self._make()
        try:
            connection.connect()
            # asked one by one: older servers know no INFO of two sections
            about = {**info(call(connection, "INFO", "server")), **info(call(connection, "INFO", "replication"))}
            self._check(about)
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _check(self, about: dict[str, str]) -> None:
        version = about.get("redis_version", "unknown")
        numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
        if tuple(numbers) < VERSION:
            raise IndexDown(f"Redis 7.0 or newer is needed; {self.name} is {version}")
        mode = about.get("redis_mode", self._mode)
        if mode != self._mode:
            kind = "redis+cluster://" if mode == "cluster" else "redis://"
            raise IndexDown(f"{self.name} runs in the mode {mode}: write {kind}… for the index")
        if about.get("role") != "master":
            raise IndexDown(f"{self.name} is a replica: the index is written to masters")


class Round:
    """See `Servers.round`."""

    def __init__(self) -> None:
        self._links: dict[Server, _Link] = {}
        self._asked: list[tuple[_Link, Script | None, bytes]] = []

    def ask(self, server: Server, *command: str | bytes | int) -> None:
        self._send(server, None, _pack(command))

    def run(
        self, script: Script, server: Server, keys: Sequence[str], arguments: Sequence[str | bytes | int] = ()
    ) -> None:
        self._send(server, script, _pack(("EVALSHA", script.sha, len(keys), *keys, *arguments)))

    def answers(self) -> list[Any]:
        """To all that was asked since the last time, in its order. An error among them is raised."""
        answers = self.tried()
        _raise_first(answers)
        return answers

    def tried(self) -> list[Any]:
        """As `answers`, but errors stand among them."""
        asked, self._asked = self._asked, []
        answers = self._read(asked)
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # a server that was started since, or whose scripts were flushed
            again = [asked[at] for at in unknown]
            loads = {(link, script): None for link, script, _ in again if script is not None}
            for link, script in loads:
                link.write(_pack(("SCRIPT", "LOAD", script.text)))
            for link, _, packed in again:
                link.write(packed)
            _raise_first(self._read([(link, script, b"") for link, script in loads]))
            for at, answer in zip(unknown, self._read(again), strict=True):
                answers[at] = answer
        return answers

    def end(self) -> None:
        """Give the connections back; what nobody has read would be taken for the next answer (I3)."""
        if self._asked:
            self.close()
            return
        for link in self._links.values():
            link.server.give(link.connection)
        self._links.clear()

    def close(self) -> None:
        for link in self._links.values():
            link.connection.disconnect()
        self._links.clear()

    def _send(self, server: Server, script: Script | None, packed: bytes) -> None:
        link = self._links.get(server)
        if link is None:
            link = self._links[server] = _Link(server)
        link.write(packed)
        self._asked.append((link, script, packed if script is not None else b""))

    def _read(self, asked: Sequence[tuple[_Link, Script | None, bytes]]) -> list[Any]:
        for link in self._links.values():
            link.flush()
        found: list[Any] = []
        for link, _, _ in asked:
            try:
                found.append(link.connection.read_response())
            except ResponseError as error:
                found.append(error)
        return found


class _Link:
    """A connection for one round, and what waits to be sent over it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connection = server.take()
        self._waiting: list[bytes] = []
        self._octets = 0

    def write(self, packed: bytes) -> None:
        self._waiting.append(packed)
        self._octets += len(packed)
        if self._octets >= WRITE_OCTETS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            waiting, self._waiting, self._octets = self._waiting, [], 0
            self.connection.send_packed_command([b"".join(waiting)], check_health=False)


def _raise_first(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def call(connection: Any, *command: str) -> Any:
    """One command over a connection outside of any round."""
    connection.send_packed_command([_pack(command)], check_health=False)
    return connection.read_response()


def _stale(connection: Any) -> bool:
    """Whether the other side has hung up, or says what nobody asked for."""
    try:
        return bool(connection.can_read(0))
    except (RedisError, OSError):
        return True


def info(answer: bytes) -> dict[str, str]:
    """The lines of INFO's answer."""
    pairs = (line.partition(":") for line in answer.decode("utf-8", "replace").splitlines())
    return {name: value for name, separator, value in pairs if separator}

"""Single commands to the Redis of an index, beside its questions: of memories that lie where the index lies.

Any server, Sentinel or cluster that an index may lie in; a connection of its own, so that a slow answer here does not
cost the index its own. All commands of a loop tick go out in one write; a late answer closes the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from filters.index_url import IndexUrl
from gateway import limits
from gateway.index.nodes import nodes_of
from gateway.index.server import Server, pack
from gateway.index.wire import Exchange

Command = tuple[Any, ...]
"""Name, key, arguments; or EVAL, a script, 1, its key, arguments. The key has no braces, and in a cluster says which
server is asked."""


class _Asked:
    """Commands that are answered together: one reply each, in any order."""

    __slots__ = ("done", "owed", "replies")

    def __init__(self, count: int, done: Callable[[list[Any] | None], None]) -> None:
        self.replies: list[Any] | None = [None] * count  # None: at least one will not come
        self.owed = count
        self.done = done


class Commands:
    """Asks the Redis of `url`; inside a running loop. Nothing raises; callbacks come in the loop, possibly at once."""

    def __init__(self, url: IndexUrl) -> None:
        self._loop = asyncio.get_running_loop()
        self._nodes = nodes_of(url, self)
        self._due: dict[Server | None, list[tuple[bytes, _Asked, int]]] = {}  # of this tick
        self._closed = False

    async def start(self) -> None:
        """Try to connect, at most INDEX_CONNECT_S."""
        self._nodes.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.INDEX_CONNECT_S):
                await self._nodes.tried.wait()
                for server in list(self._nodes.servers):
                    await server.tried.wait()

    def ask(self, commands: Sequence[Command], done: Callable[[list[Any] | None], None]) -> None:
        """`done` hears each command's reply, or None: at least one was not carried out, or that is not known."""
        if self._closed or not commands:
            done(None if self._closed else [])
            return
        if not self._due:
            self._loop.call_soon(self._send)
        asked = _Asked(len(commands), done)
        for at, command in enumerate(commands):
            key = command[3] if command[0] == "EVAL" else command[1]
            self._due.setdefault(self._nodes.of_key(key), []).append((pack(command), asked, at))

    def spread(self, keys: Sequence[str]) -> list[str]:
        """Of `keys` one for each server that has some of them, and one of those that nobody has now."""
        return list({self._nodes.of_key(key): key for key in keys}.values())

    def poll(self) -> None:
        """Once a second."""
        self._nodes.poll()

    async def close(self) -> None:
        """What was asked for in this tick still goes out."""
        self._send()
        self._closed = True
        await self._nodes.close()

    # what the servers tell

    def came(self, server: Server) -> None:
        """A server is connected; it is used from the next command on."""

    def went(self, server: Server) -> None:
        """A server is gone; whoever waited for it has heard so."""

    # what goes out and comes back

    def _send(self) -> None:
        due, self._due = self._due, {}
        deadline = self._loop.time() + limits.INDEX_DEADLINE_S
        for server, rows in due.items():
            for start in range(0, len(rows), limits.INDEX_BATCH_MAX):
                self._send_to(server, rows[start : start + limits.INDEX_BATCH_MAX], deadline)

    def _send_to(self, server: Server | None, rows: list[tuple[bytes, _Asked, int]], deadline: float) -> None:
        """Only a master is asked: what a replica does not know may be true nevertheless."""

        def heard(replies: list[Any] | None) -> None:
            self._heard(server, rows, replies)

        if server is None or server.wire is None or server.fault is not None:
            heard(None)
        else:
            data = b"".join([command for command, _, _ in rows])
            server.wire.send(Exchange(data, len(rows), deadline, heard))

    def _heard(self, server: Server | None, rows: list[tuple[bytes, _Asked, int]], replies: list[Any] | None) -> None:
        for number, (_, asked, at) in enumerate(rows):
            reply = None if replies is None else replies[number]
            if replies is None or isinstance(reply, Exception):
                asked.replies = None
                if server is not None and reply is not None:
                    self._nodes.doubt(server)
            elif asked.replies is not None:
                asked.replies[at] = reply
            asked.owed -= 1
            if not asked.owed:
                asked.done(asked.replies)

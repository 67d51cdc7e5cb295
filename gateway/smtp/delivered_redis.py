"""The memory of mixed endings in Redis, for gateways that take each other's retries.

    izinli:delivered:<digest>    "1…" the recipient has the message, "?…" its copy is under way; EX as long as it counts

A question is one GET for each recipient of a message, beside those of the other messages of the same loop tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from filters.index_url import IndexUrl
from gateway import limits
from gateway.index.commands import Commands
from gateway.smtp.delivered import Said

PREFIX: Final = "izinli:delivered:"
_PROBES: Final = [f"{PREFIX}probe:{number}" for number in range(256)]  # more than a cluster has servers
_PROBE_KEPT_S: Final = 60  # if we end before it is deleted
_DAY_S: Final = 24 * 3600
_OK: Final = b"OK"


class RedisStore:
    """A store (`delivered.Store`) in the Redis of `url`; inside a running loop."""

    is_empty = False  # others write too: only a question can tell

    def __init__(self, url: IndexUrl) -> None:
        self._loop = asyncio.get_running_loop()
        self._commands = Commands(url)
        self._days: dict[int, int] = {}  # entries written on each day that may still count

    async def start(self) -> None:
        await self._commands.start()

    def read(self, entries: Sequence[bytes], done: Callable[[Said | None], None]) -> None:
        self._commands.ask([("GET", PREFIX + entry.hex()) for entry in entries], done)

    def write(self, entries: Sequence[bytes], said: bytes, keep_s: int, done: Callable[[bool], None]) -> None:
        if not self._has_room(len(entries)):
            done(False)
            return

        def heard(replies: list[Any] | None) -> None:
            done(replies is not None and replies.count(_OK) == len(entries))

        self._commands.ask([("SET", PREFIX + entry.hex(), said, "EX", keep_s) for entry in entries], heard)

    def forget(self, entries: Sequence[bytes]) -> None:
        self._commands.ask([("DEL", PREFIX + entry.hex()) for entry in entries], lambda _replies: None)

    def probe(self, done: Callable[[bool, bool], None]) -> None:
        """With a key of its own at each server: one that is full, or a copy, refuses to write and not to read."""
        keys = self._commands.spread(_PROBES)
        can_read: list[bool] = []
        self._commands.ask([("GET", key) for key in keys], lambda replies: can_read.append(replies is not None))
        commands = [command for key in keys for command in (("SET", key, "", "EX", _PROBE_KEPT_S), ("DEL", key))]
        self._commands.ask(commands, lambda replies: done(can_read.pop(), replies is not None))

    def poll(self) -> None:
        self._commands.poll()

    async def close(self) -> None:
        await self._commands.close()

    def _has_room(self, count: int) -> bool:
        """Redis counts for all gateways together; a worker counts what it wrote itself (promise I7)."""
        today = int(self._loop.time()) // _DAY_S
        kept_days = limits.SMTP_DELIVERED_KEEP_S // _DAY_S
        for day in [day for day in self._days if day < today - kept_days]:
            del self._days[day]
        if sum(self._days.values()) + count > limits.SMTP_DELIVERED_ROWS_MAX:
            return False
        self._days[today] = self._days.get(today, 0) + count
        return True

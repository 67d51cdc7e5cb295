"""The memory of handsets in Redis, for several gateways.

izinli:sent:<digest>    a sorted set: brand codes by the time of their last message; EX as long as it counts
izinli:told:<digest>    "1" until the end of the day
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from filters.index_url import IndexUrl
from gateway import limits
from gateway.index.commands import Command, Commands
from gateway.smpp.handsets import Notes

SENT: Final = "izinli:sent:"
TOLD: Final = "izinli:told:"


class RedisStore:
    """A store (`handsets.Store`) in the Redis of `url`; inside a running loop."""

    def __init__(self, url: IndexUrl) -> None:
        self._loop = asyncio.get_running_loop()
        self._redis = Commands(url)

    async def start(self) -> None:
        await self._redis.start()

    async def write(self, notes: Notes) -> bool:
        """All or part of it may have been written when the answer is False: writing again changes nothing."""
        commands: list[Command] = []
        written = True
        for (digest, brand), at in notes.items():
            key = SENT + digest.hex()
            commands.append(("ZADD", key, at, brand))
            commands.append(("ZREMRANGEBYRANK", key, 0, -1 - limits.MO_BRANDS_KEPT))
            commands.append(("EXPIRE", key, limits.MO_KEEP_S))
            if len(commands) >= limits.INDEX_BATCH_MAX:
                written &= await self._ask(commands) is not None
                commands = []
        return await self._ask(commands) is not None and written

    async def read(self, digest: bytes, now: int) -> list[tuple[int, int]] | None:
        replies = await self._ask([("ZREVRANGE", SENT + digest.hex(), 0, limits.MO_BRANDS_KEPT - 1, "WITHSCORES")])
        if replies is None:
            return None
        try:
            numbers = [int(number) for number in replies[0]]
        except (TypeError, ValueError):  # not a value of ours
            return None
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return [(brand, at) for brand, at in pairs if at > now - limits.MO_KEEP_S]

    async def first(self, digest: bytes, now: int, until: int) -> bool:
        return await self._ask([("SET", TOLD + digest.hex(), "1", "NX", "EX", until - now)]) == [b"OK"]

    def poll(self) -> None:
        self._redis.poll()

    async def close(self) -> None:
        await self._redis.close()

    async def _ask(self, commands: Sequence[Command]) -> list[Any] | None:
        heard: asyncio.Future[list[Any] | None] = self._loop.create_future()

        def tell(replies: list[Any] | None) -> None:
            if not heard.done():
                heard.set_result(replies)

        self._redis.ask(commands, tell)
        return await heard

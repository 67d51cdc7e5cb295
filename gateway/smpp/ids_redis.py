"""Message ids in the index' Redis, for several gateways (`ids.MessageIds`).

izinli:ids:<key>      a value; EX as long as it counts
izinli:due:<queue>    the calendar: keys by the time when they are due; EX as long as its newest entry counts

Compare and set, and taking what is due, are scripts of one key each: a cluster can hold them. How much is kept Redis
counts itself (`maxmemory`): with a full one nothing is noted, which is `Unavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from filters.index_url import IndexUrl
from gateway import limits
from gateway.index.commands import Command, Commands
from gateway.smpp.ids import Swap, Unavailable

IDS: Final = "izinli:ids:"
DUE: Final = "izinli:due:"
_OK: Final = b"OK"
_SWAP: Final = (
    "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end "
    "if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end "
    "return 1"
)
_TAKE: Final = (
    "local keys = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3]) "
    "for _, key in ipairs(keys) do redis.call('ZADD', KEYS[1], ARGV[2], key) end "
    "return keys"
)


class RedisIds:
    """A store (`ids.MessageIds`) in the Redis of `url`; inside a running loop."""

    def __init__(self, url: IndexUrl) -> None:
        self._loop = asyncio.get_running_loop()
        self._redis = Commands(url)

    async def start(self) -> None:
        await self._redis.start()

    async def note(self, entries: Sequence[tuple[bytes, bytes]], keep_s: int | None = None) -> None:
        seconds = limits.SMPP_IDS_S if keep_s is None else keep_s
        replies = await self._ask([("SET", IDS + key.hex(), value, "EX", seconds) for key, value in entries])
        if replies.count(_OK) < len(replies):
            raise Unavailable("not written")

    async def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        replies = await self._ask([("GET", IDS + key.hex()) for key in keys])
        return [reply if isinstance(reply, bytes) else None for reply in replies]

    async def swap(self, swaps: Sequence[Swap], keep_s: int | None = None) -> list[bool]:
        seconds = limits.SMPP_IDS_S if keep_s is None else keep_s
        replies = await self._ask(
            [("EVAL", _SWAP, 1, IDS + one.key.hex(), one.old or b"", one.new or b"", seconds) for one in swaps]
        )
        return [reply == 1 for reply in replies]

    async def forget(self, keys: Sequence[bytes]) -> None:
        await self._ask([("DEL", IDS + key.hex()) for key in keys])

    async def remind(self, queue: bytes, key: bytes, at: int) -> None:
        calendar = DUE + queue.hex()
        await self._ask([("ZADD", calendar, "LT", at, key), ("EXPIRE", calendar, limits.SMPP_IDS_S)])

    async def due(self, queue: bytes, now: int, again: int) -> list[bytes]:
        command = ("EVAL", _TAKE, 1, DUE + queue.hex(), now, again, limits.SMPP_IDS_DUE_MAX)
        (keys,) = await self._ask([command])
        if not isinstance(keys, list):
            raise Unavailable("not a calendar")
        return keys

    async def settle(self, queue: bytes, keys: Sequence[bytes]) -> None:
        await self._ask([("ZREM", DUE + queue.hex(), key) for key in keys])

    def poll(self) -> None:
        self._redis.poll()

    async def close(self) -> None:
        await self._redis.close()

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """One reply each. Raises Unavailable: at least one was refused, or it is not known."""
        heard: asyncio.Future[list[Any] | None] = self._loop.create_future()

        def tell(replies: list[Any] | None) -> None:
            if not heard.done():
                heard.set_result(replies)

        self._redis.ask(commands, tell)
        replies = await heard
        if replies is None:
            raise Unavailable("no answer")
        return replies

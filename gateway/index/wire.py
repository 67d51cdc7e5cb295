"""One connection to a Redis server: octets out, replies back in order, each exchange with a deadline.

Nothing is ever cancelled. What is late, missing or not understood closes the connection, so that an answer can never be
taken for the answer to the next question (promise I3); whoever waited is told that nothing will come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from gateway import limits


class Refused(ConnectionError):
    """The server said no; the text is its own, and begins with its code (NOAUTH, NOPERM, LOADING …)."""


class Exchange:
    """Commands that go out together. `done` hears their replies, errors among them, or None: nothing will come."""

    __slots__ = ("data", "deadline", "done", "replies", "wanted")

    def __init__(self, data: bytes, wanted: int, deadline: float, done: Callable[[list[Any] | None], None]) -> None:
        self.data = data
        self.wanted = wanted
        self.deadline = deadline  # loop time
        self.done = done
        self.replies: list[Any] = []


class Wire(asyncio.Protocol):
    """One socket. `lost(wire, why)` is called once, when it is closed from either side."""

    def __init__(self, lost: Callable[[Wire, str], None]) -> None:
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader: Any = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._in_flight: deque[Exchange] = deque()
        self._waiting: deque[Exchange] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._over = False

    def send(self, exchange: Exchange) -> None:
        """Write it now, or when fewer are under way."""
        if self._over:
            exchange.done(None)
        elif len(self._in_flight) < limits.INDEX_BATCHES_IN_FLIGHT_MAX:
            self._write(exchange)
        else:
            self._waiting.append(exchange)

    async def call(self, data: bytes, wanted: int = 1, within_s: float = limits.INDEX_DEADLINE_S) -> list[Any]:
        """The replies to `data`. Raises ConnectionError, also when they are late; Refused for an error among them."""
        heard: asyncio.Future[list[Any] | None] = self._loop.create_future()

        def done(replies: list[Any] | None) -> None:
            if not heard.done():
                heard.set_result(replies)

        self.send(Exchange(data, wanted, self._loop.time() + within_s, done))
        replies = await heard
        if replies is None:
            raise ConnectionError("no answer")
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise Refused(str(reply))
        return replies

    def close(self, why: str) -> None:
        """Hang up, and tell everybody who waits. Harmless when it is closed already."""
        if self._over:
            return
        self._over = True
        if self._transport is not None:
            self._transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        unanswered = [*self._in_flight, *self._waiting]
        self._in_flight.clear()
        self._waiting.clear()
        self._lost(self, why)
        for exchange in unanswered:
            exchange.done(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._over:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.close("connection closed")

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            self._hear()
        except hiredis.HiredisError:
            self.close("malformed reply")

    def _hear(self) -> None:
        gets, in_flight = self._reader.gets, self._in_flight
        while in_flight:
            exchange = in_flight[0]
            replies, wanted = exchange.replies, exchange.wanted
            while len(replies) < wanted:
                reply = gets()
                if reply is False:  # not yet whole; RESP 2 has no booleans
                    return
                replies.append(reply)
            in_flight.popleft()
            exchange.done(replies)
            if self._waiting:
                self._write(self._waiting.popleft())
        if not self._over and gets() is not False:
            self.close("a reply to nothing")

    def _write(self, exchange: Exchange) -> None:
        assert self._transport is not None
        self._in_flight.append(exchange)
        self._transport.write(exchange.data)
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(exchange.deadline, self._sweep)

    def _sweep(self) -> None:
        """The oldest exchange may be late: then the connection is not to be trusted any more."""
        self._sweeper = None
        if not self._in_flight:
            return
        deadline = self._in_flight[0].deadline
        if deadline <= self._loop.time():
            self.close("timeout")
        else:
            self._sweeper = self._loop.call_at(deadline, self._sweep)

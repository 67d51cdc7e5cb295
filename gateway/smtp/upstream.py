"""Connections to one next hop: pooled, bounded, first come first served.

A copy waits until a connection is free, goes out on it, and gets `done(reply)` exactly once, whatever happens: the next
hop's own answer, or one of the three below.

A kept connection may be closed by its other end at any moment. When that shows before the final dot of a message that
did not open the connection, the message is tried once more on another; after the dot its fate is unknown: it is not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, cast

from gateway import limits
from gateway.config import Address, Upstream
from gateway.metrics import Metrics
from gateway.smtp import client
from gateway.smtp.client import Broken, Conversation, Done, Extensions, Ready, Stage
from gateway.smtp.replies import Reply

UNREACHABLE = Reply(451, b"4.4.1 next hop cannot be reached, try again later")
LOST = Reply(451, b"4.4.2 connection to the next hop was lost, try again later")
BUSY = Reply(451, b"4.4.5 too many messages wait for the next hop, try again later")


class Copy(client.Copy, Protocol):
    """What a pool sends."""

    deadline: float  # loop time; it is answered by then
    retried: bool

    def done(self, reply: Reply) -> None:
        """Called once, in the loop, possibly from inside `send`; does not raise."""


class SmtpUpstream:
    """The pool to one `[upstream.…]`: one per worker and name, shared by its listeners."""

    def __init__(self, upstream: Upstream, metrics: Metrics, *, hostname: str = "localhost") -> None:
        self.name = upstream.name
        self.hostname = hostname.encode("ascii")
        self.extensions: Extensions | None = None  # as announced last; None: never reached
        self.up = False  # the last attempt to connect succeeded
        self._hosts = upstream.hosts
        self._connections_max = upstream.connections_max
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Copy] = deque()
        self._connections: set[_Connection] = set()  # greeted
        self._idle: list[_Connection] = []  # the last one used goes first, so that surplus ones age
        self._opening: set[asyncio.Task[None]] = set()
        self._avoid: dict[Address, float] = {}  # hosts that failed: until then they come last
        self._retry_at = 0.0  # no attempt to connect before
        self._closed = False
        self._sweeper = self._loop.call_later(limits.SMTP_SWEEP_S, self._sweep)

    async def start(self) -> None:
        """Connect once, to learn what the next hop offers; its absence is no error."""
        self._open()
        await asyncio.gather(*self._opening)

    def send(self, copy: Copy) -> None:
        """Answer `copy` with `done`, after it was sent or because it cannot be."""
        now = self._loop.time()
        if self._idle:
            connection = self._idle.pop()
            if not connection.begin(copy, now):
                self._idle.append(connection)
        elif len(self._waiting) >= limits.SMTP_WAITING_MAX:
            copy.done(BUSY)
        elif self._closed or (now < self._retry_at and not self._connections and not self._opening):
            copy.done(UNREACHABLE)
        else:
            self._waiting.append(copy)
            self._grow(now)

    async def close(self) -> None:
        """Let idle connections go, break the others, answer who still waits."""
        self._closed = True
        self._sweeper.cancel()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._connections):
            self._retire(connection) if connection.copy is None else connection.abandon("shutdown")
        self._fail_waiting()

    # what a connection tells

    def free(self, connection: _Connection) -> None:
        """`connection` has nothing to do: give it the next copy, keep it, or let it go."""
        if connection.conversation.stage is not Stage.IDLE:
            return
        if connection.conversation.messages >= limits.SMTP_MESSAGES_PER_CONNECTION or self._closed:
            self._retire(connection)
            return
        now = self._loop.time()
        while self._waiting:
            if connection.begin(self._waiting.popleft(), now):
                return
        connection.deadline = now + limits.SMTP_NEXT_HOP_IDLE_S
        self._idle.append(connection)

    def answered(self, copy: Copy, reply: Reply, seconds: float) -> None:
        """The next hop answered."""
        self._metrics.upstream_seconds(self.name, seconds)
        copy.done(reply)

    def lost(self, connection: _Connection, why: str) -> None:
        """`connection` is gone, or nothing more can be said on it."""
        if connection not in self._connections:
            return
        self._forget(connection)
        copy, connection.copy = connection.copy, None
        if copy is not None:
            self._metrics.protocol_errors[("smtp", "next_hop_" + why)] += 1
            reused = connection.conversation.messages > 1
            if reused and not connection.conversation.dot_sent and not copy.retried and not self._closed:
                copy.retried = True
                self._waiting.appendleft(copy)
                for stale in list(self._idle):  # what closed one kept connection closed the others too
                    self._retire(stale)
            else:
                if not reused:
                    self._avoid[connection.host] = self._loop.time() + limits.SMTP_AVOID_HOST_S
                copy.done(LOST)
        self._grow(self._loop.time())

    # connections come and go

    def _grow(self, now: float) -> None:
        """As many attempts to connect as copies wait, within the bound."""
        while (
            len(self._waiting) > len(self._opening)
            and len(self._connections) + len(self._opening) < self._connections_max
            and now >= self._retry_at
            and not self._closed
        ):
            self._open()

    def _open(self) -> None:
        task = self._loop.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "connecting to a next hop", "exception": fault})
        now = self._loop.time()
        if not self._connections and not self._opening and now < self._retry_at:
            self._fail_waiting()
        self._grow(now)

    async def _connect(self) -> None:
        """Try the hosts in order, those that failed lately last."""
        now = self._loop.time()
        for host in sorted(self._hosts, key=lambda host: self._avoid.get(host, 0.0) > now):
            connection = _Connection(self, self._loop, host)
            try:
                async with asyncio.timeout(limits.SMTP_CONNECT_S):
                    await self._loop.create_connection(lambda c=connection: c, host.host, host.port)  # type: ignore[misc]
                    self.extensions = await connection.greeted
            except (OSError, TimeoutError):
                self._avoid[host] = self._loop.time() + limits.SMTP_AVOID_HOST_S
            else:
                self.up = True
                self._retry_at = 0.0
                self._connections.add(connection)
                self.free(connection)
                return
            finally:
                if connection not in self._connections:
                    connection.abandon("unreachable")
        self.up = False
        self._retry_at = self._loop.time() + limits.SMTP_RECONNECT_S

    def _retire(self, connection: _Connection) -> None:
        self._forget(connection)
        connection.leave()

    def _forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _fail_waiting(self) -> None:
        for copy in [self._waiting.popleft() for _ in range(len(self._waiting))]:
            copy.done(UNREACHABLE)

    def _sweep(self) -> None:
        """All deadlines of the pool, once in a while, instead of a timer for each command."""
        self._sweeper = self._loop.call_later(limits.SMTP_SWEEP_S, self._sweep)
        now = self._loop.time()
        for connection in [c for c in self._connections if c.deadline < now]:
            self._retire(connection) if connection.copy is None else connection.abandon("timeout")
        while self._waiting and self._waiting[0].deadline < now:
            self._waiting.popleft().done(BUSY)
        if not self.up and not self._opening and now >= self._retry_at:
            self._open()  # so that its return is noticed without traffic
        self._grow(now)


class _Connection(asyncio.Protocol):
    """One socket to the next hop, carrying one message at a time."""

    def __init__(self, pool: SmtpUpstream, loop: asyncio.AbstractEventLoop, host: Address) -> None:
        self.host = host
        self.conversation = Conversation(pool.hostname)
        self.greeted: asyncio.Future[Extensions] = loop.create_future()
        self.copy: Copy | None = None
        self.deadline = 0.0
        self._began = 0.0
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def begin(self, copy: Copy, now: float) -> bool:
        """Send `copy` on this idle connection. False: it was answered at once, the connection is idle still."""
        refusal = self.conversation.begin(copy)
        if refusal is not None:
            copy.done(refusal)
            return False
        self.copy = copy
        self._began = now
        self.deadline = min(now + limits.SMTP_NEXT_HOP_COMMAND_S, copy.deadline)
        self._flush()
        return True

    def data_received(self, data: bytes) -> None:
        for event in self.conversation.receive(data):
            match event:
                case Done(reply):
                    self._answered(reply)
                case Ready(extensions) if not self.greeted.done():
                    self.greeted.set_result(extensions)
                case Broken(why):
                    self.abandon(why)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("closed")

    def abandon(self, why: str) -> None:
        """Drop the socket at once: a reply that is still to come must not meet the next message."""
        self._end(why)
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """End an idle connection politely."""
        self.conversation.quit()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _answered(self, reply: Reply) -> None:
        copy, self.copy = self.copy, None
        assert copy is not None, "an answer without a message"
        self._pool.answered(copy, reply, self._loop.time() - self._began)
        self._pool.free(self)

    def _end(self, why: str) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError(why))
            self.greeted.exception()  # whoever timed out does not ask for it
        self._pool.lost(self, why)

    def _flush(self) -> None:
        if self._transport is not None and (due := self.conversation.output()):
            self._transport.write(due)
            if self.copy is not None and self.conversation.dot_sent:
                self.deadline = self.copy.deadline

"""Connections to one next hop: pooled, bounded, first come first served.

A copy waits until a connection is free, goes out on it, and gets `done(reply)` exactly once, whatever happens: the next
hop's own answer, or one of ours.

A kept connection may be closed by its other end at any moment. When that shows before the final dot of a message that
did not open the connection, the message is tried once more on a fresh one. After the dot its fate is unknown: never
again. A next hop that has not answered by the deadline is listened to for some time more: what it says then is the
copy's `late` answer.

The dots of a transaction's copies wait for one another (`Copy.held`), but never while others wait for a connection.

A message needs a connection, not a host: `hosts.py` says where the next connection goes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from gateway import limits
from gateway.config import Upstream
from gateway.log import logger
from gateway.metrics import Metrics
from gateway.smtp.client import Extensions, Stage
from gateway.smtp.connection import Connection, Copy, Failed, connect
from gateway.smtp.credentials import Credentials
from gateway.smtp.hosts import Host, Hosts
from gateway.smtp.replies import Reply

UNREACHABLE: Final = Reply(451, b"4.4.1 next hop cannot be reached, try again later")
LOST: Final = Reply(451, b"4.4.2 connection to the next hop was lost, try again later")
LATE: Final = Reply(451, b"4.4.2 next hop has not answered in time, try again later")
BUSY: Final = Reply(451, b"4.4.5 too many messages wait for the next hop, try again later")
UNTRUSTED: Final = Reply(451, b"4.7.5 next hop cannot be reached safely, try again later")
NO_LOGIN: Final = Reply(451, b"4.7.8 next hop does not take our login, try again later")

# How a healthy host lets go of a connection that it, or something in between, held for idle.
_ENDS_OF_KEPT: Final = ("closed", "closing")
_FIXES: Final = {
    "unreachable": "is the host up, its name and port right, and does a firewall let us through?",
    "timeout": "does something else listen there, or is the host overloaded?",
    "refused": "the next hop must let this machine relay: see its own log",
    "closing": "the next hop is shutting down or overloaded: see its own log",
    "no_starttls": 'switch TLS on at the next hop, or write tls_implicit = true for port 465, or tls = "none"',
    "injection": "somebody between here and the next hop changes what is said, or the next hop is broken",
    "tls": "does the next hop speak TLS 1.2 or later on this port? tls_implicit = true is for port 465",
    "certificate": "renew the next hop's certificate, or name its authority in ca_file and its name in tls_name",
    "auth": "are user and password_file right, and does the next hop offer PLAIN or LOGIN?",
}
_OTHER_FIX: Final = "is it a mail server that listens there? see its own log"


class SmtpUpstream:
    """The pool to one `[upstream.…]`: one per worker and name, shared by its listeners."""

    def __init__(self, upstream: Upstream, metrics: Metrics, *, hostname: str = "localhost") -> None:
        self.name = upstream.name
        self.extensions: Extensions | None = None  # what every host takes that was ever reached; None: none was
        self._hostname = hostname.encode("ascii")
        self._settings = upstream
        self._hosts = Hosts(upstream.hosts, upstream.weights)
        self._shown = {host: metrics.host(upstream.name, str(host)) for host in self._hosts.all}
        self._credentials = Credentials(upstream)
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Copy] = deque()
        self._connections: set[Connection] = set()  # greeted
        self._holding: set[Connection] = set()  # that have sent all but the dot
        self._overdue: dict[Connection, None] = {}  # whose copy was answered LATE, oldest first
        self._idle: list[Connection] = []  # the last one used goes first, so that surplus ones age
        self._opening: set[asyncio.Task[None]] = set()
        self._retry_at = 0.0  # while every host fails: no attempt to connect before
        self._unreachable = UNREACHABLE  # what is said then
        self._logged: dict[Host, tuple[str, float]] = {}  # why and when a host's failure was in the log
        self._starting: asyncio.Task[None] | None = None
        self._started = False
        self._narrowed_until = 0.0
        self._closed = False
        self._sweeper = self._loop.call_later(limits.SMTP_SWEEP_S, self._sweep)

    @property
    def up(self) -> bool:
        """At least one host takes messages."""
        return self._hosts.up

    async def start(self) -> None:
        """Connect to each host once, to learn what it offers; its absence is no error."""
        if self._starting is None:
            self._starting = self._loop.create_task(self._ask_all())
        await self._starting  # as each of the doors that share this pool does

    async def _ask_all(self) -> None:
        for host in self._hosts.all:
            if self._room <= 0:
                await asyncio.gather(*self._opening)
            if self._room > 0:
                self._open([host])
        await asyncio.gather(*self._opening)
        self._started = True

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
            copy.done(self._unreachable)
        else:
            self._waiting.append(copy)
            self._grow(now)

    async def close(self) -> None:
        """Let idle connections go, break the others, answer who still waits."""
        self._closed = True
        self._sweeper.cancel()
        if self._starting is not None:
            self._starting.cancel()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._connections):
            self._retire(connection) if connection.copy is None else connection.abandon("shutdown")
        self._fail_waiting()

    # what a connection tells

    def free(self, connection: Connection) -> None:
        """`connection` has nothing to do: give it the next copy, keep it, or let it go."""
        if connection.conversation.stage is not Stage.IDLE:
            return
        now = self._loop.time()
        if (
            connection.conversation.messages >= self._settings.messages_per_connection
            or now >= connection.opened + limits.SMTP_CONNECTION_S
            or self._closed
        ):
            self._retire(connection)
            self._grow(now)
            return
        while self._waiting:
            if connection.begin(self._waiting.popleft(), now):
                return
        connection.kept = True
        connection.deadline = now + self._settings.idle_s
        self._idle.append(connection)

    def holding(self, connection: Connection) -> None:
        """All but the dot of a copy is sent, and the dot waits for its siblings."""
        assert connection.copy is not None
        self._holding.add(connection)
        connection.deadline = self._loop.time() + limits.SMTP_DOT_HELD_S
        if self._waiting and not self._opening:
            self._release_all()
        else:
            connection.copy.ready(connection)

    def answered(self, connection: Connection, copy: Copy, reply: Reply, seconds: float) -> None:
        """The next hop answered; what it says to a message is no matter of its health, unless it takes none."""
        if connection.host.failures and reply.code != 421:
            connection.host.worked()
        self._metrics.upstream_seconds(self.name, seconds)
        self._holding.discard(connection)
        if connection.overdue:
            self._overdue.pop(connection)
            connection.overdue = False
            copy.late(reply)
        else:
            copy.done(reply)

    def refused(self, copy: Copy, reply: Reply) -> None:
        """The host of a connection cannot take `copy`: for good, if its client could know that.

        A client that was greeted before we knew may try again: its next EHLO tells it what is left.
        """
        if self._loop.time() < self._narrowed_until:
            reply = Reply(451, b"4" + reply.text[1:])
        copy.done(reply)

    def lost(self, connection: Connection, why: str) -> None:
        """`connection` is gone, or nothing more can be said on it."""
        if connection not in self._connections:
            return
        self._forget(connection)
        copy, connection.copy = connection.copy, None
        now = self._loop.time()
        if copy is not None and connection.overdue:
            copy.late(LOST)
        elif copy is not None:
            self._metrics.protocol_errors[("smtp", "next_hop_" + why)] += 1
            kept = connection.kept or connection.conversation.messages > 1
            stale = kept and not connection.conversation.dot_sent
            if why != "shutdown" and not (stale and why in _ENDS_OF_KEPT):
                self._hosts_failed(connection.host, connection.opened, why, "while a message was sent")
            if stale and not copy.retried and not self._closed:
                copy.retried = True
                self._waiting.appendleft(copy)
                for other in list(self._idle):  # what closed one kept connection closed the others too
                    self._retire(other)
            else:
                copy.done(LOST)
        self._grow(now)

    # connections come and go

    def _grow(self, now: float) -> None:
        """As many attempts to connect as copies wait, within the bound; one at a time while every host fails."""
        while self._waiting and not self._closed and now >= self._retry_at:
            wanted = len(self._waiting) if self._hosts.healthy else 1
            if len(self._opening) >= wanted or self._room <= 0:
                break
            self._open(self._hosts.order())
        if self._waiting and not self._opening:
            self._release_all()
            if not self._connections:
                self._fail_waiting()

    @property
    def _room(self) -> int:
        return self._settings.connections_max - len(self._connections) - len(self._opening)

    def _open(self, hosts: list[Host]) -> None:
        task = self._loop.create_task(self._connect(hosts))
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "connecting to a next hop", "exception": fault})
        self._grow(self._loop.time())

    async def _connect(self, hosts: list[Host]) -> None:
        """One connection, to the first of `hosts` that takes it."""
        for host in hosts:
            began = self._loop.time()
            try:
                connection = await connect(self, host, self._hostname, self._credentials)
            except Failed as failure:
                self._metrics.protocol_errors[("smtp", "next_hop_" + failure.why)] += 1
                self._hosts_failed(host, began, failure.why, failure.detail)
            else:
                self._connected(connection)
                return
        if not self._hosts.healthy:
            self._retry_at = self._loop.time() + limits.SMTP_RECONNECT_S

    def _connected(self, connection: Connection) -> None:
        host = connection.host
        if host.failing:
            logger.info("next hop is back", upstream=self.name, host=str(host))
            self._logged.pop(host, None)
        host.greeted(connection.conversation.extensions)
        self._retry_at = 0.0
        before, self.extensions = self.extensions, self._hosts.extensions
        if before != self.extensions and (before is not None or self._started):
            self._narrowed_until = self._loop.time() + limits.SMTP_NARROWED_S
        self._connections.add(connection)
        self.free(connection)

    def _hosts_failed(self, host: Host, began: float, why: str, detail: str) -> None:
        """Remember it, and say so where an operator looks: at once, then now and then."""
        now = self._loop.time()
        host.failed(began, now, why, self._hosts.chance)
        self._shown[host].faults += 1
        self._unreachable = (
            UNTRUSTED
            if why in ("no_starttls", "injection", "tls", "certificate")
            else NO_LOGIN
            if why == "auth"
            else UNREACHABLE
        )
        said, at = self._logged.get(host, ("", 0.0))
        if said != why or now >= at + limits.SMTP_LOG_AGAIN_S:
            self._logged[host] = (why, now)
            logger.warning(
                "next hop failed",
                upstream=self.name,
                host=str(host),
                why=why,
                detail=detail,
                fix=_FIXES.get(why, _OTHER_FIX),
                again_s=round(host.retry_at - now, 1),
            )

    def _release_all(self) -> None:
        """Whoever waits for a connection must not wait for dots that wait for it."""
        while self._holding:
            self._holding.pop().release()

    def _expired(self, connection: Connection, now: float) -> None:
        """The deadline of `connection` has passed."""
        copy = connection.copy
        if copy is None:
            self._retire(connection)
        elif connection.conversation.stage is Stage.HELD:
            self._holding.discard(connection)
            connection.release()
        elif not connection.conversation.dot_sent or connection.overdue or self._settings.connections_max < 2:
            connection.abandon("timeout")
        else:
            self._metrics.protocol_errors[("smtp", "next_hop_timeout")] += 1
            self._hosts_failed(connection.host, connection.opened, "timeout", "while a message was sent")
            connection.overdue, connection.deadline = True, now + limits.SMTP_LATE_S
            self._overdue[connection] = None
            copy.done(LATE)
            while len(self._overdue) > self._settings.connections_max // 2:  # the others have work to do
                next(iter(self._overdue)).abandon("timeout")

    def _retire(self, connection: Connection) -> None:
        self._forget(connection)
        connection.leave()

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._holding.discard(connection)
        self._overdue.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)

    def _fail_waiting(self) -> None:
        for copy in [self._waiting.popleft() for _ in range(len(self._waiting))]:
            copy.done(self._unreachable)

    def _sweep(self) -> None:
        """All deadlines of the pool, once in a while, instead of a timer for each command."""
        self._sweeper = self._loop.call_later(limits.SMTP_SWEEP_S, self._sweep)
        now = self._loop.time()
        for connection in [c for c in self._connections if c.deadline < now]:
            self._expired(connection, now)
        while self._waiting and self._waiting[0].deadline < now:
            self._waiting.popleft().done(BUSY)
        self._look_again(now)
        self._grow(now)
        self._show()

    def _show(self) -> None:
        """How each host is, for the operator."""
        opened = Counter(connection.host for connection in self._connections)
        for host, shown in self._shown.items():
            shown.up, shown.connections = int(host.up), opened[host]

    def _look_again(self, now: float) -> None:
        """See without traffic whether a host that failed is back."""
        if self._room > 0 and (self._connections or not self._waiting) and (host := self._hosts.due(now)):
            self._open([host])

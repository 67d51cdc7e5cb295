"""What all doors do with their clients' connections, whatever these speak: who comes in, how many, and how they leave.

    supervisor ──listening socket──▶ worker ──▶ Door.protocol() ──▶ a connection for each client

A door keeps the connections that are open, with the peer each counts for, looks at their deadlines with one timer, and
drains them. What a refused client hears is its protocol's business: `admit` names the refusal, the connection says it.
Bounds hold for each worker.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Generic, Protocol, TypeVar

from gateway import limits, tls
from gateway.config import Listener, UnixAddress
from gateway.front import Front
from gateway.log import logger
from gateway.metrics import Metrics

Peer = IPv4Address | IPv6Address | None
"""Who a connection counts for: a network address, or None for whoever may open the Unix socket."""

UNKNOWN: Final = IPv4Address(0)
"""A client whose address cannot be told: gone before we could ask. In nobody's network."""


class Refusal(Enum):
    """Why a connection is not served; the value is the metric label it is counted under."""

    DRAINING = "draining"
    TOO_MANY_SESSIONS = "too_many_sessions"
    NOT_ALLOWED = "not_allowed"
    TOO_MANY_OF_CLIENT = "too_many_of_client"


class Connection(Protocol):
    """What a door asks of a connection."""

    def drain(self) -> None:
        """Take nothing new, finish what is under way, close."""

    def abort(self) -> None:
        """Close now."""

    def sweep(self, now: float) -> None:
        """Look at the deadlines; `now` is loop time in seconds."""


C = TypeVar("C", bound=Connection)


class Door(ABC, Generic[C]):
    """One `[[listener]]`. A subclass gives its connections, and what stands behind them.

    `name` is the protocol's label in metrics; `sessions_max` connections may be open at once; `sweep_s` is how exact
    deadlines are.
    """

    def __init__(self, name: str, listener: Listener, metrics: Metrics, *, sessions_max: int, sweep_s: float) -> None:
        self.name = name
        self.metrics = metrics
        self.hostname = listener.hostname.encode("ascii")
        self.sessions: dict[C, Peer] = {}
        self.draining = False
        self.loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = self.loop.time
        self.fronts: set[Front] = set()  # clients that are not known yet, or not safe
        self.implicit_tls = listener.tls == "implicit"
        self.certificates = tls.Certificates(*listener.certificate) if listener.certificate else None
        self._allow = listener.allow
        # The clients of a relay are few and come again and again; their place in the networks does not change.
        self._is_allowed = lru_cache(limits.PEERS_KNOWN)(self._is_named)
        self._proxy_from = listener.proxy_from
        self._is_unix = isinstance(listener.bind, UnixAddress)
        self._sessions_max = sessions_max
        self._sessions_per_client = listener.sessions_per_client
        self._per_client: Counter[Peer] = Counter()
        self._empty = asyncio.Event()
        self._sweep_s = sweep_s
        self._sweeper = self.loop.call_later(sweep_s, self._sweep)

    # for the worker

    def protocol(self) -> asyncio.Protocol:
        """One connection; the factory for `loop.create_server`."""
        if self.certificates is None and not self._proxy_from:
            return self.connection()
        return Front(self, self.connection())

    @abstractmethod
    def connection(self) -> asyncio.Protocol:
        """What speaks with one client; it calls `opened`, `admit` and `closed`."""

    async def start(self) -> None:
        """Learn what must be known before the first client comes."""
        return

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, finish what is under way, for at most `timeout_s`; then close what is left."""
        self.draining = True
        for front in list(self.fronts):
            front.abort()
        for connection in list(self.sessions):
            connection.drain()
        self.note_empty()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            self.abort()
        self._sweeper.cancel()

    # for connections

    def opened(self, connection: C, transport: asyncio.BaseTransport) -> Peer:
        """A client is here; whom it counts for, until `admit` is told better."""
        peer = self.peer(transport)
        self.sessions[connection] = peer
        self._per_client[peer] += 1
        self.metrics.sessions[self.name] += 1
        return peer

    def admit(self, connection: C, peer: Peer) -> Refusal | None:
        """Whether `connection`, now known to speak for `peer`, is served. A refusal is counted."""
        before = self.sessions[connection]
        if before is not peer:
            self._leave(before)
            self.sessions[connection] = peer
            self._per_client[peer] += 1
        refusal = self._refusal(peer)
        if refusal is not None and refusal is not Refusal.DRAINING:
            self.count(refusal.value)
        return refusal

    def closed(self, connection: C) -> None:
        """The client is gone."""
        self._leave(self.sessions.pop(connection))
        self.metrics.sessions[self.name] -= 1
        self.note_empty()

    def peer(self, transport: asyncio.BaseTransport) -> Peer:
        """The other end of a socket. Only a listener on a Unix socket has peers without an address."""
        if self._is_unix:
            return None
        name = transport.get_extra_info("peername")
        if not name:
            return UNKNOWN
        return _peer(name[0])

    def is_proxy(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the other end is a load balancer, which says first whom it speaks for."""
        peer = self.peer(transport)
        return peer is not None and any(peer in network for network in self._proxy_from)

    def crowded(self) -> bool:
        """Whether there is no room for one more."""
        return len(self.sessions) + len(self.fronts) >= self._sessions_max

    def admits(self, peer: Peer) -> bool:
        """Nobody who is not named (an empty list names nobody); a Unix socket names them by its file's mode."""
        return peer is None or self._is_allowed(peer)

    def _is_named(self, peer: IPv4Address | IPv6Address) -> bool:
        return any(peer in network for network in self._allow)

    def count(self, kind: str) -> None:
        """A peer, or we, did what the protocol does not know."""
        self.metrics.protocol_errors[(self.name, kind)] += 1

    def fault(self, fault: Exception) -> None:
        """Our own fault, in the log with its cause; the client hears nothing of it."""
        self.count("internal")
        logger.error(f"{self.name} session failed", exc_info=fault)

    # for subclasses that have more than sessions

    def is_empty(self) -> bool:
        """Whether nothing is under way any more."""
        return not self.sessions and not self.fronts

    def abort(self) -> None:
        """Close everything now."""
        for front in list(self.fronts):
            front.abort()
        for connection in list(self.sessions):
            connection.abort()

    def sweep(self, now: float) -> None:
        """Look at all deadlines."""
        for front in list(self.fronts):
            front.sweep(now)
        for connection in list(self.sessions):
            connection.sweep(now)

    def note_empty(self) -> None:
        """Something ended: perhaps the last that a drain waits for."""
        if self.draining and self.is_empty():
            self._empty.set()

    def _refusal(self, peer: Peer) -> Refusal | None:
        if self.draining:
            return Refusal.DRAINING
        if len(self.sessions) + len(self.fronts) > self._sessions_max:
            return Refusal.TOO_MANY_SESSIONS
        if not self.admits(peer):
            return Refusal.NOT_ALLOWED
        if peer is not None and 0 < self._sessions_per_client < self._per_client[peer]:
            return Refusal.TOO_MANY_OF_CLIENT
        return None

    def _leave(self, peer: Peer) -> None:
        self._per_client[peer] -= 1
        if not self._per_client[peer]:
            del self._per_client[peer]

    def _sweep(self) -> None:
        """Deadlines once in a while, instead of a timer for each command."""
        self._sweeper = self.loop.call_later(self._sweep_s, self._sweep)
        now = self.now()
        if self.certificates is not None and not self.certificates.refresh(now):
            self.count("bad_certificate")
        self.sweep(now)


@lru_cache(limits.PEERS_KNOWN)
def _peer(host: str) -> IPv4Address | IPv6Address:
    """The address a socket's other end has; an IPv4 one in IPv6's clothes is the IPv4 one."""
    address = ip_address(host.partition("%")[0])
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address

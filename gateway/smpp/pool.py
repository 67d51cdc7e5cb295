"""The binds that a worker keeps at an SMSC with `topology = "pooled"`, for all accounts together.

    routes.Route ── send ──▶ SmscPool ── the one with the fewest unanswered ──▶ upstream.Smsc
                                 ◀── deliver ── deliveries.Deliveries ◀──────────────┘

What has no room on any bind waits here, unsent: it goes with whichever bind has room first, also one at another host.
What was sent over a bind that is lost may have arrived, and its client is told ESME_RSYSERR; so is what waits when no
bind is left. Binds at several hosts are several SMSCs, and no handset joins parts that came from two of them: then
addresses decide which host a message goes to.

A client's bind is answered at once when one of these stands, and also while all of them are lost for a time, as a
mirrored client stays bound then. Before the first one ever stood it is told what the SMSC said of ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Final
from zlib import crc32

from gateway import limits
from gateway.config import Account, Address, Upstream
from gateway.log import logger
from gateway.metrics import Metrics
from gateway.smpp import pdu
from gateway.smpp.congestion import Ceiling
from gateway.smpp.deliveries import Addresses, Deliveries
from gateway.smpp.ids import IdKeys, MessageIds
from gateway.smpp.link import PROTOCOL, Link
from gateway.smpp.mo import Refusals
from gateway.smpp.owners import Owners
from gateway.smpp.pdu import BIND_RECEIVER, BIND_TRANSCEIVER, BIND_TRANSMITTER, RESPONSE
from gateway.smpp.routes import Client, Request, Route
from gateway.smpp.statuses import ESME_ROK, ESME_RSYSERR, ESME_RTHROTTLED, ESME_RX_T_APPN
from gateway.smpp.upstream import CARRIES_TEXT, Smsc
from gateway.trust import Trust

COMMANDS: Final = {"transceiver": (BIND_TRANSCEIVER,), "pair": (BIND_TRANSMITTER, BIND_RECEIVER)}
"""What one of the `binds` consists of."""


class SmscPool:
    """One upstream's. `accounts`: those that use it."""

    def __init__(
        self,
        upstream: Upstream,
        accounts: Iterable[Account],
        store: MessageIds,
        keys: IdKeys,
        metrics: Metrics,
        refusals: Refusals | None = None,
    ) -> None:
        assert upstream.pool is not None
        self.upstream = upstream
        self.hosts: tuple[Address, ...] = (
            upstream.tcp_hosts if upstream.pool.id_space == "host" else upstream.tcp_hosts[:1]
        )
        self.owners = Owners(store, keys, upstream.name, upstream.pool, partial(self.count, "id_unwritten"))
        self._metrics = metrics
        metrics.smpp_binds[upstream.name] = metrics.smpp_orphans[upstream.name] = 0
        self._loop = asyncio.get_running_loop()
        self._routes: dict[bytes, list[Route]] = {}
        self._deliveries = Deliveries(
            upstream.name,
            Addresses([one for one in accounts if one.upstream == upstream.name], upstream.pool.default_account),
            self.owners,
            self._routes,
            metrics,
            refusals,
        )
        self._knocking: list[Route] = []  # clients whose bind is not answered
        self._binds: list[_Bind] = []
        self._senders: list[Smsc] = []  # that stand, and may be sent to
        self._deaf: set[Smsc] = set()  # of them: what does not read
        self._send_hosts: list[Address] = []
        self._stands = self._stood = False
        self._waiting: deque[Request] = deque()  # for room
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Begin to bind; what is away is no reason to wait."""
        pool = self.upstream.pool
        assert pool is not None
        rest = b"%b\0%c\0\0\0" % (pool.system_type, pool.interface_version)
        body = pdu.bind_body(pool.system_id, pool.password, rest)
        trust = None if self.upstream.tls == "none" else Trust(self.upstream)
        for _ in range(pool.binds):
            self._binds += [_Bind(self, command, body, trust, self._metrics) for command in COMMANDS[pool.bind_type]]
        for bind in self._binds:
            bind.link.window = Ceiling(pool.window, self._loop.time())
            bind.link.keep()
        self._sweeper = self._loop.call_later(limits.SMPP_SWEEP_S, self._sweep)

    async def close(self) -> None:
        """Unbind when all is answered; the doors are closed already."""
        self._closing = True
        self._turn_back(ESME_RSYSERR)
        try:
            async with asyncio.timeout(limits.SMPP_UNBIND_S):
                while any(smsc.load for smsc in self._senders):
                    await asyncio.sleep(limits.SMPP_POOL_LOOK_S)
        except TimeoutError:
            logger.warning("SMSC did not answer all", upstream=self.upstream.name)
        for bind in list(self._binds):
            bind.link.close()
        try:
            async with asyncio.timeout(2 * limits.SMPP_UNBIND_S):
                if self._binds:
                    await self._ended.wait()
        except TimeoutError:
            for bind in list(self._binds):
                bind.link.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.owners.close()

    # for clients

    def route(self, client: Client, account: bytes, command: int) -> Route:
        """The way of a client's bind; `command` is the bind's."""
        return Route(self, client, account, command)

    def join(self, route: Route) -> None:
        self._routes.setdefault(route.account, []).append(route)
        if self._stands or self._stood:
            self._open(route)
        elif all(bind.tried for bind in self._binds):
            route.owner.opened(self._refusal(), b"")
        else:
            self._knocking.append(route)

    def leave(self, route: Route) -> None:
        for routes in (self._routes.get(route.account, []), self._knocking):
            if route in routes:
                routes.remove(route)

    def send(self, request: Request) -> None:
        text = request.command in CARRIES_TEXT
        if not self._can(request):
            self.refuse(request, ESME_RSYSERR)
        elif text and self._waiting:
            self._wait(request)
        elif (smsc := self._pick(request, text=text)) is not None:
            self._give(smsc, request)
        elif text:
            self._wait(request)
        else:
            self.refuse(request, ESME_RSYSERR)

    def refuse(self, request: Request, status: int) -> None:
        self._loop.call_soon(request.tell, status, b"")

    def noted(self, key: bytes) -> None:
        self._deliveries.noted(key)

    # for binds

    def count(self, kind: str) -> None:
        self._metrics.protocol_errors[(PROTOCOL, kind)] += 1

    def tried(self) -> None:
        """A bind was tried for the first time."""
        if not self._stood and all(bind.tried for bind in self._binds):
            knocking, self._knocking = self._knocking, []
            for route in knocking:
                route.owner.opened(self._refusal(), b"")

    def changed(self) -> None:
        """A bind stands, or is lost."""
        standing = [bind for bind in self._binds if bind.link.standing is not None]
        self._senders = [smsc for bind in standing if bind.sends and (smsc := bind.link.standing) is not None]
        self._deaf &= set(self._senders)
        hosts = {smsc.host for smsc in self._senders}
        self._send_hosts = [host for host in self.upstream.tcp_hosts if host in hosts]
        receives = any(bind.link.command != BIND_TRANSMITTER for bind in standing)
        self._metrics.upstream_up[self.upstream.name] = int(bool(self._senders) and receives)
        self._metrics.smpp_binds[self.upstream.name] = len(standing)
        if not self._senders:
            self._turn_back(ESME_RSYSERR)
        if bool(standing) != self._stands:
            self._stands = bool(standing)
            for route in [route for routes in self._routes.values() for route in routes]:
                if route not in self._knocking:
                    route.stand(stands=self._stands)
        if self._stands:
            self._stood = True
            knocking, self._knocking = self._knocking, []
            for route in knocking:
                self._open(route)
            self.heard()

    def deliver(self, smsc: Smsc, command: int, sequence: int, body: bytes) -> None:
        """A fault of our own is temporary, and that delivery's alone (promise I4)."""
        try:
            self._deliveries.take(smsc, command, sequence, body)
        except Exception as fault:  # noqa: BLE001
            self.count("internal")
            logger.error("a delivery failed", exc_info=fault)
            smsc.respond(command | RESPONSE, ESME_RX_T_APPN, sequence)

    def hold(self, smsc: Smsc | None, *, deaf: bool) -> None:
        """It is passed over while it does not read."""
        if smsc is not None and deaf:
            self._deaf.add(smsc)
        elif smsc is not None:
            self._deaf.discard(smsc)
            self.heard()

    def heard(self) -> None:
        """A bind may have room."""
        while self._waiting:
            request = self._waiting[0]
            if request.route.gone or not self._can(request):
                self.refuse(self._waiting.popleft(), ESME_RSYSERR)
            elif (smsc := self._pick(request, text=True)) is not None:
                self._give(smsc, self._waiting.popleft())
            else:
                return

    def ended(self, bind: _Bind) -> None:
        """Nothing is left of it."""
        if bind in self._binds:
            self._binds.remove(bind)
        if not self._binds:
            self._ended.set()

    # inside

    def _open(self, route: Route) -> None:
        route.stand(stands=self._stands)
        route.owner.opened(ESME_ROK, b"")

    def _refusal(self) -> int:
        return next((bind.link.refusal for bind in self._binds if bind.link.refusal != ESME_RSYSERR), ESME_RSYSERR)

    def _can(self, request: Request) -> bool:
        """Is there a bind where it may go to?"""
        return bool(self._senders) and (request.host is None or request.host in self._send_hosts)

    def _pick(self, request: Request, *, text: bool) -> Smsc | None:
        """The bind with the fewest unanswered; None: none has room."""
        host = request.host
        if host is None and text and len(self._send_hosts) > 1:
            host = self._send_hosts[crc32(_addresses(request.command, request.body)) % len(self._send_hosts)]
        found, least = None, limits.SMPP_CONGESTED_MAX + 1
        for smsc in self._senders:
            load = smsc.load
            if (
                load < least
                and (host is None or smsc.host == host)
                and (smsc.has_room or not text)
                and smsc not in self._deaf
            ):
                found, least = smsc, load
        return found

    def _give(self, smsc: Smsc, request: Request) -> None:
        request.host = smsc.host
        smsc.send(request.command, request.body, request)

    def _wait(self, request: Request) -> None:
        if len(self._waiting) >= limits.SMPP_POOL_WAITING_MAX:
            self.refuse(request, ESME_RTHROTTLED)
            return
        request.sent_at = self._loop.time()
        self._waiting.append(request)

    def _turn_back(self, status: int, *, before: float = float("inf")) -> None:
        """Answer what began to wait `before` then, and was never sent."""
        while self._waiting and self._waiting[0].sent_at < before:
            self.refuse(self._waiting.popleft(), status)

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(limits.SMPP_SWEEP_S, self._sweep)
        now = self._loop.time()
        self._turn_back(ESME_RTHROTTLED, before=now - limits.SMPP_RESPONSE_S)
        for bind in list(self._binds):
            bind.link.sweep(now)
            if bind.link.idle and not self._closing:
                bind.link.keep()
        self.heard()
        for routes in self._routes.values():
            for route in routes:
                route.forget_lost()
        self._deliveries.sweep(now)
        self.owners.poll()


class _Link(Link):
    """One of several: the pool says whether the SMSC is there."""

    def _note_up(self, up: int) -> None:
        return


class _Bind:
    """One bind of a pool (`upstream.Owner`)."""

    def __init__(self, pool: SmscPool, command: int, body: bytes, trust: Trust | None, metrics: Metrics) -> None:
        self.tried = False
        self.sends = command != BIND_RECEIVER
        self._pool = pool
        self.link = _Link(pool.upstream, metrics, self, command, body, lambda _: pool.ended(self), trust)

    def opened(self, status: int, body: bytes) -> None:
        self.tried = True
        self._pool.tried()

    def standing(self, smsc: Smsc | None) -> None:
        self._pool.changed()

    def deliver(self, command: int, sequence: int, body: bytes) -> bool:
        smsc = self.link.standing
        if smsc is None:
            return False
        self._pool.deliver(smsc, command, sequence, body)
        return True

    def heard(self) -> None:
        self._pool.heard()

    def hold(self, *, deaf: bool) -> None:
        self._pool.hold(self.link.standing, deaf=deaf)


def _addresses(command: int, body: bytes) -> bytes:
    """What all parts of one message have in common; of a submit_multi only who sends it."""
    at = -1
    for skipped in (1, 3) if command == pdu.SUBMIT_MULTI else (1, 3, 3):
        at = body.find(0, at + skipped)
    return body[:at]

"""A client's way to and from a pooled SMSC: what stands where, with a mirrored one, its own bind would.

    Connection ── send ──▶ Route ──▶ pool.SmscPool ──▶ one of its binds
               ◀─ deliver ── Route ◀── deliveries.Deliveries ◀── whichever bind the SMSC chose

To its client a route is both what a `link.Link` is and what an `upstream.Smsc` is. Sequence numbers of what the SMSC
sends are each bind's own, so the client's answers are told apart by a token of the route's.

What asks about a message by its id — query_sm, cancel_sm, replace_sm — passes for those of the own account. Whoever
asks for another's, or for one that never was, is told ESME_RINVMSGID alike, and so is a cancel_sm without an id, which
would mean all messages from one address to another, whosever they are.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple, Protocol, cast

from gateway.config import Address
from gateway.smpp import spelling, upstream
from gateway.smpp.owners import Missing, Owner, Owners
from gateway.smpp.pdu import (
    ALERT_NOTIFICATION,
    CANCEL_SM,
    DATA_SM,
    QUERY_SM,
    REPLACE_SM,
    RESPONSE,
    SUBMIT_MULTI,
    SUBMIT_SM,
)
from gateway.smpp.statuses import ESME_RINVMSGID, ESME_ROK, ESME_RSYSERR, ESME_RX_T_APPN
from gateway.smpp.upstream import Pending, Smsc

_HAS_ID: Final = frozenset({SUBMIT_SM, SUBMIT_MULTI, DATA_SM})
"""Whose good answer begins with a message id."""
_ABOUT_ONE: Final = frozenset({QUERY_SM, CANCEL_SM, REPLACE_SM})
_MESSAGE_ID_MAX: Final = 64


class Client(upstream.Owner, Protocol):
    """The connection, as its route sees it."""

    @property
    def receives(self) -> bool:
        """It is a bind that takes deliver_sm."""

    @property
    def has_tlvs(self) -> bool:
        """It knows optional parameters."""


class Pool(Protocol):
    """What a route sees of `pool.SmscPool`."""

    owners: Owners
    hosts: tuple[Address, ...]  # whose ids are told apart

    def join(self, route: Route) -> None:
        """A client asks for its bind."""

    def leave(self, route: Route) -> None:
        """It is gone."""

    def send(self, request: Request) -> None:
        """On one of the binds, now or when there is room."""

    def refuse(self, request: Request, status: int) -> None:
        """Answer it in the SMSC's place, soon."""

    def noted(self, key: bytes) -> None:
        """The owner of this message is known now, and has its answer."""


class Request:
    """On its way to the SMSC. `host`: the only one that it may go to, until it went; then where it is."""

    __slots__ = ("body", "command", "host", "pending", "route", "sent_at")

    def __init__(self, route: Route, command: int, body: bytes, pending: Pending, host: Address | None = None) -> None:
        self.route = route
        self.command = command
        self.body = body
        self.pending = pending
        self.host = host
        self.sent_at = 0.0

    def answered(self, status: int, body: bytes) -> None:
        """The SMSC's answer. A message that it took is remembered before its client hears so."""
        route = self.route
        if status == ESME_ROK and self.command in _HAS_ID:
            message_id = body.partition(b"\0")[0]
            if 0 < len(message_id) <= _MESSAGE_ID_MAX and self.host is not None:
                owners = route.pool.owners
                key = owners.key(self.host, message_id)
                owners.note(key, Owner(route.account, message_id), partial(self._noted, key, status, body))
                return
        self.tell(status, body)

    def tell(self, status: int, body: bytes) -> None:
        """Answer the client."""
        client = self.route.owner
        if self.command in _HAS_ID and not client.has_tlvs and self.command != SUBMIT_MULTI:
            body = body[: body.find(0) + 1]
        self.pending.answered(status, body)
        client.heard()

    def _noted(self, key: bytes, status: int, body: bytes) -> None:
        self.tell(status, body)
        self.route.pool.noted(key)


class _Delivered(NamedTuple):
    """At the client, and not answered."""

    smsc: Smsc
    command: int
    sequence: int


class Route:
    """Of one bind of a client; `command` is that bind's."""

    def __init__(self, pool: Pool, owner: Client, account: bytes, command: int) -> None:
        self.pool = pool
        self.owner = owner
        self.account = account
        self.command = command
        self.gone = False
        self._deaf = False
        self._delivered: dict[int, _Delivered] = {}
        self._token = 0

    def __len__(self) -> int:
        """What the client has not answered."""
        return len(self._delivered)

    # as a link.Link

    def open(self) -> None:
        self.pool.join(self)

    def close(self) -> None:
        """What the client has not answered comes again."""
        if self.gone:
            return
        self.gone = True
        self.pool.leave(self)
        delivered, self._delivered = self._delivered, {}
        for one in delivered.values():
            one.smsc.respond(one.command | RESPONSE, ESME_RX_T_APPN, one.sequence)

    # as an upstream.Smsc

    def send(self, command: int, body: bytes, pending: Pending) -> None:
        request = Request(self, command, body, pending)
        if command in _ABOUT_ONE:
            self._look(request, _id_of(command, body), self.pool.hosts)
        else:
            self.pool.send(request)

    def respond(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """The client's answer to what came as `sequence`."""
        one = self._delivered.pop(sequence, None)
        if one is not None:
            one.smsc.respond(command, status, one.sequence, body)

    def listen(self, *, listening: bool) -> None:
        self._deaf = not listening

    # what deliveries tell

    def stand(self, *, stands: bool) -> None:
        """The SMSC is there, or is not."""
        self.owner.standing(cast(Smsc, self) if stands else None)

    def take(self, smsc: Smsc, command: int, sequence: int, body: bytes) -> bool:
        """To the client, whose answer goes to `smsc`. False: it takes none now."""
        if self.gone or self._deaf or not self.owner.receives:
            return False
        if command == ALERT_NOTIFICATION:
            return self.owner.deliver(command, sequence, body)
        if not self.owner.has_tlvs:
            short = spelling.plain(command, body)
            if short is None:
                return False
            body = short
        self._token += 1
        token = self._token
        self._delivered[token] = _Delivered(smsc, command, sequence)
        if self.owner.deliver(command, token, body):
            return True
        self._delivered.pop(token, None)
        return False

    def forget_lost(self) -> None:
        """Nobody waits for what came over a bind that is gone."""
        for token, one in list(self._delivered.items()):
            if not one.smsc.connected:
                del self._delivered[token]

    # inside

    def _look(self, request: Request, message_id: bytes, hosts: tuple[Address, ...]) -> None:
        """Whose is it?"""
        if not 0 < len(message_id) <= _MESSAGE_ID_MAX or not hosts:
            self.pool.refuse(request, ESME_RINVMSGID)
            return
        owners = self.pool.owners
        owners.find(owners.key(hosts[0], message_id), partial(self._looked, request, message_id, hosts))

    def _looked(self, request: Request, message_id: bytes, hosts: tuple[Address, ...], found: Owner | Missing) -> None:
        if isinstance(found, Owner) and found.account == self.account:
            request.host = hosts[0] if len(self.pool.hosts) > 1 else None
            self.pool.send(request)
        elif found is Missing.UNAVAILABLE:
            self.pool.refuse(request, ESME_RSYSERR)
        else:
            self._look(request, message_id, hosts[1:])


def _id_of(command: int, body: bytes) -> bytes:
    """What a query_sm, cancel_sm or replace_sm is about; of a cancel_sm the service_type comes first (§4.9.1)."""
    start = body.find(0) + 1 if command == CANCEL_SM else 0
    end = body.find(0, start)
    return body[start:end] if end >= 0 else b""

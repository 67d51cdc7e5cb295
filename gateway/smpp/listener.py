"""The SMPP door: sockets to sessions, sessions to submits.

    client ──octets──▶ _Connection ──▶ session.Session ──events──▶ submit.take ──▶ upstream.Smsc
                            ◀──────────── answers ────────────────────┘

Each bind of a client opens its own at the SMSC and is answered when that one is. If the SMSC goes away later, the
client stays bound: what it submits is told ESME_RSYSERR until the SMSC is back.

A client may have `window` requests unanswered; then nothing more is read from it, and TCP tells it to wait. Answers of
one loop tick leave in one write. A fault of our own ends here: its submit hears a temporary refusal, the log the cause,
and the other submits and sessions nothing (promise I4). Bounds per account hold for each worker.
"""

from __future__ import annotations

import asyncio
import hmac
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import cast

from filters.model import Reason, Stream
from filters.sms import ALPHABETS
from gateway import limits
from gateway.config import Account, Config, Listener, Upstream
from gateway.door import Door, Peer
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.smpp import statuses
from gateway.smpp.frames import Frame
from gateway.smpp.link import PROTOCOL, Link
from gateway.smpp.mo import Refusals
from gateway.smpp.parts import Groups
from gateway.smpp.pdu import (
    ALERT_NOTIFICATION,
    BIND_RECEIVER,
    HEADER_OCTETS,
    RESPONSE,
    SC_INTERFACE_VERSION,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
    bind_body,
    tlv,
    walk_bind,
)
from gateway.smpp.session import BOUND_BY, Answer, Event, Fault, Session, State
from gateway.smpp.statuses import ESME_RALYBND, ESME_RINVPASWD, ESME_ROK, ESME_RSYSERR, ESME_RX_T_APPN
from gateway.smpp.submit import T, Way, take
from gateway.smpp.upstream import Smsc
from gateway.streams import StreamTable
from gateway.trust import Trust

_VERSION_WITH_TLVS = 0x34
_UNBOUND_WINDOW = 1  # requests at once before a bind stands: the bind itself


class SmppDoor(Door["_Connection"]):
    """One `[[listener]]` with `protocol = "smpp"`."""

    def __init__(
        self,
        listener: Listener,
        config: Config,
        pipeline: Pipeline,
        streams: StreamTable,
        metrics: Metrics,
        refusals: Refusals | None = None,
    ) -> None:
        super().__init__(
            PROTOCOL, listener, metrics, sessions_max=limits.SMPP_SESSIONS_MAX, sweep_s=limits.SMPP_SWEEP_S
        )
        self.pipeline = pipeline
        self.streams = streams
        self.config = config
        self.refusals = refusals
        self.links: set[Link] = set()
        self.binds: Counter[bytes] = Counter()
        self._groups: dict[bytes, Groups] = {}
        self._ways: dict[Stream, Way] = {}
        self._trusts: dict[str, Trust] = {}
        self._reference = random.getrandbits(16)

    def connection(self) -> asyncio.Protocol:
        """One session."""
        return _Connection(self)

    # for connections

    def groups(self, account: Account) -> Groups:
        """The long messages of an account, whichever bind their parts use."""
        return self._groups.setdefault(account.system_id, Groups())

    def way(self, stream: Stream) -> Way:
        """What holds for all messages of a stream."""
        known = self._ways.get(stream)
        if known is None:
            known = self._ways[stream] = Way(stream, self.config.upstreams[stream.upstream].reserve)
        return known

    def trust(self, upstream: Upstream) -> Trust | None:
        """Whom binds at `upstream` trust; None: they use no TLS."""
        if upstream.tls == "none":
            return None
        return self._trusts.setdefault(upstream.name, Trust(upstream))

    def reference(self) -> int:
        """The next of 65,536: two messages to one handset never share one within its patience."""
        self._reference = self._reference + 1 & 0xFFFF
        return self._reference

    def ended(self, link: Link) -> None:
        """Nothing is left of `link`."""
        self.links.discard(link)
        self.note_empty()

    # what a door has beside sessions

    def is_empty(self) -> bool:
        return super().is_empty() and not self.links

    def abort(self) -> None:
        super().abort()
        for link in list(self.links):
            link.abort()

    def sweep(self, now: float) -> None:
        super().sweep(now)
        for link in list(self.links):
            link.sweep(now)
        for groups in self._groups.values():
            groups.expire(now)


class _Connection(asyncio.Protocol):
    """One client's socket, and its bind."""

    def __init__(self, door: SmppDoor) -> None:
        self.pipeline = door.pipeline
        self.groups = Groups()  # the account's, once bound
        self.alphabets = ALPHABETS
        self.noted: Callable[[bytes, int], None] | None = None
        self.smsc: Smsc | None = None
        self.gone = False
        self.now = door.now
        self.reference = door.reference
        self.patient = True
        self.later = door.loop.call_later
        self._door = door
        self._loop = door.loop
        self._session = Session(door.now())
        self.respond = self._session.respond
        self._transport: asyncio.Transport | None = None
        self._peer: Peer = None
        self._account: Account | None = None
        self._window = _UNBOUND_WINDOW
        self._ways: dict[bytes, Way | None] = {}
        self._link: Link | None = None
        self._bind: Frame | None = None  # that waits for the SMSC
        self._version = 0
        self._flushing = False
        self._deaf = self._smsc_deaf = False
        self._pumping = False
        self._frame: Frame | None = None  # the submit_sm that is acted on
        self._full = False  # the window: the rest of what was heard waits
        self._paused = False

    # what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._peer = self._door.opened(self, transport)
        if self._door.admit(self, self._peer) is not None:
            self._transport.abort()  # SMPP has no word for it before a bind

    def data_received(self, data: bytes) -> None:
        self._session.receive(data, self._loop.time())
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gone = True
        self.smsc = None
        if self._link is not None:
            self._link.close()
        if self._account is not None:
            self._door.binds[self._account.system_id] -= 1
        self._door.closed(self)

    def pause_writing(self) -> None:
        """The client does not read what it gets."""
        self._deaf = True
        if self.smsc is not None:
            self.smsc.listen(listening=False)
        self._throttle()

    def resume_writing(self) -> None:
        self._deaf = False
        if self.smsc is not None:
            self.smsc.listen(listening=True)
        self._throttle()

    # what the door tells

    def sweep(self, now: float) -> None:
        for event in self._session.tick(now):
            self._act(event)
        self._flush_soon()

    def drain(self) -> None:
        self._session.drain()
        self._flush_soon()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # what submits tell (submit.Bind)

    def answer(self, sequence: int, status: int, body: bytes = b"") -> None:
        self._session.respond(SUBMIT_SM_RESP, status, sequence, body)
        if not self._flushing:
            self._flush_soon()

    def way(self, source_addr: bytes) -> Way | None:
        if source_addr in self._ways:
            return self._ways[source_addr]
        assert self._account is not None
        if len(self._ways) >= limits.SMPP_SOURCES_MAX:
            self._ways.clear()
        stream = self._door.streams.match(account=self._account.system_id, source_addr=source_addr, client=self._peer)
        # A stream that leads to another SMSC than the one this client's bind stands at is none for it.
        fits = stream is not None and stream.upstream == self._account.upstream
        way = self._ways[source_addr] = self._door.way(stream) if stream is not None and fits else None
        return way

    def step(self, action: Callable[[T], None], failed: Callable[[T], None], subject: T) -> None:
        """The one edge: our own fault is temporary for its client, and stays with it."""
        try:
            action(subject)
        except Exception as fault:  # noqa: BLE001
            self._door.fault(fault)
            failed(subject)

    # what the SMSC's end tells (upstream.Owner)

    def opened(self, status: int, body: bytes) -> None:
        if self._bind is None:
            return
        (command, _, sequence, _), self._bind = self._bind, None
        if status == ESME_ROK:
            self._session.bound(command, status, sequence, body or self._greeting())
        else:
            self._session.bound(command, statuses.of_bind(status), sequence)
        self._flush_soon()

    def standing(self, smsc: Smsc | None) -> None:
        self.smsc = None if self.gone else smsc
        if smsc is None:
            self._session.forget_requests()
            self.hold(deaf=False)
        elif self._deaf:
            smsc.listen(listening=False)

    def deliver(self, command: int, sequence: int, body: bytes) -> bool:
        refusals = self._door.refusals
        if refusals is not None and self._account is not None and command != ALERT_NOTIFICATION:
            seen_to = refusals.take(self, self._account.system_id, command, sequence, body)
            if seen_to is not None:
                return seen_to
        if self.groups.together and (smsc := self.smsc) is not None:
            later = partial(self.pass_on, smsc, command, sequence, body)
            if self.groups.hold(body, later):
                return True
        return self._forward(command, sequence, body)

    def _forward(self, command: int, sequence: int, body: bytes) -> bool:
        token = None if command == ALERT_NOTIFICATION else sequence
        if not self._session.request(command, body, token, self._loop.time()):
            return False
        self._flush_soon()
        return True

    # what a refusal by SMS tells (mo.Bind)

    def pass_on(self, smsc: Smsc, command: int, sequence: int, body: bytes) -> None:
        if self.smsc is smsc and not self._forward(command, sequence, body):
            smsc.respond(command | RESPONSE, ESME_RX_T_APPN, sequence)

    def turn_back(self, smsc: Smsc, command: int, sequence: int) -> None:
        if self.smsc is smsc:
            smsc.respond(command | RESPONSE, ESME_RX_T_APPN, sequence)

    def sender(self) -> Smsc | None:
        for one in (self, *self._door.sessions):
            if one._account is self._account and one.smsc is not None and one._submits:
                return one.smsc
        return None

    @property
    def _submits(self) -> bool:
        """Whether the bind is one that may submit."""
        return self._link is not None and self._link.command != BIND_RECEIVER

    # what all of them tell

    def heard(self) -> None:
        if not self._flushing:
            self._flush_soon()

    def hold(self, *, deaf: bool) -> None:
        self._smsc_deaf = deaf
        self._throttle()

    # what the session hears

    def _pump(self) -> None:
        """Act on what was heard, as far as the window reaches. A fault of our own is one frame's."""
        self._pumping = True
        while self._pumping:
            self.step(_Connection._hear, _Connection._fail, self)
        if not self._flushing and (self._full or self._session.due):
            self._flush_soon()

    def _hear(self) -> None:
        session, window = self._session, self._window
        while not (full := session.owed >= window) and (event := session.next_event()) is not None:
            if event[0] == SUBMIT_SM:
                self._frame = event
                take(self, event[2], event[3])
                self._frame = None
            else:
                self._act(event)
                window = self._window
        self._full = full
        self._pumping = False

    def _fail(self) -> None:
        frame, self._frame = self._frame, None
        if frame is None:
            self._pumping = False
            self.abort()
        else:
            self.answer(frame[2], statuses.OF_REASON[Reason.INTERNAL])

    def _act(self, event: Event) -> None:
        if isinstance(event, Answer):
            if self.smsc is not None:
                self.smsc.respond(event.command, event.status, event.token, event.body)
        elif isinstance(event, Fault):
            self._door.count(event.kind)
        elif event[0] in BOUND_BY:
            self._log_in(event)
        else:
            self._relay(event)

    def _log_in(self, frame: Frame) -> None:
        command, _, sequence, pdu = frame
        bind = walk_bind(pdu)
        if isinstance(bind, int):
            self._session.bound(command, bind, sequence)
            return
        door = self._door
        account = door.config.accounts.get(bind.system_id)
        known = hmac.compare_digest(bind.password, account.password if account else b"\0")
        if account is None or not account.is_esme or not known:
            # One answer to an unknown name and to a wrong password: neither is to be found out.
            door.count("bad_password")
            self._session.bound(command, ESME_RINVPASWD, sequence)
        elif door.binds[account.system_id] >= account.binds_max:
            door.count("too_many_sessions")
            self._session.bound(command, ESME_RALYBND, sequence)
        else:
            door.binds[account.system_id] += 1
            self._account, self._window = account, account.window
            self.groups = door.groups(account)
            self.alphabets = account.alphabets
            self.noted = door.refusals.noter(account.system_id) if door.refusals is not None else None
            self._bind, self._version = frame, bind.interface_version
            body = bind_body(account.upstream_system_id, account.upstream_password, bind.rest)
            upstream = door.config.upstreams[account.upstream]
            self._link = Link(upstream, door.metrics, self, command, body, door.ended, door.trust(upstream))
            door.links.add(self._link)
            self._link.open()

    def _greeting(self) -> bytes:
        """The body of a good bind response, for an SMSC that sends none."""
        version = tlv(SC_INTERFACE_VERSION, b"\x34") if self._version >= _VERSION_WITH_TLVS else b""
        return self._door.hostname[:15] + b"\0" + version

    def _relay(self, frame: Frame) -> None:
        """query_sm and cancel_sm: ids are the SMSC's own."""
        command, _, sequence, pdu = frame
        if self.smsc is None:
            self._session.respond(command | RESPONSE, ESME_RSYSERR, sequence)
        else:
            self.smsc.send(command, pdu[HEADER_OCTETS:], _Relayed(self, command, sequence))

    def relayed(self, command: int, status: int, sequence: int, body: bytes) -> None:
        self.respond(command, status, sequence, body)
        self._flush_soon()

    # the socket

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """One write per loop tick; then go on with what the window held back."""
        self._flushing = False
        transport, session = self._transport, self._session
        if transport is None:
            return
        if due := session.output():
            transport.write(due)
        if session.state is State.CLOSED:
            transport.close()
            return
        if self._full and session.owed < self._window:
            self._pump()
        if self._full or self._paused:
            self._throttle()

    def _throttle(self) -> None:
        """Read nothing more while answers are not read, the SMSC does not read, or the window is full."""
        if self._transport is None or self._transport.is_closing():
            return
        full = self._full and self._session.held > 0
        if (full or self._deaf or self._smsc_deaf) != self._paused:
            self._paused = not self._paused
            if self._paused:
                if full:
                    self._door.count("window")
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


class _Relayed:
    """A query_sm or cancel_sm that waits for the SMSC."""

    __slots__ = ("_connection", "_sequence", "command", "sent_at")

    def __init__(self, connection: _Connection, command: int, sequence: int) -> None:
        self.command = command
        self.sent_at = 0.0
        self._connection = connection
        self._sequence = sequence

    def answered(self, status: int, body: bytes) -> None:
        self._connection.relayed(self.command | RESPONSE, status, self._sequence, body)

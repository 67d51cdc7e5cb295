"""One client's socket, and its bind: octets to the session, what the session hears to those who act on it.

A client may have `window` requests unanswered; then nothing more is read from it, and TCP tells it to wait. So it does
while the client is to be paced. Answers of one loop tick leave in one write. A fault of our own ends here: its submit
hears a temporary refusal, the log the cause, and the other submits and sessions nothing (promise I4).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from filters.model import Reason
from filters.sms import ALPHABETS
from gateway import limits
from gateway.config import Account
from gateway.door import Peer
from gateway.smpp import spelling, statuses
from gateway.smpp.esme import Esme
from gateway.smpp.frames import Frame
from gateway.smpp.link import Link
from gateway.smpp.multi import destinations, take_multi
from gateway.smpp.operations import relay, take_data, take_replace
from gateway.smpp.parts import Groups
from gateway.smpp.pdu import (
    ALERT_NOTIFICATION,
    BIND_RECEIVER,
    DATA_SM,
    DELIVER_SM,
    REPLACE_SM,
    RESPONSE,
    SC_INTERFACE_VERSION,
    SUBMIT_MULTI,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
    tlv,
    walk_bind,
)
from gateway.smpp.rate import Bucket
from gateway.smpp.receipts import Receipt
from gateway.smpp.routes import Route
from gateway.smpp.session import BOUND_BY, SENDABLE, Answer, Event, Fault, Session, State
from gateway.smpp.spelling import Delivery
from gateway.smpp.split import Splitter
from gateway.smpp.statuses import ESME_RALYBND, ESME_RINVPASWD, ESME_ROK, ESME_RTHROTTLED, ESME_RX_T_APPN
from gateway.smpp.submit import Bind, Submit, T, Way, take
from gateway.smpp.upstream import Smsc

if TYPE_CHECKING:
    from gateway.smpp.listener import SmppDoor

TAKERS: Final[dict[object, Callable[[Bind, int, bytes], None]]] = {
    SUBMIT_SM: take,
    SUBMIT_MULTI: take_multi,
    DATA_SM: take_data,
    REPLACE_SM: take_replace,
}
"""What carries a text, and who acts on it."""

_VERSION_WITH_TLVS = 0x34
_UNBOUND_WINDOW = 1  # requests at once before a bind stands: the bind itself


class Connection(asyncio.Protocol):
    """One client's socket, and its bind."""

    def __init__(self, door: SmppDoor) -> None:
        self.pipeline = door.pipeline
        self.groups = Groups()  # the account's, once bound
        self.alphabets = ALPHABETS
        self.block_status = statuses.ESME_RSUBMITFAIL
        self.noted: Callable[[bytes, int], None] | None = None
        self.splitter: Splitter | None = None
        self._folded: dict[int, Callable[[Answer], None]] = {}  # who hears of the client's answer in the SMSC's place
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
        self._esme: Esme | None = None
        self._bucket: Bucket | None = None
        self._window = _UNBOUND_WINDOW
        self._ways: dict[bytes, Way | None] = {}
        self._link: Link | Route | None = None
        self._bind: Frame | None = None  # that waits for the SMSC
        self._version = 0
        self._reads = False  # what the SMSC sends: it may be a refusal, or a part's receipt
        self._flushing = False
        self._deaf = self._smsc_deaf = False
        self._pumping = False
        self._frame: Frame | None = None  # the text that is acted on
        self._paced: Frame | None = None  # one that has to wait: its account submits too fast
        self._waited: Frame | None = None  # it may go on
        self._pacing: asyncio.TimerHandle | None = None
        self._full = False  # the window: the rest of what was heard waits
        self._paused = False
        self._ends_by = float("inf")  # it was told the last word

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
        if self._pacing is not None:
            self._pacing.cancel()
        if self._esme is not None:
            self._esme.left(self)
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
        if now > self._ends_by:
            self.abort()  # the last word is not read
        if self._paused and not self._deaf:
            self._session.excuse(now)
        for event in self._session.tick(now):
            self._act(event)
        self._flush_soon()

    def drain(self) -> None:
        if self._esme is not None:
            self._esme.send_receipts(self._loop.time())
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

    def reply(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        self._session.respond(command, status, sequence, body)
        self._flush_soon()

    def block(self, submit: Submit, reason: Reason) -> None:
        assert self._esme is not None
        submit.bind.answer(submit.sequence, *self._esme.refusal(submit.pdu, submit.at, reason, self._loop.time()))

    def occupy(self, requests: int) -> None:
        self._session.owed += requests

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
            body = body or self._door.hostname[:15] + b"\0" + tlv(SC_INTERFACE_VERSION, b"\x34")
            # A client of version 3.3 knows no TLVs.
            self._session.bound(command, status, sequence, body if self.has_tlvs else body[: body.find(0) + 1])
        else:
            self._session.bound(command, statuses.of_bind(status), sequence)
        self._flush_soon()

    def standing(self, smsc: Smsc | None) -> None:
        self.smsc = None if self.gone else smsc
        if smsc is None:
            self._session.forget_requests()
            self._folded.clear()
            self.hold(deaf=False)
        elif self._deaf:
            smsc.listen(listening=False)

    def deliver(self, command: int, sequence: int, body: bytes) -> bool:
        # What cannot be read is the client's to judge.
        read = spelling.read(command, body) if self._reads and command != ALERT_NOTIFICATION else None
        delivery = read if isinstance(read, Delivery) else None
        refusals = self._door.refusals
        if delivery is not None and not delivery.is_receipt and refusals is not None and self._account is not None:
            seen_to = refusals.take(self, self._account.system_id, sequence, delivery)
            if seen_to is not None:
                return seen_to
        if self.groups.together and (smsc := self.smsc) is not None:
            later = partial(self._let_go, smsc, command, sequence, body, delivery)
            if self.groups.hold(body, later):
                return True
        return self._deliver(command, sequence, body, delivery)

    def _deliver(self, command: int, sequence: int, body: bytes, delivery: Delivery | None) -> bool:
        folding = self._esme.folding if self._esme is not None else None
        if folding is not None and delivery is not None and delivery.is_receipt:
            seen_to = folding.take(self, sequence, body, delivery)
            if seen_to is not None:
                return seen_to
        return self._forward(command, sequence, body)

    def _let_go(self, smsc: Smsc, command: int, sequence: int, body: bytes, delivery: Delivery | None) -> None:
        if self.smsc is smsc and not self._deliver(command, sequence, body, delivery):
            smsc.respond(command | RESPONSE, ESME_RX_T_APPN, sequence)

    def _forward(self, command: int, sequence: int, body: bytes) -> bool:
        token = None if command == ALERT_NOTIFICATION else sequence
        if not self._session.request(command, body, token, self._loop.time()):
            return False
        self._flush_soon()
        return True

    # what receipts of our own tell (receipts.Receiver)

    @property
    def receives(self) -> bool:
        return self._transport is not None and self._session.state in SENDABLE

    def receipt(self, token: int, receipt: Receipt) -> bool:
        body = receipt.body + receipt.tlvs if self.has_tlvs else receipt.body
        if not self._session.request(DELIVER_SM, body, token, self._loop.time()):
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

    # what folded receipts tell (fold.Bind)

    def pass_folded(
        self, smsc: Smsc, command: int, sequence: int, body: bytes, answered: Callable[[Answer], None]
    ) -> None:
        later = partial(self._pass_folded, smsc, command, sequence, body, answered)
        if not self.groups.together or not self.groups.hold(body, later):
            later()

    def _pass_folded(
        self, smsc: Smsc, command: int, sequence: int, body: bytes, answered: Callable[[Answer], None]
    ) -> None:
        if self.smsc is not smsc:
            return
        if self._forward(command, sequence, body):
            self._folded[sequence] = answered
        else:
            smsc.respond(command | RESPONSE, ESME_RX_T_APPN, sequence)

    def tell(self, smsc: Smsc, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        if self.smsc is smsc:
            smsc.respond(command, status, sequence, body)

    def sender(self) -> Smsc | None:
        for one in (self, *self._door.sessions):
            if one._account is self._account and one.smsc is not None and one._submits:
                return one.smsc
        return None

    @property
    def has_tlvs(self) -> bool:
        return self._version >= _VERSION_WITH_TLVS

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
            self.step(Connection._hear, Connection._fail, self)
        if not self._flushing and (self._full or self._session.due):
            self._flush_soon()

    def _hear(self) -> None:
        session, window, bucket = self._session, self._window, self._bucket
        waited, self._waited = self._waited, None
        if waited is not None:
            self._take(waited)
        while (
            not (full := session.owed >= window or self._paced is not None)
            and (event := session.next_event()) is not None
        ):
            if bucket is not None and event[0] in TAKERS and not self._admit(bucket, cast(Frame, event)):
                continue
            if event[0] == SUBMIT_SM:
                self._frame = event
                take(self, event[2], event[3])
                self._frame = None
            else:
                self._act(event)
                window, bucket = self._window, self._bucket
        self._full = full
        self._pumping = False

    def _take(self, frame: Frame) -> None:
        self._frame = frame
        TAKERS[frame[0]](self, frame[2], frame[3])
        self._frame = None

    def _fail(self) -> None:
        frame, self._frame = self._frame, None
        if frame is None:
            self._pumping = False
            self.abort()
        else:
            self.reply(frame[0] | RESPONSE, statuses.OF_REASON[Reason.INTERNAL], frame[2])

    def _admit(self, bucket: Bucket, frame: Frame) -> bool:
        """Is the account no faster than it may be? If it is, its text waits, and nothing is read, or it is refused."""
        assert self._account is not None
        cost = destinations(frame[3]) if frame[0] == SUBMIT_MULTI else 1
        now = self._loop.time()
        if self._account.rate_mode == "reject":
            if bucket.take(cost, now):
                return True
            self.reply(frame[0] | RESPONSE, ESME_RTHROTTLED, frame[2])
        else:
            delay_s = bucket.reserve(cost, now)
            if delay_s <= 0:
                return True
            self._paced = frame
            self._pacing = self._loop.call_later(delay_s, self._go_on)
        self._door.count("rate")
        return False

    def _go_on(self) -> None:
        self._waited, self._paced = self._paced, None
        self._pump()

    def _act(self, event: Event) -> None:
        if isinstance(event, Answer):
            if event.token < 0 and self._esme is not None:
                self._esme.receipted(event.token, event.status)
            elif (answered := self._folded.pop(event.token, None)) is not None:
                answered(event)
            elif self.smsc is not None:
                self.smsc.respond(event.command, event.status, event.token, event.body)
        elif isinstance(event, Fault):
            self._door.count(event.kind)
        elif event[0] in BOUND_BY:
            self._log_in(event)
        elif event[0] in TAKERS:
            self._take(event)
        else:
            relay(self, event[0], event[2], event[3])

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
            return
        esme = door.esme(account)
        if len(esme.binds) >= account.binds_max:
            door.count("too_many_sessions")
            self._session.bound(command, ESME_RALYBND, sequence)
        else:
            esme.binds.add(self)
            self._esme, self._bucket = esme, esme.bucket
            self._account, self._window = account, account.window
            self.groups = esme.groups
            self.alphabets = account.alphabets
            self.block_status = account.block_status
            self.splitter = esme.folding.splitter if esme.folding is not None else None
            refusals = door.refusals
            self.noted = refusals.noter(account.system_id) if refusals is not None else None
            may_refuse = refusals is not None and refusals.takes(account.system_id)
            self._reads = may_refuse or esme.folding is not None
            self._bind, self._version = frame, bind.interface_version
            self._link = door.onward(self, account, command, bind.rest)
            self._link.open()

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
            self._ends_by = min(self._ends_by, self._loop.time() + limits.SMPP_UNBIND_S)
            transport.close()
            return
        if self._full and self._paced is None and session.owed < self._window:
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
                if full and self._paced is None:
                    self._door.count("window")
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

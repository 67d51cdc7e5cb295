"""One client's socket at the SMTP door: octets to a session, its events to transactions, the answers back.

A connection owns its socket and nothing else; the order of replies is the session's, the way of a message the
transaction's. A fault of our own ends here: the client hears a temporary refusal, the log the cause, and the other
sessions nothing (promise I4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from filters.model import Channel, Reason
from gateway import limits
from gateway.door import UNKNOWN, Peer, Refusal
from gateway.front import Front
from gateway.passwords import Answer
from gateway.pipeline import Question
from gateway.smtp import replies, trace, xclient
from gateway.smtp.delivery import Transaction
from gateway.smtp.events import Data, Fault, Impersonate, Mail, Message, Rcpt, StartTls, State
from gateway.smtp.parties import Recipient
from gateway.smtp.sasl import Credentials

if TYPE_CHECKING:
    from gateway.smtp.listener import SmtpDoor

_REFUSALS: Final = {
    Refusal.DRAINING: replies.DRAINING,
    Refusal.TOO_MANY_SESSIONS: replies.TOO_MANY_SESSIONS,
    Refusal.NOT_ALLOWED: replies.NOT_ALLOWED,
    Refusal.TOO_MANY_OF_CLIENT: replies.TOO_MANY_OF_CLIENT,
}


class _Refused(Question):
    """A MAIL that no stream takes: it stands in the journal like any other decision."""

    __slots__ = ("connection",)

    def __init__(self, connection: ServedClient) -> None:
        super().__init__(None, Channel.EPOSTA, None)
        self.connection = connection

    def decided(self) -> None:
        self.connection.step(self.connection.answer, replies.verdict(self.outcome, self.reason, self.id))


class ServedClient(asyncio.Protocol):
    """One client's socket."""

    def __init__(self, door: SmtpDoor) -> None:
        self.session = door.session_type(door.hostname, door.offer)
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._peer: Peer = None
        self._transaction: Transaction | None = None
        self._peer_text = b""  # as Received writes it; empty: a Unix socket
        self._trace = trace.Trace()
        self._held = 0  # octets of content accounted for
        self._failures = 0  # to log in
        self._pumping = False
        self._has_more = False  # was heard, and is acted on in the next turn
        self._half_closed = False
        self._deaf = False
        self.paused = False  # nothing more is read

    # what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        door = self._door
        peer = door.opened(self, transport)
        self.session.terms = door.terms(peer)
        self.session.secured = transport.get_extra_info("ssl_object") is not None
        if self._admitted(peer):
            self.session.greet(door.now())
        self._flush()

    def data_received(self, data: bytes) -> None:
        session = self.session
        session.receive(data, self._door.now())
        if session.state is State.DATA:
            self._hold(len(data))
        try:
            self._pump()
        except Exception as fault:  # noqa: BLE001
            self._failed(fault)

    def eof_received(self) -> bool:
        """Gone, or a script that has said all it will say: it is answered, but not believed to hear it."""
        self._half_closed = True
        self._left()
        return self.session.owes or self._has_more

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.session.state is State.DATA:
            self._door.count("disconnect_in_data")
        if self.session.state is not State.MESSAGE:  # else the copies under way go on, and end in `finished`
            self._hold(-self._held)
        self._left()
        self._door.closed(self)

    def _left(self) -> None:
        """Nobody waits for the answer any more; a retry may come before it."""
        if self._transaction is not None and self.session.state is State.MESSAGE:
            self.step(self._transaction.left)

    def pause_writing(self) -> None:
        """The client does not read its replies."""
        self._deaf = True
        self._throttle()

    def resume_writing(self) -> None:
        self._deaf = False
        self._throttle()

    def secured(self) -> None:
        """The handshake of STARTTLS is done (front.Front)."""
        self.session.secure(self._door.now())
        self.step(self._pump)

    @property
    def gone(self) -> bool:
        """Nobody hears the answer any more, or nobody who can be believed to."""
        return self._half_closed or self._transport is None or self._transport.is_closing()

    # what the door tells

    def end(self, reply: bytes) -> None:
        """Say `reply` and close."""
        self.session.close(reply)
        self._flush()

    def drain(self) -> None:
        self.session.drain()
        self.step(self._pump)

    def sweep(self, now: float) -> None:
        if self.session.deadline < now:
            self.end(replies.IDLE)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # what transactions tell

    def step(self, action: Callable[..., object], *arguments: object) -> None:
        """The one edge: our own fault is temporary for its client, and stays with it."""
        try:
            action(*arguments)
        except Exception as fault:  # noqa: BLE001
            self._failed(fault)

    def _failed(self, fault: Exception) -> None:
        self._door.fault(fault)
        self._transaction = None
        if self.session.stands_still:
            self.step(self.answer, replies.LOCAL_ERROR)
        else:
            self.end(replies.LOCAL_ERROR_CLOSING)

    def answer(self, reply: bytes) -> None:
        """The answer to the event acted on last."""
        self.session.answer(reply)
        self._pump()

    def decided(self, recipient: Recipient) -> None:
        now = self._door.now()
        for _ in range(recipient.promises):
            self.session.fulfil(recipient, now)
        recipient.promises = 0
        if not self.session.owes:
            self._pump()

    def finished(self, transaction: Transaction, reply: bytes) -> bool:
        self._hold(-self._held)
        if transaction is not self._transaction:
            return False
        self._transaction = None
        heard = not self.gone
        self.answer(reply)
        return heard

    def received_by(self, decision_id: bytes) -> bytes:
        session, door = self.session, self._door
        plain, extended, utf8 = door.spoken
        kind = utf8 if session.utf8 else extended if session.esmtp else plain
        if session.esmtp:  # RFC 3848
            kind += (b"S" if session.secured else b"") + (b"A" if session.account else b"")
        helo, client = session.helo, self._peer_text
        if session.forwarded:
            helo = session.forwarded.get(b"HELO") or helo
            client = trace.client(xclient.address(session.forwarded.get(b"ADDR") or b"")) or client
        return self._trace.received(helo, client, door.hostname, kind, decision_id, door.date())

    # what the session hears

    def _pump(self) -> None:
        """Act on all that was heard, then write all that is due at once; whoever says very much lets others in."""
        if self._pumping:
            return
        self._pumping = True
        try:
            session, turn = self.session, limits.SMTP_EVENTS_AT_ONCE
            while turn and (event := session.next_event()) is not None:
                _ACTIONS[type(event)](self, event)
                turn -= 1
        finally:
            self._pumping = False
        if not turn and not self._has_more:
            self._has_more = True
            self._door.loop.call_soon(self._go_on)
        self._flush()

    def _go_on(self) -> None:
        self._has_more = False
        if self._transport is not None:
            self.step(self._pump)

    def _begin(self, event: Mail) -> None:
        sender, parameters = event
        stream = self._door.stream(sender, self._peer, self.session.account)
        if stream is None:
            self._door.pipeline.refuse(_Refused(self), Reason.NO_STREAM)
            return
        upstream = self._door.upstreams[stream.upstream]
        self._transaction = self._door.transaction_type(
            self._door, self, stream=stream, upstream=upstream, sender=sender, parameters=parameters
        )
        self.session.answer(replies.SENDER_OK)

    def _name(self, event: Rcpt) -> None:
        assert self._transaction is not None
        recipient = self._transaction.recipient(*event)
        if recipient.reply:
            self.session.answer(recipient.reply)
            return
        self.session.promise(recipient)
        recipient.promises += 1
        if recipient.promises == 1:
            self._door.pipeline.ask(recipient)

    def _let_come(self, event: Data) -> None:
        room = self._door.transit < limits.SMTP_TRANSIT_OCTETS_MAX
        self.session.answer(replies.START_DATA if room else replies.NO_ROOM)

    def _deliver(self, event: Message) -> None:
        assert self._transaction is not None
        self._transaction.deliver(event.content, dotted=event.dotted)

    def _start_tls(self, event: StartTls) -> None:
        assert self._transport is not None
        self._transport.write(self.session.output())
        cast(Front, self._transport).start_tls()

    def _count(self, event: Fault) -> None:
        self._door.count(event.kind)

    # who the client is

    def _admitted(self, peer: Peer) -> bool:
        """Whether `peer` is served; else the session is closed."""
        self._peer, self._peer_text = peer, trace.client(peer)
        refusal = self._door.admit(self, peer)
        if refusal is not None:
            self.session.close(_REFUSALS[refusal])
        return refusal is None

    def _become(self, event: Impersonate) -> None:
        """XCLIENT: from now on this client is another one."""
        attributes, peer = event.attributes, self._peer
        if b"ADDR" in attributes:
            peer = xclient.address(attributes[b"ADDR"] or b"") or UNKNOWN
        if self._admitted(peer):
            self.session.answer(self.session.greeting)

    def _log_in(self, claimed: Credentials) -> None:
        assert self._door.passwords is not None
        account = self._door.accounts.get(claimed.system_id)
        stored = account.stored if account is not None else None
        self._door.passwords.check(stored, claimed.password, lambda answer: self.step(self._checked, answer))

    def _checked(self, answer: Answer) -> None:
        """The password was looked at. A wrong one is answered late, each time later: guessing takes its time."""
        if answer is Answer.WRONG:
            self._door.count("bad_password")
            delay_s = limits.AUTH_DELAY_S * 2**self._failures
            self._failures += 1
            self._door.loop.call_later(delay_s, self.step, self._heard, replies.LOGIN_REFUSED)
        elif answer is Answer.BUSY:
            self._door.count("auth_busy")
            self._heard(replies.LOGIN_BUSY)
        else:
            self._heard(replies.LOGGED_IN)

    def _heard(self, reply: bytes) -> None:
        """Answer, if somebody is still there."""
        if self._transport is not None:
            self.answer(reply)

    # the socket

    def _flush(self) -> None:
        transport, session = self._transport, self.session
        if transport is None:
            return
        if due := session.output():
            transport.write(due)
        state = session.state
        if self._held and state is not State.DATA and state is not State.MESSAGE:
            self._hold(-self._held)  # the content was refused
        if state is State.CLOSED or (self._half_closed and not session.owes and not self._has_more):
            transport.close()
        elif self.paused or session.held > limits.SMTP_PIPELINE_OCTETS_MAX:
            self._throttle()

    def _throttle(self) -> None:
        """Read nothing more while replies are not read, or while commands are sent far ahead of their answers."""
        if self._transport is None or self._transport.is_closing():
            return
        ahead = (self.session.owes or self._has_more) and self.session.held > limits.SMTP_PIPELINE_OCTETS_MAX
        if (self._deaf or ahead) != self.paused:
            self.paused = not self.paused
            if self.paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _hold(self, octets: int) -> None:
        """Account for content in memory; beyond the bound the newest is not kept (promise I7)."""
        self._held += octets
        self._door.transit += octets
        if octets > 0 and self._door.transit > limits.SMTP_TRANSIT_OCTETS_MAX:
            self.session.overflow(replies.NO_ROOM)


_ACTIONS: Final[dict[type, Callable[[ServedClient, Any], None]]] = {
    Mail: ServedClient._begin,
    Rcpt: ServedClient._name,
    Data: ServedClient._let_come,
    Message: ServedClient._deliver,
    Credentials: ServedClient._log_in,
    StartTls: ServedClient._start_tls,
    Impersonate: ServedClient._become,
    Fault: ServedClient._count,
}

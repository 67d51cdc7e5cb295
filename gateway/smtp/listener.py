"""The SMTP door: sockets to sessions, sessions to transactions.

    client ──octets──▶ _Connection ──▶ session.Session ──events──▶ delivery.Transaction ──▶ upstream.SmtpUpstream
                            ◀──────────── replies ────────────────────────┘

A connection owns its socket and nothing else; the order of replies is the session's, the way of a message the
transaction's. Deadlines are looked at by one timer for all sessions. A fault of our own ends here: the client hears a
temporary refusal, the log the cause, and the other sessions nothing (promise I4).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from filters import mail
from filters.dkim import Signer
from filters.model import Brand, Channel, Kind, Reason, RecipientType, Stream
from filters.notice import mail_html, mail_text
from gateway import limits
from gateway.config import Config, Listener
from gateway.door import UNKNOWN, Door, Peer, Refusal
from gateway.front import Front
from gateway.metrics import Metrics
from gateway.passwords import Answer, Checker
from gateway.pipeline import Pipeline, Question
from gateway.smtp import replies, trace, xclient
from gateway.smtp.client import Extensions
from gateway.smtp.delivered import Delivered
from gateway.smtp.delivery import Transaction
from gateway.smtp.events import (
    Data,
    Fault,
    Impersonate,
    Mail,
    Message,
    Offer,
    Rcpt,
    StartTls,
    State,
    Terms,
)
from gateway.smtp.lmtp import LmtpSession, LmtpTransaction
from gateway.smtp.parties import Recipient
from gateway.smtp.sasl import Credentials
from gateway.smtp.session import Session
from gateway.smtp.signing import Keyring
from gateway.smtp.upstream import SmtpUpstream
from gateway.streams import StreamTable

PROTOCOL = "smtp"
# What a next hop that was never reached is taken for.
_UNKNOWN_HOP = Extensions(eight_bit_mime=True)
_REFUSALS: Final = {
    Refusal.DRAINING: replies.DRAINING,
    Refusal.TOO_MANY_SESSIONS: replies.TOO_MANY_SESSIONS,
    Refusal.NOT_ALLOWED: replies.NOT_ALLOWED,
    Refusal.TOO_MANY_OF_CLIENT: replies.TOO_MANY_OF_CLIENT,
}


# What a session was, as Received says it (RFC 3848, RFC 6531 §4.3): plain, extended, extended with SMTPUTF8.
_SPOKEN: Final = {"smtp": (b"SMTP", b"ESMTP", b"UTF8SMTP"), "lmtp": (b"LMTP", b"LMTP", b"UTF8LMTP")}


class SmtpDoor(Door["_Connection"]):
    """One `[[listener]]` that takes mail. `upstreams` are the SMTP ones by name, shared by the doors."""

    def __init__(
        self,
        listener: Listener,
        config: Config,
        pipeline: Pipeline,
        streams: StreamTable,
        metrics: Metrics,
        upstreams: Mapping[str, SmtpUpstream],
        delivered: Delivered,
        keyring: Keyring | None = None,
    ) -> None:
        super().__init__(
            PROTOCOL, listener, metrics, sessions_max=limits.SMTP_SESSIONS_MAX, sweep_s=limits.SMTP_SWEEP_S
        )
        self.pipeline = pipeline
        self.streams = streams
        self.upstreams = upstreams
        self.delivered = delivered
        self.trace_header = listener.trace_header
        is_lmtp = listener.protocol == "lmtp"
        self.session_type = LmtpSession if is_lmtp else Session
        self.transaction_type = LmtpTransaction if is_lmtp else Transaction
        self.spoken = _SPOKEN[listener.protocol]
        self._keyring = keyring or Keyring({})
        self.transit = 0  # octets of content received and not yet answered
        self._size_max = listener.size_max
        # A trusted host may speak for others; all the rest holds for every client of the listener.
        self._terms = Terms(
            starttls=listener.starttls,
            tls_required=listener.tls == "required",
            auth=listener.auth != "none",
            auth_required=listener.auth == "required",
            recipients_max=listener.recipients_max,
        )
        self._xclient_from = listener.xclient_from
        self.accounts = config.accounts if self._terms.auth else {}
        self.passwords = Checker() if self._terms.auth else None
        self._date = (0, b"")
        self._notices: dict[Brand, mail.Notice] = {}
        self._null_streams = {
            name: Stream("null sender", None, Kind.INFORMATIONAL, RecipientType.BIREYSEL, name) for name in upstreams
        }

    def connection(self) -> asyncio.Protocol:
        """One session."""
        return _Connection(self)

    async def start(self) -> None:
        """Learn what the next hops offer; those that are away are asked when they are back."""
        await asyncio.gather(*(upstream.start() for upstream in self.upstreams.values() if upstream.extensions is None))

    async def drain(self, timeout_s: float) -> None:
        """421 at the next command boundary; what is under way is finished, for at most `timeout_s`."""
        await super().drain(timeout_s)
        if self.passwords is not None:
            self.passwords.close()

    # for connections and transactions

    def offer(self) -> Offer:
        """What we can do and every next hop can take (a stream is known at MAIL only, after this was said)."""
        hops = [upstream.extensions or _UNKNOWN_HOP for upstream in self.upstreams.values()]
        sizes = [hop.size - limits.SMTP_GROWTH for hop in hops if hop.size]
        size_max = max(0, min([self._size_max, *sizes]))
        keywords = [b"PIPELINING", b"SIZE %d" % size_max]
        keywords += [b"8BITMIME"] if all(hop.eight_bit_mime for hop in hops) else []
        keywords += [b"SMTPUTF8"] if all(hop.smtputf8 for hop in hops) else []
        keywords += [b"DSN"] if all(hop.dsn for hop in hops) else []
        return Offer([*keywords, b"ENHANCEDSTATUSCODES"], size_max)

    def terms(self, peer: Peer) -> Terms:
        """What holds for a client whose socket ends at `peer`."""
        trusted = peer is not None and any(peer in network for network in self._xclient_from)
        return self._terms._replace(trusted=True) if trusted else self._terms

    def stream(self, sender: bytes, peer: Peer, account: bytes = b"") -> Stream | None:
        """The stream of a transaction; a null sender's is informational: notices about mail are not commercial."""
        if sender:
            domain = sender.rpartition(b"@")[2].lower()
            return self.streams.match(mail_from_domain=domain, account=account or None, client=peer)
        return self._null_streams[next(iter(self.upstreams))]

    def notice(self, brand: Brand) -> mail.Notice:
        """What `brand` must say; the same object for all its messages."""
        known = self._notices.get(brand)
        if known is None:
            known = mail.Notice(mail_text(brand, mail.LINK), mail_html(brand, mail.LINK))
            self._notices[brand] = known
        return known

    def signers(self, brand: Brand) -> tuple[Signer, ...]:
        """The keys that sign what is sent for `brand`."""
        return self._keyring.signers(brand)

    def unix_s(self) -> int:
        """The wall clock, in whole seconds."""
        return int(time.time())

    def date(self) -> bytes:
        """The wall clock as RFC 5322 writes it, written once a second."""
        second = self.unix_s()
        if second != self._date[0]:
            self._date = (second, trace.date_time(second))
        return self._date[1]


class _Refused(Question):
    """A MAIL that no stream takes: it stands in the journal like any other decision."""

    __slots__ = ("connection",)

    def __init__(self, connection: _Connection) -> None:
        super().__init__(None, Channel.EPOSTA, None)
        self.connection = connection

    def decided(self) -> None:
        self.connection.step(self.connection.answer, replies.verdict(self.outcome, self.reason, self.id))


class _Connection(asyncio.Protocol):
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


_ACTIONS: Final[dict[type, Callable[[_Connection, Any], None]]] = {
    Mail: _Connection._begin,
    Rcpt: _Connection._name,
    Data: _Connection._let_come,
    Message: _Connection._deliver,
    Credentials: _Connection._log_in,
    StartTls: _Connection._start_tls,
    Impersonate: _Connection._become,
    Fault: _Connection._count,
}

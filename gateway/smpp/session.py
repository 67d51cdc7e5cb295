"""The server's side of one SMPP session (SMPP 3.4 §2.2, §2.3, §7.2), without sockets.

    session.receive(data, now)                    bytes in, and the time
    while event := session.next_event():          what the owner must act on; all the rest is answered in here
        session.respond(command, status, …)       now or later, in any order: each request handed out gets one answer
    session.request(command, body, token, now)    what the SMSC wants of the client; comes back as `Answer(token, …)`
    session.tick(now)                             once in a while: the four timers
    session.output()                              bytes out

The table `ALLOWED` is the specification's table 2-1, as far as a gateway serves it. Nothing a peer sends raises; a
peer's fault is a command_status, and a `Fault` event to be counted. What is in no table — outbind, which is an SMSC's
to say, and whatever could carry a text past the gateway — gets a generic_nack, so no client loses its session for it.

An unbind is answered after everything that is owed: clients hang up when they have its answer.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from gateway import limits
from gateway.smpp.frames import Frame, Frames
from gateway.smpp.pdu import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    CANCEL_SM,
    DATA_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    HEADER,
    HEADER_OCTETS,
    QUERY_SM,
    REPLACE_SM,
    RESPONSE,
    SEQUENCE_MAX,
    SUBMIT_MULTI,
    SUBMIT_SM,
    UNBIND,
    pack,
)
from gateway.smpp.statuses import (
    ESME_RALYBND,
    ESME_RINVBNDSTS,
    ESME_RINVCMDID,
    ESME_RINVCMDLEN,
    ESME_ROK,
    ESME_RSYSERR,
    ESME_RX_T_APPN,
)


class State(Enum):
    """Where the session stands (§2.2)."""

    OPEN = "open"  # connected, no bind yet
    BINDING = "binding"  # a bind waits for the SMSC
    BOUND_TX = "bound_tx"
    BOUND_RX = "bound_rx"
    BOUND_TRX = "bound_trx"
    UNBINDING = "unbinding"  # the client said unbind, and is owed answers; nothing is read any more
    CLOSED = "closed"  # nothing is read or said any more


_OPEN, _TX, _RX, _TRX = State.OPEN, State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX
_UNBINDING, _CLOSED = State.UNBINDING, State.CLOSED
_ENDING: Final = (_UNBINDING, _CLOSED)

BOUND_BY: Final = {BIND_TRANSMITTER: _TX, BIND_RECEIVER: _RX, BIND_TRANSCEIVER: _TRX}

ALLOWED: Final = {  # table 2-1: what a client may ask, and in which state
    BIND_TRANSMITTER: (_OPEN,),
    BIND_RECEIVER: (_OPEN,),
    BIND_TRANSCEIVER: (_OPEN,),
    SUBMIT_SM: (_TX, _TRX),
    SUBMIT_MULTI: (_TX, _TRX),
    DATA_SM: (_TX, _RX, _TRX),
    QUERY_SM: (_TX, _TRX),
    CANCEL_SM: (_TX, _TRX),
    REPLACE_SM: (_TX, _TRX),  # the table says TX alone; no SMSC takes that seriously
}
SENDABLE: Final = (_RX, _TRX)  # states in which a client takes deliver_sm, data_sm, alert_notification

_pack = HEADER.pack
_new_tuple: Final = tuple.__new__  # as in `pdu`
_NOTHING: Final[frozenset[int]] = frozenset()
_HANDED_OUT: Final = {
    state: frozenset(command for command, states in ALLOWED.items() if state in states and command not in BOUND_BY)
    for state in State
}


class Answer(NamedTuple):
    """The client's answer to a `request`; `body` follows the header. A silent client is ESME_RX_T_APPN."""

    command: int  # the response's
    token: int
    status: int
    body: bytes


class Fault(NamedTuple):
    """The peer broke the protocol and was already answered; `kind` is a metric label."""

    kind: str


Event = Frame | Answer | Fault


class _Asked(NamedTuple):
    """A request of ours that the client has not answered. No token: it is the session's own."""

    command: int
    token: int | None
    at: float


class Session:
    """The state of one client connection."""

    def __init__(self, now: float) -> None:
        self.state = State.OPEN
        self.owed = 0  # requests handed out and not answered
        self.draining = False
        self._frames = Frames()
        self._handed_out = _NOTHING
        self._out: list[bytes] = []
        self._asked: dict[int, _Asked] = {}  # in the order of their time
        self._forwarded = 0  # of them with a token
        self._sequence = 0
        self._unbind = 0  # the sequence number of the client's unbind
        self._unbind_said = False  # by us
        self._unbind_by = float("inf")
        self._opened = self._heard = now
        self._enquired = False

    # bytes in

    def receive(self, data: bytes, now: float) -> None:
        """Take what the peer sent; it is acted on by `next_event`."""
        self._heard = now
        self._enquired = False
        if self.state not in _ENDING:
            self._frames.receive(data)

    @property
    def held(self) -> int:
        """Octets received and not acted on."""
        return self._frames.held

    # events and bytes out

    def next_event(self) -> Event | None:
        """What the owner must act on; None: nothing before more input."""
        while (frame := self._frames.next()) is not None:
            if frame[0] in self._handed_out:
                self.owed += 1
                return frame
            event = self._respond_here(frame)
            if event is not None:
                return event
        if self._frames.broken:
            self.close(pack(GENERIC_NACK, ESME_RINVCMDLEN, self._frames.sequence))
            return Fault("bad_length")
        return None

    @property
    def due(self) -> bool:
        """Is there output, or an end to come to?"""
        return bool(self._out) or self.draining or self.state in _ENDING

    def output(self) -> bytes:
        """What is due. Leaves the session closed when that is the last of it."""
        if not self.owed:
            if self.state is _UNBINDING:
                self.close(pack(UNBIND | RESPONSE, ESME_ROK, self._unbind))
            elif self.draining and not self._unbind_said and self.state is not _CLOSED:
                self._say_unbind()
        if not self._out:
            return b""
        due = b"".join(self._out)
        self._out.clear()
        return due

    # what the owner says

    def respond(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """Answer a request that was handed out; `command` is the response's. After the end nobody waits for it."""
        self.owed -= 1
        if self.state is not _CLOSED:
            self._out.append(_pack(HEADER_OCTETS + len(body), command, status, sequence) + body)

    def bound(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """Answer a bind; `command` is the request's. One that is refused ends the session: nothing else can follow."""
        self.respond(command | RESPONSE, status, sequence, body)
        if self.state is not State.BINDING:
            return
        if status != ESME_ROK:
            self._shut()
            return
        self.state = BOUND_BY[command]
        self._handed_out = _NOTHING if self.draining else _HANDED_OUT[self.state]

    def request(self, command: int, body: bytes, token: int | None, now: float) -> bool:
        """Send what the SMSC sent. False: the state, or the number of those unanswered, does not allow it.

        Without a token no answer is expected (alert_notification).
        """
        if self.state not in SENDABLE or self._forwarded >= limits.SMPP_DELIVERIES_MAX:
            return False
        sequence = self._next_sequence()
        self._out.append(_pack(HEADER_OCTETS + len(body), command, ESME_ROK, sequence) + body)
        if token is not None:
            self._forwarded += 1
            self._asked[sequence] = _new_tuple(_Asked, (command, token, now))
        return True

    def forget_requests(self) -> None:
        """Nobody waits for the client's answers any more: the SMSC they were for is gone (promise I3).

        Requests with a negative token are the owner's own, and stay.
        """
        self._asked = {
            sequence: asked for sequence, asked in self._asked.items() if asked.token is None or asked.token < 0
        }
        self._forwarded = sum(asked.token is not None for asked in self._asked.values())

    def excuse(self, now: float) -> None:
        """The client's silence is ours: it is not listened to."""
        self._heard = now

    def drain(self) -> None:
        """Take no new request; say unbind when everything owed is answered."""
        self.draining = True
        self._handed_out = _NOTHING
        if self.state is State.OPEN:
            self._shut()

    def close(self, last: bytes) -> None:
        """Say `last` and read nothing more."""
        self._out.append(last)
        self._shut()

    def tick(self, now: float) -> list[Event]:
        """The four timers of §7.2. What they bring about is in the output, and in the events."""
        if self.state is State.CLOSED:
            return []
        if self.state is State.OPEN and now - self._opened > limits.SMPP_SESSION_INIT_S:
            self._shut()
            return [Fault("timeout")]
        if self._unbind_said:
            self._unbind_by = min(self._unbind_by, now + limits.SMPP_UNBIND_S)
        silent = now - self._heard
        if now > self._unbind_by:
            self._shut()
            return [Fault("timeout")]
        if silent > limits.SMPP_INACTIVITY_S and self.state is not State.BINDING:
            self._shut()
            return [Fault("timeout")]
        if silent > limits.SMPP_ENQUIRE_LINK_S and not self._enquired and self.state in BOUND_BY.values():
            self._enquired = True
            self._ask(ENQUIRE_LINK, now)
        return self._expired(now - limits.SMPP_RESPONSE_S)

    # inside

    def _respond_here(self, frame: Frame) -> Event | None:
        """A PDU that the owner need not see, or sees as something else."""
        command, status, sequence, pdu = frame
        if command & RESPONSE:
            return self._answered(command, status, sequence, pdu)
        if command == ENQUIRE_LINK:
            self._say(command, ESME_ROK, sequence)
            return None
        if command == UNBIND:
            self._shut()
            self.state, self._unbind = State.UNBINDING, sequence
            return None
        if command not in ALLOWED:
            self._out.append(pack(GENERIC_NACK, ESME_RINVCMDID, sequence))
            return Fault("bad_command")
        if self.draining:
            self._say(command, ESME_RSYSERR, sequence)
            return None
        if self.state in ALLOWED[command]:  # a bind: the others were handed out
            self.state = State.BINDING
            self.owed += 1
            return frame
        again = command in BOUND_BY and self.state in BOUND_BY.values()
        self._say(command, ESME_RALYBND if again else ESME_RINVBNDSTS, sequence)
        return Fault("bad_state")

    def _answered(self, command: int, status: int, sequence: int, pdu: bytes) -> Event | None:
        """An answer of the client's; a generic_nack answers any request (§4.3)."""
        asked = self._asked.get(sequence)
        if asked is None or command not in (asked.command | RESPONSE, GENERIC_NACK):
            return Fault("unknown_response")
        del self._asked[sequence]
        if asked.token is not None:
            self._forwarded -= 1
            nack = command == GENERIC_NACK
            status = (status or ESME_RX_T_APPN) if nack else status
            return _new_tuple(Answer, (asked.command | RESPONSE, asked.token, status, pdu[HEADER_OCTETS:]))
        if asked.command == UNBIND:
            self._shut()
        return None

    def _expired(self, before: float) -> list[Event]:
        """Give up on what the client has not answered: the SMSC may try again."""
        events: list[Event] = []
        while self._asked:
            sequence, asked = next(iter(self._asked.items()))
            if asked.at > before:
                break
            del self._asked[sequence]
            if asked.token is not None:
                self._forwarded -= 1
                events += [Fault("timeout"), Answer(asked.command | RESPONSE, asked.token, ESME_RX_T_APPN, b"")]
        return events

    def _say(self, command: int, status: int, sequence: int) -> None:
        self._out.append(pack(command | RESPONSE, status, sequence))

    def _ask(self, command: int, now: float) -> None:
        sequence = self._next_sequence()
        self._asked[sequence] = _Asked(command, None, now)
        self._out.append(pack(command, ESME_ROK, sequence))

    def _say_unbind(self) -> None:
        self._unbind_said = True
        if self.state is State.BINDING:
            self._shut()
        else:
            self._ask(UNBIND, self._heard)

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % SEQUENCE_MAX + 1
        return self._sequence

    def _shut(self) -> None:
        self.state = State.CLOSED
        self._handed_out = _NOTHING
        self._frames = Frames()

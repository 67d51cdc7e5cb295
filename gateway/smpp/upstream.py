"""The bind at the SMSC that stands behind one bind of a client.

    link.Link   opens it, opens it again when it is lost, ends it
    Smsc        one socket, from its bind on: requests out, responses in any order, the SMSC's own requests

Each socket has sequence numbers of its own (SMPP 3.4 §2.7): each maps to whoever waits for the answer. When the socket
is lost, or an answer is overdue, the fate of what was sent is unknown, and its client is told ESME_RSYSERR: it may try
again, and decides itself. Nothing is ever sent twice from here.

An SMSC that says “slower” is heard: its client gets that answer, and what carries a text then waits here until the
`congestion.Window` has room. What waits is not sent yet, and bounded by the window of the client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from gateway import limits
from gateway.config import Address
from gateway.smpp.congestion import Window
from gateway.smpp.frames import Frames
from gateway.smpp.pdu import (
    ALERT_NOTIFICATION,
    DATA_SM,
    DELIVER_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    HEADER,
    HEADER_OCTETS,
    REPLACE_SM,
    RESPONSE,
    SEQUENCE_MAX,
    SUBMIT_MULTI,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
    UNBIND,
    pack,
)
from gateway.smpp.statuses import (
    COMPLAINTS,
    ESME_RINVCMDID,
    ESME_ROK,
    ESME_RSYSERR,
    ESME_RTHROTTLED,
    ESME_RX_T_APPN,
)

_pack = HEADER.pack
CARRIES_TEXT: Final = frozenset({SUBMIT_SM, SUBMIT_MULTI, DATA_SM, REPLACE_SM})


class Pending(Protocol):
    """Who waits for a response."""

    @property
    def command(self) -> int:
        """The request's."""
        ...

    sent_at: float

    def answered(self, status: int, body: bytes) -> None:
        """Called exactly once per `send`; `body` follows the header. Does not raise."""


class Owner(Protocol):
    """The client's end of the mirror."""

    def opened(self, status: int, body: bytes) -> None:
        """The SMSC's answer to the first bind, or what stands for it."""

    def standing(self, smsc: Smsc | None) -> None:
        """The bind stands (again), or is lost."""

    def deliver(self, command: int, sequence: int, body: bytes) -> bool:
        """Pass on what the SMSC sent. False: it cannot be."""

    def heard(self) -> None:
        """All that came is acted on: write."""

    def hold(self, *, deaf: bool) -> None:
        """The SMSC does not read what it is sent; or does again."""


class Link(Protocol):
    """What a socket sees of `link.Link`. `command` and `body` are its bind's."""

    owner: Owner
    command: int
    body: bytes
    standing: Smsc | None
    window: Window | None

    def count(self, kind: str) -> None:
        """A fault, by its metric label."""

    def seconds(self, seconds: float, times: int) -> None:
        """`times` messages took so long."""

    def stand(self, smsc: Smsc, body: bytes) -> None:
        """`smsc` is bound."""

    def lost(self, smsc: Smsc) -> None:
        """`smsc` takes no more requests."""

    def gone(self, smsc: Smsc) -> None:
        """The socket of `smsc` is closed."""


class Smsc(asyncio.Protocol):
    """One socket to the SMSC."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop, host: Address) -> None:
        self.host = host
        self.bound: asyncio.Future[int] = loop.create_future()  # the status of its answer
        self.stood = False
        self._link = link
        self._loop = loop
        self._owner = link.owner
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._asked: dict[int, Pending] = {}  # in the order of their time
        self._sequence = 0
        self._window = link.window  # None: the SMSC does not complain
        self._waiting: deque[tuple[int, bytes, Pending]] = deque()  # for room in it
        self._out: list[bytes] = []
        self._flushing = False
        self._flushed_at = 0.0  # the time of this tick's requests
        self._heard = loop.time()
        self._enquired = False
        self._listening = self._reading = True
        self._deaf = False  # it does not read what it is told
        self._ends_by = float("inf")  # an unbind was said

    # for the client's end

    @property
    def connected(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def load(self) -> int:
        """Requests that the SMSC has not answered."""
        return len(self._asked)

    @property
    def has_room(self) -> bool:
        """Would a text go out at once?"""
        return not self._waiting and not self._is_full()

    def send(self, command: int, body: bytes, pending: Pending) -> None:
        """Ask the SMSC; `pending` gets its answer."""
        if self._window is not None and command in CARRIES_TEXT and (self._waiting or self._is_full()):
            pending.sent_at = self._loop.time()
            self._waiting.append((command, body, pending))
            return
        sequence = self._sequence = self._sequence % SEQUENCE_MAX + 1
        self._asked[sequence] = pending
        self._out.append(_pack(HEADER_OCTETS + len(body), command, ESME_ROK, sequence) + body)
        if not self._flushing:
            self._flush_soon()
        pending.sent_at = self._flushed_at

    def respond(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """Answer a request of the SMSC's; `command` is the response's."""
        self._write(pack(command, status, sequence, body))

    def listen(self, *, listening: bool) -> None:
        """Read nothing more while the client does not read what it gets; or read again."""
        self._listening = listening
        self._throttle()

    def leave(self, now: float) -> None:
        """Say unbind and let go when it is answered (§4.2)."""
        self._turn_back(ESME_RSYSERR)
        self._ends_by = now + limits.SMPP_UNBIND_S
        self.listen(listening=True)
        self.send(UNBIND, b"", _Own(UNBIND, lambda status, body: self.close()))

    def close(self) -> None:
        """Let go after what is written."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """All deadlines of this socket."""
        overdue = []
        for sequence, pending in self._asked.items():
            if now - pending.sent_at <= limits.SMPP_RESPONSE_S:
                break
            overdue.append(sequence)
        for sequence in overdue:
            self._link.count("smsc_timeout")
            self._asked.pop(sequence).answered(ESME_RSYSERR, b"")
        if self._waiting:
            # What has waited here for so long was never sent: the client hears what the SMSC says of the others.
            self._turn_back(ESME_RTHROTTLED, before=now - limits.SMPP_RESPONSE_S)
            self._let_go()
        if overdue:
            self._owner.heard()
        silent = now - self._heard
        if now > self._ends_by or silent > limits.SMPP_INACTIVITY_S:
            self.abort()
        elif silent > limits.SMPP_ENQUIRE_LINK_S and not self._enquired:
            self._enquired = True
            self.send(ENQUIRE_LINK, b"", _Own(ENQUIRE_LINK))

    # what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.send(self._link.command, self._link.body, _Own(self._link.command, self._bind_answered))

    def data_received(self, data: bytes) -> None:
        now = self._heard = self._loop.time()
        self._enquired = False
        frames, asked, link = self._frames, self._asked, self._link
        sent_at, same = now, 0  # submits of one tick are counted together
        frames.receive(data)
        while (frame := frames.next()) is not None:
            command, status, sequence, pdu = frame
            if not command & RESPONSE:
                self._requested(command, sequence, pdu)
                continue
            pending = asked.get(sequence)
            if pending is None or (command != pending.command | RESPONSE and command != GENERIC_NACK):
                link.count("unknown_response")
                continue
            del asked[sequence]
            if status in COMPLAINTS:
                self._complained(pending.sent_at, now)
            elif self._window is not None:
                self._window.answered()
            if command != GENERIC_NACK:
                if command == SUBMIT_SM_RESP:
                    if pending.sent_at != sent_at:
                        link.seconds(now - sent_at, same)
                        sent_at, same = pending.sent_at, 0
                    same += 1
                pending.answered(status, pdu[HEADER_OCTETS:])
            else:  # §4.3: an answer to whatever has its sequence number, and never a good one (promise I2)
                pending.answered(status or ESME_RSYSERR, b"")
        link.seconds(now - sent_at, same)
        if self._window is not None:
            self._let_go()
        self._owner.heard()
        if frames.broken:
            link.count("bad_length")
            self.abort()

    def pause_writing(self) -> None:
        self._deaf = True
        self._owner.hold(deaf=True)
        self._throttle()

    def resume_writing(self) -> None:
        self._deaf = False
        self._owner.hold(deaf=False)
        self._throttle()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.bound.done():
            self.bound.set_exception(ConnectionError("lost before the bind was answered"))
            self.bound.exception()  # whoever timed out does not ask for it
        self._link.gone(self)
        asked, self._asked = self._asked, {}
        for pending in asked.values():
            pending.answered(ESME_RSYSERR, b"")
        self._turn_back(ESME_RSYSERR)
        self._owner.heard()

    # inside

    def _throttle(self) -> None:
        """An SMSC that does not read our answers is asked for no more requests, or they would pile up here."""
        reading = self._listening and not self._deaf
        if self._transport is not None and not self._transport.is_closing() and reading != self._reading:
            self._reading = reading
            self._transport.resume_reading() if reading else self._transport.pause_reading()

    def _complained(self, sent_at: float, now: float) -> None:
        """The SMSC wants us slower."""
        self._link.count("smsc_throttled")
        if self._window is None:
            self._window = self._link.window = Window(len(self._asked), now)
        else:
            self._window.complained(sent_at, now)

    def _let_go(self) -> None:
        """Send what the window has room for."""
        waiting, self._waiting = self._waiting, deque()
        while waiting and not self._is_full():
            self.send(*waiting.popleft())
        self._waiting = waiting
        if not waiting and self._window is not None and self._window.is_open:
            self._window = self._link.window = None

    def _is_full(self) -> bool:
        """Has the window no room?"""
        return self._window is not None and len(self._asked) >= self._window.size

    def _turn_back(self, status: int, *, before: float = float("inf")) -> None:
        """Answer what began to wait `before` then, and was never sent."""
        turned = []
        while self._waiting and self._waiting[0][2].sent_at < before:
            turned.append(self._waiting.popleft()[2])
        for pending in turned:
            pending.answered(status, b"")
        if turned:
            self._owner.heard()

    def _requested(self, command: int, sequence: int, pdu: bytes) -> None:
        """What the SMSC wants."""
        if command in (DELIVER_SM, DATA_SM):
            # The client's answer would go to the socket that stands, so only that one's requests reach it (promise I3).
            standing = self._link.standing is self
            if not standing or not self._owner.deliver(command, sequence, pdu[HEADER_OCTETS:]):
                self.respond(command | RESPONSE, ESME_RX_T_APPN, sequence)
        elif command == ALERT_NOTIFICATION:
            self._owner.deliver(command, sequence, pdu[HEADER_OCTETS:])
        elif command == ENQUIRE_LINK:
            self.respond(command | RESPONSE, ESME_ROK, sequence)
        elif command == UNBIND:
            # What is under way may still be answered; whatever comes now is told to come back.
            self._link.lost(self)
            self._turn_back(ESME_RSYSERR)
            self._ends_by = min(self._ends_by, self._loop.time() + limits.SMPP_UNBIND_S)
            self.respond(command | RESPONSE, ESME_ROK, sequence)
            if not self._asked:
                self.close()
        else:
            self._link.count("bad_command")
            self.respond(GENERIC_NACK, ESME_RINVCMDID, sequence)

    def _bind_answered(self, status: int, body: bytes) -> None:
        """Act on it at once: an SMSC may send what it has kept with the same segment."""
        if self.bound.done():
            return
        if status == ESME_ROK and self.connected:
            self.stood = True
            self._link.stand(self, body)
        self.bound.set_result(status)

    def _write(self, pdu: bytes) -> None:
        self._out.append(pdu)
        if not self._flushing:
            self._flush_soon()

    def _flush_soon(self) -> None:
        self._flushing = True
        self._flushed_at = self._loop.time()
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """One write per loop tick."""
        self._flushing = False
        due, self._out = self._out, []
        if self._transport is not None and due:
            self._transport.write(b"".join(due))


class _Own:
    """A request of ours that no client waits for."""

    __slots__ = ("_done", "command", "sent_at")

    def __init__(self, command: int, done: Callable[[int, bytes], None] | None = None) -> None:
        self.command = command
        self.sent_at = 0.0
        self._done = done

    def answered(self, status: int, body: bytes) -> None:
        if self._done is not None:
            self._done(status, body)

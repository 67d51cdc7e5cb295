"""The policy door: sockets to requests, requests to questions, verdicts to answers in the order of their requests.

    smtpd ──request──▶ _Connection ──▶ protocol.Reader ──▶ pipeline.ask
                 ◀──── action ──── decided() ◀────────────────┘

Postfix opens a connection for each of its processes and keeps it. It may be closed at any moment between two answers:
Postfix then asks again over a new one, and defers if that fails too (`smtpd_policy_service_try_limit`). So a peer that
cannot be served is not answered but closed, and what cannot be decided is a temporary refusal (promise I4).

No mail comes through here, so nothing is put into it: notice and link must be in the message already.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from typing import Final, cast

from filters.address import canonical_email
from filters.classify import classify
from filters.model import Channel, Kind, Reason, RecipientType, Stream
from gateway import limits
from gateway.config import Listener
from gateway.door import Door, Peer
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline, Question
from gateway.policy.protocol import DUNNO, MISPLACED, Fault, Reader, Request, action
from gateway.smtp import replies
from gateway.streams import StreamTable

PROTOCOL: Final = "policy"
# Commands that let no message in, whatever they are answered.
_HARMLESS: Final = frozenset({b"VRFY", b"ETRN"})
# Notices about mail are not commercial.
_NULL_SENDER: Final = Stream("null sender", None, Kind.INFORMATIONAL, RecipientType.BIREYSEL, "")


class PolicyDoor(Door["_Connection"]):
    """One `[[listener]]` with `protocol = "policy"`."""

    def __init__(self, listener: Listener, pipeline: Pipeline, streams: StreamTable, metrics: Metrics) -> None:
        super().__init__(
            PROTOCOL, listener, metrics, sessions_max=limits.POLICY_SESSIONS_MAX, sweep_s=limits.POLICY_SWEEP_S
        )
        self.pipeline = pipeline
        self._streams = streams
        self._undeclared: dict[Stream, Stream] = {}

    def connection(self) -> asyncio.Protocol:
        return _Connection(self)

    def stream(self, request: Request) -> Stream | None:
        """The stream of a request. A message that may declare its kind is not here to do so, so it is undeclared."""
        if not request.sender:
            return _NULL_SENDER
        stream = self._streams.match(
            mail_from_domain=request.sender.rpartition(b"@")[2].lower(),
            account=request.account or None,
            client=_address(request.client),
        )
        if stream is None or not stream.may_declare:
            return stream
        known = self._undeclared.get(stream)
        if known is None:
            kind, _ = classify(stream, None)
            known = self._undeclared[stream] = replace(stream, kind=kind, may_declare=False)
        return known


class _Asked(Question):
    """One request whose recipient is asked about."""

    __slots__ = ("answer", "connection")

    protocol = PROTOCOL

    def __init__(self, connection: _Connection, stream: Stream | None, recipient: bytes) -> None:
        super().__init__(stream, Channel.EPOSTA, canonical_email(recipient))
        self.connection = connection
        self.answer = b""  # empty: not decided

    def decided(self) -> None:
        self.answer = action(replies.verdict(self.outcome, self.reason, self.id))
        self.connection.pump()


class _Connection(asyncio.Protocol):
    """One smtpd's socket."""

    def __init__(self, door: PolicyDoor) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._reader = Reader()
        self._owed: deque[_Asked | bytes] = deque()  # in the order of the requests
        self._deadline = 0.0
        self._begun = False  # a part of a request is here
        self._last = False  # nothing more is read; closed when nothing is owed
        self._pumping = False
        self._deaf = False
        self._paused = False

    # what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        peer = self._door.opened(self, transport)
        self._last = self._door.admit(self, peer) is not None
        self._deadline = self._door.now() + limits.POLICY_IDLE_S
        self.pump()

    def data_received(self, data: bytes) -> None:
        if not self._last:
            self._reader.receive(data)
            self.pump()

    def eof_received(self) -> bool:
        """It has asked all it will ask: what is owed is still said."""
        self._last = True
        return bool(self._owed)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owed.clear()
        self._door.closed(self)

    def pause_writing(self) -> None:
        """The peer does not read its answers."""
        self._deaf = True
        self._throttle()

    def resume_writing(self) -> None:
        self._deaf = False
        self._throttle()

    # what the door tells

    def drain(self) -> None:
        self._last = True
        self.pump()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        if now > self._deadline:
            if self._begun:
                self._door.count("timeout")
            self.abort()

    # requests in, answers out

    def pump(self) -> None:
        """Ask about all that was heard, write all that is decided. Our own fault closes this connection, no other."""
        if self._pumping or self._transport is None or self._transport.is_closing():
            return
        self._pumping = True
        try:
            self._read()
            while due := self._due():
                self._transport.write(due)
                self._read()  # what had to wait until fewer were owed
        except Exception as fault:  # noqa: BLE001
            self._door.fault(fault)
            self.abort()
        finally:
            self._pumping = False
        if self._last and not self._owed:
            self._transport.close()
        else:
            self._throttle()

    def _read(self) -> None:
        while not self._last and len(self._owed) < limits.POLICY_REQUESTS_MAX:
            found = self._reader.next_request()
            if found is None:
                break
            self._begun = False
            if isinstance(found, Fault):
                self._door.count(found.kind)
                self._last = True
            else:
                self._act(found)
        if not self._begun:
            self._begun = self._reader.held > 0
            seconds = limits.POLICY_REQUEST_S if self._begun else limits.POLICY_IDLE_S
            self._deadline = self._door.now() + seconds

    def _act(self, request: Request) -> None:
        if request.state in _HARMLESS:
            self._owed.append(DUNNO)
            return
        if not request.recipient:
            self._door.count("no_recipient")
            self._owed.append(MISPLACED)
            return
        question = _Asked(self, self._door.stream(request), request.recipient)
        self._owed.append(question)
        if question.stream is None:
            self._door.pipeline.refuse(question, Reason.NO_STREAM)
        else:
            self._door.pipeline.ask(question)

    def _due(self) -> bytes:
        """The answers up to the first request that is not decided."""
        due = []
        while self._owed:
            first = self._owed[0]
            answer = first if isinstance(first, bytes) else first.answer
            if not answer:
                break
            due.append(answer)
            self._owed.popleft()
        return b"".join(due)

    def _throttle(self) -> None:
        """Read nothing more while answers are not read, or while requests are sent far ahead of them."""
        if self._transport is None or self._transport.is_closing():
            return
        stop = self._deaf or len(self._owed) >= limits.POLICY_REQUESTS_MAX
        if stop != self._paused:
            self._paused = stop
            if stop:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


def _address(text: bytes) -> Peer:
    """Whose mail Postfix asks about; None: it does not know, or not by an address."""
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address

"""The bind at the SMSC that stands behind one bind of a client.

    Link   opens it, opens it again when it is lost, ends it
    Smsc   one socket, from its bind on: requests out, responses in any order, the SMSC's own requests

Each socket has sequence numbers of its own (SMPP 3.4 §2.7): each maps to whoever waits for the answer. When the socket
is lost, or an answer is overdue, the fate of what was sent is unknown, and its client is told ESME_RSYSERR: it may try
again, and decides itself. Nothing is ever sent twice from here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Protocol, cast

from gateway import limits
from gateway.config import Upstream
from gateway.metrics import Metrics
from gateway.smpp.frames import Frames
from gateway.smpp.pdu import (
    ALERT_NOTIFICATION,
    DATA_SM,
    DELIVER_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    HEADER,
    HEADER_OCTETS,
    RESPONSE,
    SEQUENCE_MAX,
    SUBMIT_SM_RESP,
    UNBIND,
    pack,
)
from gateway.smpp.statuses import ESME_RINVCMDID, ESME_ROK, ESME_RSYSERR, ESME_RX_T_APPN

PROTOCOL = "smpp"

_pack = HEADER.pack


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


class Smsc(asyncio.Protocol):
    """One socket to the SMSC."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self.bound: asyncio.Future[int] = loop.create_future()  # the status of its answer
        self.stood = False
        self._link = link
        self._loop = loop
        self._owner = link.owner
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._asked: dict[int, Pending] = {}  # in the order of their time
        self._sequence = 0
        self._out: list[bytes] = []
        self._flushing = False
        self._flushed_at = 0.0  # the time of this tick's requests
        self._heard = loop.time()
        self._enquired = False
        self._listening = True
        self._ends_by = float("inf")  # an unbind was said

    # for the client's end

    @property
    def connected(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, command: int, body: bytes, pending: Pending) -> None:
        """Ask the SMSC; `pending` gets its answer."""
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
        if self._transport is not None and not self._transport.is_closing() and listening != self._listening:
            self._listening = listening
            self._transport.resume_reading() if listening else self._transport.pause_reading()

    def leave(self, now: float) -> None:
        """Say unbind and let go when it is answered (§4.2)."""
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
        self._owner.heard()
        if frames.broken:
            link.count("bad_length")
            self.abort()

    def pause_writing(self) -> None:
        self._owner.hold(deaf=True)

    def resume_writing(self) -> None:
        self._owner.hold(deaf=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.bound.done():
            self.bound.set_exception(ConnectionError("lost before the bind was answered"))
            self.bound.exception()  # whoever timed out does not ask for it
        self._link.gone(self)
        asked, self._asked = self._asked, {}
        for pending in asked.values():
            pending.answered(ESME_RSYSERR, b"")
        self._owner.heard()

    # inside

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


class Link:
    """A bind that comes back. `command` and `body` are the bind's, with our own name and password in it."""

    def __init__(
        self,
        upstream: Upstream,
        metrics: Metrics,
        owner: Owner,
        command: int,
        body: bytes,
        ended: Callable[[Link], None],
    ) -> None:
        self.owner = owner
        self.command = command
        self.body = body
        self.closed = False
        self._upstream = upstream
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._sockets: set[Smsc] = set()  # the one that stands, and those that are being left
        self.standing: Smsc | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = ended
        self._first = True  # the client waits for it

    def open(self) -> None:
        """Try once, and tell the owner how it went."""
        self._run(self._open())

    def close(self) -> None:
        """The client is gone: unbind."""
        if self.closed:
            return
        self.closed = True
        if self._task is not None:
            self._task.cancel()
        smsc, self.standing = self.standing, None
        if smsc is not None:
            smsc.leave(self._loop.time())
        self._note_end()

    def abort(self) -> None:
        """Drop every socket."""
        self.close()
        for smsc in list(self._sockets):
            smsc.abort()

    def sweep(self, now: float) -> None:
        for smsc in list(self._sockets):
            smsc.sweep(now)

    # what a socket tells

    def count(self, kind: str) -> None:
        self._metrics.protocol_errors[(PROTOCOL, kind)] += 1

    def seconds(self, seconds: float, times: int) -> None:
        """`times` messages took so long."""
        if times:
            self._metrics.upstream_seconds(self._upstream.name, seconds, times)

    def gone(self, smsc: Smsc) -> None:
        """The socket of `smsc` is closed."""
        self._sockets.discard(smsc)
        self.lost(smsc)
        self._note_end()

    def stand(self, smsc: Smsc, body: bytes) -> None:
        """`smsc` is bound."""
        if self.closed:
            return
        self.standing = smsc
        self._metrics.upstream_up[self._upstream.name] = 1
        self.owner.standing(smsc)
        if self._first:
            self._first = False
            self.owner.opened(ESME_ROK, body)

    def lost(self, smsc: Smsc) -> None:
        """`smsc` takes no more requests."""
        if smsc is not self.standing:
            return
        self.standing = None
        self.count("smsc_lost")
        self._metrics.upstream_up[self._upstream.name] = 0
        self.owner.standing(None)
        if not self.closed:
            self._run(self._reopen())

    # opening

    def _run(self, opening: Coroutine[None, None, None]) -> None:
        self._task = self._loop.create_task(opening)
        self._task.add_done_callback(self._ran)

    def _note_end(self) -> None:
        if self.closed and not self._sockets and (self._task is None or self._task.done()):
            self._ended(self)

    def _ran(self, task: asyncio.Task[None]) -> None:
        """Our own fault in it is logged by the loop's handler, and is temporary for the client (promise I4)."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "binding at an SMSC", "exception": fault})
            self.owner.opened(ESME_RSYSERR, b"")
        self._note_end()

    async def _open(self) -> None:
        status = await self._attempt()
        if status != ESME_ROK:
            self.owner.opened(status, b"")

    async def _reopen(self) -> None:
        """Exponential backoff with jitter, until it stands or nobody wants it."""
        delay_s = limits.SMPP_RECONNECT_S_MIN
        while True:
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            if await self._attempt() == ESME_ROK:
                return
            delay_s = min(2 * delay_s, limits.SMPP_RECONNECT_S_MAX)

    async def _attempt(self) -> int:
        """Each host once; the last refusal stands if none takes us, ESME_RSYSERR if none answers."""
        answer = ESME_RSYSERR
        for host in self._upstream.tcp_hosts:
            smsc = Smsc(self, self._loop)
            self._sockets.add(smsc)
            try:
                async with asyncio.timeout(limits.SMPP_CONNECT_S):
                    await self._loop.create_connection(lambda s=smsc: s, host.host, host.port)  # type: ignore[misc]
                    answer = await smsc.bound or answer
                if not smsc.stood:
                    self.count("smsc_refused")
            except (OSError, TimeoutError):
                self.count("smsc_unreachable")
            finally:
                if not smsc.stood:
                    smsc.abort()
                    self._sockets.discard(smsc)
            if smsc.stood:
                return ESME_ROK
        self._metrics.upstream_up[self._upstream.name] = 0
        return answer

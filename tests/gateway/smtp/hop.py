"""A next hop that does what a test says: it records octets, and answers, hangs or hangs up at any step."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

HANG = b"hang"
"""Say nothing any more."""
HANG_UP = b"hang up"
"""Reset the connection."""
HALF = b"250 2.0.0 hal"
"""Begin a reply, and say nothing any more."""
DRIP = b"drip"
"""A reply without an end, an octet at a time."""
DRIP_S = 0.005

DEFAULTS = {
    "CONNECT": b"220 hop.example.test ESMTP\r\n",
    "MAIL": b"250 2.1.0 ok\r\n",
    "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go on\r\n",
    "DOT": b"250 2.0.0 queued\r\n",
    "LONE DOT": b"554 5.5.1 no recipients\r\n",
    "RSET": b"250 2.0.0 ok\r\n",
    "HELO": b"250 hop.example.test\r\n",
    "AUTH": b"235 2.7.0 welcome\r\n",
    "STAR": b"220 2.0.0 go on\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}


@dataclass(frozen=True)
class Received:
    """What came as one message: the command lines, and the content as it was on the wire, dots stuffed."""

    mail: bytes
    rcpt: tuple[bytes, ...]
    wire: bytes


@dataclass
class Hop:
    """`script` maps a step to the answers of its next occurrences; when they are used up, it is DEFAULTS again.

    With `tls` it offers STARTTLS, or with `implicit` speaks TLS from the first octet; `secured` are the keywords it
    then announces. It listens on `path`, if there is one, else on a port of 127.0.0.1.
    """

    keywords: list[bytes] = field(default_factory=lambda: [b"PIPELINING", b"8BITMIME", b"SIZE 0", b"DSN", b"SMTPUTF8"])
    script: dict[str, list[bytes]] = field(default_factory=dict)
    always: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    path: Path | None = None
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    secured: list[bytes] | None = None
    handshakes: int = 0
    received: list[Received] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    connections: int = 0
    flights: list[bytes] = field(default_factory=list)
    open: set[_Session] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if self.path is not None:
            self._server = await loop.create_unix_server(lambda: _Session(self), str(self.path))
            return
        tls = self.tls if self.implicit else None
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and reset those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.hang_up()

    def hang_up(self) -> None:
        for session in list(self.open):
            session.transport.abort()

    async def __aenter__(self) -> Hop:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def answer(self, step: str, *, secure: bool = False) -> bytes:
        if self.script.get(step):
            return self.script[step].pop(0)
        if step in self.always:
            return self.always[step]
        if step == "EHLO":
            offered = self.secured if secure and self.secured is not None else self.keywords
            starttls = [b"STARTTLS"] if self.tls is not None and not secure else []
            lines = [b"hop.example.test", *offered, *starttls]
            return b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 %b\r\n" % lines[-1]
        return DEFAULTS.get(step, b"502 5.5.1 what?\r\n")


class _Session(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self._buffer = b""
        self._hung = False
        self._content = False
        self._secure = hop.implicit
        self._handshake: asyncio.Task[None] | None = None
        self._mail = b""
        self._rcpt: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._hop.connections += 1
        self._hop.handshakes += self._hop.implicit
        self._hop.open.add(self)
        self._say("CONNECT")

    def connection_lost(self, exc: Exception | None) -> None:
        self._hop.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._hop.flights.append(data)
        self._buffer += data
        self._walk()

    def _walk(self) -> None:
        while not self._hung and self._handshake is None and self._step():
            continue

    async def _secured(self, context: ssl.SSLContext) -> None:
        """The handshake, and a new beginning; a client that does not like our certificate is no fault of this test."""
        try:
            transport = await asyncio.get_running_loop().start_tls(self.transport, self, context, server_side=True)
        except OSError:
            self.transport.abort()
            return
        assert transport is not None
        self.transport = transport
        self._secure, self._handshake = True, None
        self._hop.handshakes += 1
        self._walk()

    def _step(self) -> bool:
        if self._content:
            end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
            if end == 1:
                return False
            wire, self._buffer = self._buffer[:end], self._buffer[end + 3 :]
            self._content = False
            answer = self._say("DOT" if self._rcpt else "LONE DOT")
            if self._rcpt and answer.startswith(b"250"):
                self._hop.received.append(Received(self._mail, tuple(self._rcpt), wire))
            return True
        line, separator, rest = self._buffer.partition(b"\r\n")
        if not separator:
            return False
        self._buffer = rest
        self._hop.commands.append(line)
        verb = line[:4].upper().decode()
        if verb in {"MAIL", "RSET"}:
            self._mail, self._rcpt = line, []
        answer = self._say(verb)
        if verb == "RCPT" and answer.startswith(b"250"):
            self._rcpt.append(line)
        self._content = verb == "DATA" and answer.startswith(b"354")
        if verb == "QUIT":
            self.transport.close()
        if verb == "STAR" and answer.startswith(b"220") and self._hop.tls is not None:
            self.transport.pause_reading()
            self._handshake = asyncio.get_running_loop().create_task(self._secured(self._hop.tls))
        return True

    def _say(self, step: str) -> bytes:
        answer = self._hop.answer(step, secure=self._secure)
        if answer == HANG_UP:
            self.transport.abort()
        elif answer == HANG:
            self._hung = True
        elif answer == DRIP:
            self._hung = True
            self._drip(0)
        else:
            self._hung = answer == HALF
            self.transport.write(answer)
        return answer

    def _drip(self, at: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"250-x\r\n"[at : at + 1])
            asyncio.get_running_loop().call_later(DRIP_S, self._drip, (at + 1) % 7)

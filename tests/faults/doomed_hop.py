"""A next hop that is killed, or falls silent, at a moment a test names, and remembers what it had accepted by then.

Killed means what it means for a process: the port is closed and every connection reset, at once, whatever was under
way. `accepted` is what it took responsibility for: what its queue would hold when it is started again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast


class Step(StrEnum):
    """Where a next hop dies."""

    CONNECT = "connect"  # the port is closed already
    BANNER = "banner"  # connected to, before it says 220
    EHLO = "EHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"  # in the middle
    DOT = "dot"  # has all of it, has not accepted it
    REPLY = "reply"  # has accepted it, and its 250 never leaves


@dataclass
class DoomedHop:
    """Dies in `step` once it has accepted `after` messages; with `after` None it lives for ever."""

    step: Step = Step.CONNECT
    after: int | None = None
    port: int = 0
    accepted: list[str] = field(default_factory=list)  # recipients
    silent: set[str] = field(default_factory=set)  # recipients whose copies are not answered until `go_on`
    waiting: dict[_Session, list[str]] = field(default_factory=dict)  # that have such a copy
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[_Session] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]
        if self.step is Step.CONNECT and self.after == 0:
            self.kill()

    async def live_again(self) -> None:
        """The same port, and no further accident."""
        assert self.killed.is_set()
        self.killed.clear()
        await self.start()

    def go_on(self, reply: bytes = b"250 accepted") -> None:
        """Answer all who wait, and nobody waits any more."""
        waiting, self.waiting = self.waiting, {}
        self.silent.clear()
        for session, recipients in waiting.items():
            if reply.startswith(b"250"):
                self.accepted += recipients
            session.transport.write(reply + b"\r\n")

    def kill(self) -> None:
        self.shut()
        self.waiting.clear()
        for session in list(self._open):
            session.transport.abort()

    def shut(self) -> None:
        """Only the port: what was said still arrives."""
        self.after = None
        if self._server is not None:
            self._server.close()
            self._server = None
        self.killed.set()

    def at(self, step: Step) -> bool:
        """Whether this was the end."""
        if self.after is None or self.step is not step or len(self.accepted) < self.after:
            return False
        self.kill()
        return True

    @property
    def is_down(self) -> bool:
        return self._server is None

    def counts(self) -> Counter[str]:
        return Counter(self.accepted)

    async def __aenter__(self) -> DoomedHop:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()


class _Session(asyncio.Protocol):
    """One client: as much of RFC 5321 as a relay needs, a reply at a time."""

    transport: asyncio.Transport

    def __init__(self, hop: DoomedHop) -> None:
        self._hop = hop
        self._buffer = b""
        self._in_content = False
        self._content_began = False
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self._hop.is_down:  # it was accepted by a process that is dead
            self.transport.abort()
            return
        self._hop._open.add(self)
        if not self._hop.at(Step.BANNER):
            self._say(b"220 doomed.example.test ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._hop._open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self.transport.is_closing() and (self._read_content() if self._in_content else self._read_command()):
            continue

    def _read_command(self) -> bool:
        line, separator, rest = self._buffer.partition(b"\r\n")
        if not separator:
            return False
        self._buffer = rest
        verb = line[:4].upper().decode()
        if verb in Step.__members__ and self._hop.at(Step[verb]):
            return False
        if verb == "EHLO":
            self._say(b"250-doomed.example.test\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 DSN")
        elif verb == "DATA":
            self._say(b"354 go on")
            self._in_content, self._content_began = True, False
        elif verb == "QUIT":
            self._say(b"221 bye")
            self.transport.close()
        else:
            if verb == "RCPT":
                self._recipients.append(line.partition(b"<")[2].partition(b">")[0].decode())
            elif verb == "MAIL":
                self._recipients = []
            self._say(b"250 ok")
        return True

    def _read_content(self) -> bool:
        if not self._content_began and self._buffer:
            self._content_began = True
            if self._hop.at(Step.CONTENT):
                return False
        _, end, rest = self._buffer.partition(b"\r\n.\r\n")
        if not end or self._hop.at(Step.DOT):
            return False
        self._buffer, self._in_content = rest, False
        if self._hop.silent.intersection(self._recipients):
            self._hop.waiting[self] = self._recipients
            return True
        dies = self._hop.after is not None and len(self._hop.accepted) >= self._hop.after
        self._hop.accepted += self._recipients
        if dies and self._hop.at(Step.REPLY):
            return False
        self._say(b"250 accepted")
        if self._hop.step is Step.CONNECT and self._hop.after == len(self._hop.accepted):
            self._hop.shut()
        return True

    def _say(self, reply: bytes) -> None:
        self.transport.write(reply + b"\r\n")

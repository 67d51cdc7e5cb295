"""A next hop that keeps what it is given: for the demonstration, and a foreign peer for the tests.

It stands on aiosmtpd, so its reading of SMTP is not ours. Each stage can be made to refuse or to vanish.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import AnyStr, cast

from aiosmtpd.smtp import SMTP, Envelope, Session


class Stage(StrEnum):
    """Where the sink can be told to behave otherwise."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END = "end"


@dataclass(frozen=True, slots=True)
class Captured:
    """A message that was accepted. `content` is without dot-stuffing, as aiosmtpd read it."""

    mail_from: str
    rcpt_to: tuple[str, ...]
    mail_options: tuple[str, ...]
    content: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first field of that name, unfolded; None: there is none."""
        head = self.content.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
        for line in head.split(b"\r\n"):
            field, _, value = line.partition(b":")
            if field.lower() == name.lower():
                return value.strip()
        return None


VANISH = ""
"""An answer: drop the connection instead of answering."""


class Sink:
    """Listens on a port of 127.0.0.1 once started.

    `answers` maps a stage to what is said there instead of yes (`"451 4.2.0 later"`, or VANISH); `recipients` maps one
    recipient to what its RCPT is told. Both may be changed while it runs.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.messages: list[Captured] = []
        self.answers: dict[Stage, str] = {}
        self.recipients: dict[str, str] = {}
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()

    async def start(self) -> None:
        # aiosmtpd writes each address to its log.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and cut every connection; `start` opens the same port again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in list(self._sessions):
            session.cut()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Sink:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # what aiosmtpd calls

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (answer := self.answers.get(Stage.MAIL)) is not None:
            return answer or _cut(server)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (answer := self.recipients.get(address, self.answers.get(Stage.RCPT))) is not None:
            return answer or _cut(server)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if (answer := self.answers.get(Stage.END)) is not None:
            return answer or _cut(server)
        assert isinstance(envelope.content, bytes)
        mail_from = envelope.mail_from if envelope.mail_from != "<>" else ""
        self.messages.append(
            Captured(mail_from or "", tuple(envelope.rcpt_tos), tuple(envelope.mail_options), envelope.content)
        )
        return f"250 2.0.0 captured as {len(self.messages)}"

    def _session(self) -> _Session:
        return _Session(self)


class _Session(SMTP):
    """aiosmtpd's session, with the two stages it has no hook for."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink, hostname="sink.example.test", ident="capture", enable_SMTPUTF8=True)
        self._sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sink._sessions.add(self)
        super().connection_made(transport)
        if self._sink.answers.get(Stage.CONNECT) == VANISH:
            self.cut()

    def connection_lost(self, error: Exception | None) -> None:
        self._sink._sessions.discard(self)
        super().connection_lost(error)

    async def push(self, status: AnyStr) -> None:
        refusal = self._sink.answers.get(Stage.CONNECT)
        if refusal and isinstance(status, str) and status.startswith("220"):
            await super().push(refusal)
        else:
            await super().push(status)

    async def smtp_DATA(self, arg: str) -> None:
        answer = self._sink.answers.get(Stage.DATA)
        if answer is None:
            await super().smtp_DATA(arg)
        elif answer == VANISH:
            self.cut()
        else:
            await self.push(answer)

    def cut(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()


def _cut(server: SMTP) -> str:
    assert isinstance(server, _Session)
    server.cut()
    return "421 4.3.0 unsaid"

"""A door with everything real but the verdicts, and a client that sees octets."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from filters.model import Brand, Existing, Kind, Outcome, Reason, RecipientType, Stream
from gateway.config import Account, Address, Config, Listener, UnixAddress, Upstream
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline, Question
from gateway.smtp.delivered import Delivered, Fate, Fates, Store
from gateway.smtp.delivered_sqlite import SqliteStore
from gateway.smtp.listener import SmtpDoor
from gateway.smtp.signing import Keyring
from gateway.smtp.upstream import SmtpUpstream
from gateway.streams import StreamTable

BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)
COMMERCIAL = Stream("campaign", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay")
OBSERVED = Stream("watched", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay", observe=True)
KEEPING = Stream("keeping", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay", dkim_existing=Existing.KEEP)
REFUSING = Stream("refusing", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay", dkim_existing=Existing.REFUSE)
INFORMATIONAL = Stream("receipts", None, Kind.INFORMATIONAL, RecipientType.BIREYSEL, "relay")
STREAMS = {
    b"campaign.example.test": COMMERCIAL,
    b"watched.example.test": OBSERVED,
    b"receipts.example.test": INFORMATIONAL,
    b"keeping.example.test": KEEPING,
    b"refusing.example.test": REFUSING,
}

PASSED = (Outcome.PASS, Reason.CONSENT)
BLOCKED = (Outcome.BLOCK, Reason.NO_CONSENT)
DEFERRED = (Outcome.DEFER, Reason.INDEX_DOWN)


class Streams:
    """Stands in for the stream table: by sender domain alone; it remembers who asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes | None]] = []

    def match(
        self,
        *,
        mail_from_domain: bytes | None = None,
        account: bytes | None = None,
        client: IPv4Address | IPv6Address | None = None,
        **_: object,
    ) -> Stream | None:
        self.asked.append((str(client), account))
        return STREAMS.get(mail_from_domain or b"")


@dataclass
class Judge:
    """Stands in for the pipeline: verdicts by recipient, at once or when `release` is called."""

    verdicts: dict[bytes, tuple[Outcome, Reason]] = field(default_factory=dict)
    at_the_dot: dict[bytes, tuple[Outcome, Reason]] = field(default_factory=dict)
    late: bool = False
    asked: list[bytes | None] = field(default_factory=list)
    asked_again: list[bytes | None] = field(default_factory=list)
    refused: list[Reason] = field(default_factory=list)
    waiting: list[Question] = field(default_factory=list)
    broken: bool = False
    _ids: int = 0

    def ask(self, question: Question) -> None:
        self.asked.append(question.recipient)
        if self.broken:
            raise RuntimeError("invented fault")
        self._decide(question, self._verdict(question, self.verdicts))

    def ask_again(self, question: Question) -> None:
        self.asked_again.append(question.recipient)
        self._decide(question, self._verdict(question, self.verdicts | self.at_the_dot))

    def refuse(self, question: Question, reason: Reason) -> None:
        self.refused.append(reason)
        self._decide(question, (Outcome.BLOCK, reason))

    def link(self, question: Question) -> bytes:
        assert question.recipient is not None
        return b"https://ret.example.test/r/" + question.recipient.partition(b"@")[0]

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for question in waiting:
            question.decided()

    def _verdict(self, question: Question, verdicts: dict[bytes, tuple[Outcome, Reason]]) -> tuple[Outcome, Reason]:
        if question.stream.kind is Kind.INFORMATIONAL:
            return (Outcome.PASS, Reason.INFORMATIONAL)
        if question.recipient is None:
            return (Outcome.BLOCK, Reason.BAD_ADDRESS)
        return verdicts.get(question.recipient, PASSED)

    def _decide(self, question: Question, verdict: tuple[Outcome, Reason]) -> None:
        if not question.id:
            self._ids += 1
            question.id = b"id%d" % self._ids
        question.outcome, question.reason = verdict
        if self.late:
            self.waiting.append(question)
        else:
            question.decided()


@dataclass
class House:
    """A door that listens, and what stands behind it."""

    door: SmtpDoor
    judge: Judge
    metrics: Metrics
    port: int
    streams: Streams

    @asynccontextmanager
    async def client(
        self, *, ehlo: bool = True, tls: ssl.SSLContext | None = None, first: bytes = b""
    ) -> AsyncIterator[Client]:
        """`tls`: handshake at once. `first`: octets ahead of everything, as a load balancer writes them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(first)
        if tls is not None:
            await writer.start_tls(tls, server_hostname="gate.example.test")
        client = Client(reader, writer)
        try:
            if ehlo:
                assert (await client.hear())[0] == 220
                assert (await client.say(b"EHLO client.example.test"))[0] == 250
            yield client
        finally:
            writer.close()


@dataclass
class Client:
    """Speaks octets and reads replies."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def hear(self) -> tuple[int, bytes]:
        """The next reply: its code and its text, lines joined by LF."""
        lines = []
        async with asyncio.timeout(60):
            while True:
                line = await self.reader.readline()
                assert line.endswith(b"\r\n"), line
                lines.append(line[4:-2])
                if line[3:4] == b" ":
                    return int(line[:3]), b"\n".join(lines)

    async def say(self, line: bytes) -> tuple[int, bytes]:
        self.writer.write(line + b"\r\n")
        return await self.hear()

    async def secure(self, context: ssl.SSLContext) -> None:
        """STARTTLS."""
        assert (await self.say(b"STARTTLS"))[0] == 220
        await self.writer.start_tls(context, server_hostname="gate.example.test")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS, and EHLO again."""
        await self.secure(context)
        assert (await self.say(b"EHLO client.example.test"))[0] == 250

    async def converse(self, *lines: bytes) -> list[int]:
        return [(await self.say(line))[0] for line in lines]

    async def send(
        self, content: bytes, *recipients: bytes, sender: bytes = b"a@campaign.example.test", mail: bytes = b""
    ) -> tuple[int, bytes]:
        """A transaction; the answer to its final dot."""
        assert (await self.say(b"MAIL FROM:<%b>%b" % (sender, mail)))[0] == 250
        for recipient in recipients:
            assert (await self.say(b"RCPT TO:<%b>" % recipient))[0] == 250
        assert (await self.say(b"DATA"))[0] == 354
        return await self.say(content + b".")

    async def closed(self) -> bool:
        async with asyncio.timeout(60):
            return await self.reader.read() == b""


class ByHand:
    """A client whose TLS is done by hand, because it ends its own half of it, or begins with other octets."""

    def __init__(self, trust: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trust.wrap_bio(self._incoming, self._outgoing, server_hostname="gate.example.test")
        self._reader, self._writer = reader, writer

    async def handshake(self, first: bytes = b"") -> None:
        """`first` leaves in one write with the handshake's own octets."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._writer.write(first + self._outgoing.read())
                first = b""
                await self._take()
            else:
                self._writer.write(self._outgoing.read())
                return

    def say(self, octets: bytes, *, last: bool = False) -> None:
        """`last`: close_notify follows, and no FIN."""
        self._tls.write(octets)
        if last:
            with suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
        self._writer.write(self._outgoing.read())

    async def hear(self) -> bytes:
        """What came, at least an octet; empty: the other side ended, in good order or not."""
        while True:
            try:
                return self._tls.read(100_000)
            except ssl.SSLWantReadError:
                await self._take()
            except ssl.SSLError:
                return b""

    async def _take(self) -> None:
        async with asyncio.timeout(30):
            if data := await self._reader.read(100_000):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()


async def fate(delivered: Delivered, sender: bytes, path: bytes, content: bytes) -> Fate | None:
    """What the memory of mixed endings knows of a recipient."""
    heard: asyncio.Future[Fates | None] = asyncio.get_running_loop().create_future()
    delivered.read(delivered.message(sender, content), [path], heard.set_result)
    fates = await heard
    assert fates is not None, "it cannot be read"
    return fates[0]


@asynccontextmanager
async def house(
    directory: Path,
    *ports: int,
    protocol: str = "smtp",
    allow: str = "127.0.0.0/8",
    accounts: Iterable[Account] = (),
    unix: Path | None = None,
    keyring: Keyring | None = None,
    store: Store | None = None,
    hop: Mapping[str, int] | None = None,
    **options: object,
) -> AsyncIterator[House]:
    """A door before the next hop on `ports` of 127.0.0.1; `options` are the listener's.

    `store` is where mixed endings are remembered; None: in a file of `directory`. `hop`: more keys of the next hop.
    """
    judge, metrics, streams = Judge(), Metrics(), Streams()
    hosts = tuple(Address("127.0.0.1", port) for port in ports)
    upstream = SmtpUpstream(Upstream("relay", "smtp", hosts, **{"connections_max": 10, **(hop or {})}), metrics)
    delivered = Delivered(store or SqliteStore(directory / "delivered.sqlite", time.time), metrics)
    await delivered.start()
    listener = Listener(
        protocol=protocol,
        bind=UnixAddress(unix) if unix else Address("127.0.0.1", 0),
        allow=(ip_network(allow),),
        hostname="gate.example.test",
        **options,  # type: ignore[arg-type]
    )
    door = SmtpDoor(
        listener,
        cast(Config, SimpleNamespace(data_dir=directory, accounts={one.system_id: one for one in accounts})),
        cast(Pipeline, judge),
        cast(StreamTable, streams),
        metrics,
        {"relay": upstream},
        delivered,
        keyring,
    )
    await door.start()
    loop = asyncio.get_running_loop()
    if unix:
        server = await loop.create_unix_server(door.protocol, str(unix))
    else:
        server = await loop.create_server(door.protocol, "127.0.0.1", 0)
    try:
        yield House(door, judge, metrics, 0 if unix else server.sockets[0].getsockname()[1], streams)
    finally:
        server.close()
        await door.drain(5)
        await upstream.close()
        await delivered.close()

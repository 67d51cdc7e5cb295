"""A door with everything real but the verdicts, and a client that sees PDUs."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network
from types import MappingProxyType, SimpleNamespace
from typing import cast

from filters.model import Brand, Channel, Kind, Outcome, Reason, RecipientType, Stream
from gateway.config import Account, Address, Config, Listener, Upstream
from gateway.demo.smsc import Smsc
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline, Question
from gateway.smpp.fold import Folds
from gateway.smpp.listener import SmppDoor
from gateway.streams import StreamTable

BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)
COMMERCIAL = Stream("campaign", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "smsc")
OBSERVED = Stream("watched", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "smsc", observe=True)
INFORMATIONAL = Stream("otp", None, Kind.INFORMATIONAL, RecipientType.BIREYSEL, "smsc")
DECLARING = Stream("either", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "smsc", may_declare=True)
ELSEWHERE = Stream("elsewhere", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "other")
STREAMS = {
    b"ORNEK": COMMERCIAL,
    b"WATCH": OBSERVED,
    b"OTP": INFORMATIONAL,
    b"EITHER": DECLARING,
    b"ELSEWHERE": ELSEWHERE,
}
LOGIN, UPSTREAM_LOGIN = ("marka", "sifre123"), ("izinli", "smscpw")
NUMBER = b"905550000001"
CANONICAL = b"+905550000001"

PASSED = (Outcome.PASS, Reason.CONSENT)
BLOCKED = (Outcome.BLOCK, Reason.NO_CONSENT)
DEFERRED = (Outcome.DEFER, Reason.INDEX_DOWN)

BIND_RX, BIND_TX, QUERY, SUBMIT, DELIVER, UNBIND, REPLACE, CANCEL, BIND_TRX = range(1, 10)
ENQUIRE, SUBMIT_MULTI, ALERT, DATA, NACK, RESP = 0x15, 0x21, 0x102, 0x103, 0x80000000, 0x80000000


def link_of(recipient: bytes) -> bytes:
    """As long as a real one."""
    return b"https://ret.example.test/r/" + recipient[1:].rjust(18, b"x")


def notice_of(recipient: bytes = CANONICAL) -> str:
    return f" Ornek Market Mersis 0123456789000015 RET {link_of(recipient).decode()}"


class Streams:
    """Stands in for the stream table: by source address alone."""

    def match(
        self, *, source_addr: bytes | None = None, client: IPv4Address | IPv6Address | None = None, **_: object
    ) -> Stream | None:
        return STREAMS.get(source_addr or b"")


@dataclass
class Judge:
    """Stands in for the pipeline: verdicts by recipient, at once or when `release` is called."""

    verdicts: dict[bytes, tuple[Outcome, Reason]] = field(default_factory=dict)
    late: bool = False
    broken: bool = False
    asked: list[bytes | None] = field(default_factory=list)
    refused: list[Reason] = field(default_factory=list)
    waiting: list[Question] = field(default_factory=list)

    def ask(self, question: Question) -> None:
        self.asked.append(question.recipient)
        assert question.channel is Channel.MESAJ
        if self.broken:
            raise RuntimeError("invented fault")
        verdict = self._verdict(question)
        if question.stream is not None and question.stream.observe:
            verdict = (Outcome.PASS, verdict[1])
        self._decide(question, verdict)

    def refuse(self, question: Question, reason: Reason) -> None:
        self.refused.append(reason)
        self._decide(question, (Outcome.DEFER if reason is Reason.OVERLOAD else Outcome.BLOCK, reason))

    def link(self, question: Question) -> bytes:
        assert question.recipient is not None
        return link_of(question.recipient)

    def release(self, *, backwards: bool = False) -> None:
        waiting, self.waiting = self.waiting, []
        for question in reversed(waiting) if backwards else waiting:
            question.decided()

    def _verdict(self, question: Question) -> tuple[Outcome, Reason]:
        assert question.stream is not None
        if question.stream.kind is Kind.INFORMATIONAL:
            return (Outcome.PASS, Reason.INFORMATIONAL)
        if question.recipient is None:
            return (Outcome.BLOCK, Reason.BAD_ADDRESS)
        return self.verdicts.get(question.recipient, PASSED)

    def _decide(self, question: Question, verdict: tuple[Outcome, Reason]) -> None:
        question.outcome, question.reason = verdict
        if self.late:
            self.waiting.append(question)
        else:
            question.decided()


@dataclass(frozen=True, slots=True)
class Pdu:
    """What a client hears."""

    command: int
    status: int
    sequence: int
    body: bytes


def pdu(command: int, sequence: int, body: bytes = b"", status: int = 0) -> bytes:
    return struct.pack(">IIII", 16 + len(body), command, status, sequence) + body


def tlv(tag: int, value: bytes) -> bytes:
    return struct.pack(">HH", tag, len(value)) + value


def submit_body(
    text: bytes = b"Merhaba",
    *,
    dest: bytes = NUMBER,
    source: bytes = b"ORNEK",
    coding: int = 0,
    esm: int = 0,
    registered: int = 0,
    replace: int = 0,
    schedule: bytes = b"",
    service_type: bytes = b"",
    default_id: int = 0,
    ton: int = 1,
    tlvs: bytes = b"",
) -> bytes:
    """The body of a submit_sm, field after field (SMPP 3.4 §4.4.1)."""
    fields = [service_type, b"\0\5\0", source, b"\0", bytes((ton, 1)), dest, b"\0", bytes((esm, 0, 0)), schedule]
    fields += [b"\0\0", bytes((registered, replace, coding, default_id, len(text))), text, tlvs]
    return b"".join(fields)


def bind_body(system_id: str = LOGIN[0], password: str = LOGIN[1], version: int = 0x34) -> bytes:
    return f"{system_id}\0{password}\0ESME\0".encode() + bytes((version, 0, 0)) + b"\0"


@dataclass
class Client:
    """Speaks octets and reads PDUs."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sequence: int = 0

    def ask(self, command: int, body: bytes = b"") -> int:
        """Send a request; its sequence number."""
        self.sequence += 1
        self.writer.write(pdu(command, self.sequence, body))
        return self.sequence

    def submit(self, text: bytes = b"Merhaba", **fields: object) -> int:
        return self.ask(SUBMIT, submit_body(text, **fields))  # type: ignore[arg-type]

    async def hear(self) -> Pdu:
        async with asyncio.timeout(60):
            header = await self.reader.readexactly(16)
            length, command, status, sequence = struct.unpack(">IIII", header)
            return Pdu(command, status, sequence, await self.reader.readexactly(length - 16))

    async def converse(self, command: int, body: bytes = b"") -> Pdu:
        sequence = self.ask(command, body)
        heard = await self.hear()
        assert heard.sequence == sequence
        return heard

    async def say(self, text: bytes = b"Merhaba", **fields: object) -> Pdu:
        """Submit, and the answer."""
        return await self.converse(SUBMIT, submit_body(text, **fields))  # type: ignore[arg-type]

    async def bind(self, command: int = BIND_TRX, **login: object) -> Pdu:
        return await self.converse(command, bind_body(**login))  # type: ignore[arg-type]

    async def closed(self) -> bool:
        async with asyncio.timeout(60):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


@dataclass
class House:
    """A door that listens, and what stands behind it."""

    door: SmppDoor
    judge: Judge
    metrics: Metrics
    port: int

    def errors(self, kind: str) -> int:
        return self.metrics.protocol_errors[("smpp", kind)]

    @asynccontextmanager
    async def client(self, *, bind: int | None = BIND_TRX) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(reader, writer)
        try:
            if bind is not None:
                assert (await client.bind(bind)).status == 0
            yield client
        finally:
            writer.close()


def account(**options: object) -> Account:
    login = {
        "system_id": LOGIN[0].encode(),
        "password": LOGIN[1].encode(),
        "upstream_system_id": UPSTREAM_LOGIN[0].encode(),
        "upstream_password": UPSTREAM_LOGIN[1].encode(),
        "upstream": "smsc",
    }
    return Account(**(login | options))  # type: ignore[arg-type]


@asynccontextmanager
async def house(
    *ports: int,
    allow: str = "127.0.0.0/8",
    reserve: int = 5,
    pipeline: Callable[[Metrics], object] | None = None,
    folds: Folds | None = None,
    listener: Mapping[str, object] = MappingProxyType({}),
    upstream: Mapping[str, object] = MappingProxyType({}),
    **options: object,
) -> AsyncIterator[House]:
    """A door before the SMSC on `ports` of 127.0.0.1; `options` are the account's, `listener` and `upstream` theirs."""
    judge, metrics = Judge(), Metrics(["smsc"])
    hosts = tuple(Address("127.0.0.1", port) for port in ports)
    one = account(**options)
    smsc = Upstream("smsc", "smpp", hosts, reserve=reserve, **upstream)  # type: ignore[arg-type]
    config = SimpleNamespace(
        accounts={one.system_id: one}, upstreams={"smsc": smsc, "other": Upstream("other", "smpp", hosts)}
    )
    at = Address("127.0.0.1", 0)
    entry = Listener("smpp", at, (ip_network(allow),), "gate.example.test", **listener)  # type: ignore[arg-type]
    through = pipeline(metrics) if pipeline is not None else judge
    door = SmppDoor(
        entry, cast(Config, config), cast(Pipeline, through), cast(StreamTable, Streams()), metrics, None, folds
    )
    await door.start()
    server = await asyncio.get_running_loop().create_server(door.protocol, "127.0.0.1", 0)
    try:
        yield House(door, judge, metrics, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await door.drain(5)


def smsc(tls: ssl.SSLContext | None = None) -> Smsc:
    """An SMSC that knows us."""
    return Smsc({UPSTREAM_LOGIN[0]: UPSTREAM_LOGIN[1]}, tls=tls)

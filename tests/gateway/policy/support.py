"""A policy door with everything real but the verdicts, and a peer that sees octets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import cast

from filters.model import Stream
from gateway.config import Address, Listener, UnixAddress
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.policy.listener import PolicyDoor
from gateway.streams import StreamTable
from tests.gateway.smtp.support import COMMERCIAL, INFORMATIONAL, OBSERVED, Judge

DECLARING = replace(COMMERCIAL, name="declaring", may_declare=True)
STREAMS = {
    b"campaign.example.test": COMMERCIAL,
    b"receipts.example.test": INFORMATIONAL,
    b"watched.example.test": OBSERVED,
    b"declaring.example.test": DECLARING,
}


def request(recipient: bytes = b"b@example.test", **values: bytes) -> bytes:
    """A request as Postfix 3.7 sends it at RCPT; `values` replace or add attributes."""
    attributes = {
        b"request": b"smtpd_access_policy",
        b"protocol_state": b"RCPT",
        b"protocol_name": b"ESMTP",
        b"client_address": b"192.0.2.7",
        b"client_name": b"unknown",
        b"helo_name": b"app.example.test",
        b"sender": b"a@campaign.example.test",
        b"recipient": recipient,
        b"recipient_count": b"0",
        b"queue_id": b"",
        b"instance": b"4a3.6756a1c5.1b2c3.0",
        b"size": b"0",
        b"sasl_method": b"",
        b"sasl_username": b"",
        b"policy_context": b"",
        **{name.encode(): value for name, value in values.items()},
    }
    return b"".join(b"%b=%b\n" % one for one in attributes.items()) + b"\n"


@dataclass
class Streams:
    """Stands in for the stream table: by sender domain, and remembers what it was asked."""

    asked: list[tuple[bytes | None, bytes | None, IPv4Address | IPv6Address | None]] = field(default_factory=list)

    def match(
        self,
        *,
        mail_from_domain: bytes | None = None,
        account: bytes | None = None,
        client: IPv4Address | IPv6Address | None = None,
    ) -> Stream | None:
        self.asked.append((mail_from_domain, account, client))
        return STREAMS.get(mail_from_domain or b"")


@dataclass
class House:
    """A door that listens, and what stands behind it."""

    door: PolicyDoor
    judge: Judge
    streams: Streams
    metrics: Metrics
    where: int | Path

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        if isinstance(self.where, Path):
            reader, writer = await asyncio.open_unix_connection(self.where)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.where)
        try:
            yield Peer(reader, writer)
        finally:
            writer.close()

    def errors(self, kind: str) -> int:
        return self.metrics.protocol_errors[("policy", kind)]


@dataclass
class Peer:
    """Speaks octets and reads answers."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def hear(self) -> bytes:
        """The next answer without its empty line."""
        async with asyncio.timeout(30):
            return (await self.reader.readuntil(b"\n\n"))[:-2]

    async def ask(self, octets: bytes) -> bytes:
        self.writer.write(octets)
        return await self.hear()

    async def rest(self) -> bytes:
        """All that still comes before the connection is closed."""
        async with asyncio.timeout(30):
            return await self.reader.read()


@asynccontextmanager
async def house(*, allow: str = "127.0.0.0/8", unix: Path | None = None, **options: object) -> AsyncIterator[House]:
    judge, streams, metrics = Judge(), Streams(), Metrics()
    listener = Listener(
        protocol="policy",
        bind=UnixAddress(unix) if unix else Address("127.0.0.1", 0),
        allow=() if unix else (ip_network(allow),),
        **options,  # type: ignore[arg-type]
    )
    door = PolicyDoor(listener, cast(Pipeline, judge), cast(StreamTable, streams), metrics)
    await door.start()
    loop = asyncio.get_running_loop()
    if unix:
        server = await loop.create_unix_server(door.protocol, unix)
    else:
        server = await loop.create_server(door.protocol, "127.0.0.1", 0)
    try:
        yield House(door, judge, streams, metrics, unix or server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await door.drain(5)

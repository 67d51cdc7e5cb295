"""SMPP by rote on uvloop: the reads and writes of a checking gateway, and nothing else of it.

    python -m bench.smpp_rote --port 2776 --next-hop 2777 --index 6379 --journal FILE

A submit_sm is asked about in Redis with all others of its tick, written down, passed on as long as it is with a notice,
and answered as the next hop did; receipts go on at once, as those of messages that were sent whole do.
Nothing is checked, and nothing is done to a PDU but what makes it as long as the gateway's: it is the floor of what any
gateway in Python can cost, as HAProxy is the floor of any at all. The benchmark's own clients only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import deque
from pathlib import Path
from typing import Any, Final, cast

import hiredis
import uvloop

from bench import smpp_wire as wire
from filters.layout import INDEX_KEY, MARKER, READER_FIELDS

pack: Any = hiredis.pack_command  # its stub takes tuples of one

# What the gateway writes, octet by octet as many: a test holds it to that.
_BUCKET: Final = "izinli:1:{123}:b:123"
_MEMBER: Final = 1234567890123456789
QUESTION: Final = pack(("SMISMEMBER", _BUCKET, _MEMBER, MARKER))
STATE: Final = pack(("HMGET", INDEX_KEY, *READER_FIELDS)) + pack(("TIME",))
NOTICE: Final = b" Ornek Market Mersis 0123456789000015 RET https://ret.example.test/r/0123456789abcdefgh"
LINE: Final = (
    b'{"id":"0123456789a","at":"2026-11-25T09:00:00.123Z","protocol":"smpp","stream":"stream-2","brand":100001,'
    b'"channel":"MESAJ","recipient_type":"BIREYSEL","kind":"commercial","mode":"enforce","outcome":"pass",'
    b'"reason":"consent","fingerprint":"0123456789abcdef01234567"}\n'
)
JOURNAL_OCTETS_MAX: Final = 256 * 2**20  # then it begins anew, as the gateway begins another file

# What makes Redis' answers as long as they are to the gateway.
_STATE: Final = (1, 1, 12, 12, 1764057600000, "0" * 8, "0" * 40, "0")
SEED: Final = (
    pack(("SADD", _BUCKET, _MEMBER, MARKER)),
    pack(("HSET", INDEX_KEY, *(part for field in zip(READER_FIELDS, _STATE, strict=True) for part in field))),
)
_SEEDED: Final = len(b":2\r\n:7\r\n")
_CLOCK: Final = b"*2\r\n$10\r\n"  # the answer to TIME begins so; it is the last one of a tick

Onward = tuple[asyncio.Transport, bytes | bytearray, int]
"""What goes where when Redis has answered, and how many PDUs it is."""


class Redis(asyncio.Protocol):
    """One connection; what is asked in one tick goes out together: `each` for each PDU, and `end`."""

    each: bytes
    end = b""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.batch: list[Onward] = []
        self.asked: deque[list[Onward]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, onward: Onward) -> None:
        if not self.batch:
            self.loop.call_soon(self.flush)
        self.batch.append(onward)

    def flush(self) -> None:
        batch, self.batch = self.batch, []
        self.asked.append(batch)
        self.transport.write(self.each * sum(count for *_, count in batch) + self.end)


class Index(Redis):
    """Questions about recipients, with the state beside them, and the journal."""

    each, end = QUESTION, STATE

    def __init__(self, journal: int) -> None:
        super().__init__()
        self.journal = journal
        self.journal_octets = 0
        self.rest = b""
        self.seeding = _SEEDED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(b"".join(SEED))

    def data_received(self, data: bytes) -> None:
        if self.seeding:
            self.seeding -= len(data)
            return
        rest = self.rest + data
        for _ in range(rest.count(_CLOCK)):
            batch = self.asked.popleft()
            self.note(sum(count for *_, count in batch))
            for transport, octets, _count in batch:
                transport.write(octets)
        self.rest = rest.rpartition(_CLOCK)[2][-len(_CLOCK) :]

    def note(self, count: int) -> None:
        self.journal_octets += os.write(self.journal, LINE * count)
        if self.journal_octets > JOURNAL_OCTETS_MAX:
            os.ftruncate(self.journal, 0)
            self.journal_octets = 0


class End(asyncio.Protocol):
    """One side of a session. What comes goes to the other side at once."""

    def __init__(self) -> None:
        self.other: End
        self.rest = b""
        self.early = b""  # what came for it before it was connected
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.early)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other.transport is not None:
            self.other.transport.close()

    def write(self, octets: bytes) -> None:
        if self.transport is None:
            self.early += octets
        else:
            self.transport.write(octets)

    def data_received(self, data: bytes) -> None:
        octets = self.rest + data if self.rest else data
        at, stop = 0, len(octets)
        while at + wire.HEADER.size <= stop:
            head = octets[at : at + wire.FIXED]
            count = wire.run(octets, at, stop, head)
            if not count:
                break
            end = at + count * int.from_bytes(head[:4], "big")
            self.onward(octets, at, end, count)
            at = end
        self.rest = octets[at:]

    def onward(self, octets: bytes, at: int, end: int, count: int) -> None:
        self.other.write(octets[at:end])


class Esme(End):
    """A client's side: a submit_sm waits for Redis."""

    asks_about = wire.HEADER.pack(0, wire.SUBMIT_SM, 0, 0)[4 : wire.FIXED]

    def __init__(self, index: Index, next_hop: int) -> None:
        super().__init__()
        self.index = index
        self.other = End()
        self.other.other = self
        self.longer: dict[bytes, bytes] = {}  # the first PDU of each kind, with a notice
        self.connecting = index.loop.create_task(
            index.loop.create_connection(lambda: self.other, "127.0.0.1", next_hop)
        )

    def onward(self, octets: bytes, at: int, end: int, count: int) -> None:
        transport = self.other.transport
        if octets[at + 4 : at + wire.FIXED] == self.asks_about and transport is not None:
            self.index.ask((transport, self.longer_by_notice(octets, at, end, count), count))
        else:
            super().onward(octets, at, end, count)

    def longer_by_notice(self, octets: bytes, at: int, end: int, count: int) -> bytearray:
        head, size = octets[at : at + wire.FIXED], (end - at) // count
        pdu = self.longer.get(head)
        if pdu is None:
            length_at = wire.registered_at(octets[at:end]) + 3
            body = octets[at + wire.SEQUENCE_AT : at + size] + NOTICE
            pdu = self.longer[head] = (size + len(NOTICE)).to_bytes(4, "big") + head[4:] + body
            text = pdu[length_at] + len(NOTICE)
            pdu = self.longer[head] = pdu[:length_at] + bytes([text]) + pdu[length_at + 1 :]
        return wire.numbered(pdu, wire.sequences(octets, at, count, size))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--port", "--next-hop", "--index"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    options = parser.parse_args()
    loop = asyncio.get_running_loop()
    journal = os.open(options.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    _, index = await loop.create_connection(lambda: Index(journal), "127.0.0.1", options.index)
    server = await loop.create_server(lambda: Esme(index, options.next_hop), "127.0.0.1", options.port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

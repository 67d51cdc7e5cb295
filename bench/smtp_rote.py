"""SMTP by rote on uvloop: the reads and writes of a checking relay, and nothing else of it.

    python -m bench.smtp_rote --port 2525 --next-hop 2526 --index 6379

A message is read command by command, asked about at RCPT and at the dot, written down, passed on over a kept
connection, and answered as the next hop did. Nothing is parsed, checked, changed or bounded: it is the floor of what
any gateway in Python can cost, as HAProxy is the floor of any at all. The benchmark's own clients only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Callable
from typing import cast

import uvloop

QUESTION = b"*4\r\n$10\r\nSMISMEMBER\r\n$9\r\ni:1:b:123\r\n$19\r\n1234567890123456789\r\n$1\r\n0\r\n"
LINE = b'{"id":"1","at":"2026-11-25T09:00:00.123Z","protocol":"smtp","outcome":"pass"}\n' * 3
ENVELOPE = b"MAIL FROM:<%b> SIZE=2000\r\nRCPT TO:<%b>\r\nDATA\r\n"


class Index(asyncio.Protocol):
    """One connection to Redis; the questions of a tick go out together."""

    def __init__(self, journal: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = journal
        self.batch: list[Callable[[], None]] = []
        self.asked: list[Callable[[], None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, done: Callable[[], None]) -> None:
        if not self.batch and not self.asked:
            self.loop.call_soon(self.flush)
        self.batch.append(done)

    def flush(self) -> None:
        if self.batch and not self.asked:
            self.asked, self.batch = self.batch, []
            self.transport.write(QUESTION * len(self.asked))

    def data_received(self, data: bytes) -> None:
        """The answers come in one read: they are short."""
        asked, self.asked = self.asked, []
        os.write(self.journal, LINE)
        for done in asked:
            done()
        self.flush()


class NextHop(asyncio.Protocol):
    """A session's own connection to the next hop."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.ready = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """smtp-sink says 2.0.0 to a message only."""
        if data.startswith(b"220 "):
            self.transport.write(b"EHLO rote.example.test\r\n")
        elif b"354 " in data:
            self.transport.write(self.client.content)
        elif b" 2.0.0 " in data:
            self.client.transport.write(data)
        else:
            self.ready = True


class Client(asyncio.Protocol):
    """One session: it knows only what comes next."""

    def __init__(self, index: Index, next_hop: int) -> None:
        self.index = index
        self.sender = self.recipient = b""
        self.content = b""
        self.in_data = False
        self.hop = NextHop(self)
        self.connecting = index.loop.create_task(index.loop.create_connection(lambda: self.hop, "127.0.0.1", next_hop))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"220 rote.example.test ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.hop.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.in_data:
            self.content += data
            if self.content.endswith(b"\r\n.\r\n"):
                self.in_data = False
                self.index.ask(self.forward)
        elif data.startswith(b"MAIL"):
            self.sender = data[data.index(b"<") + 1 : data.index(b">")]
            self.transport.write(b"250 2.1.0 ok\r\n")
        elif data.startswith(b"RCPT"):
            self.recipient = data[data.index(b"<") + 1 : data.index(b">")]
            self.index.ask(self.accept)
        elif data.startswith(b"DATA"):
            self.in_data = True
            self.content = b""
            self.transport.write(b"354 go on\r\n")
        else:
            self.transport.write(b"250 ok\r\n")

    def accept(self) -> None:
        self.transport.write(b"250 2.1.5 ok\r\n")

    def forward(self) -> None:
        if self.hop.ready:
            self.hop.transport.write(ENVELOPE % (self.sender, self.recipient))
        else:
            self.index.loop.call_later(0.001, self.forward)  # the first message only


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--port", "--next-hop", "--index"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args()
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryFile() as journal:
        _, index = await loop.create_connection(lambda: Index(journal.fileno()), "127.0.0.1", options.index)
        server = await loop.create_server(lambda: Client(index, options.next_hop), "127.0.0.1", options.port)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

"""What tests of hostile peers share: an SMSC that follows a script, and the memory of this process."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.conftest import eventually_async
from tests.gateway.smpp.support import RESP, SUBMIT, Pdu, pdu

BINDS = (1, 2, 9)
MANY = 100_000
MIB = 1024 * 1024
MEMORY_MAX = 48 * MIB
"""What a hostile peer may cost this process. What is thrown at it would need several times as much, were it kept."""


def resident() -> int:
    """Octets of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stop_reading(writer: asyncio.StreamWriter) -> None:
    """Hear nothing more; the kernel takes a little for us, not megabytes."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.transport.pause_reading()  # type: ignore[attr-defined]


class End:
    """One connection at the SMSC, bound; speaks octets and reads PDUs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self) -> Pdu:
        length, command, status, sequence = struct.unpack(">IIII", await self.reader.readexactly(16))
        return Pdu(command, status, sequence, await self.reader.readexactly(length - 16))

    async def say(self, *octets: bytes) -> None:
        self.writer.write(b"".join(octets))
        await self.writer.drain()


Act = Callable[[End], Awaitable[None]]


async def honest(end: End) -> None:
    """Takes every message, answers every request."""
    while True:
        heard = await end.hear()
        if not heard.command & RESP:
            body = b"%d\0" % heard.sequence if heard.command == SUBMIT else b""
            await end.say(pdu(heard.command | RESP, heard.sequence, body))


class Script:
    """An SMSC whose first connections do what they are told, and all later ones what is right."""

    def __init__(self, *acts: Act) -> None:
        self.port = 0
        self.ends: list[End] = []
        self._acts = list(acts)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = End(reader, writer)
        try:
            heard = await end.hear()
            assert heard.command in BINDS
            self.ends.append(end)
            act = self._acts[len(self.ends) - 1] if len(self.ends) <= len(self._acts) else honest
            writer.write(pdu(heard.command | RESP, heard.sequence, b"smsc\0"))
            await act(end)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the gateway has gone
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*acts: Act) -> AsyncIterator[Script]:
    script = Script(*acts)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for end in script.ends:
            end.writer.close()
        await eventually_async(lambda: all(end.writer.transport.is_closing() for end in script.ends))

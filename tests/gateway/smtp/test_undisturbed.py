"""While one client is hostile, another beside it gets its message through, with every answer it is owed.

Each row of HOSTILE opens a session of its own and then does its worst for as long as it is let. Nothing here is timed:
the honest client has a generous deadline, and the hostile ones end when it is done.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway import limits
from tests.certificates import Authority, make_authority
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import Client, House, house

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"
EHLO, MAIL = b"EHLO c.example.test\r\n", b"MAIL FROM:<a@campaign.example.test>\r\n"
RCPT = b"RCPT TO:<b@example.test>\r\n"
ENVELOPE = EHLO + MAIL + RCPT + b"DATA\r\n"
STATES = {
    "greeted": b"",
    "in a command": b"EH",
    "ready": EHLO,
    "mail": EHLO + MAIL,
    "rcpt": EHLO + MAIL + RCPT,
    "data": ENVELOPE,
    "in data": ENVELOPE + TEXT,
    "at the last octet": ENVELOPE + TEXT + b".\r",
    "behind the end": ENVELOPE + TEXT + b".\r\n",
    "in a handshake": EHLO + b"STARTTLS\r\n",
}

OPEN: list[asyncio.StreamWriter] = []
"""Every connection a hostile client has opened: it keeps them until the test is over."""

Hostile = Callable[[int], Coroutine[Any, Any, None]]


async def opened(port: int, said: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    OPEN.append(writer)
    writer.write(said)
    return reader, writer


async def _drip(port: int, said: bytes, octets: bytes) -> None:
    """Slow loris: one octet, and one more, and one more."""
    _, writer = await opened(port, said)
    while True:
        writer.write(octets)
        await asyncio.sleep(0.005)


async def drip_command(port: int) -> None:
    await _drip(port, b"", b"E")


async def drip_data(port: int) -> None:
    await _drip(port, ENVELOPE, b"x")


async def never_read(port: int) -> None:
    """Ask for answers without an end, and read none of them."""
    reader, writer = await opened(port, EHLO)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        writer.write(b"HELP\r\n" * 1000)
        await writer.drain()


async def pipeline_flood(port: int) -> None:
    """Whole transactions ahead of every answer, which are read but not waited for."""
    reader, writer = await opened(port, EHLO)

    async def swallow() -> None:
        while await reader.read(65_536):
            continue

    async def pour() -> None:
        while True:
            writer.write((MAIL + RCPT * 20 + b"RSET\r\n") * 50)
            await writer.drain()

    await asyncio.gather(swallow(), pour())


async def half_close(port: int) -> None:
    while True:
        for said in STATES.values():
            reader, writer = await opened(port, said)
            with suppress(ConnectionError):
                writer.write_eof()
                await reader.read()
            writer.close()


async def reset_storm(port: int) -> None:
    while True:
        for said in STATES.values():
            _, writer = await opened(port, said)
            await asyncio.sleep(0)
            end = writer.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


async def connection_flood(port: int) -> None:
    """Far more than one client may have, all kept until they are closed, and then anew."""
    while True:
        many = [await opened(port) for _ in range(60)]
        with suppress(ConnectionError):
            await asyncio.gather(*(reader.read() for reader, _ in many[20:]))  # are told 421, and closed
        for _, writer in many:
            writer.close()


async def junk(port: int) -> None:
    """64 kB of what is no SMTP, of every kind."""
    while True:
        for octets in (
            b"x" * 65_536,
            b"\0" * 65_536,
            b"\r\n" * 32_768,
            b"GET / HTTP/1.1\r\n" * 4096,
            b"\xff\x16\x03" * 21_845,
        ):
            reader, writer = await opened(port, octets)
            with suppress(ConnectionError):
                while await reader.read(65_536):
                    continue
            writer.close()


async def endless_handshake(port: int) -> None:
    """Records of TLS that make no handshake, one after the other."""
    while True:
        reader, writer = await opened(port, EHLO + b"STARTTLS\r\n")
        with suppress(ConnectionError):
            await reader.readuntil(b"ready")
            while not reader.at_eof():
                writer.write(b"\x16\x03\x01\x00\x01\x01")
                await writer.drain()
                await asyncio.sleep(0.005)
        writer.close()


HOSTILE: list[Hostile] = [
    drip_command,
    drip_data,
    never_read,
    pipeline_flood,
    half_close,
    reset_storm,
    connection_flood,
    junk,
    endless_handshake,
]


async def again_and_again(hostile: Hostile, port: int) -> None:
    """It is cut off sooner or later, and comes back."""
    while True:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await hostile(port)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


async def honest(gate: House, trust: ssl.SSLContext) -> None:
    """A session from beginning to end, on an address of its own, in TLS."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind(("127.0.0.9", 0))
    await loop.sock_connect(sock, ("127.0.0.1", gate.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    client = Client(reader, writer)
    try:
        async with asyncio.timeout(120):
            assert (await client.hear())[0] == 220
            assert (await client.say(b"EHLO honest.example.test"))[0] == 250
            await client.start_tls(trust)
            for _ in range(3):
                assert (await client.send(TEXT, b"ayse@example.test", b"veli@example.test"))[0] == 250
            assert (await client.say(b"QUIT"))[0] == 221
            assert await client.closed()
    finally:
        writer.close()


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_an_honest_client_beside_a_hostile_one(
    tmp_path: Path, authority: Authority, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMTP_SESSIONS_MAX", 100)
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    options = {"tls": "starttls", "certificate": authority.issue("gate.example.test"), "sessions_per_client": 20}
    async with Hop() as hop, house(tmp_path, hop.port, **options) as gate:  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(again_and_again(hostile, gate.port)) for _ in range(3)]
        try:
            await eventually_async(lambda: bool(gate.door.sessions), within=90, what="a hostile session")
            for _ in range(3):
                await honest(gate, trust)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
        sent = [one for one in hop.received if one.rcpt[0] != RCPT.strip()]
        assert len(sent) == 3 * 3 * 2, "the honest ones, each copy once"
        while OPEN:
            OPEN.pop().transport.abort()
        await eventually_async(lambda: not gate.door.sessions, within=90, what="an empty table of sessions")
        assert gate.metrics.sessions["smtp"] == 0
        assert gate.door.transit == 0
        assert gate.metrics.protocol_errors[("smtp", "internal")] == 0


@pytest.mark.parametrize("state", list(STATES))
@pytest.mark.parametrize("reset", [False, True])
async def test_an_end_in_any_state_leaves_nothing(
    tmp_path: Path, authority: Authority, state: str, reset: bool
) -> None:
    """A half-close or a reset: what was whole is acted on once, what was not never, and the session is gone."""
    options = {"tls": "starttls", "certificate": authority.issue("gate.example.test")}
    async with Hop() as hop, house(tmp_path, hop.port, **options) as gate:  # type: ignore[arg-type]
        reader, writer = await opened(gate.port, STATES[state])
        if reset:
            await reader.readline()
            writer.transport.abort()
        else:
            writer.write_eof()
            async with asyncio.timeout(30):
                assert (await reader.read()).startswith(b"220 ")
        await eventually_async(lambda: not gate.door.sessions, within=90, what="an empty table of sessions")
        await eventually_async(lambda: gate.door.transit == 0, within=90)
        whole = state == "behind the end"
        if whole and not reset:
            await eventually_async(lambda: len(hop.received) == 1, within=90, what="the whole message")
        assert len(hop.received) <= whole
        assert gate.metrics.protocol_errors[("smtp", "internal")] == 0
        writer.close()


@pytest.mark.parametrize("count", [199, 200, 201, 401, 1000])
async def test_what_is_said_in_one_breath_is_answered_whole_and_in_order(tmp_path: Path, count: int) -> None:
    """More than is acted on in one turn, the end of the session included."""
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        named = b"".join(b"RCPT TO:<r%d@example.test>\r\n" % number for number in range(count))
        client.writer.write(MAIL + named + b"DATA\r\n" + TEXT + b".\r\nQUIT\r\n")
        client.writer.write_eof()
        codes = [(await client.hear())[0] for _ in range(count + 4)]
        assert codes == [250] * (count + 1) + [354, 250, 221]
        assert await client.closed()
        assert len(hop.received) == count

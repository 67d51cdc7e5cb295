"""Whose word counts for whom: PROXY headers, XCLIENT and XFORWARD, Unix sockets, bounds per client and transaction."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway import limits
from gateway.proxied import V2_SIGNATURE
from tests.certificates import make_authority
from tests.conftest import eventually_async, free_port
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import ByHand, Client, house

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"
SENDER = b"MAIL FROM:<a@campaign.example.test>"
HERE = (ip_network("127.0.0.0/8"),)
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"
V2 = V2_SIGNATURE + b"\x21\x21\x00\x24" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07" + bytes(16) + b"\x12\x67\x00\x19"
LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x00"


# PROXY


@pytest.mark.parametrize(
    ("header", "allow", "client"),
    [
        (V1, "192.0.2.0/24", "192.0.2.7"),
        (V2, "2001:db8::/32", "2001:db8::7"),
        (LOCAL, "127.0.0.0/8", "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.0/8", "127.0.0.1"),
    ],
)
async def test_the_client_is_whom_the_load_balancer_names(
    tmp_path: Path, header: bytes, allow: str, client: str
) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, allow=allow, proxy_from=HERE) as gate:
        async with gate.client(first=header) as one:
            assert (await one.send(TEXT, b"b@example.test"))[0] == 250
        assert gate.streams.asked == [(client, None)]
        literal = b"IPv6:" + client.encode() if ":" in client else client.encode()
        assert b"([%b])" % literal in hop.received[0].wire


async def test_a_client_behind_a_load_balancer_must_be_allowed_itself(tmp_path: Path) -> None:
    async with house(tmp_path, free_port(), proxy_from=HERE) as gate, gate.client(first=V1, ehlo=False) as client:
        assert (await client.hear())[0] == 554


async def test_a_header_from_elsewhere_is_a_bad_command(tmp_path: Path) -> None:
    elsewhere = (ip_network("192.0.2.0/24"),)
    async with house(tmp_path, free_port(), proxy_from=elsewhere) as gate, gate.client(first=V1, ehlo=False) as client:
        assert [(await client.hear())[0] for _ in range(2)] == [220, 500]
    async with house(tmp_path, free_port()) as gate, gate.client(first=V1, ehlo=False) as client:
        assert [(await client.hear())[0] for _ in range(2)] == [220, 500]


@pytest.mark.parametrize(
    "first", [b"EHLO x\r\n", b"PROXY TCP4 1\r\n", b"PROXY " + b"x" * 200, V2_SIGNATURE + b"\x41\0\0\0"]
)
async def test_a_load_balancer_that_writes_no_header_is_not_talked_to(tmp_path: Path, first: bytes) -> None:
    async with house(tmp_path, free_port(), proxy_from=HERE) as gate:
        async with gate.client(first=first, ehlo=False) as client:
            said = b""
            with suppress(ConnectionResetError):
                said = await client.reader.read()
            assert said == b""
        assert gate.metrics.protocol_errors[("smtp", "bad_proxy_header")] == 1
        assert not gate.door.sessions


async def test_i7_a_header_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROXY_HEADER_S", 0.05)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with house(tmp_path, free_port(), proxy_from=HERE) as gate, gate.client(first=V1[:9], ehlo=False):
        await eventually_async(lambda: gate.metrics.protocol_errors[("smtp", "bad_proxy_header")] == 1, within=90)
        await eventually_async(lambda: not gate.door.fronts)


async def test_a_header_and_the_handshake_in_one_write(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority")
    files = authority.issue("gate.example.test")
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    gate_ = house(tmp_path, free_port(), allow="192.0.2.0/24", proxy_from=HERE, tls="implicit", certificate=files)
    async with gate_ as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        client = ByHand(trust, reader, writer)
        await client.handshake(V1)
        assert (await client.hear()).startswith(b"220 ")
        client.say(SENDER + b"\r\n", last=True)
        assert (await client.hear()).startswith(b"503 ")
        assert await client.hear() == b""
        writer.close()


# XCLIENT and XFORWARD


async def test_a_trusted_host_speaks_for_its_clients(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, xclient_from=HERE) as gate, gate.client() as client:
        words = (await client.say(b"EHLO again"))[1].split(b"\n")
        assert b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT" in words
        assert b"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE" in words
        assert (await client.say(b"XCLIENT NAME=a+2Eb ADDR=127.9.9.9 LOGIN=marka PORT=[UNAVAILABLE]"))[0] == 220
        assert await client.converse(SENDER, b"EHLO client.example.test") == [503, 250], "a new session"
        assert (await client.send(TEXT, b"b@example.test"))[0] == 250
        assert gate.streams.asked == [("127.9.9.9", b"marka")]
        assert b"([127.9.9.9])" in hop.received[0].wire
        assert b" with ESMTPA id " in hop.received[0].wire
        assert (await client.say(b"XCLIENT ADDR=IPV6:2001:db8::1"))[0] == 554, "allow is the outer gate"
        assert await client.closed()


async def test_what_a_trusted_host_says_must_be_sayable(tmp_path: Path) -> None:
    async with house(tmp_path, free_port(), xclient_from=HERE) as gate, gate.client() as client:
        bad = (b"", b"ADDR=x", b"ADDR", b"COLOUR=red", b"HELO=a+0Db", b"HELO=" + b"x" * 300, b"ADDR=fe80::1%eth0")
        for argument in bad:
            assert await client.converse(b"XCLIENT " + argument, b"XFORWARD " + argument) == [501, 501], argument
        assert await client.converse(SENDER, b"XCLIENT ADDR=127.0.0.9", b"XFORWARD ADDR=127.0.0.9") == [250, 503, 503]


async def test_nobody_else_may(tmp_path: Path) -> None:
    elsewhere = (ip_network("192.0.2.0/24"),)
    async with house(tmp_path, free_port(), xclient_from=elsewhere) as gate, gate.client() as client:
        assert b"XCLIENT" not in (await client.say(b"EHLO again"))[1]
        assert await client.converse(b"XCLIENT ADDR=127.0.0.9", b"XFORWARD ADDR=127.0.0.9") == [550, 550]


async def test_an_unknown_client_is_nobody(tmp_path: Path) -> None:
    async with house(tmp_path, free_port(), xclient_from=HERE) as gate, gate.client() as client:
        assert (await client.say(b"XCLIENT ADDR=[UNAVAILABLE]"))[0] == 554


async def test_xforward_is_for_one_trace_alone(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, xclient_from=HERE) as gate, gate.client() as client:
        assert await client.converse(b"XFORWARD ADDR=192.0.2.9", b"XFORWARD HELO=web.example.test") == [250, 250]
        assert (await client.send(TEXT, b"b@example.test"))[0] == 250
        assert (await client.send(TEXT + b"\r\n", b"b@example.test"))[0] == 250
        assert hop.received[0].wire.startswith(b"Received: from web.example.test ([192.0.2.9])")
        assert hop.received[1].wire.startswith(b"Received: from client.example.test ([127.0.0.1])")
        assert [client for client, _ in gate.streams.asked] == ["127.0.0.1"] * 2, "streams go by the real one"


async def test_i7_the_share_of_a_client_follows_it_through_xclient(tmp_path: Path) -> None:
    gate_ = house(tmp_path, free_port(), xclient_from=HERE, sessions_per_client=1)
    async with gate_ as gate, gate.client() as first:
        assert (await first.say(b"XCLIENT ADDR=127.0.0.9"))[0] == 220
        async with gate.client() as second:
            code, text = await second.say(b"XCLIENT ADDR=127.0.0.9")
            assert (code, text[:5]) == (421, b"4.3.2")
            assert await second.closed()


# bounds


async def test_i7_one_client_has_no_more_than_its_share(tmp_path: Path) -> None:
    async with house(tmp_path, free_port(), sessions_per_client=1) as gate, gate.client():
        async with gate.client(ehlo=False) as second:
            code, text = await second.hear()
            assert (code, text[:5]) == (421, b"4.3.2")
            assert await second.closed()
        assert gate.metrics.protocol_errors[("smtp", "too_many_of_client")] == 1


async def test_i7_recipients_have_a_bound_that_is_announced_when_it_is_low(tmp_path: Path) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        assert b"LIMITS" not in (await client.say(b"EHLO again"))[1]
    async with house(tmp_path, free_port(), recipients_max=2) as gate, gate.client() as client:
        assert b"LIMITS RCPTMAX=2" in (await client.say(b"EHLO again"))[1].split(b"\n")
        rcpt = [b"RCPT TO:<r%d@example.test>" % number for number in range(3)]
        assert await client.converse(SENDER, *rcpt, b"RSET", SENDER, rcpt[2]) == [250, 250, 250, 452, 250, 250, 250]


async def test_i2_what_ends_in_the_middle_is_delivered_to_nobody(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        await client.converse(SENDER, b"RCPT TO:<b@example.test>", b"DATA")
        client.writer.write(TEXT)
        client.writer.write_eof()
        assert await client.closed()
        await eventually_async(lambda: gate.metrics.protocol_errors[("smtp", "disconnect_in_data")] == 1)
        assert b"DATA" not in hop.commands
        assert gate.door.transit == 0


async def test_i7_octets_one_by_one_do_not_hold_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line that never ends, an octet at a time, is no sign of life."""
    monkeypatch.setattr(limits, "SMTP_COMMAND_S", 0.2)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with house(tmp_path, free_port()) as gate, gate.client(ehlo=False) as client:
        assert (await client.hear())[0] == 220

        async def drip() -> bool:
            if not client.writer.is_closing():
                client.writer.write(b"E")
            return not gate.door.sessions

        # It heard a 421, or a reset in its place, because octets of it were on the way.
        await eventually_async(drip, within=90, what="session ended")


# Unix sockets


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with Hop() as hop, house(tmp_path, hop.port, allow="192.0.2.0/24", unix=path, sessions_per_client=1) as gate:
        for _ in range(2):
            reader, writer = await asyncio.open_unix_connection(str(path))
            client = Client(reader, writer)
            assert (await client.hear())[0] == 220
            assert (await client.say(b"EHLO client.example.test"))[0] == 250
            assert (await client.send(TEXT, b"b@example.test"))[0] == 250
        assert gate.streams.asked[0] == ("None", None)
        assert hop.received[0].wire.startswith(b"Received: from client.example.test\r\n\tby gate.example.test")
        assert writer.get_extra_info("socket").family == socket.AF_UNIX
        writer.close()


async def test_i7_above_the_bound_a_load_balancer_hears_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMTP_SESSIONS_MAX", 1)
    async with house(tmp_path, free_port(), allow="192.0.2.0/24", proxy_from=HERE) as gate, gate.client(first=V1):
        async with gate.client(ehlo=False) as second:
            assert await second.hear() == (421, b"4.3.2 too many connections, try again later")
            assert await second.closed()
        assert gate.metrics.protocol_errors[("smtp", "too_many_sessions")] == 1

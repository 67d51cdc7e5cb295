"""SMPP in TLS and behind a load balancer: the same door with a front before it."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_network
from pathlib import Path

from gateway.config import Account
from tests.certificates import make_authority
from tests.conftest import eventually_async, free_port
from tests.gateway.smpp.support import BIND_TRX, LOGIN, UNBIND, Client, House, bind_body, house, smsc

HERE = (ip_network("127.0.0.0/8"),)


async def come(gate: House, *, first: bytes = b"", tls: ssl.SSLContext | None = None) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(first)
    if tls is not None:
        await writer.start_tls(tls, server_hostname="gate.example.test")
    return Client(reader, writer)


async def test_a_bind_in_tls(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    options = {"tls": "implicit", "certificate": authority.issue("gate.example.test")}
    async with smsc() as centre, house(centre.port, listener=options) as gate:
        client = await come(gate, tls=trust)
        assert (await client.bind(BIND_TRX)).status == 0
        for _ in range(100):
            client.submit()
        assert [(await client.hear()).status for _ in range(100)] == [0] * 100
        assert (await client.converse(UNBIND)).status == 0
        assert await client.closed()
        plain = await come(gate)
        plain.ask(BIND_TRX, bind_body())
        async with asyncio.timeout(30):
            assert len(await plain.reader.read()) < 16, "an alert at most"
        await eventually_async(lambda: gate.errors("tls_failed") == 1)


async def test_a_bind_behind_a_load_balancer() -> None:
    options = {"proxy_from": HERE, "sessions_per_client": 1}
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 2775\r\n"
    async with smsc() as centre, house(centre.port, allow="192.0.2.0/24", listener=options) as gate:
        client = await come(gate, first=header)
        assert (await client.bind(BIND_TRX)).status == 0
        assert await (await come(gate, first=header)).closed(), "the second of one client"
        assert gate.errors("too_many_of_client") == 1
        other = await come(gate, first=header.replace(b"192.0.2.7", b"192.0.2.8"))
        assert (await other.bind(BIND_TRX)).status == 0
        assert await (await come(gate, first=b"\0\0\0\x10")).closed()
        assert gate.errors("bad_proxy_header") == 1
        client.writer.close()
        other.writer.close()


async def test_a_mail_clients_account_binds_nowhere() -> None:
    name, password = (word.encode() for word in LOGIN)
    async with house(free_port()) as gate, gate.client(bind=None) as client:
        gate.door.config.accounts[name] = Account(name, password)
        assert (await client.bind(BIND_TRX)).status == 0x0E
        assert gate.errors("bad_password") == 1

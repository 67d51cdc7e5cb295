"""All that may stand between a client and its session at once: a load balancer's header, TLS from the start, a login.

And certificates that are renewed while sessions are open, which go on as if nothing had happened.
"""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway import limits, passwords
from gateway.config import Account
from tests.certificates import Authority, make_authority
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import Client, House, house
from tests.gateway.smtp.test_inbound import LOCAL, V1, V2

pytestmark = pytest.mark.slow

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"
SENDER, RCPT = b"MAIL FROM:<a@campaign.example.test>", b"RCPT TO:<b@example.test>"
NAME, PASSWORD = b"marka", b"parola"
LOGIN = b"AUTH PLAIN " + b64encode(b"\0%b\0%b" % (NAME, PASSWORD))
WRONG = b"AUTH PLAIN " + b64encode(b"\0%b\0wrong" % NAME)
WITHIN_S = 60.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca_file))


@pytest.fixture(scope="module")
def account() -> Account:
    return Account(NAME, b"", password_hash=passwords.make(PASSWORD))


@asynccontextmanager
async def balanced(
    directory: Path, hop: Hop, authority: Authority, account: Account, **options: Any
) -> AsyncIterator[House]:
    """A door for those of 192.0.2.0/24 who log in, behind a load balancer of this machine."""
    options = {
        "allow": "192.0.2.0/24",
        "proxy_from": (ip_network("127.0.0.0/8"),),
        "tls": "implicit",
        "certificate": authority.issue("gate.example.test"),
        "auth": "required",
        "accounts": [account],
        **options,
    }
    async with house(directory, hop.port, **options) as gate:
        yield gate


@pytest.mark.parametrize(
    ("header", "allow", "client"),
    [(V1, "192.0.2.0/24", "192.0.2.7"), (V2, "2001:db8::/32", "2001:db8::7"), (LOCAL, "127.0.0.0/8", "127.0.0.1")],
    ids=["v1", "v2", "v2 local"],
)
async def test_header_tls_and_login_together(
    tmp_path: Path,
    authority: Authority,
    trust: ssl.SSLContext,
    account: Account,
    header: bytes,
    allow: str,
    client: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "AUTH_DELAY_S", 0.01)
    async with Hop() as hop, balanced(tmp_path, hop, authority, account, allow=allow) as gate:
        async with gate.client(first=header, tls=trust) as one:
            assert b"AUTH PLAIN LOGIN" in (await one.say(b"EHLO client.example.test"))[1].split(b"\n")
            assert await one.converse(SENDER, WRONG, SENDER, LOGIN) == [530, 535, 530, 235]
            assert (await one.send(TEXT, b"b@example.test"))[0] == 250
        assert gate.streams.asked == [(client, NAME)]
        literal = b"IPv6:" + client.encode() if ":" in client else client.encode()
        assert hop.received[0].wire.startswith(b"Received: from client.example.test ([%b])" % literal)
        assert b" with ESMTPSA id " in hop.received[0].wire
        assert gate.metrics.protocol_errors[("smtp", "bad_password")] == 1


async def test_i7_each_client_behind_the_header_has_a_share_of_its_own(
    tmp_path: Path, authority: Authority, trust: ssl.SSLContext, account: Account
) -> None:
    other = V1.replace(b"192.0.2.7", b"192.0.2.8")
    async with Hop() as hop, balanced(tmp_path, hop, authority, account, sessions_per_client=1) as gate:
        async with gate.client(first=V1, tls=trust), gate.client(first=other, tls=trust) as second:
            async with gate.client(first=V1, tls=trust, ehlo=False) as third:
                assert (await third.hear())[0] == 421
                assert await third.closed()
            assert (await second.say(LOGIN))[0] == 235, "nobody else's session is hurt"
        assert gate.metrics.protocol_errors[("smtp", "too_many_of_client")] == 1
        await eventually_async(lambda: not gate.door.sessions, within=WITHIN_S, what="an empty table of sessions")
        async with gate.client(first=V1, tls=trust) as again:
            assert (await again.say(LOGIN))[0] == 235


async def test_a_login_is_this_connections_alone(
    tmp_path: Path, authority: Authority, trust: ssl.SSLContext, account: Account
) -> None:
    """The load balancer's address is the same for all; nobody inherits what another proved."""
    async with (
        Hop() as hop,
        balanced(tmp_path, hop, authority, account) as gate,
        gate.client(first=V1, tls=trust) as one,
        gate.client(first=V1, tls=trust) as other,
    ):
        assert (await one.say(LOGIN))[0] == 235
        assert await other.converse(SENDER) == [530]
        assert (await one.send(TEXT, b"b@example.test"))[0] == 250


# Certificates that are renewed.


def serial(client: Client) -> str:
    return str(client.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"])


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_sessions_go_on_while_the_certificate_is_renewed(
    tmp_path: Path, authority: Authority, trust: ssl.SSLContext, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One between messages, one in the middle of its content, and one that has not said STARTTLS yet."""
    monkeypatch.setattr(limits, "TLS_RELOAD_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    files = authority.issue("gate.example.test")

    async with (
        Hop() as hop,
        house(tmp_path, hop.port, tls=tls, certificate=files) as gate,
        AsyncExitStack() as stack,
    ):

        async def come() -> Client:
            client = await stack.enter_async_context(gate.client(tls=trust if tls == "implicit" else None))
            if tls == "starttls":
                await client.start_tls(trust)
            return client

        idle, busy = await come(), await come()
        waiting = await stack.enter_async_context(gate.client(ehlo=False))  # for its handshake
        assert await busy.converse(SENDER, RCPT, b"DATA") == [250, 250, 354]
        busy.writer.write(TEXT)
        old = serial(idle)
        for new, file in zip(authority.issue("gate.example.test"), files, strict=True):
            os.replace(new, file)

        async def renewed() -> bool:
            return serial(await come()) != old

        await eventually_async(renewed, within=WITHIN_S, what="the new certificate")
        assert serial(busy) == serial(idle) == old
        assert (await busy.say(b"."))[0] == 250
        assert (await idle.send(TEXT + b"again\r\n", b"b@example.test"))[0] == 250
        if tls == "starttls":
            assert (await waiting.hear())[0] == 220
            assert (await waiting.say(b"EHLO late.example.test"))[0] == 250
            await waiting.start_tls(trust)
            assert serial(waiting) != old, "it shook hands after the renewal"
        else:
            assert gate.door.fronts, "a client that has not begun its handshake is waited for"
        assert len(hop.received) == 2
        assert gate.metrics.protocol_errors[("smtp", "internal")] == 0

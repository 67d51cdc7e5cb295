"""The whole door, with sockets, TLS and a next hop, hears whatever octets, cut wherever, in every state of a session.

It answers or closes, keeps nothing, blames itself for nothing; and what reaches the next hop is what was agreed: to a
recipient whom the verdicts let pass, twice, under a sender that has a stream, as lines without a fault.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters import dots
from tests.certificates import Authority, make_authority
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import BLOCKED, STREAMS, House, house
from tests.properties.test_smtp_secured_properties import WORDS

HERE = (ip_network("127.0.0.0/8"),)
CAMPAIGN, RECEIPTS = b"MAIL FROM:<a@campaign.example.test>\r\n", b"MAIL FROM:<a@receipts.example.test>\r\n"
AYSE, MEHMET = b"RCPT TO:<ayse@example.test>\r\n", b"RCPT TO:<mehmet@example.test>\r\n"
BLOCKED_ONE = b"mehmet@example.test"
CONTENT = b"Subject: x\r\n\r\n..text\r\n"
MESSAGE = CAMPAIGN + AYSE + b"DATA\r\n" + CONTENT + b".\r\n"
OPENED = b"EHLO c.example.test\r\n"
LOGIN = b"AUTH PLAIN AG1hcmthAHdyb25n\r\n"  # marka, wrong
PROXY = b"PROXY TCP4 127.0.0.7 127.0.0.1 4711 25\r\n"

# How far a session has come; `!`: the handshake of a STARTTLS is done there.
STATES: dict[str, list[list[bytes]]] = {
    "smtp": [
        [],
        [OPENED],
        [OPENED + CAMPAIGN],
        [OPENED + CAMPAIGN + AYSE],
        [OPENED + RECEIPTS + AYSE + b"DATA\r\n"],
        [OPENED + CAMPAIGN + AYSE + MEHMET + b"DATA\r\n" + CONTENT],
        [OPENED + CAMPAIGN + AYSE + b"DATA\r\n" + CONTENT + b".\r"],
    ],
    "secured": [
        [OPENED],
        [OPENED + b"STARTTLS\r\n"],  # what follows is no handshake
        [OPENED + b"STARTTLS\r\n", b"!"],
        [OPENED + b"STARTTLS\r\n", b"!", OPENED],
        [OPENED + b"STARTTLS\r\n", b"!", OPENED + b"AUTH LOGIN\r\n"],
        [OPENED + b"STARTTLS\r\n", b"!", OPENED + b"AUTH LOGIN bWFya2E=\r\n"],
        [OPENED + b"STARTTLS\r\n", b"!", OPENED + LOGIN],
        [OPENED + b"STARTTLS\r\n", b"!", OPENED + CAMPAIGN + AYSE + b"DATA\r\n" + CONTENT],
        [OPENED + b"XCLIENT ADDR=127.0.0.9 LOGIN=marka\r\n", OPENED],
        [OPENED + b"XCLIENT ADDR=192.0.2.9\r\n"],
        [OPENED + b"XFORWARD ADDR=192.0.2.9 HELO=x\r\n" + CAMPAIGN + AYSE],
    ],
    "proxied": [
        [],
        [PROXY[:20]],
        [PROXY],
        [PROXY + OPENED + CAMPAIGN + AYSE],
        [PROXY + OPENED + MESSAGE],
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"],
    ],
    "lmtp": [
        [],
        [b"LHLO c.example.test\r\n" + CAMPAIGN + AYSE + AYSE + MEHMET],
        [b"LHLO c.example.test\r\n" + CAMPAIGN + AYSE + AYSE + b"DATA\r\n" + CONTENT],
    ],
}
OWN_WORDS = [
    *(
        CAMPAIGN,
        RECEIPTS,
        AYSE,
        MEHMET,
        CONTENT,
        CONTENT + b".\r\n",
        b"LHLO c\r\n",
        PROXY,
        LOGIN,
        b"\x16\x03\x01\x02\0",
    ),
    *(
        b"RCPT TO:<ayse@example.test> NOTIFY=NEVER\r\n",
        b"RCPT TO:<a(b)@example.test>\r\n",
        b"\n.\n",
        b"\r\n.\n",
        b"\r.\r",
    ),
    MESSAGE,
    RECEIPTS + MEHMET + b"DATA\r\n" + b"x" * 5000 + b"\r\n.\r\n",
]
OCTETS = st.lists(
    st.one_of(st.sampled_from(OWN_WORDS), st.sampled_from(WORDS), st.binary(max_size=30)), max_size=10
).map(b"".join)


@dataclass
class Visit:
    """One client: how far it comes, what it says then and in what pieces, and how it leaves."""

    state: int
    octets: bytes
    cuts: list[int]
    resets: bool
    said: bytes = field(default=b"", compare=False)


VISITS = st.lists(
    st.builds(Visit, st.integers(0, 10), OCTETS, st.lists(st.integers(0, 400), max_size=4), st.booleans()),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


async def visit(gate: House, kind: str, one: Visit, trust: ssl.SSLContext) -> None:
    states = STATES[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    with suppress(OSError, asyncio.IncompleteReadError):  # it was closed by then
        for step in states[one.state % len(states)]:
            if step == b"!":
                async with asyncio.timeout(30):
                    await reader.readuntil(b"220 2.0.0 ")
                    await reader.readline()
                    await writer.start_tls(trust, server_hostname="gate.example.test")
            else:
                writer.write(step)
        at = sorted({0, len(one.octets), *(cut for cut in one.cuts if cut < len(one.octets))})
        for start, end in pairwise(at):
            writer.write(one.octets[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        if one.resets:
            writer.transport.abort()
        else:
            if writer.can_write_eof():
                writer.write_eof()
            else:
                writer.write(b"\r\n.\r\n" + b"x" * 3000 + b"\r\nQUIT\r\n")  # whatever it is in, it ends
            async with asyncio.timeout(30):
                one.said = await reader.read()
    writer.transport.abort()


async def visited(kind: str, visits: list[Visit], authority: Authority, files: tuple[Path, Path]) -> int:
    """How many messages went on."""
    options: dict[str, dict[str, Any]] = {
        "smtp": {},
        "secured": {"tls": "starttls", "certificate": files, "auth": "optional", "xclient_from": HERE},
        "proxied": {"proxy_from": HERE},
        "lmtp": {"protocol": "lmtp"},
    }
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    with tempfile.TemporaryDirectory() as directory:
        async with Hop() as hop, house(Path(directory), hop.port, size_max=20_000, **options[kind]) as gate:
            gate.judge.verdicts[BLOCKED_ONE] = BLOCKED
            await asyncio.gather(*(visit(gate, kind, one, trust) for one in visits))
            await eventually_async(
                lambda: not gate.door.sessions and not gate.door.fronts, within=90, what="no sessions any more"
            )
            await eventually_async(lambda: gate.door.transit == 0, within=90, what="no content any more")
            assert gate.metrics.protocol_errors[("smtp", "internal")] == 0
            assert gate.metrics.sessions["smtp"] == 0
            for message in hop.received:
                agreed(gate, message.mail, message.rcpt, message.wire)
            sent = len(hop.received)
    for one in visits:
        assert all(re.match(rb"[2-5]\d\d[ -]", line) for line in one.said.split(b"\r\n")[:-1]), one.said
        assert not one.said or one.said.endswith(b"\r\n")
    return sent


def agreed(gate: House, mail: bytes, rcpt: tuple[bytes, ...], wire: bytes) -> None:
    """What reached the next hop."""
    sender = re.match(rb"MAIL FROM:<([^>]*)>", mail)
    recipient = re.match(rb"RCPT TO:<([^>]*)>", rcpt[0])
    assert sender is not None
    assert recipient is not None
    assert len(rcpt) == 1
    domain = sender[1].rpartition(b"@")[2].lower()
    assert not sender[1] or domain in STREAMS
    if domain == b"campaign.example.test":
        assert recipient[1] != BLOCKED_ONE
        assert recipient[1] in gate.judge.asked
        assert recipient[1] in gate.judge.asked_again
    assert dots.line_fault(dots.unstuff(wire)) is None


@pytest.mark.parametrize("kind", list(STATES))
def test_whatever_clients_say_the_door_answers_or_closes_and_keeps_nothing(kind: str, authority: Authority) -> None:
    files = authority.issue("gate.example.test")
    sent = []

    @settings(
        max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(VISITS)
    def hears(visits: list[Visit]) -> None:
        sent.append(asyncio.run(visited(kind, visits, authority, files)))

    hears()
    assert sum(sent) > 0, "some of what was said was a message"

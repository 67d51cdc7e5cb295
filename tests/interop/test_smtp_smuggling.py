"""SMTP smuggling, in and out, with real Postfix as the lenient other end (3.7 takes LF . LF for an end of data).

    client ──form──▶ door ──▶ lenient Postfix ──▶ sink

The eleven forms are those of the public smtpsmug tests: what somebody, somewhere, has taken for an end of data. Ten are
none; the eleventh is the true end with commands behind it, which are the client's own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.config import Address, Upstream
from gateway.demo.sink import Sink
from gateway.metrics import Metrics
from gateway.smtp.upstream import SmtpUpstream
from tests.certificates import Authority, make_authority
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.pool import Letter, answers
from tests.gateway.smtp.support import Client, House, house
from tests.interop.postfix import Postfix

pytestmark = pytest.mark.interop

FORMS = {
    "lflf": b"\n.\n",
    "crcr": b"\r.\r",
    "crlf": b"\r.\n",
    "lfcr": b"\n.\r",
    "lfcrlf": b"\n.\r\n",
    "crlflf": b"\r\n.\n",
    "crcrlf": b"\r.\r\n",
    "crlfcr": b"\r\n.\r",
    "nullbefore": b"\r\n\0.\r\n",
    "nullafter": b"\r\n.\0\r\n",
    "pipelining": b"\r\n.\r\n",
}
FALSE_ENDS = [name for name in FORMS if name != "pipelining"]
ENVELOPE = (b"MAIL FROM:<a@receipts.example.test>", b"RCPT TO:<ayse@example.test>", b"DATA")
FIRST = b"Subject: one\r\n\r\nfirst"
SECOND = (
    b"MAIL FROM:<evil@receipts.example.test>\r\nRCPT TO:<victim@example.test>\r\nDATA\r\n"
    b"Subject: two\r\n\r\nsmuggled\r\n"
)
LENIENT = {
    "smtpd_forbid_bare_newline": "no",
    "smtpd_forbid_unauth_pipelining": "no",
    "smtpd_data_restrictions": "",
    "smtpd_discard_ehlo_keywords": "",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


def lenient(sink: Sink, authority: Authority) -> Postfix:
    """As distributions delivered it for years; with TLS for who wants it."""
    cert_file, key_file = authority.issue("hop.example.test")
    tls = {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": str(cert_file),
        "smtpd_tls_key_file": str(key_file),
    }
    return Postfix(relay_to=sink.port, **LENIENT, **tls)


@dataclass
class Way:
    """How a client comes in: the listener's keys, and what its session begins with."""

    protocol: str = "smtp"
    tls: str = "none"


WAYS = {
    "plain": Way(),
    "STARTTLS": Way(tls="starttls"),
    "implicit TLS": Way(tls="implicit"),
    "LMTP": Way(protocol="lmtp"),
}


@asynccontextmanager
async def came_in(way: Way, directory: Path, port: int, authority: Authority) -> AsyncIterator[tuple[House, Client]]:
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    options = {"tls": way.tls, "certificate": authority.issue("gate.example.test")} if way.tls != "none" else {}
    at_once = trust if way.tls == "implicit" else None
    gate_ = house(directory, port, protocol=way.protocol, **options)  # type: ignore[arg-type]
    async with gate_ as gate, gate.client(ehlo=False, tls=at_once) as client:
        assert (await client.hear())[0] == 220
        hello = b"LHLO" if way.protocol == "lmtp" else b"EHLO"
        assert (await client.say(hello + b" client.example.test"))[0] == 250
        if way.tls == "starttls":
            await client.start_tls(trust)
        yield gate, client


async def test_the_next_hop_of_these_tests_is_lenient(authority: Authority) -> None:
    """Without us in front of it, it does take forms for ends: what follows can fail."""
    async with Sink() as sink:
        with lenient(sink, authority) as behind:
            split = 0
            for name in ("lflf", "lfcrlf", "crlflf"):
                async with raw(behind.port) as client:
                    await client.converse(*ENVELOPE)
                    client.writer.write(FIRST + FORMS[name] + SECOND + b".\r\n")
                    codes = [(await client.hear())[0]]
                    client.writer.write(b"QUIT\r\n")
                    while codes[-1] != 221:
                        codes.append((await client.hear())[0])
                    split += codes.count(354)
            assert split > 0, "a DATA was taken that stood in content"
            await eventually_async(
                lambda: any(
                    b"smuggled" in one.content and one.rcpt_to == ("victim@example.test",) for one in sink.messages
                ),
                within=60,
                what="a smuggled message at the sink",
            )


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    try:
        assert (await client.hear())[0] == 220
        assert (await client.say(b"EHLO client.example.test"))[0] == 250
        yield client
    finally:
        writer.close()


@pytest.mark.parametrize("way", list(WAYS))
async def test_i2_no_form_carries_a_second_message_past_the_door(
    tmp_path: Path, authority: Authority, way: str
) -> None:
    """Each false end refuses the message that has it; the sink gets what was sent after the true one, and no more."""
    async with Sink() as sink:
        with lenient(sink, authority) as behind:
            async with came_in(WAYS[way], tmp_path, behind.port, authority) as (gate, client):
                for form in FALSE_ENDS:
                    assert await client.converse(*ENVELOPE) == [250, 250, 354], form
                    client.writer.write(FIRST + FORMS[form] + SECOND + b".\r\n")
                    code, text = await client.hear()
                    assert (code, text[:7]) == (550, b"5.6.11 "), form
                    assert (await client.say(b"NOOP"))[0] == 250, form
                assert "cleanup" not in behind.log(), "nothing reached the next hop at all"
                await client.converse(*ENVELOPE)
                client.writer.write(FIRST + FORMS["pipelining"] + SECOND + b".\r\n")
                assert [(await client.hear())[0] for _ in range(5)] == [250, 250, 250, 354, 250]
                assert gate.metrics.protocol_errors[("smtp", "internal")] == 0
            await eventually_async(lambda: len(sink.messages) >= 2 and not behind.queued(), within=60)
            assert sorted(one.rcpt_to for one in sink.messages) == [("ayse@example.test",), ("victim@example.test",)]
            assert sorted(b"smuggled" in one.content for one in sink.messages) == [False, True], "both the client's own"


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("form", FALSE_ENDS)
async def test_i2_what_a_lenient_mta_in_front_lets_through_is_refused_not_split(
    tmp_path: Path, authority: Authority, form: str, way: str
) -> None:
    """Without a wait in between, as a server does that takes the form for content and relays it."""
    async with Hop() as hop, came_in(WAYS[way], tmp_path, hop.port, authority) as (_, client):
        client.writer.write(b"\r\n".join(ENVELOPE) + b"\r\n" + FIRST + FORMS[form] + SECOND + b".\r\nQUIT\r\n")
        codes = []
        while not codes or codes[-1] != 221:
            codes.append((await client.hear())[0])
        assert codes == [250, 250, 354, 550, 221]
        assert hop.received == []
        assert not any(command.startswith(b"MAIL") for command in hop.commands)


# Where our own octets come next to dots, blanks and line ends, encoded or not.
HEAD = b"Subject: x\r\nContent-Type: %b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n"
BODIES = {
    "a dot alone at the end": (b"text/plain", b"7bit", b"text\r\n.\r\n"),
    "dots alone": (b"text/plain", b"7bit", b".\r\n.\r\n..\r\n"),
    "nothing but a dot": (b"text/plain", b"8bit", b".\r\n"),
    "no body": (b"text/plain", b"7bit", b""),
    "a dot before the end of HTML": (b"text/html", b"7bit", b"<html><body>text\r\n.</body></html>\r\n"),
    "a dot behind it": (b"text/html", b"7bit", b"<html><body>text</body>\r\n.\r\n.</html>\r\n.\r\n"),
    "encoded ends in quoted-printable": (b"text/plain", b"quoted-printable", b"x=0D=0A.=0D=0A=\r\n.=0A.=0A=\r\n.=\r\n"),
    "a soft break before a dot": (b"text/html", b"quoted-printable", b"<body>=\r\n.=\r\n</body>=\r\n.\r\n"),
    "encoded lone ends before the place": (b"text/html", b"quoted-printable", b"<body>x=0D.=0D</body>=0A.=0A\r\n"),
    "ends in base64": (b"text/plain", b"base64", b"eA0KLg0KLgouCi4NLg0=\r\n"),
    "a placeholder behind a dot": (b"text/plain", b"7bit", b"x\r\n.{{izinli_link}}\r\n.\r\n"),
}


@pytest.mark.parametrize("tls", ["none", "encrypt"])
async def test_i2_our_own_octets_beside_a_line_end_end_nothing(tmp_path: Path, authority: Authority, tls: str) -> None:
    """With notice and link put in, each message is one message to a lenient next hop, over plain text and TLS."""
    async with Sink() as sink:
        with lenient(sink, authority) as behind:
            async with house(tmp_path, behind.port) as gate:
                over = SmtpUpstream(
                    Upstream("relay", "smtp", (Address("127.0.0.1", behind.port),), 10, tls=tls), gate.metrics
                )
                await gate.door.upstreams["relay"].close()
                gate.door.upstreams = {"relay": over}
                await gate.door.start()
                try:
                    async with gate.client() as client:
                        for content_type, encoding, body in BODIES.values():
                            stuffed = (HEAD % (content_type, encoding) + body).replace(b"\r\n.", b"\r\n..")
                            assert (await client.send(stuffed, b"ayse@example.test"))[0] == 250
                finally:
                    await over.close()
            await eventually_async(lambda: len(sink.messages) >= len(BODIES) and not behind.queued(), within=90)
            assert len(sink.messages) == len(BODIES)
            assert {one.rcpt_to for one in sink.messages} == {("ayse@example.test",)}
            assert all(one.header(b"List-Unsubscribe") for one in sink.messages)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("tls", ["none", "encrypt"])
async def test_i2_our_client_stuffs_every_line_that_could_be_an_end(
    authority: Authority, tls: str, large: bool
) -> None:
    """Whatever content our client is given that a session lets pass, Postfix takes it for one message."""
    filling = (b"x" * 60 + b"\r\n") * 6000 if large else b""
    body = b"Subject: x\r\n\r\n" + filling + b".\r\n..\r\n.x\r\n. \r\n.\r\n" + SECOND.replace(b"\r\n", b"\r\n.\r\n")
    async with Sink() as sink:
        with lenient(sink, authority) as behind:
            hosts = (Address("127.0.0.1", behind.port),)
            upstream = SmtpUpstream(Upstream("relay", "smtp", hosts, 10, tls=tls), Metrics())
            try:
                replies = await answers(upstream, *(Letter(content=body, dotted=True) for _ in range(3)))
            finally:
                await upstream.close()
            assert [reply.code for reply in replies] == [250] * 3
            await eventually_async(lambda: len(sink.messages) >= 3 and not behind.queued(), within=60)
            assert [one.content.count(b"smuggled") for one in sink.messages] == [1] * 3
            assert all(one.content.endswith(body[12:]) for one in sink.messages), "every dot, and no more"
            assert {one.rcpt_to for one in sink.messages} == {("b@example.test",)}

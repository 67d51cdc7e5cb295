"""TLS and logins over real sockets: what is asked for, what is offered when, and what an attacker gets."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from base64 import b64encode
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway import limits, passwords
from gateway.config import Account
from gateway.passwords import Answer
from tests.certificates import Authority, make_authority
from tests.conftest import eventually_async, free_port
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import ByHand, Client, House, house

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"
SENDER = b"MAIL FROM:<a@campaign.example.test>"
HERE = (ip_network("127.0.0.0/8"),)
NAME, PASSWORD = b"marka", b"parola-\xc3\xa7ok-uzun"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


@pytest.fixture
def pair(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("gate.example.test")


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca_file))


@pytest.fixture(autouse=True)
def quick_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUTH_DELAY_S", 0.01)


@pytest.fixture(scope="module")
def account() -> Account:
    return Account(NAME, b"", password_hash=passwords.make(PASSWORD))


def plain(name: bytes = NAME, password: bytes = PASSWORD, acting_for: bytes = b"") -> bytes:
    return b"AUTH PLAIN " + b64encode(b"\0".join((acting_for, name, password)))


async def keywords(client: Client) -> list[bytes]:
    return (await client.say(b"EHLO again"))[1].split(b"\n")[1:]


# TLS


async def test_starttls_protects_and_forgets(tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext) -> None:
    async with (
        Hop() as hop,
        house(tmp_path, hop.port, tls="starttls", certificate=pair) as gate,
        gate.client() as client,
    ):
        assert b"STARTTLS" in await keywords(client)
        assert await client.converse(b"STARTTLS now", SENDER) == [501, 250]
        assert await client.say(b"STARTTLS") == (220, b"2.0.0 ready to start TLS")
        await client.writer.start_tls(trust, server_hostname="gate.example.test")
        assert await client.converse(b"RCPT TO:<b@example.test>", SENDER) == [503, 503], "EHLO and MAIL are forgotten"
        assert b"STARTTLS" not in await keywords(client)
        assert (await client.say(b"STARTTLS"))[0] == 503
        assert (await client.send(TEXT, b"b@example.test"))[0] == 250
        assert b" with ESMTPS id " in hop.received[0].wire


async def test_implicit_tls(tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, tls="implicit", certificate=pair) as gate:
        async with gate.client(tls=trust) as client:
            assert b"STARTTLS" not in await keywords(client)
            assert (await client.say(b"STARTTLS"))[0] == 502
            assert (await client.send(TEXT * 20_000, b"b@example.test"))[0] == 250
        assert len(hop.received[0].wire) > len(TEXT) * 20_000


FIRST = (530, b"5.7.0 Must issue a STARTTLS command first")


async def test_nothing_leads_on_but_starttls_where_tls_is_required(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext
) -> None:
    """RFC 3207 §4: every command but NOOP, EHLO, STARTTLS and QUIT is refused, in any spelling and state."""
    async with (
        Hop() as hop,
        house(tmp_path, hop.port, tls="required", certificate=pair, xclient_from=HERE) as gate,
        gate.client(ehlo=False) as client,
    ):
        assert (await client.hear())[0] == 220
        assert [await client.say(b"HELO x"), await client.say(SENDER)] == [FIRST, FIRST]
        assert b"STARTTLS" in await keywords(client)
        refused = [SENDER, b"mail from:<>", b"RCPT TO:<b@example.test>", b"DATA", b"RSET", b"VRFY b", b"HELP", plain()]
        refused += [b"XCLIENT ADDR=192.0.2.7", b"XFORWARD ADDR=192.0.2.7", b"EXPN b"]
        assert [await client.say(command) for command in refused] == [FIRST] * len(refused)
        assert await client.converse(b"NOOP", b"NONSENSE", b"STARTTLS now") == [250, 500, 501]
        assert gate.streams.asked == [], "nobody was looked up"
        await client.secure(trust)
        assert await client.converse(SENDER) == [503], "EHLO is forgotten"
        assert b"STARTTLS" not in await keywords(client)
        assert (await client.send(TEXT, b"b@example.test"))[0] == 250
        assert b" with ESMTPS id " in hop.received[0].wire
        assert await client.converse(b"RSET", b"STARTTLS", b"HELP", b"QUIT") == [250, 503, 214, 221]


async def test_what_is_sent_ahead_of_tls_is_refused_as_well(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """A whole message in one write: each line of it is refused, and too many of them end the session."""
    async with (
        Hop() as hop,
        house(tmp_path, hop.port, tls="required", certificate=pair) as gate,
        gate.client() as client,
    ):
        client.writer.write(SENDER + b"\r\nRCPT TO:<b@example.test>\r\nDATA\r\n" + TEXT * 20 + b".\r\nQUIT\r\n")
        assert [await client.hear() for _ in range(3)] == [FIRST] * 3
        said = b""
        async with asyncio.timeout(30):
            while piece := await client.reader.read(10_000):
                said += piece
        assert b"\n2" not in said
        assert b"421 4.7.0 too many errors\r\n" in said
        assert hop.received == []


async def test_bdat_before_tls_ends_the_session(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """What comes behind it is no command."""
    async with house(tmp_path, free_port(), tls="required", certificate=pair) as gate, gate.client() as client:
        client.writer.write(b"BDAT 6 LAST\r\nNOOP\r\n")
        assert (await client.hear())[0] == 502
        assert await client.closed()


async def test_lmtp_asks_for_tls_too(tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext) -> None:
    async with (
        Hop() as hop,
        house(tmp_path, hop.port, protocol="lmtp", tls="required", certificate=pair) as gate,
        gate.client(ehlo=False) as client,
    ):
        assert (await client.hear())[0] == 220
        assert await client.converse(b"LHLO x") == [250]
        assert await client.say(SENDER) == FIRST
        assert (await client.say(b"EHLO x"))[0] == 500
        await client.secure(trust)
        assert await client.converse(b"LHLO x", SENDER) == [250, 250]


async def test_tls_and_a_login_are_asked_for_one_after_the_other(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext, account: Account
) -> None:
    options = {"tls": "required", "certificate": pair, "auth": "required", "accounts": [account]}
    async with Hop() as hop, house(tmp_path, hop.port, **options) as gate, gate.client() as client:  # type: ignore[arg-type]
        assert [await client.say(plain()), await client.say(SENDER)] == [FIRST, FIRST]
        await client.start_tls(trust)
        assert b"AUTH PLAIN LOGIN" in await keywords(client)
        assert await client.say(SENDER) == (530, b"5.7.0 authentication required")
        assert (await client.say(plain()))[0] == 235
        assert (await client.send(TEXT, b"b@example.test"))[0] == 250


async def test_no_tls_is_no_starttls(tmp_path: Path) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        assert await client.converse(b"STARTTLS", plain()) == [502, 502]


async def test_what_was_injected_before_the_handshake_ends_the_session(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """CVE-2011-0411: a plain command sent along with STARTTLS must not be taken for one said in TLS."""
    async with house(tmp_path, free_port(), tls="starttls", certificate=pair) as gate, gate.client() as client:
        client.writer.write(b"STARTTLS\r\n" + SENDER + b"\r\n")
        assert (await client.hear())[0] == 554
        assert await client.closed()
        assert gate.metrics.protocol_errors[("smtp", "starttls_injection")] == 1


async def test_plain_text_instead_of_a_handshake_ends_the_session(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    async with house(tmp_path, free_port(), tls="starttls", certificate=pair) as gate, gate.client() as client:
        assert (await client.say(b"STARTTLS"))[0] == 220
        client.writer.write(b"EHLO not.tls.example.test\r\n")
        async with asyncio.timeout(30):
            assert b"250" not in await client.reader.read()
        assert gate.metrics.protocol_errors[("smtp", "tls_failed")] == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_i7_a_handshake_has_a_deadline(
    tmp_path: Path, pair: tuple[Path, Path], tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TLS_HANDSHAKE_S", 0.05)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with house(tmp_path, free_port(), tls=tls, certificate=pair) as gate:
        async with gate.client(ehlo=tls == "starttls") as client:
            if tls == "starttls":
                assert (await client.say(b"STARTTLS"))[0] == 220
            assert await client.closed(), "and nothing is said in plain text"
        await eventually_async(lambda: not gate.door.fronts and not gate.door.sessions)


async def test_i7_handshakes_count_for_the_bound_of_sessions(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMTP_SESSIONS_MAX", 1)
    async with house(tmp_path, free_port(), tls="implicit", certificate=pair) as gate, gate.client(ehlo=False):
        await eventually_async(lambda: len(gate.door.fronts) == 1)
        async with gate.client(ehlo=False) as second:
            assert await second.closed()
        assert gate.metrics.protocol_errors[("smtp", "too_many_sessions")] == 1


async def test_strangers_get_no_handshake(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    async with house(tmp_path, free_port(), allow="192.0.2.0/24", tls="implicit", certificate=pair) as gate:
        async with gate.client(ehlo=False) as client:
            assert await client.closed()
        assert gate.metrics.protocol_errors[("smtp", "not_allowed")] == 1


async def test_old_tls_is_refused(tmp_path: Path, pair: tuple[Path, Path], authority: Authority) -> None:
    old = ssl.create_default_context(cafile=str(authority.ca_file))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with house(tmp_path, free_port(), tls="implicit", certificate=pair) as gate:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with gate.client(tls=old):
                raise AssertionError("TLS 1.1 was spoken")
        await eventually_async(lambda: gate.metrics.protocol_errors[("smtp", "tls_failed")] == 1)


async def test_a_renewed_certificate_is_taken_without_a_restart(
    tmp_path: Path, authority: Authority, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TLS_RELOAD_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    files = authority.issue("gate.example.test")

    async def serial(gate: House) -> str:
        async with gate.client(tls=trust) as client:
            certificate = client.writer.get_extra_info("ssl_object").getpeercert()
            return str(certificate["serialNumber"])

    async with house(tmp_path, free_port(), tls="implicit", certificate=files) as gate:
        first = await serial(gate)
        files[0].write_text("half a certif")
        await eventually_async(lambda: gate.metrics.protocol_errors[("smtp", "bad_certificate")] == 1, within=90)
        assert await serial(gate) == first, "a broken pair leaves the old one"
        for new, old in zip(authority.issue("gate.example.test"), files, strict=True):
            shutil.copy(new, old.with_suffix(".new"))
            os.replace(old.with_suffix(".new"), old)

        async def renewed() -> bool:
            return await serial(gate) != first

        await eventually_async(renewed, within=90)


# half-closed, and slow


@pytest.mark.parametrize("whole", [True, False])
async def test_i2_a_client_that_has_said_all_it_will_say(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext, *, whole: bool
) -> None:
    """Behind the final dot its end is no reason not to answer; in the middle of a message it is the end of that too."""
    commands = b"EHLO x\r\n" + SENDER + b"\r\nRCPT TO:<b@example.test>\r\nDATA\r\n"
    async with Hop() as hop, house(tmp_path, hop.port, tls="implicit", certificate=pair) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        client = ByHand(trust, reader, writer)
        await client.handshake()
        client.say(commands + TEXT + (b".\r\n" if whole else b""), last=True)
        said = b""
        while piece := await client.hear():
            said += piece
        codes = [int(line[:3]) for line in said.splitlines() if line[3:4] == b" "]
        assert codes == [220, 250, 250, 250, 354] + [250] * whole
        assert len(hop.received) == whole
        assert gate.door.transit == 0
        writer.close()


async def test_i7_nothing_is_read_from_a_client_that_does_not_read(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext
) -> None:
    async with house(tmp_path, free_port(), tls="implicit", certificate=pair) as gate, gate.client(tls=trust) as client:
        client.writer.transport.pause_reading()
        (connection,) = gate.door.sessions
        sent = 0

        def stuck() -> bool:
            """Ask for more and more, until nobody takes it."""
            nonlocal sent
            client.writer.write(b"HELP\r\n" * 10_000)
            sent += 10_000
            return connection.paused

        await eventually_async(stuck, within=60, what="reading stopped")
        assert connection.session.held < 1_000_000
        client.writer.transport.resume_reading()
        answered = 0
        async with asyncio.timeout(60):
            while answered < sent:
                answered += (await client.reader.read(1_000_000)).count(b"\n")
        assert not connection.paused


# AUTH


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_login_opens_the_door_and_names_the_stream(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext, account: Account, tls: str
) -> None:
    options = {"tls": tls, "certificate": pair, "auth": "required", "accounts": [account]}
    at_once = trust if tls == "implicit" else None
    async with Hop() as hop, house(tmp_path, hop.port, **options) as gate, gate.client(tls=at_once) as client:  # type: ignore[arg-type]
        if tls == "starttls":
            assert not any(word.startswith(b"AUTH") for word in await keywords(client))
            assert await client.say(plain()) == (538, b"5.7.11 encryption required for authentication")
            await client.start_tls(trust)
        assert b"AUTH PLAIN LOGIN" in await keywords(client)
        assert await client.say(SENDER) == (530, b"5.7.0 authentication required")
        assert await client.say(plain()) == (235, b"2.7.0 authentication successful")
        assert (await client.say(plain()))[0] == 503
        assert (await client.send(TEXT, b"b@example.test"))[0] == 250
        assert gate.streams.asked[-1] == ("127.0.0.1", NAME)
        assert b" with ESMTPSA id " in hop.received[0].wire


async def test_login_in_steps(tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext, account: Account) -> None:
    options = {"tls": "implicit", "certificate": pair, "auth": "optional", "accounts": [account]}
    async with house(tmp_path, free_port(), **options) as gate, gate.client(tls=trust) as client:  # type: ignore[arg-type]
        assert await client.say(b"auth login") == (334, b"VXNlcm5hbWU6")
        assert await client.say(b"*") == (501, b"5.7.0 authentication cancelled")
        assert await client.say(b"AUTH PLAIN") == (334, b"")
        assert (await client.say(b"!"))[0] == 501
        assert (await client.say(b"AUTH CRAM-MD5"))[0] == 504
        assert (await client.say(plain(acting_for=b"somebody")))[0] == 535
        assert (await client.say(SENDER))[0] == 250, "optional"
        assert (await client.say(plain()))[0] == 503, "not within a transaction"
        assert (await client.say(b"RSET"))[0] == 250
        assert (await client.say(b"AUTH LOGIN " + b64encode(NAME))) == (334, b"UGFzc3dvcmQ6")
        assert (await client.say(b64encode(PASSWORD)))[0] == 235
        assert await client.converse(b"EHLO again", b"RSET", plain()) == [250, 250, 503], "once is enough"


async def test_guessing_ends_with_the_session(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext, account: Account
) -> None:
    options = {"tls": "implicit", "certificate": pair, "auth": "required", "accounts": [account]}
    async with house(tmp_path, free_port(), **options) as gate, gate.client(tls=trust) as client:  # type: ignore[arg-type]
        wrong = (535, b"5.7.8 authentication credentials invalid")
        assert await client.say(plain(password=b"wrong")) == wrong
        assert await client.say(plain(name=b"nobody")) == wrong, "one answer to an unknown name and a wrong password"
        assert await client.say(plain(password=b"")) == wrong
        assert (await client.hear())[0] == 421
        assert await client.closed()
        assert gate.metrics.protocol_errors[("smtp", "bad_password")] == 3
        assert gate.metrics.protocol_errors[("smtp", "bad_logins")] == 1


async def test_i7_too_many_logins_at_once_are_told_to_come_back(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AUTH_THREADS", 1)
    monkeypatch.setattr(limits, "AUTH_WAITING_MAX", 0)
    options = {"tls": "implicit", "certificate": pair, "auth": "required", "accounts": [account]}
    async with house(tmp_path, free_port(), **options) as gate, gate.client(tls=trust) as client:  # type: ignore[arg-type]
        assert gate.door.passwords is not None
        earlier: list[Answer] = []
        gate.door.passwords.check(account.stored, PASSWORD, earlier.append)
        gate.door.passwords.check(account.stored, PASSWORD, earlier.append)
        assert earlier == [Answer.BUSY]
        await eventually_async(lambda: earlier == [Answer.BUSY, Answer.RIGHT], within=90)
        monkeypatch.setattr(limits, "AUTH_THREADS", 0)
        assert await client.say(plain()) == (454, b"4.7.0 too many logins at once, try again later")
        monkeypatch.setattr(limits, "AUTH_THREADS", 1)
        assert (await client.say(plain()))[0] == 235


async def test_i4_a_client_that_leaves_while_its_password_is_looked_at_leaves_nothing(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext, account: Account
) -> None:
    options = {"tls": "implicit", "certificate": pair, "auth": "required", "accounts": [account]}
    async with house(tmp_path, free_port(), **options) as gate:  # type: ignore[arg-type]
        async with gate.client(tls=trust) as client:
            client.writer.write(plain() + b"\r\n" + SENDER + b"\r\n")
            await client.writer.drain()
            client.writer.transport.abort()
            await eventually_async(lambda: not gate.door.sessions, within=90)
        async with gate.client(tls=trust) as client:
            assert (await client.say(plain()))[0] == 235
        assert gate.metrics.protocol_errors[("smtp", "internal")] == 0


async def test_a_drain_does_not_wait_for_handshakes_that_never_end(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    async with (
        house(tmp_path, free_port(), tls="implicit", certificate=pair) as gate,
        gate.client(ehlo=False) as client,
    ):
        await eventually_async(lambda: len(gate.door.fronts) == 1)
        async with asyncio.timeout(30):
            await gate.door.drain(600)
        assert await client.closed()


async def test_a_drain_ends_sessions_in_tls_in_good_order(
    tmp_path: Path, pair: tuple[Path, Path], trust: ssl.SSLContext
) -> None:
    async with house(tmp_path, free_port(), tls="implicit", certificate=pair) as gate, gate.client(tls=trust) as client:
        drained = asyncio.ensure_future(gate.door.drain(600))
        assert (await client.hear())[0] == 421
        assert await client.closed()
        async with asyncio.timeout(30):
            await drained

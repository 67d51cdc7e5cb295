"""The pool with TLS, logins and Unix sockets: what is trusted, what is refused, and what the log says of it."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway import limits
from gateway.config import Address, UnixAddress
from gateway.smtp import upstream as pool
from tests.certificates import Authority, make_authority
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import HANG, Hop
from tests.gateway.smtp.pool import Letter, answers, at_any, counted

NAME = "hop.example.test"


def server(authority: Authority, name: str = NAME, *, expired: bool = False) -> ssl.SSLContext:
    certificate, key = authority.issue(name, expired=expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("tls", ["encrypt", "verify"])
async def test_messages_go_protected(authority: Authority, tls: str, implicit: bool) -> None:
    hop = Hop(tls=server(authority), implicit=implicit)
    ca_file = authority.ca_file if tls == "verify" else None
    async with (
        hop,
        at_any(Address("127.0.0.1", hop.port), tls=tls, tls_implicit=implicit, ca_file=ca_file) as (upstream, metrics),
    ):
        replies = await answers(upstream, *(Letter(content=b"x" * 100_000 + b"\r\n") for _ in range(20)))
        assert {reply.code for reply in replies} == {250}
        assert hop.handshakes == hop.connections > 0
        assert counted(metrics) == {}


async def test_what_was_announced_in_plain_text_is_forgotten(authority: Authority) -> None:
    hop = Hop(keywords=[b"PIPELINING", b"SIZE 1"], secured=[b"SIZE 1000"], tls=server(authority))
    async with hop, at_any(Address("127.0.0.1", hop.port), tls="encrypt") as (upstream, _):
        assert (await answers(upstream, Letter()))[0].code == 250
        assert upstream.extensions is not None
        assert (upstream.extensions.pipelining, upstream.extensions.size) == (False, 1000)
        assert [command[:4] for command in hop.commands[:3]] == [b"EHLO", b"STAR", b"EHLO"]


@pytest.mark.parametrize("case", ["name", "authority", "expired"])
@pytest.mark.parametrize("implicit", [False, True])
async def test_a_certificate_that_proves_nothing_defers_the_message(
    authority: Authority, tmp_path: Path, case: str, implicit: bool
) -> None:
    """No message, no envelope, no login reaches whoever cannot prove who he is."""
    hop = Hop(tls=server(authority, expired=case == "expired"), implicit=implicit)
    settings = {
        "tls": "verify",
        "tls_implicit": implicit,
        "tls_name": "other.example.test" if case == "name" else NAME,
        "ca_file": make_authority(tmp_path / "other").ca_file if case == "authority" else authority.ca_file,
    }
    with capture_logs() as logs:
        async with hop, at_any(Address("127.0.0.1", hop.port), **settings) as (upstream, metrics):
            assert await answers(upstream, Letter()) == [pool.UNTRUSTED]
            assert counted(metrics) == {"certificate": 1}
            assert not upstream.up
            assert not [command for command in hop.commands if command[:4] in (b"MAIL", b"AUTH")]
    (line,) = [line for line in logs if line["event"] == "next hop failed"]
    assert (line["upstream"], line["host"], line["why"]) == ("relay", f"127.0.0.1:{hop.port}", "certificate")
    assert {"name": "other.example.test", "authority": "issuer", "expired": "expired"}[case] in line["detail"]
    assert "ca_file" in line["fix"]


async def test_a_next_hop_without_starttls_gets_nothing() -> None:
    async with Hop() as hop, at_any(Address("127.0.0.1", hop.port), tls="encrypt") as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.UNTRUSTED]
        assert counted(metrics) == {"no_starttls": 1}
        assert hop.commands == [b"EHLO localhost"]


async def test_octets_injected_behind_the_220_are_not_listened_to(authority: Authority) -> None:
    injected = b"220 go\r\n250-hop\r\n250 PIPELINING\r\n"
    hop = Hop(tls=server(authority), script={"STAR": [injected]})
    async with hop, at_any(Address("127.0.0.1", hop.port), tls="encrypt") as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.UNTRUSTED]
        assert counted(metrics) == {"injection": 1}
        assert hop.received == []


async def test_plain_text_where_tls_is_expected_from_the_first_octet() -> None:
    async with Hop() as hop:
        settings = {"tls": "encrypt", "tls_implicit": True}
        async with at_any(Address("127.0.0.1", hop.port), **settings) as (upstream, metrics):
            assert await answers(upstream, Letter()) == [pool.UNTRUSTED]
            assert counted(metrics) == {"tls": 1}


async def test_a_handshake_that_never_ends_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_CONNECT_S", 0.2)
    hop = Hop(keywords=[b"STARTTLS"])  # it says 220, and no handshake follows
    async with hop, at_any(Address("127.0.0.1", hop.port), tls="encrypt") as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.UNREACHABLE]
        assert counted(metrics) == {"timeout": 1}
        await eventually_async(lambda: not hop.open, what="the socket closed")


async def test_one_host_with_a_bad_certificate_costs_no_message_while_another_is_good(
    authority: Authority, tmp_path: Path
) -> None:
    bad, good = Hop(tls=server(make_authority(tmp_path / "other"))), Hop(tls=server(authority))
    async with bad, good:
        hosts = (Address("127.0.0.1", bad.port), Address("127.0.0.1", good.port))
        async with at_any(*hosts, tls="verify", ca_file=authority.ca_file) as (upstream, _):
            replies = await answers(upstream, *(Letter() for _ in range(20)))
            assert {reply.code for reply in replies} == {250}
            assert len(good.received) == 20


async def test_a_renewed_authority_is_trusted_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(make_authority(tmp_path / "other").ca_file.read_bytes())
    hop = Hop(tls=server(authority))
    async with hop, at_any(Address("127.0.0.1", hop.port), tls="verify", ca_file=trusted) as (upstream, _):
        assert await answers(upstream, Letter()) == [pool.UNTRUSTED]
        trusted.write_bytes(authority.ca_file.read_bytes())
        await eventually_async(lambda: upstream.up, within=90, what="the new authority trusted")
        trusted.write_text("half a fil")
        hop.hang_up()
        assert (await answers(upstream, Letter()))[0].code == 250, "what was read before stays in force"


@pytest.mark.parametrize("offered", [b"AUTH PLAIN LOGIN", b"AUTH LOGIN"])
async def test_a_login_over_tls(authority: Authority, tmp_path: Path, offered: bytes) -> None:
    password = tmp_path / "hop.pass"
    password.write_text("not a secret\n")
    hop = Hop(secured=[b"PIPELINING", offered], tls=server(authority))
    if offered == b"AUTH LOGIN":
        hop.script = {"AUTH": [b"334 VXNlcm5hbWU6\r\n"], "AXPP": [b"334 UGFzc3dvcmQ6\r\n"], "BM90": [b"235 ok\r\n"]}
    settings = {"tls": "verify", "ca_file": authority.ca_file, "user": "izinli", "password_file": password}
    async with hop, at_any(Address("127.0.0.1", hop.port), connections_max=1, **settings) as (upstream, _):
        assert (await answers(upstream, Letter(), Letter()))[0].code == 250
        said = b"\n".join(hop.commands)
        assert (b64encode(b"\0izinli\0not a secret") in said) == (offered != b"AUTH LOGIN")
        assert said.count(b"AUTH") == 1


async def test_a_login_that_is_refused_defers_and_a_new_password_is_read(tmp_path: Path) -> None:
    password = tmp_path / "hop.pass"
    password.write_text("old\n")
    hop = Hop(keywords=[b"PIPELINING", b"AUTH PLAIN"], script={"AUTH": [b"535 5.7.8 izinli: wrong\r\n"]})
    settings = {"user": "izinli", "password_file": password}
    with capture_logs() as logs:
        async with hop, at_any(Address("127.0.0.1", hop.port), **settings) as (upstream, metrics):
            assert await answers(upstream, Letter()) == [pool.NO_LOGIN]
            assert counted(metrics) == {"auth": 1}
            assert not upstream.up
            password.write_text("new one\n")
            await eventually_async(lambda: upstream.up, within=90, what="login with the new password")
            assert hop.commands[-1].endswith(b64encode(b"\0izinli\0new one"))
    (line,) = [line for line in logs if line["event"] == "next hop failed"]
    assert (line["why"], line["detail"]) == ("auth", "535"), "an answer to AUTH may repeat the login"


async def test_a_password_that_cannot_be_read_defers(tmp_path: Path) -> None:
    settings = {"user": "izinli", "password_file": tmp_path / "gone"}
    async with Hop() as hop, at_any(Address("127.0.0.1", hop.port), **settings) as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.NO_LOGIN]
        assert counted(metrics) == {"auth": 1}
        assert hop.connections == 0


async def test_a_unix_socket(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "hop.sock"
    async with Hop(path=path), at_any(UnixAddress(path)) as (upstream, _):
        assert (await answers(upstream, Letter()))[0].code == 250
    path.unlink()
    settings = {"tls": "verify", "tls_name": NAME, "ca_file": authority.ca_file}
    async with Hop(path=path, tls=server(authority)) as hop, at_any(UnixAddress(path), **settings) as (upstream, _):
        assert (await answers(upstream, Letter()))[0].code == 250
        assert hop.handshakes == 1


async def test_closing_does_not_wait_for_a_handshake(authority: Authority) -> None:
    hop = Hop(tls=server(authority), always={"STAR": HANG})
    async with hop, at_any(Address("127.0.0.1", hop.port), tls="encrypt") as (upstream, _):
        letter = Letter(deadline=asyncio.get_running_loop().time() + 100)
        upstream.send(letter)
        await eventually_async(lambda: b"STARTTLS" in hop.commands, what="STARTTLS said")
        await upstream.close()
        assert letter.replies == [pool.UNREACHABLE]
        await eventually_async(lambda: not hop.open, what="the socket closed")

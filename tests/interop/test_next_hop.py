"""Next hops that were not written here: a Postfix with TLS, an aiosmtpd that wants a login, and Postfix's smtp-sink."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from gateway.config import Address
from gateway.smtp import upstream as pool
from tests.certificates import Authority, make_authority
from tests.conftest import accepts, eventually, free_port, require
from tests.gateway.smtp.pool import Letter, answers, at_any, counted
from tests.interop.postfix import Postfix

pytestmark = pytest.mark.interop
NAME = "mx.example.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


def secured(authority: Authority, name: str = NAME, **settings: str) -> Postfix:
    """A Postfix that takes mail over TLS only, and throws it away."""
    certificate, key = authority.issue(name)
    return Postfix(
        smtpd_tls_security_level="encrypt",
        smtpd_tls_cert_file=str(certificate),
        smtpd_tls_key_file=str(key),
        default_transport="discard",
        relay_transport="discard",
        **settings,
    )


@pytest.mark.parametrize("implicit", [False, True])
async def test_postfix_over_verified_tls(authority: Authority, implicit: bool) -> None:
    settings = {"smtpd_tls_wrappermode": "yes"} if implicit else {}
    tls = {"tls": "verify", "tls_implicit": implicit, "tls_name": NAME, "ca_file": authority.ca_file}
    with secured(authority, **settings) as postfix:
        async with at_any(Address("127.0.0.1", postfix.port), connections_max=2, **tls) as (upstream, metrics):
            await upstream.start()
            assert upstream.extensions is not None
            assert upstream.extensions.dsn
            replies = await answers(upstream, *(Letter(content=b"x" * 70_000 + b"\r\n") for _ in range(20)))
        assert {reply.code for reply in replies} == {250}, replies
        assert counted(metrics) == {}


async def test_postfix_with_a_certificate_of_another(authority: Authority) -> None:
    tls = {"tls": "verify", "tls_name": "other.example.test", "ca_file": authority.ca_file}
    with secured(authority) as postfix:
        async with at_any(Address("127.0.0.1", postfix.port), **tls) as (upstream, metrics):
            assert await answers(upstream, Letter()) == [pool.UNTRUSTED]
            assert counted(metrics) == {"certificate": 1}
        assert "MAIL" not in postfix.log()


async def test_postfix_asked_in_plain_text_although_it_wants_tls(authority: Authority) -> None:
    with secured(authority) as postfix:
        async with at_any(Address("127.0.0.1", postfix.port)) as (upstream, _):
            (reply,) = await answers(upstream, Letter())
            assert (reply.code, reply.text[:5]) == (530, b"5.7.0")


class Handler:
    def __init__(self) -> None:
        self.logins: list[bytes | None] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert session.ssl is not None
        self.logins.append(session.auth_data.login)
        return "250 2.0.0 taken"


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
) -> AuthResult:
    return AuthResult(success=data == LoginPassword(b"izinli", b"not a secret"), handled=False, auth_data=data)


@contextmanager
def wanting_a_login(authority: Authority, without: str) -> Iterator[tuple[Handler, int]]:
    certificate, key = authority.issue(NAME)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler, port = Handler(), free_port()
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        auth_exclude_mechanism=[without] if without else [],
        authenticator=_authenticate,
    )
    controller.start()
    try:
        yield handler, port
    finally:
        controller.stop()


@pytest.mark.parametrize("without", ["", "PLAIN"])
async def test_a_login_at_aiosmtpd(authority: Authority, tmp_path: Path, without: str) -> None:
    password = tmp_path / "mx.pass"
    password.write_text("not a secret\n")
    tls = {"tls": "verify", "ca_file": authority.ca_file, "user": "izinli", "password_file": password}
    with wanting_a_login(authority, without) as (handler, port):
        async with at_any(Address("127.0.0.1", port), **tls) as (upstream, _):
            replies = await answers(upstream, *(Letter() for _ in range(5)))
        assert {reply.code for reply in replies} == {250}, replies
        assert handler.logins == [b"izinli"] * 5


async def test_a_wrong_password_at_aiosmtpd(authority: Authority, tmp_path: Path) -> None:
    password = tmp_path / "mx.pass"
    password.write_text("a wrong one\n")
    tls = {"tls": "encrypt", "user": "izinli", "password_file": password}
    with wanting_a_login(authority, "") as (handler, port):
        async with at_any(Address("127.0.0.1", port), **tls) as (upstream, _):
            assert await answers(upstream, Letter()) == [pool.NO_LOGIN]
        assert handler.logins == []


@contextmanager
def smtp_sink(directory: Path, *options: str) -> Iterator[tuple[int, Path]]:
    """Its port, and the file that takes what it accepts: the envelope as header fields, then the content."""
    port, file = free_port(), directory / "taken"
    user = ["-u", "root"] if os.geteuid() == 0 else []  # who may write the file; smtp-sink asks root, and nobody else
    command = [require("smtp-sink"), *user, *options, "-D", str(file), "-h", NAME, f"127.0.0.1:{port}", "100"]
    process = subprocess.Popen(command, cwd=directory)
    try:
        eventually(lambda: accepts(port), within=90, what="smtp-sink listening")
        yield port, file
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [[], ["-p"], ["-e"]], ids=["pipelined", "one by one", "only HELO"])
async def test_smtp_sink_takes_all(tmp_path: Path, options: list[str]) -> None:
    with smtp_sink(tmp_path, *options) as (port, file):
        letters = [
            Letter(path=b"u%d@example.test" % number, content=b"Subject: x\r\n\r\n.%d\r\n" % number, dotted=True)
            for number in range(50)
        ]
        async with at_any(Address("127.0.0.1", port), connections_max=3) as (upstream, metrics):
            replies = await answers(upstream, *letters)
        assert {reply.code for reply in replies} == {250}
        assert counted(metrics) == {}
        eventually(lambda: file.read_bytes().count(b"X-Rcpt-Args:") == 50, within=90, what="all of it in the file")
        taken = file.read_bytes()
        for number in range(50):
            assert taken.count(b"X-Rcpt-Args: <u%d@example.test>\n" % number) == 1
            assert taken.count(b"\n\n.%d\n" % number) == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize(
    ("option", "code"), [("-r", 450), ("-f", 500), ("-q", 451)], ids=["soft", "hard", "disconnect"]
)
async def test_i4_smtp_sink_refuses_or_hangs_up(tmp_path: Path, command: str, option: str, code: int) -> None:
    with smtp_sink(tmp_path, option, command) as (port, _):
        async with at_any(Address("127.0.0.1", port)) as (upstream, _):
            for _ in range(3):
                assert [reply.code for reply in await answers(upstream, Letter())] == [code]

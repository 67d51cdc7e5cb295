"""`izinli serve` and clients that were not written here: smtplib, swaks, HAProxy; TLS, logins, a socket file.

Everything runs as an operator runs it: the sample configuration with the keys it shows, both planes as processes.
"""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gateway.config import Address, UnixAddress
from gateway.demo.house import House
from gateway.demo.sink import Sink
from tests.certificates import Authority, make_authority
from tests.conftest import accepts, eventually, eventually_async, free_port, require, unavailable

pytestmark = pytest.mark.interop

DOOR = 'bind = "127.0.0.1:2525"'
ALLOW = 'allow = ["127.0.0.0/8"]           # who may'
RECEIPTS = 'match = { mail_from_domain = "bilgi.example.com.tr" }'
SENDER, RECIPIENT = "a@bilgi.example.com.tr", "ayse.yilmaz@example.com.tr"
PASSWORD = "parola-cok-uzun"  # smtplib takes ASCII only
MESSAGE = "From: a@bilgi.example.com.tr\r\nSubject: Sipariş\r\n\r\nSiparişiniz yolda.\r\n".encode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


@asynccontextmanager
async def served(directory: Path, *edits: tuple[str, str]) -> AsyncIterator[tuple[House, Sink]]:
    async with Sink() as sink:
        house = House(directory, [("127.0.0.1:2526", f"127.0.0.1:{sink.port}"), *edits])
        try:
            await asyncio.to_thread(house.import_consents)
            for plane in ("registry", "gateway"):
                house.start(plane)
            await asyncio.gather(house.ready("registry"), house.ready("gateway"))
            yield house, sink
        finally:
            await asyncio.to_thread(house.close)


def port_of(house: House) -> int:
    bind = house.config.listeners[0].bind
    assert isinstance(bind, Address)
    return bind.port


def with_logins(directory: Path, pair: tuple[Path, Path], tls: str) -> list[tuple[str, str]]:
    """The edits of somebody who lets users of any network send, by password."""
    command = [sys.executable, "-m", "gateway.cli", "password"]
    hashed = subprocess.run(command, input=PASSWORD.encode(), capture_output=True, check=True, timeout=60).stdout
    (directory / "posta.hash").write_bytes(hashed)
    lines = f'tls = "{tls}"\ncert_file = "{pair[0]}"\nkey_file = "{pair[1]}"\nauth = "required"'
    account = f'[[account]]\nsystem_id = "posta"\npassword_hash_file = "{directory / "posta.hash"}"'
    return [
        (DOOR, f"{DOOR}\n{lines}"),
        ("[[brand]]", f"{account}\n\n[[brand]]"),
        (RECEIPTS, 'match = { account = "posta" }'),
    ]


async def test_smtplib_logs_in_over_starttls(tmp_path: Path, authority: Authority) -> None:
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    edits = with_logins(tmp_path, authority.issue("gate.example.test"), "starttls")

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.ehlo()
            assert not client.has_extn("auth")
            client.starttls(context=trust)
            client.ehlo()
            with pytest.raises(smtplib.SMTPSenderRefused, match=r"5\.7\.0 authentication required"):
                client.sendmail(SENDER, [RECIPIENT], MESSAGE)
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("posta", "falsch")
            client.login("posta", PASSWORD)
            assert client.sendmail("anyone@elsewhere.example.com.tr", [RECIPIENT], MESSAGE) == {}

    async with served(tmp_path / "house", *edits) as (house, sink):
        await asyncio.to_thread(send, port_of(house))
        assert b"with ESMTPSA id" in sink.messages[0].content


@pytest.mark.parametrize(("tls", "mechanism"), [("starttls", "PLAIN"), ("starttls", "LOGIN"), ("implicit", "PLAIN")])
async def test_swaks_logs_in(tmp_path: Path, authority: Authority, tls: str, mechanism: str) -> None:
    edits = with_logins(tmp_path, authority.issue("gate.example.test"), tls)
    async with served(tmp_path / "house", *edits) as (house, sink):
        command = [swaks_with_tls(), "--server", f"127.0.0.1:{port_of(house)}", "--from", SENDER, "--to", RECIPIENT]
        command += ["--tls" if tls == "starttls" else "--tls-on-connect", "--auth", mechanism]
        command += ["--auth-user", "posta", "--auth-password", PASSWORD, "--timeout", "30"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "235 2.7.0" in done.stdout
        assert len(sink.messages) == 1


async def test_swaks_may_send_over_tls_alone(tmp_path: Path, authority: Authority) -> None:
    """Without a login, where TLS is asked for: refused in plain text, taken over STARTTLS."""
    certificate, key = authority.issue("gate.example.test")
    lines = f'tls = "required"\ncert_file = "{certificate}"\nkey_file = "{key}"'
    async with served(tmp_path / "house", (DOOR, f"{DOOR}\n{lines}")) as (house, sink):
        command = [swaks_with_tls(), "--server", f"127.0.0.1:{port_of(house)}", "--from", SENDER, "--to", RECIPIENT]
        command += ["--timeout", "30"]
        for way, code, words in (
            ([], 23, "530 5.7.0 Must issue a STARTTLS command first"),
            (["--tls"], 0, "250 2.0.0"),
        ):
            run = await asyncio.to_thread(subprocess.run, command + way, capture_output=True, text=True, check=False)
            assert (run.returncode, words in run.stdout) == (code, True), run.stdout + run.stderr
        assert [b"with ESMTPS id" in message.content for message in sink.messages] == [True]


def swaks_with_tls() -> str:
    program = require("swaks")
    if (
        "TLS supported"
        not in subprocess.run([program, "--support"], capture_output=True, text=True, check=False).stdout
    ):
        unavailable("swaks speaks TLS with Perl's Net::SSLeay (libnet-ssleay-perl), which is not installed")
    return program


@contextmanager
def haproxy(directory: Path, door: int) -> Iterator[int]:
    """HAProxy before the door: it says that the client is 127.0.0.0 (what its mask leaves of 127.0.0.1)."""
    port = free_port()
    (directory / "haproxy.cfg").write_text(
        "defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n timeout server 60s\n"
        f"frontend f\n bind 127.0.0.1:{port}\n tcp-request connection set-src src,ipmask(8)\n default_backend b\n"
        f"backend b\n server s 127.0.0.1:{door} send-proxy-v2\n"
    )
    process = subprocess.Popen([require("haproxy"), "-db", "-f", str(directory / "haproxy.cfg")])
    try:
        eventually(lambda: accepts(port), within=90, what="HAProxy listening")
        yield port
    finally:
        process.kill()
        process.wait()


async def test_a_client_behind_haproxy(tmp_path: Path, authority: Authority) -> None:
    """Who may is the client that HAProxy names, and TLS goes through it."""
    certificate, key = authority.issue("gate.example.test")
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    lines = f'tls = "implicit"\ncert_file = "{certificate}"\nkey_file = "{key}"\nproxy_from = ["127.0.0.1/32"]'
    edits = [(DOOR, f"{DOOR}\n{lines}"), (ALLOW, 'allow = ["127.0.0.0/32"] # who may')]

    def send(port: int) -> None:
        with smtplib.SMTP_SSL("127.0.0.1", port, timeout=30, context=trust) as client:
            assert client.sendmail(SENDER, [RECIPIENT], MESSAGE) == {}

    async with served(tmp_path / "house", *edits) as (house, sink):
        with haproxy(tmp_path, port_of(house)) as port:
            await asyncio.to_thread(send, port)
        assert b"([127.0.0.0])" in sink.messages[0].content
        with socket.create_connection(("127.0.0.1", port_of(house)), timeout=30) as uninvited:
            uninvited.sendall(b"EHLO x\r\n")
            assert uninvited.recv(100) == b"", "without a header nothing is said"


async def test_over_a_socket_file_that_goes_with_the_service(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"

    def send() -> None:
        client = smtplib.SMTP(local_hostname="web.example.test", timeout=30)
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.settimeout(30)
        client.sock.connect(str(path))
        assert client.getreply()[0] == 220
        assert client.sendmail(SENDER, [RECIPIENT], MESSAGE) == {}
        client.quit()

    async with served(tmp_path / "house", (DOOR, f'bind = "unix:{path}"'), (ALLOW, "#")) as (house, sink):
        assert house.config.listeners[0].bind == UnixAddress(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        await asyncio.to_thread(send)
        assert b"Received: from web.example.test\r\n\tby" in sink.messages[0].content
        await asyncio.to_thread(house.stop, "gateway")
        assert not path.exists()
        house.start("gateway")
        await house.ready("gateway")
        await asyncio.to_thread(send)
        assert len(sink.messages) == 2


async def test_a_renewed_certificate_reaches_every_worker(tmp_path: Path, authority: Authority) -> None:
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    certificate, key = authority.issue("gate.example.test")
    lines = f'tls = "implicit"\ncert_file = "{certificate}"\nkey_file = "{key}"'

    def serials(port: int) -> set[str]:
        found = set()
        for _ in range(8):
            with trust.wrap_socket(
                socket.create_connection(("127.0.0.1", port), 30), server_hostname="localhost"
            ) as one:
                found.add(str(one.getpeercert()["serialNumber"]))  # type: ignore[index]
        return found

    async with served(tmp_path / "house", (DOOR, f"{DOOR}\n{lines}"), ("workers = 1", "workers = 2")) as (house, _):
        (old,) = await asyncio.to_thread(serials, port_of(house))
        for new, file in zip(authority.issue("gate.example.test"), (certificate, key), strict=True):
            new.replace(file)

        async def renewed() -> bool:
            return old not in await asyncio.to_thread(serials, port_of(house))

        await eventually_async(renewed, within=60, what="the new certificate")

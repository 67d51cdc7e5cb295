"""What mail costs in memory, measured at a worker process of `izinli serve`: its peak, as the kernel kept it.

A message in flight may cost what it has in octets and three tenths of that (promise I7); BASE is what a worker needs
besides, whatever the number of messages: scratch room for one of them at a time, and the sockets' own buffers. A
connection in TLS costs TLS more, whatever it carries: OpenSSL's state and records.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config import Address
from gateway.demo.house import House
from gateway.limits import KIB, MIB, SMTP_SESSIONS_MAX
from tests.certificates import make_authority
from tests.conftest import eventually_async
from tests.gateway.smtp.support import Client

BASE = 32 * MIB
TLS = 128 * KIB
SHARE = 1.3
SIZE = 5 * MIB
MESSAGES = 20
SMALL = 600  # messages, so many that BASE does not hide them
CONSENTED = b"ayse.yilmaz@example.com.tr"
CAMPAIGN, RECEIPTS = b"a@kampanya.example.com.tr", b"a@bilgi.example.com.tr"

LINE = b"x" * 70 + b"\r\n"
PLAIN = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
MIXED = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
TEXT_PART = b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ntext\r\n"
ATTACHMENT = b"--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment\r\n\r\n"


def filled(head: bytes, line: bytes = LINE, size: int = SIZE) -> bytes:
    return head + line * ((size - len(head)) // len(line))


LETTERS = {
    "dotted": (RECEIPTS, filled(PLAIN, b"." * 70 + b"\r\n")),
    "campaign": (CAMPAIGN, filled(PLAIN)),
    "campaign with an attachment": (CAMPAIGN, filled(MIXED + TEXT_PART + ATTACHMENT) + b"\r\n--b--\r\n"),
}


@dataclass
class DeafHop:
    """A next hop that grants DATA and then reads nothing, until it is told to.

    `tls` is what it asks of its clients: nothing, that they say STARTTLS, or that they begin so ("implicit").
    """

    tls: str = "none"
    data: int = 0
    messages: list[int] = field(default_factory=list)  # their octets
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    floods: int = 0
    _flooding: bool = False
    _context: ssl.SSLContext | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def flood(self) -> None:
        """End all connections, and greet those that come with ten megabytes of banner."""
        self._flooding = True
        for writer in list(self._open):
            writer.transport.abort()

    @asynccontextmanager
    async def open(self, directory: Path | None = None) -> AsyncIterator[DeafHop]:
        """Listen; `directory` takes the certificate that TLS needs."""
        if directory is not None and self.tls != "none":
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*make_authority(directory / "authority").issue("hop.example.test"))
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)  # or the kernel would read megabytes for us
        sock.bind(("127.0.0.1", 0))
        at_once = self._context if self.tls == "implicit" else None
        server = await asyncio.start_server(self._serve, sock=sock, limit=4 * KIB, ssl=at_once, backlog=1000)
        self.port = sock.getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._flooding:
                self.floods += 1
                for _ in range(160):
                    writer.write(b"220-" + b"x" * 65_532)
                    await writer.drain()
            writer.write(b"220 hop.example.test ESMTP\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    starttls = b"250-STARTTLS\r\n" if self.tls == "starttls" else b""
                    writer.write(b"250-hop.example.test\r\n250-PIPELINING\r\n%b250 8BITMIME\r\n" % starttls)
                elif verb == b"STAR":
                    assert self._context is not None
                    writer.write(b"220 2.0.0 go on\r\n")
                    await writer.start_tls(self._context)
                elif verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    self.data += 1
                    await self.listening.wait()
                    octets = 0
                    while (content := await reader.readline()) not in (b".\r\n", b""):
                        octets += len(content)
                    self.messages.append(octets)
                    writer.write(b"250 2.0.0 queued\r\n")
                else:
                    writer.write(b"250 2.0.0 ok\r\n")
        except ConnectionError:
            return  # the gateway was stopped, or had enough
        finally:
            self._open.discard(writer)
            writer.close()


@dataclass
class Worker:
    """The process that carries mail."""

    house: House
    pid: int

    @property
    def port(self) -> int:
        bind = self.house.config.listeners[0].bind
        assert isinstance(bind, Address)
        return bind.port

    def forget_peak(self) -> int:
        """Begin to measure; what it has now, in octets."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.status("VmRSS")

    @property
    def peak(self) -> int:
        return self.status("VmHWM")

    def status(self, name: str) -> int:
        """A line of /proc/PID/status, in octets."""
        found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(reader, writer)
        try:
            assert (await client.hear())[0] == 220
            assert (await client.say(b"EHLO client.example.test"))[0] == 250
            yield client
        finally:
            writer.close()


@asynccontextmanager
async def working(directory: Path, hop: DeafHop, connections_max: int = 40) -> AsyncIterator[Worker]:
    """Both planes with the embedded index, and the worker, warm."""
    keys = {"none": "", "starttls": 'tls = "encrypt"\n', "implicit": 'tls = "encrypt"\ntls_implicit = true\n'}
    edits = [
        ("127.0.0.1:2526", f"127.0.0.1:{hop.port}"),
        ("# connections_max = 20 ", f"{keys[hop.tls]}connections_max = {connections_max} "),
    ]
    house = House(directory, edits)
    try:
        await asyncio.to_thread(house.import_consents)
        for plane in ("registry", "gateway"):
            house.start(plane)
        await asyncio.gather(house.ready("registry"), house.ready("gateway"))
        yield Worker(house, _listener(house))
        _cut_short(house)
    finally:
        await asyncio.to_thread(house.close)


def _children(house: House) -> list[int]:
    pid = house.pid("gateway")
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _listener(house: House) -> int:
    """The child that carries messages: of all children of the supervisor the largest."""
    return max(_children(house), key=lambda pid: Worker(house, pid).status("VmRSS"))


def _cut_short(house: House) -> None:
    """What a deaf next hop holds up would be waited for: a drain takes as long as a message may."""
    os.kill(house.pid("gateway"), signal.SIGTERM)
    for pid in _children(house):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def begin(client: Client, sender: bytes, content: bytes, *recipients: bytes) -> None:
    """All of a message but the last octets of its end: what is held is in flight."""
    assert (await client.say(b"MAIL FROM:<%b>" % sender))[0] == 250
    for recipient in recipients or (CONSENTED,):
        assert (await client.say(b"RCPT TO:<%b>" % recipient))[0] == 250
    assert (await client.say(b"DATA"))[0] == 354
    client.writer.write(content.replace(b"\r\n.", b"\r\n.."))
    async with asyncio.timeout(120):
        await client.writer.drain()


@contextmanager
def many_files() -> Iterator[None]:
    """Room for thousands of sockets in this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("kind", "tls"),
    [*((kind, "none") for kind in LETTERS), ("dotted", "starttls"), ("campaign with an attachment", "implicit")],
)
async def test_i7_a_message_in_flight_costs_its_octets_and_three_tenths(tmp_path: Path, kind: str, tls: str) -> None:
    """Held at its last octet by the client, then by a next hop that does not read; afterwards there is room again."""
    sender, content = LETTERS[kind]
    async with DeafHop(tls).open(tmp_path) as hop, working(tmp_path, hop) as worker, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(worker.client()) for _ in range(MESSAGES)]
        before = worker.forget_peak()
        bound = before + MESSAGES * int(SIZE * SHARE) + BASE
        for again in (1, 2):
            hop.listening.clear()
            await asyncio.gather(*(begin(client, sender, content) for client in clients))
            await eventually_async(
                lambda: worker.status("VmRSS") > before + MESSAGES * SIZE * 0.9, within=60, what="all messages held"
            )
            for client in clients:
                client.writer.write(b".\r\n")
            await eventually_async(lambda: hop.data == MESSAGES * again, within=60, what="DATA at the next hop")  # noqa: B023
            assert worker.peak < bound
            hop.listening.set()
            async with asyncio.timeout(120):
                assert {(await client.hear())[0] for client in clients} == {250}
            assert len(hop.messages) == MESSAGES * again
            assert min(hop.messages) > len(content), "nothing was left out"
            assert worker.peak < bound


@pytest.mark.parametrize("tls", ["none", "starttls"])
async def test_i7_so_do_many_small_ones_each_on_a_connection_of_its_own(tmp_path: Path, tls: str) -> None:
    """A message that would be cheaper to join and send at once must not stand in memory again for each step."""
    content = filled(PLAIN, size=100 * KIB)
    with many_files():
        async with (
            DeafHop(tls).open(tmp_path) as hop,
            working(tmp_path, hop, SMALL) as worker,
            AsyncExitStack() as stack,
        ):
            clients = [await stack.enter_async_context(worker.client()) for _ in range(SMALL)]
            before = worker.forget_peak()
            for client in clients:
                await begin(client, RECEIPTS, content)
            await eventually_async(
                lambda: worker.status("VmRSS") > before + SMALL * len(content) * 0.9, within=60, what="all held"
            )
            for client in clients:
                client.writer.write(b".\r\n")
            await eventually_async(lambda: hop.data == SMALL, within=60, what="DATA at the next hop")
            hop.listening.set()
            async with asyncio.timeout(120):
                assert {(await client.hear())[0] for client in clients} == {250}
            assert min(hop.messages) > len(content)
            needed = worker.peak - before - SMALL * TLS * (tls != "none")
            assert needed < SMALL * int(len(content) * SHARE) + BASE


async def test_i7_a_thousand_recipients_share_one_message(tmp_path: Path) -> None:
    """Each has a copy of its own with a trace field of its own; in memory there is one message."""
    content = filled(PLAIN)
    async with DeafHop().open() as hop, working(tmp_path, hop) as worker, worker.client() as client:
        before = worker.forget_peak()
        recipients = [b"r%d@example.com.tr" % number for number in range(1000)]
        await begin(client, RECEIPTS, content, *recipients)
        client.writer.write(b".\r\n")
        await eventually_async(lambda: hop.data > 10, within=60, what="copies under way")
        assert worker.peak < before + int(len(content) * SHARE) + BASE
        client.writer.close()


@pytest.mark.parametrize(
    ("sender", "kind", "code"),
    [(RECEIPTS, b"alternative", 250), (CAMPAIGN, b"mixed", 250), (CAMPAIGN, b"alternative", 550)],
)
async def test_i7_ten_thousand_parts_are_no_more_than_their_octets(
    tmp_path: Path, sender: bytes, kind: bytes, code: int
) -> None:
    """More parts than get a notice are refused where each would need one, and pass where none or the first does."""
    head = MIXED.replace(b"mixed", kind)
    content = filled(head, TEXT_PART + b"x" * 400 + b"\r\n") + b"--b--\r\n"
    assert content.count(b"--b\r\n") > 10_000
    async with DeafHop().open() as hop, working(tmp_path, hop) as worker, worker.client() as client:
        hop.listening.set()
        before = worker.forget_peak()
        await begin(client, sender, content)
        client.writer.write(b".\r\n")
        assert (await client.hear())[0] == code
        assert len(hop.messages) == (code == 250)
        assert worker.peak < before + int(len(content) * SHARE) + BASE


async def test_i7_two_thousand_idle_sessions_fit_60_mb(tmp_path: Path) -> None:
    """The bound of a worker; one more hears so at once, and nobody's session is disturbed."""
    with many_files():
        async with DeafHop().open() as hop, working(tmp_path, hop) as worker, AsyncExitStack() as stack:
            before = worker.forget_peak()
            for _ in range(SMTP_SESSIONS_MAX // 100):
                hundred = [await stack.enter_async_context(worker.client()) for _ in range(100)]
            assert worker.peak - before < 60 * MIB
            reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
            assert (await Client(reader, writer).hear()) == (421, b"4.3.2 too many connections, try again later")
            writer.close()
            assert await hundred[0].converse(b"NOOP") == [250]
            assert worker.peak - before < 2000 * 30 * KIB


async def test_i7_ten_megabytes_of_banner_cost_the_worker_nothing(tmp_path: Path) -> None:
    """At a next hop that was in order when the worker began; clients are told to come back."""
    async with DeafHop().open() as hop, working(tmp_path, hop) as worker, worker.client() as client:
        hop.listening.set()
        await begin(client, RECEIPTS, PLAIN)
        assert (await client.say(b"."))[0] == 250
        before = worker.forget_peak()
        hop.flood()
        for _ in range(4):
            known = hop.floods
            await begin(client, RECEIPTS, PLAIN)
            assert (await client.say(b"."))[0] == 451
            await eventually_async(lambda: hop.floods > known, within=60, what="another banner")  # noqa: B023
        assert worker.peak - before < 4 * MIB

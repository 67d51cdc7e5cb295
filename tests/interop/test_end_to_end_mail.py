"""The whole way of a mail: Postfix → `izinli serve` → Postfix, with a real index of either form and the real page.

Everything runs as an operator runs it: the sample configuration, both planes as processes, consents from a CSV file.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import smtplib
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.house import House
from gateway.demo.sink import Sink
from tests.conftest import RedisServer, eventually_async
from tests.interop.letters import letter
from tests.interop.postfix import Postfix

pytestmark = pytest.mark.interop

CAMPAIGN = "a@kampanya.example.com.tr"
RECEIPTS = "a@bilgi.example.com.tr"
CONSENTED = ["ayse.yilmaz@example.com.tr", "mehmet.kaya@example.com.tr", "zeynep.demir@example.com.tr"]
UNKNOWN = "fatma.arslan@example.com.tr"
LINK = re.compile(rb"List-Unsubscribe: <(http://[^>]+)>")


@dataclass
class Chain:
    """client → first → izinli → second → sink; both Postfix instances have queues of their own."""

    first: Postfix
    house: House
    sink: Sink

    async def send(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Hand a message to the first Postfix, which keeps it until it is rid of it."""
        await asyncio.to_thread(_inject, self.first.port, sender, recipients, content)

    async def arrived(self, count: int) -> list[str]:
        """The recipients of everything that reached the end, once `count` messages have and no queue holds any."""
        await eventually_async(
            lambda: len(self.sink.messages) >= count and not self.first.queued(), within=60, what=f"{count} messages"
        )
        return sorted(one.rcpt_to[0] for one in self.sink.messages)

    async def logged(self, pattern: str) -> None:
        await eventually_async(lambda: re.search(pattern, self.first.log()) is not None, within=90, what=pattern)


def _inject(port: int, sender: str, to: list[str], content: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        assert client.sendmail(sender, to, content, mail_options=["BODY=8BITMIME"]) == {}


@asynccontextmanager
async def chained(directory: Path, *edits: tuple[str, str]) -> AsyncIterator[Chain]:
    async with Sink() as sink:
        with Postfix(relay_to=sink.port) as second:
            house = House(directory, [("127.0.0.1:2526", f"127.0.0.1:{second.port}"), *edits])
            try:
                await asyncio.to_thread(house.import_consents)
                for plane in ("registry", "gateway"):
                    house.start(plane)
                await asyncio.gather(house.ready("registry"), house.ready("gateway"))
                with Postfix(relay_to=house.config.listeners[0].bind.port) as first:
                    yield Chain(first, house, sink)
            finally:
                await asyncio.to_thread(house.close)


async def test_i5_consent_refusal_link_and_the_refusal_that_follows(tmp_path: Path, index: tuple[str, str]) -> None:
    async with chained(tmp_path, index) as chain:
        content = letter("alternative", "8bit", "utf-8")
        await chain.send(CAMPAIGN, [*CONSENTED, UNKNOWN], content)
        # Three copies, and the bounce that the first Postfix makes of the refusal; its null sender passes.
        assert await chain.arrived(4) == sorted([*CONSENTED, CAMPAIGN])
        await chain.logged(r"550 5\.7\.1 no_consent: .* id=[0-9a-f]+")
        links = {}
        for captured in chain.sink.messages:
            if found := LINK.search(captured.content):
                links[captured.rcpt_to[0]] = found[1].decode()
                assert captured.content.count(found[1]) >= 3, "header, text and HTML"
                assert "Örnek Market Ticaret A.Ş.".encode() in captured.content
                assert b"0123456789000015" in captured.content
        assert sorted(links) == CONSENTED
        assert len(set(links.values())) == 3, "each has a link of its own"

        page = await asyncio.to_thread(lambda: urllib.request.urlopen(links[CONSENTED[0]], timeout=60).read())
        assert "Örnek Market".encode() in page
        await chain.send(CAMPAIGN, [CONSENTED[0]], content)
        assert (await chain.arrived(5)).count(CONSENTED[0]) == 2, "opening the page changes nothing"

        body = b"List-Unsubscribe=One-Click"
        answer = await asyncio.to_thread(lambda: urllib.request.urlopen(links[CONSENTED[0]], data=body, timeout=60))
        assert answer.status == 200
        await chain.send(CAMPAIGN, CONSENTED[:2], content)
        assert Counter(await chain.arrived(7)) == Counter(
            [CONSENTED[0]] * 2 + [CONSENTED[1]] * 2 + [CONSENTED[2], CAMPAIGN, CAMPAIGN]
        )

        outcomes = Counter((line["outcome"], line["reason"]) for line in chain.house.decisions())
        assert outcomes[("pass", "consent")] == 5
        assert outcomes[("block", "no_consent")] == 2
        assert outcomes[("pass", "informational")] == 2, "the bounces"
        text = str(chain.house.decisions())
        assert not any(name in text for name in ("ayse", "example.com.tr", "mehmet")), "promise I9"


async def test_i6_informational_mail_is_the_same_octets_but_for_one_trace_field(tmp_path: Path) -> None:
    for trace in ("", "trace_header = false"):
        directory = tmp_path / f"trace{bool(trace)}"
        async with chained(directory, ("# trace_header = true ", f"{trace} #")) as chain:
            content = letter("alternative", "quoted-printable", "windows-1254").replace(
                b"Subject:   Bahar", b"Subject:\tBahar"
            )
            with smtplib.SMTP("127.0.0.1", chain.house.config.listeners[0].bind.port, timeout=60) as client:
                await asyncio.to_thread(client.sendmail, RECEIPTS, [UNKNOWN], content)
            await chain.arrived(1)
            got = chain.sink.messages[0].content
            assert got.endswith(content)
            fields = got[: -len(content)].decode()
            assert fields.count("(izinli)") == (0 if trace else 1)
            assert fields.count("\r\n\tby ") + fields.count("\r\nReceived:") <= 4


async def test_who_is_not_expected_is_refused(tmp_path: Path) -> None:
    """A sender that matches no stream; a client outside `allow`."""
    outside = ('allow = ["127.0.0.0/8"]           # who may', 'allow = ["127.0.0.2/32"]  # who may')
    async with chained(tmp_path / "stream") as chain:
        with smtplib.SMTP("127.0.0.1", chain.house.config.listeners[0].bind.port, timeout=60) as client:
            client.ehlo()
            code, text = client.mail("a@other.example.test")
        assert (code, text[:16]) == (550, b"5.7.1 no_stream:")
    async with chained(tmp_path / "client", outside) as chain:
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            smtplib.SMTP("127.0.0.1", chain.house.config.listeners[0].bind.port, timeout=60)
        assert refused.value.smtp_code == 554


async def test_i4_without_the_index_mail_waits_and_then_arrives_once(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        content = letter("plain", "8bit", "utf-8")
        with chain.house.without_index():
            await chain.send(CAMPAIGN, CONSENTED, content)
            await chain.logged(r"status=deferred .*451 4\.4\.3 index_down")
            await chain.send(RECEIPTS, [UNKNOWN], content)
            await eventually_async(lambda: len(chain.sink.messages) == 1, what="informational mail needs no index")
        assert await chain.arrived(4) == sorted([*CONSENTED, UNKNOWN])


async def test_i4_an_emptied_redis_is_no_reason_to_refuse(tmp_path: Path, redis_server: RedisServer) -> None:
    """Stopped, then back with nothing in it: deferred until the registry has built the index again."""
    async with chained(tmp_path, ('url = "sqlite"', f'url = "{redis_server.url}"')) as chain:
        redis_server.stop()
        await chain.send(CAMPAIGN, [*CONSENTED, UNKNOWN], letter("plain", "8bit", "utf-8"))
        await chain.logged(r"451 4\.4\.3 index_down")
        redis_server.start()
        assert await chain.arrived(4) == sorted([*CONSENTED, CAMPAIGN])
        assert not any(
            line["outcome"] == "block" and line["reason"] != "no_consent" for line in chain.house.decisions()
        )


async def test_i2_without_a_next_hop_mail_waits_and_then_arrives_once(tmp_path: Path) -> None:
    async with Sink() as sink:
        house = House(tmp_path, [("127.0.0.1:2526", f"127.0.0.1:{sink.port}")])
        try:
            await asyncio.to_thread(house.import_consents)
            house.start("registry")
            house.start("gateway")
            await asyncio.gather(house.ready("registry"), house.ready("gateway"))
            with Postfix(relay_to=house.config.listeners[0].bind.port) as first:
                chain = Chain(first, house, sink)
                await sink.stop()
                await chain.send(CAMPAIGN, CONSENTED, letter("plain", "8bit", "utf-8"))
                await chain.logged(r"status=deferred .*451 4\.4\.[12]")
                await sink.start()
                assert await chain.arrived(3) == CONSENTED
        finally:
            await asyncio.to_thread(house.close)


async def test_i2_workers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    """SIGKILL in the middle of traffic: the client still has what was not answered, and the supervisor starts anew."""
    async with chained(tmp_path, ("workers = 1 ", "workers = 2 ")) as chain:
        content = letter("plain", "8bit", "utf-8")
        for _ in range(3):
            await chain.send(CAMPAIGN, CONSENTED, content)
            victims = _children(chain.house.pid("gateway"))[:2]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            await chain.house.ready("gateway")
        await chain.send(CAMPAIGN, CONSENTED, content)
        await chain.arrived(12)
        seen = Counter(one.rcpt_to[0] for one in chain.sink.messages)
        assert all(seen[name] >= 4 for name in CONSENTED), (
            "a repeat is possible where an answer was cut off; a loss is not"
        )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_the_operator_sees_what_happened(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        await chain.send(CAMPAIGN, [CONSENTED[0]], letter("plain", "8bit", "utf-8"))
        await chain.arrived(1)
        url = chain.house.url("gateway")
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}/metrics", timeout=60).read().decode())
        assert 'izinli_messages_total{outcome="pass",protocol="smtp",reason="consent"} 1.0' in text
        assert 'izinli_messages_total{outcome="block",protocol="smpp",reason="no_consent"} 0.0' in text
        assert "izinli_index_up 1.0" in text
        assert "izinli_fail_open_total 0.0" in text
        for page in ("livez", "readyz"):
            assert (
                await asyncio.to_thread(lambda p=page: urllib.request.urlopen(f"{url}/{p}", timeout=60))
            ).status == 200  # type: ignore[misc]
        os.kill(_children(chain.house.pid("gateway"))[0], signal.SIGSTOP)
        try:
            with pytest.raises(urllib.error.HTTPError) as silent:
                await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}/livez", timeout=60))
            assert silent.value.read() == b"worker-0 silent\n"
        finally:
            os.kill(_children(chain.house.pid("gateway"))[0], signal.SIGCONT)


async def test_sigterm_drains(tmp_path: Path) -> None:
    """A transaction that is under way is finished; the exit code is 0."""
    async with chained(tmp_path) as chain:
        port = chain.house.config.listeners[0].bind.port
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            await asyncio.to_thread(client.ehlo)
            await asyncio.to_thread(client.mail, CAMPAIGN)
            await asyncio.to_thread(client.rcpt, CONSENTED[0])
            stopping = asyncio.create_task(asyncio.to_thread(chain.house.stop, "gateway"))
            code, text = 0, b""
            while code != 421:
                code, text = await asyncio.to_thread(client.noop)
            assert text.startswith(b"4.3.2")
            await stopping
        assert await asyncio.to_thread(_refused, port)


def _refused(port: int) -> bool:
    try:
        smtplib.SMTP("127.0.0.1", port, timeout=5)
    except ConnectionRefusedError:
        return True
    return False

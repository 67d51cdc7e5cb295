"""Real mail servers try again: the next hop is killed in the middle, and nobody gets the message twice or misses it.

Postfix and Exim send their queue file again, octet for octet, so their retry is recognised. Behind `smtpd_proxy_filter`
it is the application that tries again, and Postfix puts another Received field on top. And the retry may come to
another gateway, which shares nothing with the first but the Redis of the index.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import smtplib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from gateway.demo.house import House
from gateway.demo.sink import Sink
from gateway.smtp.delivered_redis import PREFIX
from tests.conftest import RedisServer, accepts, eventually_async, free_port
from tests.faults.doomed_hop import DoomedHop, Step
from tests.interop.exim import Exim
from tests.interop.letters import letter
from tests.interop.postfix import Postfix
from tests.interop.ways import CAMPAIGN, CONSENTED

pytestmark = pytest.mark.interop

WITHIN_S = 90.0
CONTENT = letter("alternative", "quoted-printable", "utf-8")
TRACE = re.compile(rb"^\tby mta\.example\.test \(Postfix\) .*\r\n(?:\t.*\r\n)*", re.MULTILINE)
ONE_BY_ONE = [
    ("# connections_max = 20 ", "connections_max = 1 "),
    ("# messages_per_connection = 1000", "messages_per_connection = 1"),
]


class Server(Protocol):
    port: int

    def queued(self) -> list[str]: ...


def postfix(relay_to: int) -> AbstractContextManager[Server]:
    return Postfix(relay_to=relay_to)


def exim(relay_to: int) -> AbstractContextManager[Server]:
    return Exim(relay_to=relay_to)


def send(port: int, content: bytes = CONTENT) -> int:
    """One try of an application; the code it hears."""
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        try:
            assert client.sendmail(CAMPAIGN, CONSENTED, content) == {}
        except smtplib.SMTPDataError as error:
            return error.smtp_code
    return 250


@asynccontextmanager
async def housed(directory: Path, *edits: tuple[str, str]) -> AsyncIterator[House]:
    """Both planes, with the invented consents."""
    house = House(directory, edits)
    try:
        await asyncio.to_thread(house.import_consents)
        for plane in ("registry", "gateway"):
            house.start(plane)
        await asyncio.gather(house.ready("registry"), house.ready("gateway"))
        yield house
    finally:
        await asyncio.to_thread(house.close)


def smtp_port(house: House) -> int:
    bind = house.config.listeners[0].bind
    assert not isinstance(bind, str)
    return int(str(bind).rpartition(":")[2])


@pytest.mark.parametrize("server", [postfix, exim], ids=["postfix", "exim"])
async def test_i2_the_next_hop_is_killed_after_some_copies(
    server: Callable[[int], AbstractContextManager[Server]], tmp_path: Path
) -> None:
    """One message after the other through the same house, each with an accident of its own."""
    accidents = [(step, after) for step in Step if step is not Step.REPLY for after in (1, 2)]
    async with DoomedHop() as hop:
        edits = [("127.0.0.1:2526", f"127.0.0.1:{hop.port}"), *ONE_BY_ONE]
        async with housed(tmp_path, *edits) as house:
            with server(smtp_port(house)) as client:
                for number, (step, after) in enumerate(accidents):
                    hop.accepted.clear()
                    hop.step, hop.after = step, after
                    content = letter("alternative", "quoted-printable", "utf-8", number=number)
                    assert await asyncio.to_thread(send, client.port, content) == 250
                    await eventually_async(hop.killed.is_set, within=WITHIN_S, what=f"the accident in {step}")
                    assert len(hop.accepted) == after
                    await hop.live_again()
                    await eventually_async(lambda: not client.queued(), within=WITHIN_S, what=f"the end of {step}")
                    assert hop.counts() == dict.fromkeys(CONSENTED, 1), f"killed in {step} after {after}"


@pytest.mark.parametrize("server", [postfix, exim], ids=["postfix", "exim"])
async def test_an_acceptance_that_nobody_heard_of(
    server: Callable[[int], AbstractContextManager[Server]], tmp_path: Path
) -> None:
    async with DoomedHop(Step.REPLY, 1) as hop:
        edits = [("127.0.0.1:2526", f"127.0.0.1:{hop.port}"), *ONE_BY_ONE]
        async with housed(tmp_path, *edits) as house:
            with server(smtp_port(house)) as client:
                assert await asyncio.to_thread(send, client.port) == 250
                await eventually_async(hop.killed.is_set, within=WITHIN_S, what="the accident")
                unheard = hop.accepted[1]
                await hop.live_again()
                await eventually_async(lambda: not client.queued(), within=WITHIN_S, what="the end")
                assert hop.counts() == {**dict.fromkeys(CONSENTED, 1), unheard: 2}


async def test_i2_behind_smtpd_proxy_filter_the_application_tries_again(tmp_path: Path) -> None:
    later, front = CONSENTED[0], free_port()
    async with Sink() as sink, housed(tmp_path, ("127.0.0.1:2526", f"127.0.0.1:{sink.port}")) as house:
        before_queue = f"-o smtpd_proxy_filter=127.0.0.1:{smtp_port(house)}"
        with Postfix(master=f"127.0.0.1:{front} inet n - n - - smtpd {before_queue}\n"):
            await eventually_async(lambda: accepts(front), within=WITHIN_S, what="Postfix before izinli")
            sink.recipients = {later: "450 4.2.1 greylisted"}
            assert await asyncio.to_thread(send, front) == 450
            assert len(sink.messages) == 2
            sink.recipients.clear()
            another_second = time.time() + 1
            await eventually_async(lambda: time.time() > another_second, within=WITHIN_S, what="another date")
            assert await asyncio.to_thread(send, front) == 250
            assert sorted(message.rcpt_to[0] for message in sink.messages) == CONSENTED, "nobody twice"
            by_postfix = {TRACE.findall(one.content)[0] for one in sink.messages}
            assert len(by_postfix) == 2, "though each try had a Received field of its own"


async def test_i2_another_gateway_takes_the_retry(tmp_path: Path, redis_server: RedisServer) -> None:
    later = CONSENTED[0]
    async with Sink() as sink:
        edits = [("127.0.0.1:2526", f"127.0.0.1:{sink.port}"), ('url = "sqlite"', f'url = "{redis_server.url}"')]
        async with housed(tmp_path / "one", *edits) as one:
            other = House(tmp_path / "other", edits)
            shutil.copytree(one.config.data_dir / "keys", other.config.data_dir / "keys", dirs_exist_ok=True)
            try:
                other.start("gateway")
                await other.ready("gateway")
                sink.recipients = {later: "450 4.2.1 greylisted"}
                assert await asyncio.to_thread(send, smtp_port(one)) == 450
                assert len(redis_server.cli("KEYS", PREFIX + "*")) == 2
                assert await asyncio.to_thread(send, smtp_port(other)) == 450
                assert len(sink.messages) == 2
                sink.recipients.clear()
                assert await asyncio.to_thread(send, smtp_port(other)) == 250
                assert sorted(message.rcpt_to[0] for message in sink.messages) == CONSENTED
                assert not (other.config.data_dir / "delivered.sqlite").exists()
            finally:
                await asyncio.to_thread(other.close)

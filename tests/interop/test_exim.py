"""Exim in front of izinli: what passes, what bounces, what waits in its queue."""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.house import House
from gateway.demo.sink import Sink
from tests.conftest import eventually_async
from tests.interop.exim import Exim
from tests.interop.letters import letter
from tests.interop.ways import CAMPAIGN, CONSENTED, UNKNOWN

pytestmark = pytest.mark.interop

CONTENT = letter("alternative", "quoted-printable", "utf-8")
LINK = re.compile(rb"List-Unsubscribe: <(http://[^>]+)>")


@dataclass
class Chain:
    """application → Exim → izinli → sink."""

    exim: Exim
    house: House
    sink: Sink

    async def send(self, recipients: list[str]) -> None:
        await asyncio.to_thread(_send, self.exim.port, recipients)

    async def arrived(self, count: int) -> list[str]:
        """The recipients of everything that reached the end, once `count` messages have and Exim holds none."""
        await eventually_async(
            lambda: len(self.sink.messages) >= count and not self.exim.queued(), within=90, what=f"{count} messages"
        )
        return sorted(one.rcpt_to[0] for one in self.sink.messages)

    async def logged(self, pattern: str) -> None:
        await eventually_async(lambda: self.exim.logs(pattern), within=60, what=pattern)


@asynccontextmanager
async def chained(directory: Path) -> AsyncIterator[Chain]:
    async with Sink() as sink:
        house = House(directory, [("127.0.0.1:2526", f"127.0.0.1:{sink.port}")])
        with Exim(relay_to=house.config.listeners[0].bind.port) as exim:
            try:
                await asyncio.to_thread(house.import_consents)
                for plane in ("registry", "gateway"):
                    house.start(plane)
                await asyncio.gather(house.ready("registry"), house.ready("gateway"))
                yield Chain(exim, house, sink)
            finally:
                await asyncio.to_thread(house.close)


def _send(port: int, recipients: list[str]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        assert client.sendmail(CAMPAIGN, recipients, CONTENT) == {}


async def test_pass_with_link_and_refusal_by_bounce(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        await chain.send([*CONSENTED, UNKNOWN])
        assert await chain.arrived(4) == sorted([*CONSENTED, CAMPAIGN])
        assert chain.exim.logs(rf"\*\* {re.escape(UNKNOWN)} .* 550 5\.7\.1 no_consent: .* id=")
        (bounce,) = [one for one in chain.sink.messages if not one.mail_from]
        assert b"550 5.7.1 no_consent" in bounce.content
        links = [LINK.search(one.content) for one in chain.sink.messages if one.mail_from]
        assert len({found[1] for found in links if found}) == len(CONSENTED), "each has a link of its own"


async def test_i4_without_the_index_the_queue_waits_and_nothing_goes_twice(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        with chain.house.without_index():
            await chain.send(CONSENTED)
            await chain.logged(r"== .* 451 4\.4\.3 index_down")
            assert chain.sink.messages == []
        assert await chain.arrived(3) == CONSENTED


async def test_i2_mixed_endings_are_retried_for_the_missing_one_alone(tmp_path: Path) -> None:
    later = CONSENTED[0]
    async with chained(tmp_path) as chain:
        chain.sink.recipients = {later: "450 4.2.1 greylisted"}
        await chain.send(CONSENTED)
        await chain.logged(r"== .* 450 4\.2\.1 greylisted")
        chain.sink.recipients.clear()
        assert await chain.arrived(3) == CONSENTED

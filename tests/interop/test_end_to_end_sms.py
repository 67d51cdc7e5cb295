"""The whole way of an SMS: smpplib's ESME → `izinli serve` → an SMSC, with a real index of either form."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from smpplib.exceptions import ConnectionError, PDUError

from filters.model import Kind, Outcome
from gateway.demo.esme import Esme
from gateway.demo.house import House
from gateway.demo.messages import OTP_SOURCE, UCS2_TEXT, Sms
from gateway.demo.smsc import Smsc
from tests.conftest import eventually_async

pytestmark = pytest.mark.interop

LINK = re.compile(r"http://\S+/r/[A-Za-z0-9]{18}")
ROK, RSYSERR, RSUBMITFAIL, RTHROTTLED = 0x00, 0x08, 0x45, 0x58
CONSENTED = Sms("+905550000001", "sms-kampanya", Kind.COMMERCIAL, Outcome.PASS)


@dataclass
class Chain:
    """ESME → izinli → SMSC."""

    esme: Esme
    house: House
    smsc: Smsc

    async def submit(self, sms: Sms) -> int:
        """The command_status of the answer."""
        status, _ = await asyncio.to_thread(self.esme.submit, sms)
        return status

    async def taken(self) -> list[str]:
        """The texts that came since the last look, once some have."""
        texts: list[str] = []

        def look() -> bool:
            texts.extend(self.smsc.take_texts())
            return bool(texts)

        await eventually_async(look, what="a message at the SMSC")
        return texts


@asynccontextmanager
async def chained(directory: Path, *edits: tuple[str, str]) -> AsyncIterator[Chain]:
    house = House(directory, edits)
    account = house.config.accounts[b"marka"]
    login = {account.upstream_system_id.decode(): account.upstream_password.decode()}
    async with Smsc(login, house.config.upstreams["smsc"].hosts[0].port) as smsc:
        # The worker is ready when a next hop for mail is, too.
        esme = Esme(house.config.listeners[1].bind, "marka", account.password.decode())
        try:
            await asyncio.to_thread(house.import_consents)
            house.start("registry")
            house.start("gateway")
            await house.ready("registry")

            async def bound() -> bool:
                try:
                    await asyncio.to_thread(esme.bind)
                except (OSError, PDUError, ConnectionError):  # of the socket, and of smpplib: not up yet
                    return False
                return True

            await eventually_async(bound, within=90, what="a bind")
            yield Chain(esme, house, smsc)
        finally:
            await asyncio.to_thread(esme.close)
            await asyncio.to_thread(house.close)


async def test_i5_consent_notice_link_and_the_refusal_that_follows(tmp_path: Path, index: tuple[str, str]) -> None:
    async with chained(tmp_path, index) as chain:
        assert await chain.submit(CONSENTED) == ROK
        (text,) = await chain.taken()
        assert text.startswith(f"{CONSENTED.text} Ornek Market Mersis 0123456789000015 RET http://")

        wide = replace(CONSENTED, recipient="+905550000002", text=UCS2_TEXT, ucs2=True)
        assert await chain.submit(wide) == ROK
        (joined,) = await chain.taken()
        assert joined.startswith(f"{UCS2_TEXT} Ornek Market")
        assert len(chain.smsc.messages) == 3, "one segment, then two in UCS-2"

        seen = len(chain.smsc.messages)
        for nobody in ("+905550000009", "+905550000005"):
            assert await chain.submit(replace(CONSENTED, recipient=nobody)) == RSUBMITFAIL
        code = replace(CONSENTED, recipient="+905550000009", source=OTP_SOURCE, text="Kod 555123")
        assert await chain.submit(code) == ROK
        assert await chain.taken() == ["Kod 555123"]
        assert len(chain.smsc.messages) == seen + 1, "nothing of what was refused went upstream"

        link = LINK.search(text)
        assert link is not None
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(link[0], timeout=60).read())
        assert b"<form" in page
        assert await chain.submit(CONSENTED) == ROK, "opening the page changes nothing"
        answer = await asyncio.to_thread(
            lambda: urllib.request.urlopen(link[0], data=b"List-Unsubscribe=One-Click", timeout=60)
        )
        assert answer.status == 200
        assert await chain.submit(CONSENTED) == RSUBMITFAIL


async def test_i4_without_the_index_a_submit_is_throttled(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        with chain.house.without_index():
            assert await chain.submit(CONSENTED) == RTHROTTLED
            assert chain.smsc.messages == []
        await chain.house.ready("registry")

        async def passes() -> bool:
            return await chain.submit(CONSENTED) == ROK

        await eventually_async(passes, within=90, what="the index is back")
        assert len(chain.smsc.messages) == 1


async def test_i2_without_the_smsc_a_submit_is_not_acknowledged(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        assert await chain.submit(CONSENTED) == ROK
        await chain.smsc.stop()
        assert await chain.submit(CONSENTED) in (RSYSERR, RTHROTTLED)
        await chain.smsc.start()

        async def passes() -> bool:
            return await chain.submit(CONSENTED) == ROK

        await eventually_async(passes, within=60, what="the SMSC is back")


async def test_i8_every_answer_has_its_line(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        numbers = ["+905550000001", "+905550000009", "+905550000002"]
        for number in numbers:
            await chain.submit(replace(CONSENTED, recipient=number))
        lines = chain.house.decisions()
        assert [line["outcome"] for line in lines] == ["pass", "block", "pass"]
        assert {line["protocol"] for line in lines} == {"smpp"}
        assert not any(number[1:] in str(lines) for number in numbers), "promise I9"

"""A refusal by SMS, all the way: handset → SMSC → `izinli serve` → ledger and index, both planes as processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.house import House
from gateway.demo.smsc import Smsc
from gateway.smpp.mo import CONFIRMATIONS
from tests.conftest import eventually_async
from tests.gateway.smpp.support import DELIVER, NUMBER, RESP, Client, bind_body, pdu

pytestmark = pytest.mark.interop

ROK, RSUBMITFAIL, RX_T_APPN = 0x00, 0x45, 0x64
CAMPAIGN, PASSWORDS, SHORT_CODE = b"ORNEK", b"ORNEKOTP", "3525"
RET = "Ret örnek, lütfen".encode("utf-16-be")


@dataclass
class Chain:
    """ESME → izinli → SMSC, and a handset."""

    house: House
    smsc: Smsc
    client: Client

    def say(self) -> int:
        """The handset's message; the number under which the SMSC hands it over."""
        return self.smsc.send("izinli", NUMBER.decode(), SHORT_CODE, RET, data_coding=8)

    async def answered(self, sequence: int, status: int) -> None:
        await eventually_async(
            lambda: (DELIVER | RESP, status, sequence) in self.smsc.answered, within=60, what="an answer to the SMSC"
        )

    async def passed_on(self) -> None:
        heard = await self.client.hear()
        assert heard.command == DELIVER
        assert heard.body.endswith(RET)
        self.client.writer.write(pdu(DELIVER | RESP, heard.sequence, b"\0"))


@asynccontextmanager
async def chained(directory: Path, *edits: tuple[str, str]) -> AsyncIterator[Chain]:
    house = House(directory, edits)
    account = house.config.accounts[b"marka"]
    login = {account.upstream_system_id.decode(): account.upstream_password.decode()}
    async with Smsc(login, house.config.upstreams["smsc"].tcp_hosts[0].port) as smsc:
        try:
            await asyncio.to_thread(house.import_consents)
            house.start("registry")
            house.start("gateway")
            await house.ready("registry")
            client = await bound(house, account.password.decode())
            try:
                yield Chain(house, smsc, client)
            finally:
                client.writer.close()
        finally:
            await asyncio.to_thread(house.close)


async def bound(house: House, password: str) -> Client:
    """A transceiver, once there is somebody to bind at."""
    found: list[Client] = []
    door = next(one.bind for one in house.config.listeners if one.protocol == "smpp")

    async def try_once() -> bool:
        with suppress(OSError, EOFError):  # not up yet
            client = Client(*await asyncio.open_connection(*door))
            if (await client.converse(9, bind_body("marka", password))).status == ROK:
                found.append(client)
            else:
                client.writer.close()
        return bool(found)

    await eventually_async(try_once, within=60, what="a bind")
    return found[0]


async def test_i5_ret_by_sms_and_the_refusal_that_follows(tmp_path: Path, index: tuple[str, str]) -> None:
    async with chained(tmp_path, index) as chain:
        assert (await chain.client.say(source=CAMPAIGN)).status == ROK
        sequence = chain.say()
        await chain.passed_on()
        await chain.answered(sequence, ROK)
        assert (await chain.client.say(source=CAMPAIGN)).status == RSUBMITFAIL
        assert (await chain.client.say(b"Kod 555123", source=PASSWORDS)).status == ROK, "what is no advertising goes on"

        def told() -> list[str]:
            return [one.text for one in chain.smsc.messages if one.source == SHORT_CODE]

        await eventually_async(lambda: len(told()) == 1, within=90, what="the confirmation")
        assert told()[0].startswith("Ornek Market: Ret talebiniz alindi.")
        sequence = chain.say()
        await chain.passed_on()
        await chain.answered(sequence, ROK)
        assert (await chain.client.say(b"Kod 555124", source=PASSWORDS)).status == ROK
        assert len(told()) == 1, "once a day"
        (line,) = [one for one in chain.house.decisions() if one.get("stream") == CONFIRMATIONS]
        assert (line["kind"], line["outcome"], line["reason"]) == ("informational", "pass", "informational")
        assert NUMBER.decode() not in str(chain.house.decisions()), "promise I9"
        for name in ("gateway.log", "registry.log"):
            assert NUMBER.decode() not in (tmp_path / name).read_text()


async def test_i5_without_the_registry_the_smsc_keeps_the_message(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        await asyncio.to_thread(chain.house.stop, "registry")
        await chain.answered(chain.say(), RX_T_APPN)
        chain.house.start("registry")
        await chain.house.ready("registry")
        sequence = chain.say()
        await chain.passed_on()
        await chain.answered(sequence, ROK)
        assert (await chain.client.say(source=CAMPAIGN)).status == RSUBMITFAIL

"""Two smpplib clients of two accounts over one bind at the SMSC: `izinli serve`, with a real memory of either form."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import smpplib.client
import smpplib.exceptions

from gateway.demo.house import House
from gateway.demo.smsc import Received, Smsc
from tests.conftest import eventually_async

pytestmark = pytest.mark.interop

ROK, RSYSERR, RSUBMITFAIL, RX_T_APPN = 0x00, 0x08, 0x45, 0x64
PASSWORD, UPSTREAM_PASSWORD = "gizli456", "smscpw12"
MIRRORED = """upstream_system_id = "izinli"     # how that bind logs in; no other account may use it
upstream_password_file = "keys/smsc.pass"
"""
BANKA = """
[[account]]
system_id = "banka"
password_file = "keys/banka.pass"
addresses = ["BANKA*"]

[[brand]] """
STREAM = """
[[stream]]
name = "banka"
match = { account = "banka" }
kind = "informational"
upstream = "smsc"
"""
POOLED = """hosts = ["127.0.0.1:2776"]
topology = "pooled"
system_id = "izinli"
password_file = "keys/smsc.pass"
binds = 1
message_id = "hex_in_response"
"""
EDITS = (
    (MIRRORED, 'addresses = ["3525"]\n'),
    ("\n[[brand]] ", BANKA),
    ('hosts = ["127.0.0.1:2776"]\n', POOLED),
)


class Client:
    """smpplib's, bound as a transceiver; a thread of its own reads. What came is taken from the queues."""

    def __init__(self, port: int, system_id: str, password: str) -> None:
        self.answers: SimpleQueue[tuple[int, int, str]] = SimpleQueue()  # sequence number, status, id
        self.deliveries: list[tuple[bytes, str]] = []  # text, and the id in the TLV
        # A bind that was given up before its answer would be a second session of the account, and receive in its place.
        self._smpp = smpplib.client.Client("127.0.0.1", port, timeout=60, allow_unknown_opt_params=True)
        self._smpp.connect()
        try:
            self._smpp.bind_transceiver(system_id=system_id, password=password)
        except BaseException:
            self._smpp.disconnect()
            raise
        self._smpp._socket.settimeout(1)  # how soon the reading thread notices that it is over
        self._smpp.set_message_sent_handler(self._answered)
        self._smpp.set_message_received_handler(self._delivered)
        self._smpp.set_error_pdu_handler(lambda pdu: None)  # its own raises
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, text: bytes, source: str = "ORNEKOTP") -> int:
        pdu = self._smpp.send_message(
            source_addr_ton=5,
            source_addr=source,
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr="905550000001",
            short_message=text,
            registered_delivery=True,
        )
        return int(pdu.sequence)

    async def answer(self) -> tuple[int, int, str]:
        return await asyncio.to_thread(self.answers.get, timeout=60)

    async def delivered(self, count: int) -> list[tuple[bytes, str]]:
        await eventually_async(lambda: len(self.deliveries) >= count, within=60, what=f"{count} deliveries")
        return self.deliveries

    def close(self) -> None:
        self._over.set()
        self._thread.join(30)
        self._smpp.disconnect()

    def _read(self) -> None:
        while not self._over.is_set():
            try:
                self._smpp.read_once()
            except smpplib.exceptions.ConnectionError:
                return

    def _answered(self, pdu: Any) -> None:
        self.answers.put((int(pdu.sequence), int(pdu.status), (pdu.message_id or b"").decode()))

    def _delivered(self, pdu: Any) -> None:
        ident = pdu.receipted_message_id
        self.deliveries.append((bytes(pdu.short_message), ident.decode().rstrip("\0") if ident else ""))


@dataclass
class Chain:
    """Two ESMEs → izinli → SMSC."""

    house: House
    smsc: Smsc
    clients: list[Client] = field(default_factory=list)

    async def bound(self, system_id: str = "marka") -> Client:
        """Once there is somebody to bind at."""
        account = self.house.config.accounts[system_id.encode()]
        found: list[Client] = []

        async def try_once() -> bool:
            with suppress(OSError, smpplib.exceptions.PDUError, smpplib.exceptions.ConnectionError):
                port = self.house.config.listeners[1].bind.port
                found.append(await asyncio.to_thread(Client, port, system_id, account.password.decode()))
            return bool(found)

        await eventually_async(try_once, within=60, what="a bind")
        self.clients += found
        return found[0]

    def workers(self) -> list[int]:
        supervisor = self.house.pid("gateway")
        return [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()][:1]


@asynccontextmanager
async def chained(directory: Path, *edits: tuple[str, str]) -> AsyncIterator[Chain]:
    (directory / "keys").mkdir()
    (directory / "keys/banka.pass").write_text(f"{PASSWORD}\n")
    house = House(directory, (*EDITS, *edits), sample())
    login = {"izinli": (directory / "keys/smsc.pass").read_text().strip()}
    async with Smsc(login, house.config.upstreams["smsc"].tcp_hosts[0].port) as smsc:
        chain = Chain(house, smsc)
        try:
            await asyncio.to_thread(house.import_consents)
            house.start("registry")
            house.start("gateway")
            await house.ready("registry")
            yield chain
        finally:
            for client in chain.clients:
                await asyncio.to_thread(client.close)
            await asyncio.to_thread(house.close)


def sample() -> str:
    return (Path(__file__).parents[2] / "gateway/sample.toml").read_text(encoding="utf-8") + STREAM


async def brought(chain: Chain, message: Received) -> None:
    """The receipt of a message, again as long as the gateway says "later": a new worker may not have its memory yet."""

    async def taken() -> bool:
        heard = len(chain.smsc.answered)
        sequence = chain.smsc.send_receipt(message)
        if not sequence:
            return False
        answers: list[int] = []

        def answered() -> bool:
            answers[:] = [one[1] for one in chain.smsc.answered[heard:] if (one[0], one[2]) == (0x80000005, sequence)]
            return bool(answers)

        await eventually_async(answered, what="an answer to a receipt")
        assert answers[0] in (ROK, RX_T_APPN)
        return answers[0] == ROK

    await eventually_async(taken, what="a receipt that is taken")


def identified(deliveries: list[tuple[bytes, str]]) -> list[str]:
    """The ids of receipts, each the same in text and TLV."""
    found = []
    for text, in_tlv in deliveries:
        assert text.startswith(b"id:" + in_tlv.encode() + b" sub:001 dlvrd:001 ")
        found.append(in_tlv)
    return found


async def test_i3_answers_out_of_order_and_receipts_before_them(tmp_path: Path, index: tuple[str, str]) -> None:
    async with chained(tmp_path, index) as chain:
        marka, banka = await chain.bound(), await chain.bound("banka")
        assert len(chain.smsc.sessions) == 1
        behaviour = chain.smsc.behaviour
        behaviour.hexadecimal = behaviour.early = behaviour.holding = True
        sequences: dict[str, list[int]] = {"marka": [], "banka": []}
        for number in range(5):
            sequences["marka"].append(await asyncio.to_thread(marka.send, b"m%d" % number))
            sequences["banka"].append(await asyncio.to_thread(banka.send, b"b%d" % number))
        await eventually_async(lambda: len(chain.smsc.held) == 10, within=60)
        assert marka.deliveries == banka.deliveries == []
        chain.smsc.release(backwards=True)
        for name, client in (("marka", marka), ("banka", banka)):
            heard = [await client.answer() for _ in range(5)]
            ids = {one.text: f"{int(one.message_id):08X}" for one in chain.smsc.messages}
            expected = [(sequence, ROK, ids[f"{name[0]}{at}"]) for at, sequence in enumerate(sequences[name])]
            assert sorted(heard) == expected
            assert sorted(identified(await client.delivered(5))) == sorted(ids[f"{name[0]}{at}"] for at in range(5))
        await eventually_async(lambda: len(chain.smsc.answered) == 10, within=60)
        assert {status for _, status, _ in chain.smsc.answered} == {ROK}


async def test_commercial_messages_are_checked_and_folded_over_a_pool(tmp_path: Path, index: tuple[str, str]) -> None:
    async with chained(tmp_path, index) as chain:
        marka = await chain.bound()
        chain.smsc.behaviour.hexadecimal = True
        await asyncio.to_thread(marka.send, b"x" * 150, "ORNEK")
        _, status, ident = await marka.answer()
        assert status == ROK
        (text,) = chain.smsc.take_texts()
        assert text.startswith("x" * 150 + " Ornek Market Mersis")
        assert len(chain.smsc.messages) == 2
        assert identified(await marka.delivered(1)) == [ident], "two segments, one receipt"


async def test_i5_a_killed_worker_and_the_receipts_of_what_it_sent(tmp_path: Path, index: tuple[str, str]) -> None:
    async with chained(tmp_path, index) as chain:
        marka, banka = await chain.bound(), await chain.bound("banka")
        behaviour = chain.smsc.behaviour
        behaviour.hexadecimal, behaviour.receipts = True, False
        for client in (marka, banka):
            await asyncio.to_thread(client.send, b"before")
        told = {(await client.answer())[2]: client for client in (marka, banka)}
        assert len(told) == 2
        (worker,) = chain.workers()
        os.kill(worker, signal.SIGKILL)
        await eventually_async(lambda: not chain.smsc.sessions, within=60, what="the end of the worker")
        marka, banka = await chain.bound(), await chain.bound("banka")
        await eventually_async(lambda: len(chain.smsc.sessions) == 1, within=60, what="a bind of the new worker")
        for message in chain.smsc.messages:
            await brought(chain, message)
        (first,), (second,) = identified(await marka.delivered(1)), identified(await banka.delivered(1))
        assert [first, second] == list(told), "each has its own"


async def test_i5_ret_by_sms_over_a_pool_also_while_the_client_is_away(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        marka = await chain.bound()
        chain.smsc.behaviour.hexadecimal = True
        await asyncio.to_thread(marka.send, b"Kampanya", "ORNEK")
        assert (await marka.answer())[1] == ROK
        assert identified(await marka.delivered(1))
        chain.clients.remove(marka)
        await asyncio.to_thread(marka.close)

        async def gone() -> bool:
            return b'izinli_sessions{protocol="smpp"} 0.0' in await asyncio.to_thread(metrics, chain)

        await eventually_async(gone, within=60, what="the end of the client's session")
        sequence = chain.smsc.send("izinli", "905550000001", "3525", b"RET")
        answer = (0x80000005, RX_T_APPN, sequence)
        await eventually_async(lambda: answer in chain.smsc.answered, within=60, what="an answer to the SMSC")
        marka = await chain.bound()
        await asyncio.to_thread(marka.send, b"Kampanya", "ORNEK")
        assert (await marka.answer())[1] == RSUBMITFAIL, "it is recorded already"
        chain.smsc.send("izinli", "905550000001", "3525", b"RET")
        assert (await marka.delivered(1))[0] == (b"RET", "")

        def confirmed() -> bool:
            return any(one.source == "3525" for one in chain.smsc.messages)

        await eventually_async(confirmed, within=60, what="the confirmation")


def metrics(chain: Chain) -> bytes:
    with urllib.request.urlopen(f"{chain.house.url('gateway')}/metrics", timeout=60) as page:
        return bytes(page.read())


async def test_the_metrics_of_a_pool(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        await chain.bound("banka")
        page = await asyncio.to_thread(metrics, chain)
        for line in (
            b'izinli_upstream_up{upstream="smsc"} 1.0',
            b'izinli_smpp_binds{upstream="smsc"} 1.0',
            b'izinli_smpp_orphans{upstream="smsc"} 0.0',
            b'izinli_smpp_deliveries_total{kind="receipt",result="nobody"} 0.0',
        ):
            assert line in page.splitlines()

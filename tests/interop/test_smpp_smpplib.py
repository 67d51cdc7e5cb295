"""The SMPP door with a client that was not written here: smpplib, blocking, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import smpplib.client
import smpplib.exceptions
import smpplib.gsm
import smpplib.smpp

from gateway import limits
from gateway.demo.smsc import Smsc
from tests.conftest import eventually, free_port
from tests.gateway.smpp.support import (
    BLOCKED,
    CANONICAL,
    DEFERRED,
    LOGIN,
    UPSTREAM_LOGIN,
    House,
    house,
    notice_of,
    smsc,
    tlv,
)

pytestmark = pytest.mark.interop

ROK, SYSERR, SUBMITFAIL, THROTTLED = 0, 0x08, 0x45, 0x58
BINDS = {"transmitter": 2, "receiver": 1, "transceiver": 9}
GSM = "Kampanya: %20 indirim @ Örnek {bugün} 5€"
TURKISH = "Çok güzel bir akşam, ığdır'da çay içiyoruz"


@pytest.fixture
async def centre() -> AsyncIterator[Smsc]:
    async with smsc() as one:
        yield one


@pytest.fixture
async def gate(centre: Smsc) -> AsyncIterator[House]:
    async with house(centre.port) as one:
        yield one


@contextmanager
def connected(gate: House) -> Iterator[Any]:
    client = smpplib.client.Client("127.0.0.1", gate.port, timeout=60, allow_unknown_opt_params=True)
    client.connect()
    try:
        yield client
    finally:
        client.disconnect()


def bound(gate: House, kind: str, act: Callable[[Any], Any]) -> Any:
    """What `act` returns about a bound client, which then unbinds."""
    with connected(gate) as client:
        getattr(client, f"bind_{kind}")(system_id=LOGIN[0], password=LOGIN[1])
        result = act(client)
        client.unbind()
        return result


def send(client: Any, text: bytes | str = b"Merhaba", **fields: Any) -> Any:
    values = {
        "source_addr_ton": 5,
        "source_addr": "ORNEK",
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": CANONICAL.decode().lstrip("+"),
        "short_message": text,
    }
    return client.send_message(**(values | fields))


def answer(client: Any, sent: Any) -> Any:
    """The answer to `sent`; receipts that come before it are left out."""
    while True:
        heard = client.read_pdu()
        if heard.command == "submit_sm_resp" and heard.sequence == sent.sequence:
            return heard


async def blocking(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


@pytest.mark.parametrize("kind", BINDS)
async def test_three_kinds_of_bind(centre: Smsc, gate: House, kind: str) -> None:
    await blocking(bound, gate, kind, lambda client: eventually(lambda: len(centre.sessions) == 1))
    await blocking(eventually, lambda: centre.unbound == 1)


async def test_a_wrong_password(gate: House) -> None:
    def act() -> None:
        with connected(gate) as client:
            client.bind_transceiver(system_id=LOGIN[0], password="falsch")

    with pytest.raises(smpplib.exceptions.PDUError) as caught:
        await blocking(act)
    assert caught.value.args[1] == 0x0E


@pytest.mark.parametrize(
    ("coding", "encoded", "words"),
    [
        (
            0,
            smpplib.gsm.gsm_encode("Kampanya: %20 indirim @ Örnek {bugün} 5€"),
            "Kampanya: %20 indirim @ Örnek {bugün} 5€",
        ),
        (8, "Çay ığ 😀".encode("utf-16-be"), "Çay ığ 😀"),
        (3, "Örnek çay".encode("latin-1"), "Örnek çay"),
    ],
)
async def test_i1_with_consent_it_goes_on_with_its_notice(
    centre: Smsc, gate: House, coding: int, encoded: bytes, words: str
) -> None:
    heard = await blocking(
        bound, gate, "transmitter", lambda client: answer(client, send(client, encoded, data_coding=coding))
    )
    assert heard.status == ROK
    assert centre.take_texts() == [words + notice_of()]
    assert heard.message_id == centre.messages[-1].message_id.encode()


async def test_what_no_longer_fits_is_split_in_two(centre: Smsc, gate: House) -> None:
    def act(client: Any) -> tuple[Any, Any]:
        heard = answer(client, send(client, b"a" * 155, registered_delivery=1))
        return heard, client.read_pdu()

    heard, receipt = await blocking(bound, gate, "transceiver", act)
    assert heard.status == ROK
    assert len(centre.messages) == 2
    assert centre.take_texts() == ["a" * 155 + notice_of()]
    assert receipt.receipted_message_id == heard.message_id


@pytest.mark.parametrize(
    ("text", "coding", "words"),
    [("Uzun bir ileti. " * 20, 0, "Uzun bir ileti. " * 20), (TURKISH * 4, 8, TURKISH * 4)],
)
@pytest.mark.parametrize("udhi", [True, False])
async def test_parts_of_its_own_making(
    centre: Smsc, gate: House, text: str, coding: int, words: str, udhi: bool
) -> None:
    """smpplib's own cutting: UDH with an 8-bit reference, or SAR TLVs."""

    def act(client: Any) -> list[int]:
        parts, found_coding, esm_class = smpplib.gsm.make_parts(text, use_udhi=udhi)
        assert found_coding == coding
        statuses = []
        for number, part in enumerate(parts, start=1):
            sar = {"sar_msg_ref_num": 77, "sar_total_segments": len(parts), "sar_segment_seqnum": number}
            fields = {"esm_class": esm_class, "data_coding": coding} | ({} if udhi else sar)
            statuses.append(int(answer(client, send(client, part, **fields)).status))
        return statuses

    statuses = await blocking(bound, gate, "transceiver", act)
    assert set(statuses) == {ROK}
    assert centre.take_texts() == [words + notice_of()]
    assert gate.judge.asked == [CANONICAL]


async def test_i1_without_consent_nothing_goes_upstream(centre: Smsc, gate: House) -> None:
    gate.judge.verdicts[CANONICAL] = BLOCKED
    heard = await blocking(bound, gate, "transceiver", lambda client: answer(client, send(client)))
    assert (heard.status, centre.messages) == (SUBMITFAIL, [])


async def test_i4_an_index_that_is_down_is_temporary(centre: Smsc, gate: House) -> None:
    gate.judge.verdicts[CANONICAL] = DEFERRED
    heard = await blocking(bound, gate, "transceiver", lambda client: answer(client, send(client)))
    assert (heard.status, centre.messages) == (THROTTLED, [])


async def test_receipts_and_messages_of_citizens_come_back(centre: Smsc, gate: House) -> None:
    loop = asyncio.get_running_loop()

    def act(client: Any) -> tuple[Any, Any, Any]:
        heard = answer(client, send(client, registered_delivery=1))
        receipt = client.read_pdu()
        loop.call_soon_threadsafe(centre.send, UPSTREAM_LOGIN[0], "905550000001", "3338", b"RET ORNEK")
        message = client.read_pdu()
        for one in (receipt, message):
            back = smpplib.smpp.make_pdu("deliver_sm_resp", client=client)
            back.sequence = one.sequence
            client.send_pdu(back)
        eventually(lambda: len(centre.answered) == 2)
        return heard, receipt, message

    heard, receipt, message = await blocking(bound, gate, "transceiver", act)
    assert receipt.receipted_message_id == heard.message_id
    assert (receipt.message_state, int(receipt.esm_class)) == (2, 4)
    assert (message.short_message, message.source_addr) == (b"RET ORNEK", b"905550000001")
    assert [status for _, status, _ in centre.answered] == [ROK, ROK]


async def test_enquire_link_and_unknown_commands(gate: House) -> None:
    def act(client: Any) -> list[str]:
        names = []
        for octets in (b"\0\0\0\x10\0\0\0\x15\0\0\0\0\0\0\0\x63", b"\0\0\0\x10\0\0\x7f\x7f\0\0\0\0\0\0\0\x64"):
            client._socket.sendall(octets)
            heard = client.read_pdu()
            names.append(f"{heard.command} {int(heard.status)} {heard.sequence}")
        return names

    assert await blocking(bound, gate, "transceiver", act) == ["enquire_link_resp 0 99", "generic_nack 3 100"]


async def test_i6_unknown_tlvs_are_the_same_octets(centre: Smsc, gate: House) -> None:
    """smpplib writes no vendor TLV, so they are put behind what it made."""
    vendor = tlv(0x1400, b"1234567890123456789") + tlv(0x3FFF, b"\0\1\2") + tlv(0x0204, b"\0\7")

    def act(client: Any) -> tuple[Any, bytes]:
        made = smpplib.smpp.make_pdu(
            "submit_sm",
            client=client,
            source_addr_ton=5,
            source_addr="ORNEK",
            dest_addr_ton=1,
            destination_addr="905550000001",
            short_message=b"Merhaba",
        )
        octets = made.generate() + vendor
        client._socket.sendall(len(octets).to_bytes(4, "big") + octets[4:])
        return answer(client, made), octets[16:]

    heard, body = await blocking(bound, gate, "transceiver", act)
    (got,) = centre.messages
    assert heard.status == ROK
    assert got.body.endswith(vendor)
    notice = notice_of().encode()
    at = body.index(b"Merhaba")
    assert got.body == body[: at - 1] + bytes((7 + len(notice),)) + b"Merhaba" + notice + body[at + 7 :]


async def test_i3_a_hundred_outstanding_answered_backwards(centre: Smsc, gate: House) -> None:
    loop = asyncio.get_running_loop()
    centre.behaviour.holding = True

    def act(client: Any) -> tuple[dict[int, str], dict[int, str]]:
        sent = {send(client, destination_addr=f"9055500{n:05}").sequence: f"9055500{n:05}" for n in range(100)}
        eventually(lambda: len(centre.messages) == 100)
        loop.call_soon_threadsafe(lambda: centre.release(backwards=True))
        heard = [client.read_pdu() for _ in range(100)]
        return sent, {one.sequence: one.message_id.decode() for one in heard}

    sent, heard = await blocking(bound, gate, "transceiver", act)
    ids = {one.dest: one.message_id for one in centre.messages}
    assert heard == {sequence: ids[dest] for sequence, dest in sent.items()}


async def test_i4_an_smsc_that_goes_away_and_comes_back(
    centre: Smsc, gate: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    loop = asyncio.get_running_loop()

    def act(client: Any) -> list[int]:
        centre.behaviour.silent = True
        sent = send(client)
        eventually(lambda: len(centre.messages) == 1)
        asyncio.run_coroutine_threadsafe(centre.stop(), loop).result()
        statuses = [int(answer(client, sent).status), int(answer(client, send(client)).status)]
        with connected(gate) as second, pytest.raises(smpplib.exceptions.PDUError) as caught:
            second.bind_transceiver(system_id=LOGIN[0], password=LOGIN[1])
        statuses.append(caught.value.args[1])
        centre.behaviour.silent = False
        asyncio.run_coroutine_threadsafe(centre.start(), loop).result()
        eventually(lambda: gate.metrics.upstream_up["smsc"] == 1)
        return [*statuses, int(answer(client, send(client)).status)]

    assert await blocking(bound, gate, "transceiver", act) == [SYSERR, SYSERR, SYSERR, ROK]


async def test_no_smsc_no_bind() -> None:
    def act(gate: House) -> int:
        with connected(gate) as client, pytest.raises(smpplib.exceptions.PDUError) as caught:
            client.bind_receiver(system_id=LOGIN[0], password=LOGIN[1])
        return int(caught.value.args[1])

    async with house(free_port()) as gate:
        assert await blocking(act, gate) == SYSERR


async def test_a_refusal_by_receipt(centre: Smsc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.05)

    def act(client: Any) -> tuple[Any, Any]:
        heard = answer(client, send(client, b"Merhaba", registered_delivery=1))
        return heard, client.read_pdu()

    async with house(centre.port, block_mode="receipt") as gate:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        heard, receipt = await blocking(bound, gate, "transceiver", act)
    assert (heard.status, centre.messages) == (ROK, [])
    assert receipt.command == "deliver_sm"
    assert receipt.receipted_message_id == heard.message_id
    assert receipt.message_state == 8
    assert receipt.short_message.startswith(b"id:" + heard.message_id)
    assert b" stat:REJECTD err:601 " in receipt.short_message


async def test_a_data_sm(centre: Smsc, gate: House) -> None:
    def act(client: Any) -> Any:
        fields = {"source_addr": "ORNEK", "destination_addr": CANONICAL.decode().lstrip("+"), "dest_addr_ton": 1}
        pdu = smpplib.smpp.make_pdu("data_sm", client=client, message_payload=b"Merhaba", **fields)
        client.send_pdu(pdu)
        return client.read_pdu()

    heard = await blocking(bound, gate, "transmitter", act)
    assert (heard.command, heard.status) == ("data_sm_resp", ROK)
    assert heard.message_id == centre.messages[-1].message_id.encode()
    assert centre.take_texts() == ["Merhaba" + notice_of()]

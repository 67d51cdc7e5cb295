"""What stands on the wire on both sides of izinli while a client with a window of one says all that it can.

Nothing is stuck; what is not to be touched is the same octets on both sides but for the sequence number; and tshark
finds nothing malformed in anything that izinli said.
"""

from __future__ import annotations

import asyncio
import struct
from itertools import product
from pathlib import Path

import pytest

from gateway.demo.smsc import Smsc
from tests.gateway.smpp.long_messages import part_of
from tests.gateway.smpp.support import (
    BLOCKED,
    CANCEL,
    DATA,
    DEFERRED,
    DELIVER,
    ENQUIRE,
    NACK,
    NUMBER,
    QUERY,
    REPLACE,
    RESP,
    SUBMIT,
    SUBMIT_MULTI,
    UPSTREAM_LOGIN,
    House,
    Pdu,
    house,
    notice_of,
    smsc,
    submit_body,
    tlv,
)
from tests.interop.smpp_wire import Wire, dissect, pdus_of, recorded
from tests.interop.window_one import WindowOne

pytestmark = pytest.mark.interop

ROK, INVCMDLEN, INVCMDID, SUBMITFAIL, THROTTLED = 0, 2, 3, 0x45, 0x58
REFUSED, LATER = b"905550000008", b"905550000009"
FLASH = "Çok güzel bir akşam".encode("utf-16-be")
UNTOUCHED = {
    "plain": (SUBMIT, submit_body(b"Kod 555123", source=b"OTP", registered=1)),
    "all TLVs": (
        SUBMIT,
        submit_body(
            b"Kod 555123",
            source=b"OTP",
            service_type=b"WAP",
            schedule=b"000000003000000R",
            coding=0xF0,
            tlvs=tlv(0x0204, b"\0\7") + tlv(0x1400, b"1234567890") + tlv(0x3FFF, b"") + tlv(0x0381, b"\1\1905550000"),
        ),
    ),
    "part": (SUBMIT, submit_body(b"\6\x08\4\1\2\1\1" + FLASH, source=b"OTP", esm=0x40, coding=8)),
    "payload": (SUBMIT, submit_body(b"", source=b"OTP", coding=8, tlvs=tlv(0x0424, FLASH * 50))),
    "binary": (SUBMIT, submit_body(bytes(range(140)), source=b"OTP", coding=4)),
    "data_sm": (DATA, b"\0\5\0OTP\0\1\1" + NUMBER + b"\0\0\1\0" + tlv(0x0424, b"Kod 555123") + tlv(0x1400, b"x")),
    "submit_multi": (
        SUBMIT_MULTI,
        b"\0\5\0OTP\0\2\1\1\1" + NUMBER + b"\0\2liste\0" + b"\0\0\0\0\0\0\0\0\0\7Merhaba" + tlv(0x1400, b"x"),
    ),
    "query_sm": (QUERY, b"1000001\0\5\0OTP\0"),
    "cancel_sm": (CANCEL, b"\x001000001\0\5\0OTP\0\1\1" + NUMBER + b"\0"),
    "replace_sm": (REPLACE, b"1000001\0\5\0OTP\0\0\0\0\0\7Merhaba"),
}


def long_message(kind: str, **fields: object) -> list[bytes]:
    return [part_of(index, kind=kind, **fields) for index in (1, 2, 3)]


def speak(port: int, centre: Smsc, gate: House, loop: asyncio.AbstractEventLoop) -> None:
    """All of it, one request after the other."""
    gate.judge.verdicts |= {b"+" + REFUSED: BLOCKED, b"+" + LATER: DEFERRED}
    with WindowOne(port) as client:
        assert client.bind().status == ROK
        for command, body in UNTOUCHED.values():
            assert client.ask(command, body).status == ROK
        assert (
            client.submit(submit_body(registered=1), submit_body(FLASH, coding=8), submit_body(b"a" * 155)) == [ROK] * 3
        )
        for reference, (kind, coding) in enumerate(product(("udh8", "udh16", "sar"), (0, 8)), start=10):
            assert client.submit(*long_message(kind, coding=coding, reference=reference)) == [ROK] * 3
        assert client.submit(submit_body(dest=REFUSED), submit_body(dest=LATER)) == [SUBMITFAIL, THROTTLED]
        assert client.submit(*(part_of(index, dest=REFUSED) for index in (1, 2, 3))) == [SUBMITFAIL] * 3
        both = b"\2" + b"".join(b"\1\1\1" + one + b"\0" for one in (NUMBER, REFUSED))
        answer = client.ask(SUBMIT_MULTI, b"\0\5\0ORNEK\0" + both + b"\0\0\0\0\0\0\0\0\0\7Merhaba")
        assert (answer.status, answer.body[-4:]) == (ROK, struct.pack(">I", SUBMITFAIL))
        payload = b"\0\5\0ORNEK\0\1\1" + NUMBER + b"\0\0\0\0" + tlv(0x0424, b"Merhaba")
        assert client.ask(DATA, payload).status == ROK
        loop.call_soon_threadsafe(centre.send, UPSTREAM_LOGIN[0], NUMBER.decode(), "3338", b"Tesekkurler")
        receipts = [b"stat:DELIVRD" in one.body for one in client.wait(4)]
        assert receipts == [True, True, True, False], "of those that were asked for, and a message of a citizen"
        assert client.ask(ENQUIRE).command == ENQUIRE | RESP
        assert (client.ask(0x0777, b"\0").command, client.ask(SUBMIT, b"\0\5").status) == (NACK, 0x0A)
        client.unbind()
    with WindowOne(port) as client:
        client._socket.sendall(struct.pack(">IIII", 3, 0, 0, 7))
        assert client.hear() == Pdu(NACK, INVCMDLEN, 7, b"")


def numberless(pdu: bytes) -> bytes:
    return pdu[:12] + pdu[16:]


def command_of(pdu: bytes) -> int:
    return int.from_bytes(pdu[4:8], "big")


def answer_to(request: bytes, answers: list[bytes]) -> bytes:
    command, sequence = command_of(request) | RESP, request[12:16]
    (found,) = [one for one in answers if (command_of(one), one[12:16]) == (command, sequence)]
    return found


def same_but_for_their_numbers(here: Wire, there: Wire) -> None:
    """Each request and its answer, on the client's side and on the SMSC's."""
    asked, answered = pdus_of(here.asked), pdus_of(here.answered)
    passed_on, came_back = pdus_of(there.asked), pdus_of(there.answered)
    for command, body in UNTOUCHED.values():
        request = struct.pack(">III", 16 + len(body), command, 0) + body
        (mine,) = [one for one in asked if numberless(one) == request]
        (theirs,) = [one for one in passed_on if numberless(one) == request]
        assert numberless(answer_to(mine, answered)) == numberless(answer_to(theirs, came_back))
    delivered = [one for one in came_back if command_of(one) == DELIVER]
    received = [one for one in answered if command_of(one) == DELIVER]
    assert len(delivered) == 4
    assert list(map(numberless, delivered)) == list(map(numberless, received))
    for mine, theirs in zip(received, delivered, strict=True):
        assert numberless(answer_to(mine, asked)) == numberless(answer_to(theirs, passed_on))


async def test_a_window_of_one_on_the_wire(tmp_path: Path) -> None:
    async with smsc() as centre, recorded(centre.port) as there, house(there.port) as gate, recorded(gate.port) as here:
        await asyncio.to_thread(speak, here.port, centre, gate, asyncio.get_running_loop())
        texts = centre.take_texts()
    assert texts.count("Bir iki uc." + notice_of()) == 6
    assert texts.count("a" * 155 + notice_of()) == 1
    assert texts.count("Merhaba" + notice_of()) == 3
    same_but_for_their_numbers(here, there)

    said = pdus_of(here.answered) + pdus_of(there.asked)
    for pdu, found in zip(said, await asyncio.to_thread(dissect, tmp_path, said), strict=True):
        assert found.places("smpp.command_id") == [(4, 8)], f"tshark looked at it: {pdu.hex()}"
        assert not found.malformed, pdu.hex()

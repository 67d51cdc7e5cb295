"""Clients that break the protocol, or use it to the full: each has an answer, costs little, and disturbs nobody."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from contextlib import suppress
from itertools import repeat

import pytest

from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.hostile import MANY, MEMORY_MAX, End, resident, scripted, stop_reading
from tests.gateway.smpp.support import (
    ALERT,
    BIND_TRX,
    CANCEL,
    DATA,
    DELIVER,
    ENQUIRE,
    NACK,
    NUMBER,
    QUERY,
    REPLACE,
    RESP,
    SUBMIT,
    SUBMIT_MULTI,
    UNBIND,
    Client,
    House,
    bind_body,
    house,
    notice_of,
    pdu,
    smsc,
    submit_body,
    tlv,
)

ROK, INVMSGLEN, INVCMDLEN, INVCMDID, SUBMITFAIL, TLVSTREAM = 0, 1, 2, 3, 0x45, 0xC0
INVSRCADR, INVDSTADR, BINDFAIL, INVSERTYP, INVSCHED, INVEXPIRY = 0x0A, 0x0B, 0x0D, 0x15, 0x61, 0x62


async def works(*clients: Client) -> None:
    """Each can submit, and hears the answer to that and nothing else."""
    for client in clients:
        assert (await client.say()).status == ROK


@pytest.mark.parametrize("length", [0, 3, 15, limits.SMPP_PDU_OCTETS_MAX + 1, 2**32 - 1])
async def test_an_impossible_length_ends_that_session_alone(length: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        client.writer.write(pdu(ENQUIRE, 1) + struct.pack(">IIII", length, SUBMIT, 0, 77) + b"\xff" * 300)
        heard = [await client.hear() for _ in range(2)]
        assert [(one.command, one.status, one.sequence) for one in heard] == [
            (ENQUIRE | RESP, ROK, 1),
            (NACK, INVCMDLEN, 77),
        ]
        assert await client.closed()
        assert gate.errors("bad_length") == 1
        await works(other)
        await eventually_async(lambda: centre.unbound == 1)


CUT = submit_body(b"Merhaba")
SUBMITS = {  # cut in the middle of a field; what is wrong then
    "service_type": (CUT[:0], INVSERTYP),
    "source": (CUT[:5], INVSRCADR),
    "dest": (CUT[: CUT.index(NUMBER) + 5], INVDSTADR),
    "esm_class": (CUT[: CUT.index(NUMBER) + 14], INVSCHED),
    "schedule": (CUT[: CUT.index(NUMBER) + 16], INVSCHED),
    "validity": (submit_body(b"", schedule=b"261125033000032+")[:-6], INVEXPIRY),
    "sm_length": (CUT[: CUT.index(b"Merhaba") - 1], INVMSGLEN),
    "short_message": (CUT[:-1], INVMSGLEN),
    "TLV": (CUT + tlv(0x1400, b"abc")[:-1], TLVSTREAM),
    "TLV header": (CUT + b"\x14\0\0", TLVSTREAM),
}
OTHERS = {
    "data_sm": (DATA, b"\0\5\0ORNEK\0\1\1905550000001", INVDSTADR),
    "data_sm fields": (DATA, b"\0\5\0ORNEK\0\1\1905550000001\0\0\0", INVMSGLEN),
    "data_sm TLV": (DATA, b"\0\5\0ORNEK\0\1\1905550000001\0\0\0\0" + tlv(0x0424, b"Merhaba")[:-1], TLVSTREAM),
    "submit_multi": (SUBMIT_MULTI, b"\0\5\0ORNEK\0\2\1\1\1905550000001\0\1\1\1", INVDSTADR),
    "replace_sm": (REPLACE, b"1\0\5\0ORNEK", INVSRCADR),
}


@pytest.mark.parametrize(
    ("command", "body", "status"),
    [pytest.param(SUBMIT, *case, id=name) for name, case in SUBMITS.items()]
    + [pytest.param(*case, id=name) for name, case in OTHERS.items()],
)
async def test_what_ends_in_the_middle_is_refused_and_the_session_stays(command: int, body: bytes, status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        heard = await client.converse(command, body)
        assert (heard.command, heard.status, heard.body) == (command | RESP, status, b"")
        assert centre.messages == []
        await works(client)


@pytest.mark.parametrize("end", range(0, 20, 3))
async def test_a_bind_that_ends_in_the_middle(end: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        heard = await client.converse(BIND_TRX, bind_body()[:end])
        assert (heard.command, heard.status) == (BIND_TRX | RESP, BINDFAIL)
        assert await client.closed()
        assert centre.sessions == []


async def test_i6_a_text_that_is_not_checked_goes_as_it_came_whatever_its_tlvs_are() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        body = submit_body(b"Kod 555123", source=b"OTP", tlvs=tlv(0x1400, b"abc") + tlv(0x0204, b"\0\7"))
        assert (await client.converse(SUBMIT, body)).status == ROK
        assert centre.messages[-1].body == body


async def test_one_octet_a_segment() -> None:
    """From the bind to a message that is refused: answers are those of any other cutting."""
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        said = pdu(BIND_TRX, 1, bind_body()) + pdu(SUBMIT, 2, submit_body()) + pdu(0x7777, 3)
        said += pdu(SUBMIT, 4, submit_body(source=b"NOBODY")) + pdu(ENQUIRE, 5)
        for octet in said:
            client.writer.write(bytes((octet,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        heard = {one.sequence: (one.command, one.status) for one in [await client.hear() for _ in range(5)]}
        assert heard == {
            1: (BIND_TRX | RESP, ROK),
            2: (SUBMIT | RESP, ROK),
            3: (NACK, INVCMDID),
            4: (SUBMIT | RESP, SUBMITFAIL),
            5: (ENQUIRE | RESP, ROK),
        }
        assert centre.take_texts() == ["Merhaba" + notice_of()]


async def test_unknown_commands_are_named_and_the_session_stays() -> None:
    unknown = (0, 0x0A, 0x0B, 0x22, 0x100, DELIVER, 0x111, 0x10204, 0x7FFFFFFF)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for command in unknown:
            heard = await client.converse(command, b"\0" * 40)
            assert (heard.command, heard.status, heard.body) == (NACK, INVCMDID, b"")
        assert gate.errors("bad_command") == len(unknown)
        await works(client)
        assert centre.asked == []


async def test_responses_to_nothing_are_counted_and_no_more() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        before = resident()
        for start in range(0, MANY, 1000):
            octets = [pdu(command, n) for n in range(start, start + 1000, 2) for command in (SUBMIT | RESP, NACK)]
            client.writer.write(b"".join(octets))
            await client.writer.drain()
        await works(client, other)
        assert gate.errors("unknown_response") == MANY
        assert resident() - before < MEMORY_MAX
        assert centre.answered == []


@pytest.mark.parametrize("sequence", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
async def test_a_sequence_number_out_of_range_is_given_back(sequence: int) -> None:
    """§5.1.4 has 1 to 0x7FFFFFFF; a client that is told its own numbers knows what they mean. Ours are in range."""
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for command, body in (
            (SUBMIT, submit_body()),
            (SUBMIT, submit_body(source=b"NOBODY")),
            (QUERY, b"1\0\0\0" + b"ORNEK\0"),
            (CANCEL, b"\0" * 20),
            (ENQUIRE, b""),
        ):
            client.writer.write(pdu(command, sequence, body))
            heard = await client.hear()
            assert (heard.command, heard.sequence) == (command | RESP, sequence)
        client.writer.write(pdu(0x7777, sequence))
        heard = await client.hear()
        assert (heard.command, heard.status, heard.sequence) == (NACK, INVCMDID, sequence)
        assert len(centre.messages) == 1
        await works(client)


async def test_one_sequence_number_for_all_is_answered_as_often() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        client.writer.write(pdu(SUBMIT, 7, submit_body()) * 50 + pdu(SUBMIT, 7, submit_body(source=b"NOBODY")) * 50)
        heard = [await client.hear() for _ in range(100)]
        assert {one.sequence for one in heard} == {7}
        assert sorted(one.status for one in heard) == [ROK] * 50 + [SUBMITFAIL] * 50
        assert len(centre.messages) == 50


async def flood(client: Client, octets: Iterable[bytes]) -> None:
    """Say it all, as far as the door reads; hear nothing."""
    with suppress(ConnectionError):
        for one in octets:
            client.writer.write(one)
            await client.writer.drain()


async def silent(end: End) -> None:
    """Reads, and answers nothing but the unbind."""
    while (heard := await end.hear()).command != UNBIND:
        pass
    await end.say(pdu(UNBIND | RESP, heard.sequence))


async def test_i7_a_hundred_thousand_open_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is read, the rest stands in the socket; whoever comes beside them is served at once."""
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.05)
    said = (b"".join(pdu(SUBMIT, n, submit_body()) for n in range(at, at + 500)) for at in range(0, MANY, 500))
    async with scripted(silent) as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        before = resident()
        flooding = asyncio.get_running_loop().create_task(flood(client, said))
        await eventually_async(lambda: gate.errors("window") > 0, within=60)
        assert len(gate.judge.asked) == gate.door.config.accounts[b"marka"].window
        await works(other)
        assert resident() - before < MEMORY_MAX
        assert flooding.cancel(), "more is read than the window has room for"
        client.writer.transport.abort()
        monkeypatch.setattr(limits, "SMPP_RESPONSE_S", 0.5)  # a client that is not read is missed when it is told so
        await eventually_async(lambda: len(gate.door.sessions) == len(gate.door.links) == 1, within=60)
        await works(other)


async def left(gate: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read was noticed, and is left in the end with its bind at the SMSC; others are welcome."""
    await eventually_async(lambda: any(one._deaf for one in gate.door.sessions), within=120, what="writing has paused")
    monkeypatch.setattr(limits, "SMPP_INACTIVITY_S", 1.0)
    monkeypatch.setattr(limits, "SMPP_UNBIND_S", 0.5)
    await eventually_async(lambda: gate.errors("timeout") == 1, within=60)
    await eventually_async(lambda: not gate.door.sessions and not gate.door.links, within=60)
    monkeypatch.setattr(limits, "SMPP_INACTIVITY_S", 90.0)
    async with gate.client() as other:
        await works(other)


async def test_i7_a_client_that_never_reads_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read no further, and its session ends as that of any client that falls silent."""
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.05)
    said = repeat(b"".join(pdu(0x7777, n) + pdu(ENQUIRE, n) for n in range(5000)))
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        stop_reading(client.writer)
        before = resident()
        flooding = asyncio.get_running_loop().create_task(flood(client, said))
        await left(gate, monkeypatch)
        assert resident() - before < MEMORY_MAX
        flooding.cancel()


async def test_i7_a_client_that_never_reads_what_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its SMSC is read no further either, and both ends of it go."""
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.05)

    async def talkative(end: End) -> None:
        while True:
            await end.say(pdu(ALERT, 1, bytes(60_000)))

    async with scripted(talkative) as centre, house(centre.port) as gate, gate.client() as client:
        stop_reading(client.writer)
        before = resident()
        await left(gate, monkeypatch)
        assert resident() - before < MEMORY_MAX

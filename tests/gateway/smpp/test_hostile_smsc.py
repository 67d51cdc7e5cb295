"""SMSCs that break the protocol, or use it to the full: their clients are told, and nobody else is disturbed."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter

import pytest

from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.hostile import MANY, MEMORY_MAX, End, honest, resident, scripted, stop_reading
from tests.gateway.smpp.support import (
    DATA,
    DELIVER,
    ENQUIRE,
    NACK,
    RESP,
    SUBMIT,
    Client,
    Pdu,
    house,
    pdu,
    submit_body,
    tlv,
)

ROK, INVCMDID, SYSERR, T_APPN = 0, 3, 8, 0x64
DELIVERY = submit_body(b"x" * 100, source=b"905550000001", dest=b"3338", registered=0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.05)


async def works(client: Client) -> None:
    assert (await client.say()).status == ROK


async def works_again(client: Client) -> None:
    """Once the SMSC is back."""

    async def taken() -> bool:
        return (await client.say()).status == ROK

    await eventually_async(taken, within=60)


@pytest.mark.parametrize("length", [0, 3, 15, limits.SMPP_PDU_OCTETS_MAX + 1, 2**32 - 1])
async def test_i4_an_impossible_length_ends_that_bind_and_no_session(length: int) -> None:
    async def act(end: End) -> None:
        assert (await end.hear()).command == SUBMIT
        await end.say(struct.pack(">IIII", length, SUBMIT | RESP, 0, 2) + b"\xff" * 300)

    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        assert (await client.say()).status == SYSERR
        assert gate.errors("bad_length") == gate.errors("smsc_lost") == 1
        await works(other)
        await works_again(client)
        assert len(centre.ends) == 3


async def test_i6_malformed_deliveries_reach_the_client_as_they_came() -> None:
    """They are not ours to judge; the client's answer, whatever it is, is the SMSC's."""
    broken = [
        b"",
        b"\0\1\1905550000001",
        DELIVERY[:-1],
        DELIVERY + tlv(0x1400, b"abc")[:-1],
        DELIVERY + b"\x14",
        bytes(40),
        b"\xff" * 70,
    ]
    answered: list[Pdu] = []

    async def act(end: End) -> None:
        for n, body in enumerate(broken):
            await end.say(pdu(DELIVER, n, body), pdu(DATA, 100 + n, body))
        while len(answered) < 2 * len(broken):
            answered.append(await end.hear())
        await honest(end)

    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client:
        for body in broken:
            for command in (DELIVER, DATA):
                heard = await client.hear()
                assert (heard.command, heard.body) == (command, body)
                client.writer.write(pdu(command | RESP, heard.sequence, b"\0", 0x66))
        await eventually_async(lambda: len(answered) == 2 * len(broken))
        assert {(one.status, one.body) for one in answered} == {(0x66, b"\0")}
        assert [one.sequence for one in answered[::2]] == list(range(len(broken)))
        await works(client)


@pytest.mark.parametrize("body", [b"", b"no end", b"\0", b"\xff" * 200, bytes(60_000), b"1\0" + tlv(0x1D, b"why")[:-1]])
async def test_i6_what_answers_a_submit_is_passed_on_whatever_it_is(body: bytes) -> None:
    async def act(end: End) -> None:
        while True:
            heard = await end.hear()
            await end.say(pdu(heard.command | RESP, heard.sequence, body))

    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.say()
        assert (answer.command, answer.status, answer.body) == (SUBMIT | RESP, ROK, body)
        two = await client.say(b"a" * 155)
        assert (two.status, two.body) == (ROK, body)


async def test_one_octet_a_segment() -> None:
    async def act(end: End) -> None:
        submit = await end.hear()
        said = pdu(DELIVER, 5, DELIVERY) + pdu(SUBMIT | RESP, submit.sequence, b"id\0") + pdu(ENQUIRE, 6)
        for octet in said:
            await end.say(bytes((octet,)))
            await asyncio.sleep(0)
        await honest(end)

    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client:
        client.submit()
        heard = {one.command: one.body for one in [await client.hear() for _ in range(2)]}
        assert heard == {DELIVER: DELIVERY, SUBMIT | RESP: b"id\0"}
        await works(client)


async def test_unknown_commands_and_answers_to_nothing() -> None:
    heard: list[Pdu] = []
    unknown = (0, 1, 4, 0x0B, 0x21, 0x111, 0x7FFFFFFF)

    async def act(end: End) -> None:
        for n, command in enumerate(unknown):
            await end.say(pdu(command, n, b"\0" * 40))
            heard.append(await end.hear())
        for start in range(0, MANY, 1000):
            octets = [pdu(command, n) for n in range(start, start + 1000, 2) for command in (SUBMIT | RESP, NACK)]
            await end.say(*octets)
        await honest(end)

    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        before = resident()
        await eventually_async(lambda: gate.errors("unknown_response") == MANY, within=60)
        assert [(one.command, one.status, one.sequence) for one in heard] == [
            (NACK, INVCMDID, n) for n in range(len(unknown))
        ]
        assert resident() - before < MEMORY_MAX
        await works(client)
        await works(other)
        assert gate.errors("smsc_lost") == 0


@pytest.mark.parametrize("sequence", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
async def test_a_sequence_number_out_of_range_is_given_back(sequence: int) -> None:
    answered: list[Pdu] = []

    async def act(end: End) -> None:
        for command, body in ((DELIVER, DELIVERY), (ENQUIRE, b""), (0x7777, b"")):
            await end.say(pdu(command, sequence, body))
            answered.append(await end.hear())
        await honest(end)

    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client:
        heard = await client.hear()
        assert 1 <= heard.sequence <= 0x7FFFFFFF
        client.writer.write(pdu(DELIVER | RESP, heard.sequence, b"\0"))
        await eventually_async(lambda: len(answered) == 3)
        assert [(one.command, one.sequence) for one in answered] == [
            (DELIVER | RESP, sequence),
            (ENQUIRE | RESP, sequence),
            (NACK, sequence),
        ]
        await works(client)


async def test_i7_a_hundred_thousand_open_deliveries() -> None:
    """The client gets as many as it may leave unanswered; the SMSC is told at once to come back with the rest."""
    answered: Counter[int] = Counter()
    told: list[int] = []

    async def act(end: End) -> None:
        loop = asyncio.get_running_loop()
        hearing = loop.create_task(hear(end))
        for start in range(0, MANY, 500):
            await end.say(*(pdu(DELIVER, n, DELIVERY) for n in range(start, start + 500)))
        await hearing

    async def hear(end: End) -> None:
        while answered.total() < MANY:
            one = await end.hear()
            answered[one.status] += 1
            if one.status == ROK:
                told.append(one.sequence)
        await honest(end)

    most = limits.SMPP_DELIVERIES_MAX
    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        before = resident()
        await eventually_async(lambda: answered[T_APPN] == MANY - most, within=120)
        await works(other)
        heard = [await client.hear() for _ in range(most)]
        assert resident() - before < MEMORY_MAX
        assert {one.command for one in heard} == {DELIVER}
        for one in heard:
            client.writer.write(pdu(DELIVER | RESP, one.sequence, b"\0"))
        await eventually_async(lambda: answered[ROK] == most, within=60)
        assert told == list(range(most)), "the answers are those of the deliveries that were passed on, in their order"
        await works(client)


async def test_i7_an_smsc_that_asks_and_never_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read no further, and its bind ends as that of any SMSC that falls silent."""
    said = b"".join(pdu(ENQUIRE, n) for n in range(10_000))

    async def act(end: End) -> None:
        stop_reading(end.writer)
        while True:
            await end.say(said)

    async with scripted(act) as centre, house(centre.port) as gate, gate.client() as client:
        before = resident()
        await eventually_async(lambda: any(one._smsc_deaf for one in gate.door.sessions), within=120)
        monkeypatch.setattr(limits, "SMPP_INACTIVITY_S", 1.0)
        await eventually_async(lambda: gate.errors("smsc_lost") >= 1, within=60)
        monkeypatch.setattr(limits, "SMPP_INACTIVITY_S", 90.0)
        assert resident() - before < MEMORY_MAX
        await eventually_async(lambda: len(centre.ends) >= 2, within=60)
        await works_again(client)


async def test_i7_an_smsc_that_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client is read no further and told in time; what it could not take is not kept for ever."""

    async def deaf(end: End) -> None:
        stop_reading(end.writer)
        await asyncio.Event().wait()

    payload = submit_body(b"", source=b"OTP", tlvs=tlv(0x0424, bytes(60_000)))

    async def flood(client: Client) -> None:
        for _ in range(1000):
            client.ask(SUBMIT, payload)
            await client.writer.drain()

    async with scripted(deaf) as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        before = resident()
        flooding = asyncio.get_running_loop().create_task(flood(client))
        await eventually_async(lambda: any(one._smsc_deaf for one in gate.door.sessions), within=60)
        asked = len(gate.judge.asked)
        await works(other)
        assert resident() - before < MEMORY_MAX
        assert flooding.cancel(), "more is read than the SMSC takes"
        monkeypatch.setattr(limits, "SMPP_RESPONSE_S", 0.5)
        assert {(await client.hear()).status for _ in range(asked)} == {SYSERR}
        await works(other)
        monkeypatch.setattr(limits, "SMPP_RESPONSE_S", 60.0)
        monkeypatch.setattr(limits, "SMPP_INACTIVITY_S", 0.5)
        await eventually_async(lambda: gate.errors("smsc_lost") >= 1, within=60)

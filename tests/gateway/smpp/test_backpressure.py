"""Nothing is queued without bound: who is not to be listened to is not read, and TCP tells the other side to wait."""

from __future__ import annotations

import asyncio

import pytest

from gateway.demo.smsc import Smsc
from tests.conftest import eventually_async
from tests.gateway.smpp.support import (
    DELIVER,
    RESP,
    SUBMIT,
    UPSTREAM_LOGIN,
    Client,
    House,
    house,
    pdu,
    smsc,
    submit_body,
    tlv,
)

ROK = 0
LONG = tlv(0x0424, b"a" * 60_000)
BODY = submit_body(b"", source=b"OTP", coding=4, tlvs=LONG)
SOME, MANY = 60, 400
"""Of them: 4 MB, and 24 MB, more than the buffers of two sockets hold."""


def listens(gate: House) -> bool:
    """Whether the door reads its client."""
    (session,) = gate.door.sessions
    assert session._transport is not None
    return session._transport.is_reading()


def listens_to_the_smsc(gate: House) -> bool:
    (session,) = gate.door.sessions
    assert session.smsc is not None
    assert session.smsc._transport is not None
    return session.smsc._transport.is_reading()


async def all_answered(client: Client, count: int) -> None:
    assert {(await client.hear()).status for _ in range(count)} == {ROK}


async def test_i7_a_client_whose_window_is_full_is_not_read() -> None:
    async with smsc() as centre, house(centre.port, window=5) as gate, gate.client() as client:
        centre.behaviour.holding = True
        for _ in range(SOME):
            client.ask(SUBMIT, BODY)
        await eventually_async(lambda: len(centre.messages) == 5 and not listens(gate), within=60)
        centre.behaviour.holding = False
        centre.release()
        await all_answered(client, SOME)
        assert listens(gate)


async def test_i7_a_client_that_is_paced_is_not_read() -> None:
    async with smsc() as centre, house(centre.port, rate=1, burst=1) as gate, gate.client() as client:
        for _ in range(SOME):
            client.ask(SUBMIT, BODY)
        await eventually_async(lambda: not listens(gate), within=60)
        assert len(centre.messages) < SOME


async def test_i7_a_client_is_not_read_while_its_smsc_does_not_read() -> None:
    async with smsc() as centre, house(centre.port, window=MANY) as gate, gate.client() as client:
        (session,) = centre.sessions
        assert session._transport is not None
        session._transport.pause_reading()
        for _ in range(MANY):
            client.ask(SUBMIT, BODY)
        await eventually_async(lambda: not listens(gate), within=60)
        session._transport.resume_reading()
        await all_answered(client, MANY)
        assert listens(gate)


async def test_i7_an_smsc_is_not_read_while_the_client_does_not_read() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        body = b"\0\1\1905550000001\0\0\0" + b"3525\0" + bytes(10) + LONG
        telling = asyncio.get_running_loop().create_task(tell(centre, body))
        await eventually_async(lambda: not listens_to_the_smsc(gate), within=60)
        for _ in range(MANY):
            asked = await client.hear()
            assert (asked.command, asked.body) == (DELIVER, body)
            client.writer.write(pdu(DELIVER | RESP, asked.sequence, b"\0"))
        await telling
        await eventually_async(lambda: len(centre.answered) == MANY, within=60)
        assert {status for _, status, _ in centre.answered} == {ROK}
        assert listens_to_the_smsc(gate)


async def tell(centre: Smsc, body: bytes) -> None:
    (session,) = centre.sessions
    assert session.system_id == UPSTREAM_LOGIN[0]
    for _ in range(MANY):
        session.ask(DELIVER, body)
        await asyncio.sleep(0)


@pytest.mark.parametrize("window", [1, 3])
async def test_what_waited_unread_goes_on_in_its_order(window: int) -> None:
    async with smsc() as centre, house(centre.port, window=window) as gate, gate.client() as client:
        centre.behaviour.holding = True
        for n in range(20):
            client.ask(SUBMIT, submit_body(b"%d" % n, source=b"OTP"))
        await eventually_async(lambda: len(centre.held) == window and not listens(gate), within=60)
        centre.behaviour.holding = False
        centre.release()
        await all_answered(client, 20)
        assert [one.text for one in centre.messages] == [str(n) for n in range(20)]

"""Sequence numbers: 1 to 0x7FFFFFFF and then again from 1 (SMPP 3.4 table 3-3), of each side its own."""

from __future__ import annotations

import pytest

from gateway.smpp.pdu import SEQUENCE_MAX
from tests.conftest import eventually_async
from tests.gateway.smpp.support import DELIVER, RESP, SUBMIT, UPSTREAM_LOGIN, House, house, pdu, smsc, submit_body

ROK = 0


def near_the_end(gate: House) -> None:
    """Both sides of the door have counted nearly as far as there are numbers."""
    (session,) = gate.door.sessions
    assert session.smsc is not None
    session.smsc._sequence = session._session._sequence = SEQUENCE_MAX - 1


def test_the_last_number_has_31_bits() -> None:
    assert SEQUENCE_MAX == 0x7FFFFFFF


async def test_towards_the_smsc_the_last_number_is_followed_by_the_first() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        near_the_end(gate)
        centre.behaviour.holding = True
        sequences = [client.submit(dest=b"90555000000%d" % n) for n in range(3)]
        await eventually_async(lambda: len(centre.held) == 3, within=90)
        assert [int.from_bytes(answer[12:16], "big") for _, answer in centre.held] == [SEQUENCE_MAX, 1, 2]
        centre.release(backwards=True)
        heard = {one.sequence: (one.status, one.body[:-1].decode()) for one in [await client.hear() for _ in range(3)]}
        assert [heard[n] for n in sequences] == [(ROK, one.message_id) for one in centre.messages]


async def test_towards_the_client_the_last_number_is_followed_by_the_first() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        near_the_end(gate)
        asked = [centre.send(UPSTREAM_LOGIN[0], "905550000001", "3525", b"Merhaba") for _ in range(3)]
        heard = [await client.hear() for _ in asked]
        assert [one.sequence for one in heard] == [SEQUENCE_MAX, 1, 2]
        for one in reversed(heard):
            client.writer.write(pdu(DELIVER | RESP, one.sequence, b"\0"))
        await eventually_async(lambda: len(centre.answered) == 3, within=90)
        assert centre.answered == [(DELIVER | RESP, ROK, sequence) for sequence in reversed(asked)]


@pytest.mark.parametrize("sequence", [0, 1, SEQUENCE_MAX, 0x80000000, 0xFFFFFFFF])
async def test_whatever_number_a_client_chooses_it_hears_again(sequence: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        client.writer.write(pdu(SUBMIT, sequence, submit_body()) * 2)
        assert [(one.sequence, one.status) for one in [await client.hear() for _ in range(2)]] == [(sequence, ROK)] * 2
        assert len(centre.messages) == 2

"""Long messages whose parts come by other requests than submit_sm: data_sm, submit_multi, and both with it."""

from __future__ import annotations

import gc

import pytest

from gateway import limits
from gateway.smpp.long import Long, Part
from gateway.smpp.submit import Submit
from tests.conftest import eventually_async
from tests.gateway.smpp.long_messages import WHOLE, WORDS, part_of, places, statuses
from tests.gateway.smpp.support import (
    BLOCKED,
    DATA,
    NUMBER,
    RESP,
    SUBMIT,
    SUBMIT_MULTI,
    Client,
    house,
    notice_of,
    smsc,
    submit_body,
    tlv,
)

ROK, SUBMITFAIL = 0, 0x45
FOR_EVER, HARDLY = 3600.0, 0.01
OTHER = b"905550000002"


def data_part(index: int) -> bytes:
    """Field after field (SMPP 3.4 §4.7.1)."""
    payload = tlv(0x424, b"\5\0\3\7\3" + bytes((index,)) + WORDS[index].encode())
    return b"\0\5\0ORNEK\0\1\1" + NUMBER + b"\0\x40\0\0" + payload


def multi_part(index: int, *numbers: bytes) -> bytes:
    """A part_of() to several (§4.5.1)."""
    single = part_of(index)
    source, dest = single.index(b"ORNEK\0") + len(b"ORNEK\0"), b"\1\1" + NUMBER + b"\0"
    wanted = b"".join(b"\1\1\1" + number + b"\0" for number in numbers)
    return single[:source] + bytes((len(numbers),)) + wanted + single[source + len(dest) :]


async def answers(client: Client, *requests: tuple[int, bytes], at_once: bool) -> list[int]:
    if at_once:
        return await statuses(client, [client.ask(command, body) for command, body in requests])
    return [(await client.converse(command, body)).status for command, body in requests]


@pytest.fixture(params=[False, True], ids=["one by one", "at once"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", FOR_EVER if request.param else HARDLY)
    return bool(request.param)


@pytest.mark.parametrize("commands", [(DATA, DATA, DATA), (SUBMIT, DATA, SUBMIT), (DATA, SUBMIT, DATA)])
async def test_parts_by_data_sm(commands: tuple[int, ...], *, at_once: bool) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        makers = {SUBMIT: part_of, DATA: data_part}
        requests = [(command, makers[command](n)) for n, command in enumerate(commands, start=1)]
        assert await answers(client, *requests, at_once=at_once) == [ROK] * 3
        assert len(gate.judge.asked) == 1
        assert centre.take_texts() == [WHOLE + notice_of()]


async def test_parts_by_submit_multi_are_one_message_for_each_destination(*, at_once: bool) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        requests = [(SUBMIT_MULTI, multi_part(n, NUMBER, OTHER)) for n in (1, 2, 3)]
        assert await answers(client, *requests, at_once=at_once) == [ROK] * 3
        assert len(gate.judge.asked) == 2
        assert {one.dest for one in centre.messages} == {NUMBER.decode(), OTHER.decode()}
        assert sorted(centre.take_texts()) == sorted(WHOLE + notice_of(b"+" + number) for number in (NUMBER, OTHER))


async def test_i1_a_destination_without_consent_gets_no_part(*, at_once: bool) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[b"+" + OTHER] = BLOCKED
        requests = [(SUBMIT_MULTI, multi_part(n, NUMBER, OTHER)) for n in (1, 2, 3)]
        if at_once:
            sequences = [client.ask(*request) for request in requests]
            heard = [await client.hear() for _ in sequences]
        else:
            heard = [await client.converse(*request) for request in requests]
        refused = b"\1" + b"\1\1" + OTHER + b"\0" + SUBMITFAIL.to_bytes(4, "big")
        assert [(one.command, one.status) for one in heard] == [(SUBMIT_MULTI | RESP, ROK)] * 3
        assert [one.body.partition(b"\0")[2] for one in heard] == [refused] * 3
        assert {one.dest for one in centre.messages} == {NUMBER.decode()}
        assert centre.take_texts() == [WHOLE + notice_of()]


async def test_the_same_part_by_two_requests_is_one_part(*, at_once: bool) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        requests = [(SUBMIT, part_of(1)), (DATA, data_part(1)), (SUBMIT, part_of(2)), (SUBMIT, part_of(3))]
        assert await answers(client, *requests, at_once=at_once) == [ROK] * 4
        assert len(gate.judge.asked) == 1
        assert {place and place[:2] for place in places(centre)} == ({(7, 3)} if at_once else {(7, 4)})


async def test_what_was_answered_is_not_left_to_the_collector_of_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that hold themselves lie about until it looks for them, some ten thousand at a time."""
    monkeypatch.setattr(limits, "SMPP_PARTS_S", 1.0)

    def left() -> list[object]:
        return [one for one in gc.get_objects() if isinstance(one, Submit | Part | Long)]

    gc.collect()
    gc.disable()
    try:
        async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
            long = [(SUBMIT, part_of(index)) for index in WORDS]
            assert await answers(client, *long, (SUBMIT, submit_body(b"kisa")), at_once=True) == [ROK] * 4
            gate.judge.asked.clear()
            await eventually_async(lambda: not left(), within=90, what="nothing left")
    finally:
        gc.enable()

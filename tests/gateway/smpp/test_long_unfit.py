"""A long message one of whose parts takes no notice: without that part it is none, so all of it is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.model import Reason
from filters.sms import CONCAT_8, CONCAT_16, Concat, read_header, read_place
from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.long_messages import WHOLE, part_of, places, send, send_at_once, statuses
from tests.gateway.smpp.support import CANONICAL, SUBMIT, house, notice_of, smsc, submit_body, tlv

ROK, SUBMITFAIL = 0, 0x45
FOR_EVER, HARDLY = 3600.0, 0.01


def binary(n: int, **fields: object) -> bytes:
    return part_of(n, coding=4, **fields)


def formatted(n: int, **fields: object) -> bytes:
    """With text formatting (TS 23.040 §9.2.3.24.10.1.1) before its place."""
    return submit_body(b"\x0a\x0a\3\0\3\1\0\3\7\3" + bytes((n,)) + b"Bir", esm=0x40, **fields)  # type: ignore[arg-type]


def ported(n: int, **fields: object) -> bytes:
    return part_of(n, tlvs=tlv(0x20B, b"\x0b\x84"), **fields)


def in_payload(n: int, **fields: object) -> bytes:
    user_data = b"\5\0\3\7\3" + bytes((n,)) + b"Bir"
    return submit_body(b"", esm=0x40, coding=4, tlvs=tlv(0x424, user_data), **fields)  # type: ignore[arg-type]


UNFIT = [binary, formatted, ported, in_payload]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", FOR_EVER)


@pytest.fixture
def hurries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)


@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.usefixtures("waits")
async def test_parts_that_come_at_once_are_refused_with_it(at: int, unfit: Callable[..., bytes]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        bodies = [unfit(n) if n == at else part_of(n) for n in (1, 2, 3)]
        assert await send_at_once(client, *bodies) == [SUBMITFAIL] * 3
        assert centre.messages == []
        assert gate.judge.refused == [Reason.UNFIT]
        assert await send_at_once(client, *(part_of(n) for n in (1, 2, 3))) == [ROK] * 3, "the next under its reference"
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("waits")
async def test_it_is_known_by_its_sar_tlvs_too() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        bodies = [part_of(1, kind="sar"), part_of(2, kind="sar", coding=4), part_of(3, kind="sar")]
        assert await send_at_once(client, *bodies) == [SUBMITFAIL] * 3
        assert centre.messages == []


@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.usefixtures("hurries")
async def test_parts_that_come_after_it_are_refused(unfit: Callable[..., bytes]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, unfit(1), part_of(2), part_of(3)) == [SUBMITFAIL] * 3
        assert (centre.messages, gate.judge.asked) == ([], [])


@pytest.mark.usefixtures("hurries")
async def test_what_waits_for_the_notice_is_refused_with_it() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        sequences = [client.ask(SUBMIT, part_of(1))]
        await eventually_async(lambda: len(centre.messages) == 1, within=90)
        sequences.append(client.ask(SUBMIT, binary(2)))
        assert await statuses(client, sequences) == [SUBMITFAIL] * 2
        centre.behaviour.holding = False
        centre.release()
        assert await send(client, part_of(3)) == [SUBMITFAIL]
        assert places(centre) == [(7, 4, 4)], "the notice alone, which nobody sees"


async def test_a_verdict_that_comes_after_it_changes_nothing() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        (bind,) = gate.door.sessions
        bind.patient = False
        gate.judge.late = True
        sequences = [client.ask(SUBMIT, part_of(1)), client.ask(SUBMIT, binary(2))]
        await eventually_async(lambda: len(gate.judge.waiting) == 2, within=90)
        gate.judge.late = False
        gate.judge.release()
        assert await statuses(client, sequences) == [SUBMITFAIL] * 2
        assert await send(client, part_of(3)) == [SUBMITFAIL]
        assert centre.messages == []
        assert gate.judge.asked == [CANONICAL]


async def test_nor_does_the_end_of_the_time_that_others_were_waited_for() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        timers: list[Callable[[], None]] = []
        (bind,) = gate.door.sessions
        bind.later = lambda _, action: timers.append(action)  # type: ignore[assignment, return-value]
        assert await send_at_once(client, part_of(1), binary(2)) == [SUBMITFAIL] * 2
        (time_is_up,) = timers
        time_is_up()
        assert await send(client, part_of(3)) == [SUBMITFAIL]
        assert bind.patient, "nobody was waited for in vain"
        assert centre.messages == []


@pytest.mark.usefixtures("hurries")
async def test_a_part_of_another_message_is_none_of_its_business() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, part_of(1), binary(2, reference=8), part_of(2), part_of(3)) == [
            *(ROK, SUBMITFAIL),
            *(ROK, ROK),
        ]
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("hurries")
async def test_where_it_is_only_watched_it_passes() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        watched = {"source": b"WATCH"}
        assert await send(client, part_of(1, **watched), binary(2, **watched), part_of(3, **watched)) == [ROK] * 3
        assert binary(2, **watched) in [one.body for one in centre.messages]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ("0500032a0201", Concat(CONCAT_8, 0x2A, 2, 1, 4)),
        ("0b05040b8423f000032a0201", Concat(CONCAT_8, 0x2A, 2, 1, 10)),
        ("0d0a03000301" + "0804beef0302" + "7000", Concat(CONCAT_16, 0xBEEF, 3, 2, 10)),
        ("06050415815b5c", None),
        ("0500032a0203", None),  # index beyond total
        ("0500032a02", None),  # longer than the field
        ("0400032a02", None),  # an element longer than the header
        ("0100", None),
        ("00", None),
        ("", None),
    ],
)
def test_where_a_part_stands_whatever_else_is_in_its_header(data: str, place: Concat | None) -> None:
    assert read_place(bytes.fromhex(data)) == place


@given(st.binary(max_size=40))
def test_it_is_read_as_a_header_without_faults_is(data: bytes) -> None:
    place, header = read_place(data), read_header(data)
    if header is not None:
        assert place == header.concat
    if place is not None:
        assert data[place.total_at] == place.total
        assert place.total_at + 1 < data[0] + 1

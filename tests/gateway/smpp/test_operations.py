"""What a client may ask beside submit_sm and submit_multi: every way to send a text is checked."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.model import Reason
from gateway import limits
from gateway.smpp.pdu import SubmitSm, data_of_submit, submit_of_data, walk_replace_sm, walk_submit_sm
from tests.conftest import eventually_async
from tests.gateway.smpp.support import (
    BIND_RX,
    BLOCKED,
    CANONICAL,
    DATA,
    DEFERRED,
    INFORMATIONAL,
    NUMBER,
    REPLACE,
    RESP,
    STREAMS,
    house,
    notice_of,
    smsc,
    submit_body,
    tlv,
)

ROK, INVMSGLEN, SYSERR, INVSRCADR, INVDSTADR, INVMSGID = 0, 1, 8, 0x0A, 0x0B, 0x0C
REPLACEFAIL, SUBMITFAIL, THROTTLED, INVSCHED = 0x13, 0x45, 0x58, 0x61
HOURS = limits.SMPP_SCHEDULE_S_MAX / 3600


def data_body(
    text: bytes | None = b"Merhaba",
    *,
    source: bytes = b"ORNEK",
    dest: bytes = NUMBER,
    coding: int = 0,
    esm: int = 0,
    registered: int = 0,
    tlvs: bytes = b"",
) -> bytes:
    """Field after field (SMPP 3.4 §4.7.1)."""
    payload = tlv(0x424, text) if text is not None else b""
    return b"\0\5\0" + source + b"\0\1\1" + dest + b"\0" + bytes((esm, registered, coding)) + payload + tlvs


# data_sm


async def test_i1_a_data_sm_gets_its_notice_and_goes_on_as_a_data_sm() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        vendor = tlv(0x1400, b"77")
        answer = await client.converse(DATA, data_body(registered=1, tlvs=vendor))
        assert (answer.command, answer.status) == (DATA | RESP, ROK)
        assert answer.body == centre.messages[0].message_id.encode() + b"\0"
        assert centre.asked == [(DATA, data_body(b"Merhaba" + notice_of().encode(), registered=1, tlvs=vendor))]
        receipt = await client.hear()
        assert b"id:" + answer.body[:-1] in receipt.body
        assert gate.judge.asked == [CANONICAL]


@pytest.mark.parametrize(("verdict", "status"), [(BLOCKED, SUBMITFAIL), (DEFERRED, THROTTLED)])
async def test_i1_a_data_sm_without_a_yes_is_refused(verdict: tuple[object, object], status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = verdict  # type: ignore[assignment]
        answer = await client.converse(DATA, data_body())
        assert (answer.command, answer.status, answer.body) == (DATA | RESP, status, b"")
        assert centre.messages == centre.asked == []


async def test_i2_a_data_sm_hears_what_the_smsc_says() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.extend([INVDSTADR, 0x401])
        assert [(await client.converse(DATA, data_body())).status for _ in range(2)] == [INVDSTADR, 0x401]
        centre.behaviour.silent = True
        client.ask(DATA, data_body())
        await eventually_async(lambda: len(centre.messages) == 1)
        await centre.stop()
        answer = await client.hear()
        assert (answer.command, answer.status) == (DATA | RESP, SYSERR)
        assert (await client.converse(DATA, data_body())).status == SYSERR


@pytest.mark.parametrize("text", [b"Kod 123456", b"", None])
async def test_i6_an_informational_data_sm_is_the_same_octets(text: bytes | None) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        body = data_body(text, source=b"OTP", registered=1, coding=4, esm=3, tlvs=tlv(0x1400, b"1") + tlv(0x1400, b"2"))
        assert (await client.converse(DATA, body)).status == ROK
        assert centre.asked == [(DATA, body)]


async def test_parts_in_data_sms() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for index, word in ((1, b"Bir "), (2, b"iki")):
            place = tlv(0x20C, b"\0\7") + tlv(0x20E, b"\2") + tlv(0x20F, bytes((index,)))
            assert (await client.converse(DATA, data_body(word, tlvs=place))).status == ROK
        assert {command for command, _ in centre.asked} == {DATA}
        assert centre.take_texts() == ["Bir iki" + notice_of()]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (data_body(source=b"x" * 65), INVSRCADR),
        (data_body(dest=b"9" * 40), INVDSTADR),
        (data_body()[:20], INVDSTADR),
        (b"\0\5\0x\0\1\0" + b"1\0\0", INVMSGLEN),
        (data_body(tlvs=b"\xff"), 0xC0),
    ],
)
async def test_a_malformed_data_sm(body: bytes, status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.converse(DATA, body)).status == status
        assert centre.messages == gate.judge.asked == []


async def test_what_takes_no_notice_is_refused_as_data_sm_too() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.converse(DATA, data_body(coding=4))).status == SUBMITFAIL
        assert (await client.converse(DATA, data_body(tlvs=tlv(0x20B, b"\x0b\x84")))).status == SUBMITFAIL
        assert gate.judge.refused == [Reason.UNFIT] * 2


async def test_a_receiver_may_send_data() -> None:
    """Table 2-1; whether it goes anywhere is the SMSC's affair."""
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=BIND_RX) as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert (await client.converse(DATA, data_body())).status == SUBMITFAIL


@given(
    st.one_of(
        st.binary(max_size=100),
        st.builds(
            data_body,
            st.binary(max_size=40),
            esm=st.integers(0, 255),
            coding=st.integers(0, 255),
            registered=st.integers(0, 255),
        ),
    )
)
def test_there_and_back_is_the_same_or_malformed(body: bytes) -> None:
    pdu = bytes(16) + body
    submit = submit_of_data(pdu)
    if isinstance(submit, int):
        return
    at = walk_submit_sm(submit)
    if isinstance(at, SubmitSm):
        assert data_of_submit(submit, at) == body


# replace_sm


def replace_body(source: bytes = b"ORNEK", text: bytes = b"Yeni metin") -> bytes:
    """Field after field (SMPP 3.4 §4.10.1)."""
    return b"1000001\0\5\0" + source + b"\0\0\0\0\0" + bytes((len(text),)) + text


@pytest.mark.parametrize(
    ("source", "reason"),
    [(b"ORNEK", Reason.UNFIT), (b"EITHER", Reason.UNFIT), (b"STRANGER", Reason.NO_STREAM), (b"", Reason.NO_STREAM)],
)
async def test_i1_a_checked_text_is_not_replaced(source: bytes, reason: Reason) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.converse(REPLACE, replace_body(source))
        assert (answer.command, answer.status) == (REPLACE | RESP, REPLACEFAIL)
        assert gate.judge.refused == [reason]
        assert centre.asked == []


@pytest.mark.parametrize("source", [b"OTP", b"WATCH"])
async def test_an_informational_or_a_watched_text_may_be(source: bytes) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.converse(REPLACE, replace_body(source))
        assert (answer.command, answer.status) == (REPLACE | RESP, ROK)
        assert centre.asked == [(REPLACE, replace_body(source))]
        assert gate.judge.asked == [None]


async def test_i1_without_a_source_it_could_be_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STREAMS, b"", INFORMATIONAL)  # an account whose every text is informational
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.converse(REPLACE, replace_body(b""))).status == REPLACEFAIL
        assert centre.asked == []


async def test_i1_a_stream_whose_texts_may_declare_themselves_commercial_is_not_replaced_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(STREAMS, b"OTP", replace(INFORMATIONAL, may_declare=True))
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.converse(REPLACE, replace_body(b"OTP"))).status == REPLACEFAIL
        assert (centre.asked, gate.judge.refused) == ([], [Reason.UNFIT])


async def test_a_malformed_replace_sm_and_a_fault_of_our_own() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.converse(REPLACE, b"1" * 70)).status == INVMSGID
        assert (await client.converse(REPLACE, b"1\0\5\0" + b"x" * 30)).status == INVSRCADR
        gate.judge.broken = True
        answer = await client.converse(REPLACE, replace_body(b"OTP"))
        assert (answer.command, answer.status) == (REPLACE | RESP, THROTTLED)
        gate.judge.broken = False
        await centre.stop()
        await eventually_async(lambda: gate.errors("smsc_lost") == 1)
        assert (await client.converse(REPLACE, replace_body(b"OTP"))).status == SYSERR


@given(st.binary(max_size=120))
def test_the_walk_never_raises(body: bytes) -> None:
    walked = walk_replace_sm(bytes(16) + body)
    assert isinstance(walked, bytes) or walked in (INVMSGID, INVSRCADR)


async def test_i1_a_text_that_replaces_one_is_checked_like_any_other() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.say(replace=1)).status == ROK
        assert [(one.text, one.replace_if_present) for one in centre.messages] == [("Merhaba" + notice_of(), 1)]
        # In two segments the second would replace the first.
        assert (await client.say(b"a" * 150, replace=1)).status == ROK
        assert [one.replace_if_present for one in centre.messages[1:]] == [0, 0]
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert (await client.say(replace=1)).status == SUBMITFAIL
        assert len(centre.messages) == 3


# what is put off


def at(when: float | bytes) -> bytes:
    """An absolute time so many hours ahead (§7.1.1.1), in UTC; what is a time already stays."""
    if isinstance(when, bytes):
        return when
    hours = when
    return time.strftime("%y%m%d%H%M%S", time.gmtime(time.time() + 3600 * hours)).encode() + b"000+"


@pytest.mark.parametrize("when", [1, HOURS - 1, -1, b"000001000000000R", b"000002000000000R"])
async def test_a_commercial_text_may_be_put_off_for_a_while(when: float | bytes) -> None:
    schedule = at(when)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.say(schedule=schedule)).status == ROK
        assert [(one.text, one.schedule) for one in centre.messages] == [("Merhaba" + notice_of(), schedule.decode())]
        assert gate.judge.asked == [CANONICAL]


@pytest.mark.parametrize("when", [HOURS + 1, b"000002000001000R", b"x" * 16, b"261399000000000+"])
async def test_i5_but_not_until_the_consent_is_old(when: float | bytes) -> None:
    schedule = at(when)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.say(schedule=schedule)).status == INVSCHED
        assert centre.messages == gate.judge.asked == []
        for source in (b"OTP", b"WATCH"):
            assert (await client.say(source=source, schedule=schedule)).status == ROK
        assert [one.schedule for one in centre.messages] == [schedule.decode()] * 2


async def test_a_long_text_that_is_put_off_is_in_all_its_segments() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        schedule = b"000000120000000R"
        body = submit_body(b"a" * 150, schedule=schedule)
        assert (await client.converse(4, body)).status == ROK
        assert [one.schedule for one in centre.messages] == [schedule.decode()] * 2

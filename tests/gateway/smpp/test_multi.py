"""submit_multi: the walk, a verdict for each destination, one answer."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.model import Outcome, Reason
from gateway import limits
from gateway.smpp.multi import destinations
from gateway.smpp.pdu import SubmitMulti, walk_submit_multi
from tests.conftest import eventually_async
from tests.gateway.smpp.support import (
    BLOCKED,
    DEFERRED,
    QUERY,
    RESP,
    SUBMIT,
    SUBMIT_MULTI,
    UNBIND,
    Client,
    Pdu,
    house,
    notice_of,
    smsc,
    tlv,
)

ROK, SYSERR, INVSRCADR, INVDSTADR, REPLACEFAIL = 0, 8, 0x0A, 0x0B, 0x13
INVNUMDESTS, INVDESTFLAG, CNTSUBDL, SUBMITFAIL, THROTTLED = 0x33, 0x40, 0x44, 0x45, 0x58
MULTI_RESP = SUBMIT_MULTI | RESP


def sme(number: bytes, ton: int = 1) -> bytes:
    return bytes((1, ton, 1)) + number + b"\0"


def number(n: int) -> bytes:
    return b"9055500000%02d" % n


def multi_body(
    *wanted: bytes, text: bytes = b"Merhaba", source: bytes = b"ORNEK", count: int | None = None, tlvs: bytes = b""
) -> bytes:
    """Field after field (SMPP 3.4 §4.5.1)."""
    head = b"\0\5\0" + source + b"\0" + bytes((len(wanted) if count is None else count,)) + b"".join(wanted)
    return head + b"\0\0\0\0\0\0\0\0\0" + bytes((len(text),)) + text + tlvs


def numbers(*ns: int) -> list[bytes]:
    return [sme(number(n)) for n in ns]


def unsuccessful(answer: Pdu) -> list[tuple[bytes, int]]:
    """message_id must be there; then the refused destinations and their statuses (§4.5.2)."""
    at = answer.body.index(0) + 1
    count, at, found = answer.body[at], at + 1, []
    for _ in range(count):
        assert answer.body[at : at + 2] == b"\1\1"
        end = answer.body.index(0, at + 2)
        found.append((answer.body[at + 2 : end], struct.unpack_from(">I", answer.body, end + 1)[0]))
        at = end + 5
    assert at == len(answer.body)
    return found


async def send(client: Client, *wanted: bytes, **fields: object) -> Pdu:
    answer = await client.converse(SUBMIT_MULTI, multi_body(*wanted, **fields))  # type: ignore[arg-type]
    assert answer.command == MULTI_RESP
    return answer


# each destination is judged, and each has a text of its own


async def test_i1_each_destination_has_a_verdict_and_a_link_of_its_own() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[b"+" + number(2)] = BLOCKED
        gate.judge.verdicts[b"+" + number(4)] = DEFERRED
        answer = await send(client, *numbers(1, 2, 3, 4))
        assert answer.status == ROK
        assert unsuccessful(answer) == [(number(2), SUBMITFAIL), (number(4), THROTTLED)]
        assert gate.judge.asked == [b"+" + number(n) for n in (1, 2, 3, 4)]
        assert [one.dest.encode() for one in centre.messages] == [number(1), number(3)]
        assert [one.text for one in centre.messages] == ["Merhaba" + notice_of(b"+" + number(n)) for n in (1, 3)]
        assert answer.body.startswith(centre.messages[0].message_id.encode() + b"\0")
        assert centre.asked == []


async def test_i2_the_smscs_refusals_are_in_the_answer_too() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.extend([INVDSTADR, ROK, 0x401])
        answer = await send(client, *numbers(1, 2, 3))
        assert answer.status == ROK
        assert unsuccessful(answer) == [(number(1), INVDSTADR), (number(3), 0x401)]
        assert answer.body.startswith(centre.messages[0].message_id.encode() + b"\0")


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [((BLOCKED, BLOCKED), SUBMITFAIL), ((BLOCKED, DEFERRED), THROTTLED), ((DEFERRED, BLOCKED), THROTTLED)],
)
async def test_i2_where_none_was_accepted_the_whole_is_refused(verdicts: tuple[object, ...], status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for n, verdict in enumerate(verdicts):
            gate.judge.verdicts[b"+" + number(n)] = verdict  # type: ignore[assignment]
        answer = await send(client, *numbers(0, 1))
        assert (answer.status, answer.body) == (status, b"")
        assert centre.messages == []


async def test_i2_it_is_answered_when_its_last_destination_is() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        sequence = client.ask(SUBMIT_MULTI, multi_body(*numbers(1, 2, 3)))
        client.ask(UNBIND)
        await eventually_async(lambda: len(centre.held) == 3)
        centre.release(backwards=True)
        answer = await client.hear()
        assert (answer.command, answer.sequence, answer.status) == (MULTI_RESP, sequence, ROK)
        assert unsuccessful(answer) == []
        assert (await client.hear()).command == UNBIND | RESP


async def test_a_long_text_is_split_for_each() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await send(client, *numbers(1, 2), text=b"a" * 150)).status == ROK
        assert sorted(centre.take_texts()) == ["a" * 150 + notice_of(b"+" + number(n)) for n in (1, 2)]
        assert len(centre.messages) == 4


async def test_254_destinations_count_in_the_window_one_by_one() -> None:
    async with smsc() as centre, house(centre.port, window=10) as gate, gate.client() as client:
        centre.behaviour.holding = True
        client.ask(SUBMIT_MULTI, multi_body(*(sme(b"9055500%05d" % n) for n in range(254))))
        client.submit()
        await eventually_async(lambda: len(centre.held) == 254)
        await eventually_async(lambda: gate.errors("window") > 0)
        assert len(gate.judge.asked) == 254  # the submit_sm behind it waits
        centre.release()
        answer = await client.hear()
        assert (answer.command, unsuccessful(answer)) == (MULTI_RESP, [])
        await eventually_async(lambda: len(centre.held) == 1)
        centre.release()
        assert (await client.hear()).command == SUBMIT | RESP


async def test_i4_a_lost_smsc_and_a_fault_of_our_own_are_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.broken = True
        assert (await send(client, *numbers(1, 2))).status == THROTTLED
        gate.judge.broken = False
        centre.behaviour.silent = True
        client.ask(SUBMIT_MULTI, multi_body(*numbers(1, 2)))
        await eventually_async(lambda: len(centre.messages) == 2)
        await centre.stop()
        assert (await client.hear()).status == SYSERR
        assert (await send(client, *numbers(1, 2))).status == SYSERR
        assert (await client.converse(QUERY, b"1\0\0\0\0")).status == SYSERR


async def test_a_stranger_among_sources_is_refused() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await send(client, *numbers(1, 2), source=b"STRANGER")).status == SUBMITFAIL
        assert gate.judge.refused == [Reason.NO_STREAM] * 2
        assert centre.messages == centre.asked == []


# lists, and what passes as it came


async def test_i1_a_distribution_list_is_refused_and_nothing_sent() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await send(client, sme(number(1)), b"\2musteriler\0")
        assert (answer.status, answer.body) == (CNTSUBDL, b"")
        assert centre.messages == centre.asked == gate.judge.asked == []


@pytest.mark.parametrize(
    ("source", "tlvs"), [(b"OTP", b""), (b"EITHER", tlv(0x1501, b"informational")), (b"WATCH", b"")]
)
async def test_i6_where_no_text_is_to_be_changed_it_goes_on_as_it_came(source: bytes, tlvs: bytes) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        wanted = [sme(number(1)), b"\2aile\0", sme(b"12", 0), sme(number(2), ton=5)]
        body = multi_body(*wanted, source=source, tlvs=tlvs)
        answer = await client.converse(SUBMIT_MULTI, body)
        assert (answer.command, answer.status, answer.body) == (MULTI_RESP, ROK, b"1\0\0")
        assert centre.asked == [(SUBMIT_MULTI, body)]
        assert gate.judge.asked == [b"+" + number(1), None, None, None], "an address of another type is no number"


async def test_i4_an_informational_one_waits_for_all_its_lines_in_the_journal() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.late = True
        client.ask(SUBMIT_MULTI, multi_body(*numbers(1, 2), source=b"OTP"))
        await eventually_async(lambda: len(gate.judge.waiting) == 2)
        last = gate.judge.waiting[1]
        last.outcome, last.reason = Outcome.DEFER, Reason.JOURNAL_DOWN
        gate.judge.release()
        answer = await client.hear()
        assert (answer.command, answer.status) == (MULTI_RESP, THROTTLED)
        assert centre.asked == []


# the walk

GOOD = multi_body(*numbers(1, 2))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (multi_body(count=0), INVNUMDESTS),
        (multi_body(*numbers(1), count=255), INVNUMDESTS),
        (multi_body(*numbers(1), count=2), INVDESTFLAG),
        (multi_body(b"\3\1\1905550000001\0"), INVDESTFLAG),
        (multi_body(sme(b"9" * 21)), INVDSTADR),
        (multi_body(sme(b"1"), source=b"x" * 21), INVSRCADR),
        (b"\0\5\0ORNEK\0", INVNUMDESTS),
        (GOOD[:-3], 1),
    ],
)
async def test_what_is_malformed(body: bytes, status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.converse(SUBMIT_MULTI, body)
        assert (answer.command, answer.status) == (MULTI_RESP, status)
        assert centre.messages == centre.asked == gate.judge.asked == []


def test_the_most_destinations_there_may_be() -> None:
    body = bytes(16) + multi_body(*(sme(b"%d" % n) for n in range(254)))
    assert destinations(body) == limits.SMPP_DESTINATIONS_MAX
    assert destinations(b"") == 1


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda whole, at, bad: whole[:at] + bad + whole[at + len(bad) :],
            st.just(GOOD),
            st.integers(0, len(GOOD)),
            st.binary(max_size=4),
        ),
        st.integers(0, len(GOOD)).map(lambda cut: GOOD[:cut]),
    )
)
def test_the_walk_never_raises_and_stays_inside(body: bytes) -> None:
    pdu = bytes(16) + body
    walked = walk_submit_multi(pdu)
    if not isinstance(walked, SubmitMulti):
        assert walked in (INVSRCADR, INVDSTADR, INVNUMDESTS, INVDESTFLAG, 0x15)
        return
    assert 1 <= len(walked.destinations) == pdu[walked.number] <= 254
    assert 16 < walked.source <= walked.number < walked.tail <= len(pdu)
    at = walked.number + 1
    for one in walked.destinations:
        assert one.start == at + 1
        assert pdu[one.stop - 1] == 0
        assert pdu[at] == 1 + one.is_list
        at = one.stop
    assert at == walked.tail

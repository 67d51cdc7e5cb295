"""Messages of several segments: ours and the client's own, and what a partial refusal means."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from filters.model import Outcome, Reason
from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.long_messages import WHOLE, part_of, places, send
from tests.gateway.smpp.support import (
    BIND_TX,
    BLOCKED,
    CANONICAL,
    COMMERCIAL,
    DEFERRED,
    DELIVER,
    ENQUIRE,
    NUMBER,
    RESP,
    STREAMS,
    SUBMIT,
    house,
    link_of,
    notice_of,
    smsc,
    submit_body,
    tlv,
)

ROK, SYSERR, MSGQFUL, SUBMITFAIL, THROTTLED, INVDSTADR = 0, 8, 0x14, 0x45, 0x58, 0x0B
LONG = b"a" * 150


# one submit that becomes several segments


async def test_a_message_that_no_longer_fits_becomes_two() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.say(LONG, registered=1)
        assert answer.status == ROK
        second, first = centre.messages
        assert answer.body == first.message_id.encode() + b"\0"
        assert (first.place() or ())[1:] == (2, 1)
        assert centre.take_texts() == [LONG.decode() + notice_of()]
        receipt = await client.hear()
        assert b"id:" + answer.body[:-1] in receipt.body
        assert second.registered_delivery == 0


async def test_references_differ() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for _ in range(5):
            assert (await client.say(LONG)).status == ROK
        assert len({place[0] for place in places(centre) if place}) == 5


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([0, INVDSTADR], INVDSTADR),
        ([INVDSTADR, 0], INVDSTADR),
        ([MSGQFUL, 0], MSGQFUL),
        ([INVDSTADR, THROTTLED], THROTTLED),
        ([THROTTLED, INVDSTADR], THROTTLED),
        ([SUBMITFAIL, INVDSTADR], SUBMITFAIL),
    ],
)
async def test_i2_one_refused_segment_refuses_the_message(statuses: list[int], status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.extend(statuses)
        answer = await client.say(LONG)
        assert (answer.status, answer.body) == (status, b"")
        assert (await client.say(LONG)).status == ROK


async def test_i2_the_message_is_answered_when_its_last_segment_is() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        sequence = client.submit(LONG)
        await eventually_async(lambda: len(centre.held) == 2, within=90)
        (session, of_the_first) = centre.held.pop()
        session.write(of_the_first)
        session.ask(DELIVER, submit_body(b"behind it", source=NUMBER, dest=b"3525"))
        assert (await client.hear()).command == DELIVER, "one answer of two is none"
        centre.release()
        answer = await client.hear()
        assert (answer.sequence, answer.body[:-1].decode()) == (sequence, centre.messages[1].message_id)
        assert (await client.converse(ENQUIRE)).command == ENQUIRE | RESP, "and it is answered once"


# a text that has its notice already


@pytest.mark.parametrize("words", ["Indirim! {} RET", "{}", "a" * 80 + "{}"])
async def test_i6_a_text_with_the_recipients_own_link_goes_as_it_came(words: str) -> None:
    text = words.format(link_of(CANONICAL).decode())
    bodies = [
        submit_body(text.encode(), registered=1),
        submit_body(text.encode("utf-16-be"), coding=8),
        submit_body(b"", tlvs=tlv(0x0424, text.encode())),
    ]
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=BIND_TX) as client:
        assert await send(client, *bodies) == [ROK] * 3
        assert [one.body for one in centre.messages] == bodies
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert await send(client, bodies[0]) == [SUBMITFAIL]


@pytest.mark.parametrize("link", [link_of(b"+905550000002"), link_of(CANONICAL)[:-1], b"https://ret.example.test/r/"])
async def test_a_link_that_is_not_the_recipients_own_counts_for_nothing(link: bytes) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.say(link)).status == ROK
        assert centre.take_texts() == [link.decode() + notice_of()]


# a client's own parts


@pytest.mark.parametrize("kind", ["udh8", "udh16", "sar"])
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
async def test_a_client_with_a_window_of_one_sends_parts_in_any_order(kind: str, order: tuple[int, ...]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, *(part_of(n, kind=kind) for n in order)) == [ROK] * 3
        assert places(centre) == [(7, 4, 4), *((7, 4, n) for n in order)]  # the notice first
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert gate.judge.asked == [CANONICAL]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1)])
async def test_parts_sent_at_once_have_the_notice_in_the_last_of_them(
    order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", 3600.0)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        sequences = {n: client.ask(SUBMIT, part_of(n, registered=1)) for n in order}
        heard = [await client.hear() for _ in range(6)]
        assert [bool(one.command & RESP) for one in heard] == [True] * 3 + [False] * 3, (
            "no receipt overtakes its answer"
        )
        ids = {one.sequence: one.body[:-1].decode() for one in heard if one.command & 0x80000000}
        by_index = {(one.place() or (0, 0, 0))[2]: one.message_id for one in centre.messages}
        assert {n: ids[sequence] for n, sequence in sequences.items()} == by_index
        assert places(centre) == [(7, 3, n) for n in order]
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert gate.judge.asked == [CANONICAL]


async def test_i2_no_part_goes_on_before_the_notice_is_accepted() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        for n in (1, 2):
            client.ask(SUBMIT, part_of(n))
        await eventually_async(lambda: len(centre.messages) == 1)
        assert places(centre) == [(7, 4, 4)]
        centre.release()
        await eventually_async(lambda: len(centre.messages) == 3)
        centre.release()
        assert [(await client.hear()).status for _ in range(2)] == [ROK, ROK]


@pytest.mark.parametrize("status", [THROTTLED, INVDSTADR])
async def test_i2_a_refused_notice_refuses_the_parts_and_the_next_attempt_begins_anew(status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.append(status)
        assert await send(client, part_of(1)) == [status]
        assert centre.messages == []
        assert await send(client, *(part_of(n) for n in (1, 2, 3))) == [ROK] * 3
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert len(gate.judge.asked) == 2


async def test_a_part_that_was_throttled_comes_again_alone() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, part_of(1)) == [ROK]
        centre.behaviour.statuses.append(THROTTLED)
        assert await send(client, *(part_of(n) for n in (2, 2, 3))) == [THROTTLED, ROK, ROK]
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert len(gate.judge.asked) == 1


async def test_a_message_is_not_complete_while_one_part_was_refused() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, part_of(1), part_of(3)) == [ROK] * 2
        centre.behaviour.statuses.append(INVDSTADR)
        assert await send(client, part_of(2), part_of(2)) == [INVDSTADR, ROK]
        assert places(centre) == [(7, 4, n) for n in (4, 1, 3, 2)], "its notice is there already"
        assert centre.take_texts() == [WHOLE + notice_of()]


async def test_i1_a_blocked_message_is_blocked_in_all_its_parts() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert await send(client, *(part_of(n) for n in (1, 2))) == [SUBMITFAIL] * 2
        gate.judge.verdicts.clear()
        assert await send(client, part_of(3)) == [SUBMITFAIL]  # the same message still
        assert centre.messages == []
        assert await send(client, *(part_of(n) for n in (1, 2, 3))) == [ROK] * 3
        assert centre.take_texts() == [WHOLE + notice_of()]


async def test_i4_an_undecided_message_is_asked_about_again() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = DEFERRED
        assert await send(client, part_of(1)) == [THROTTLED]
        gate.judge.verdicts.clear()
        assert await send(client, *(part_of(n) for n in (2, 1, 3))) == [ROK] * 3
        assert centre.take_texts() == [WHOLE + notice_of()]


async def test_i5_the_next_message_under_the_same_reference_is_judged_anew() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, *(part_of(n) for n in (1, 2, 3))) == [ROK] * 3
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert await send(client, *(part_of(n) for n in (1, 2, 3))) == [SUBMITFAIL] * 3
        assert await send(client, *(part_of(n, word="Baska") for n in (1, 2, 3))) == [SUBMITFAIL] * 3
        assert len(centre.messages) == 4


async def test_i3_messages_to_two_people_under_one_reference_do_not_meet() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[b"+905550000002"] = BLOCKED
        other = {"dest": b"905550000002"}
        bodies = [part_of(1), part_of(1, **other), part_of(2), part_of(2, **other), part_of(3), part_of(3, **other)]
        assert await send(client, *bodies) == [ROK, SUBMITFAIL] * 3
        assert {one.dest for one in centre.messages} == {"905550000001"}


async def test_i3_messages_from_two_senders_under_one_reference_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STREAMS, b"IKINCI", COMMERCIAL)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, part_of(1), part_of(2), part_of(3, source=b"IKINCI")) == [ROK] * 3
        assert gate.judge.asked == [CANONICAL] * 2
        assert [(one.source, (one.place() or ())[2]) for one in centre.messages] == [
            *(("ORNEK", n) for n in (4, 1, 2)),
            *(("IKINCI", n) for n in (4, 3)),
        ]


async def test_i3_parts_that_go_by_different_streams_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream may be chosen by the client's network: then another bind's parts have a verdict of their own."""
    async with smsc() as centre, house(centre.port) as gate, gate.client() as one:
        assert await send(one, part_of(1)) == [ROK]
        monkeypatch.setitem(STREAMS, b"ORNEK", replace(COMMERCIAL, name="other"))
        async with gate.client() as two:
            assert await send(two, part_of(2), part_of(3)) == [ROK] * 2
        assert gate.judge.asked == [CANONICAL] * 2
        assert centre.take_texts() == [WHOLE + notice_of()]


async def test_parts_over_two_binds_of_one_account() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as one, gate.client() as two:
        assert await send(one, part_of(1)) == [ROK]
        assert await send(two, part_of(2)) == [ROK]
        assert await send(one, part_of(3)) == [ROK]
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert gate.judge.asked == [CANONICAL]


async def test_i2_parts_of_another_bind_hear_when_the_notice_is_lost_with_the_first() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as two:
        centre.behaviour.holding = True
        async with gate.client() as one:
            one.ask(SUBMIT, part_of(1))
            await eventually_async(lambda: len(centre.messages) == 1)
            waiting = two.ask(SUBMIT, part_of(2))
            await two.writer.drain()
            await eventually_async(lambda: sum(bool(known.waiting) for known in groups_of(gate)) == 1)
        answer = await two.hear()
        assert (answer.sequence, answer.status) == (waiting, SYSERR)


async def test_i4_a_part_whose_own_smsc_is_lost_while_it_waits_may_come_again() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as one, gate.client() as two:
        centre.behaviour.holding = True
        one.ask(SUBMIT, part_of(1))
        await eventually_async(lambda: len(centre.messages) == 1, within=90)
        two.ask(SUBMIT, part_of(2))
        await eventually_async(lambda: len(groups_of(gate)) == 1, within=90)
        centre.sessions[1].abort()
        await eventually_async(lambda: [door.smsc is None for door in gate.door.sessions].count(True) == 1, within=90)
        centre.behaviour.holding = False
        centre.release()
        assert [(await one.hear()).status, (await two.hear()).status] == [ROK, SYSERR]
        assert gate.errors("internal") == 0


def groups_of(gate: object) -> list[object]:
    (esme,) = gate.door._esmes.values()  # type: ignore[attr-defined]
    return [known for known in esme.groups._known.values() if len(known.taken) == 2]


async def test_i7_the_table_of_long_messages_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_GROUPS_MAX", 1)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, part_of(1), part_of(1, reference=8), part_of(2)) == [ROK, THROTTLED, ROK]
        assert gate.judge.refused == [Reason.OVERLOAD]
        assert {place[0] for place in places(centre) if place} == {7}


async def test_i4_our_own_fault_about_a_long_message_answers_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.late = True
        monkeypatch.setattr(gate.judge, "link", lambda question: 1 // 0)
        sequences = [client.ask(SUBMIT, part_of(n)) for n in (1, 2)]
        await eventually_async(lambda: len(gate.judge.waiting) == 1)
        gate.judge.release()
        heard = {one.sequence: one.status for one in [await client.hear() for _ in range(2)]}
        assert heard == dict.fromkeys(sequences, THROTTLED)
        assert centre.messages == []


async def test_a_watched_long_message_gets_its_notice_too() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = (Outcome.BLOCK, Reason.NO_CONSENT)
        assert await send(client, *(part_of(n, source=b"WATCH") for n in (1, 2, 3))) == [ROK] * 3
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert await send(client, *(part_of(n, source=b"WATCH", dest=b"12") for n in (1, 2, 3))) == [ROK] * 3
        assert centre.take_texts() == [WHOLE]


async def test_many_long_messages_at_once() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for n in range(30):
            for index in (3, 1, 2):
                client.ask(SUBMIT, part_of(index, dest=b"9055500000%02d" % n))
                await asyncio.sleep(0)
        assert [(await client.hear()).status for _ in range(90)] == [ROK] * 90
        assert sorted(centre.take_texts()) == sorted(WHOLE + notice_of(b"+9055500000%02d" % n) for n in range(30))

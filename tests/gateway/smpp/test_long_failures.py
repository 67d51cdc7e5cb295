"""The seventeen ways in which a long message in parts can go wrong, by number.

The number is that of the list of failures that gateways which join parts are known for. Where the two ways a notice can
go (`gateway.smpp.long`) make a failure impossible, its test shows that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from filters.model import Reason
from filters.sms import alphabets
from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.long_messages import WHOLE, part_of, places, send, send_at_once, statuses
from tests.gateway.smpp.support import (
    BLOCKED,
    CANONICAL,
    RESP,
    SUBMIT,
    Client,
    House,
    house,
    link_of,
    notice_of,
    smsc,
    submit_body,
    tlv,
)

ROK, SYSERR, SUBMITFAIL, THROTTLED = 0, 8, 0x45, 0x58
FOR_EVER, HARDLY = 3600.0, 0.01  # SMPP_PARTS_S, so that a test is about one way and not about time
PARTS = [part_of(n) for n in (1, 2, 3)]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is waited for, however long it takes."""
    monkeypatch.setattr(limits, "SMPP_PARTS_S", FOR_EVER)


@pytest.fixture
def hurries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is not waited for."""
    monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)


async def held(gate: House, client: Client, *bodies: bytes) -> list[int]:
    """Send parts that are not all there; their sequence numbers once the door has them all."""
    before = owed(gate)
    sequences = [client.ask(SUBMIT, body) for body in bodies]
    await eventually_async(lambda: owed(gate) == before + len(bodies))
    return sequences


def time_is_up(gate: House) -> None:
    """What waits for other parts has waited long enough."""
    (groups,) = {one.groups for one in gate.door.sessions}
    for group in list(groups._known.values()):
        assert group.awaited is not None
        group.awaited.__self__._waited()  # type: ignore[attr-defined]


def owed(gate: House) -> int:
    """Requests that nobody has answered."""
    return sum(one._session.owed for one in gate.door.sessions)


@pytest.mark.usefixtures("waits")
async def test_1_of_parts_that_wait_none_is_acknowledged_and_none_is_sent() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        sequences = await held(gate, client, *PARTS[:2])
        assert centre.messages == []
        sequences.append(client.ask(SUBMIT, PARTS[2]))
        assert await statuses(client, sequences) == [ROK] * 3
        assert places(centre) == [(7, 3, 1), (7, 3, 2), (7, 3, 3)]
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("hurries")
async def test_1_a_part_that_stays_away_keeps_nobody_waiting() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send_at_once(client, *PARTS[:2]) == [ROK] * 2
        assert places(centre) == [(7, 4, 4), (7, 4, 1), (7, 4, 2)], "the notice first"
        assert centre.take_texts() == [], "no text without its end, as without us"


@pytest.mark.usefixtures("hurries")
async def test_2_a_part_that_comes_when_all_is_forgotten_completes_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some parts are acknowledged, the last comes much later: judged anew, and of the same total as the others."""
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, *PARTS[:2]) == [ROK] * 2
        monkeypatch.setattr(limits, "SMPP_GROUP_S", -1.0)
        assert await send(client, PARTS[2]) == [ROK]
        assert places(centre) == [(7, 4, 4), (7, 4, 1), (7, 4, 2), (7, 4, 4), (7, 4, 3)]
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert gate.judge.asked == [CANONICAL] * 2


@pytest.mark.usefixtures("hurries")
async def test_2_i1_a_part_that_comes_after_a_withdrawal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, *PARTS[:2]) == [ROK] * 2
        monkeypatch.setattr(limits, "SMPP_GROUP_S", -1.0)
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert await send(client, PARTS[2]) == [SUBMITFAIL]
        assert centre.take_texts() == []


@pytest.mark.usefixtures("waits")
async def test_3_a_part_that_comes_twice_is_sent_once_and_has_one_id() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as one, gate.client() as two:
        first = await held(gate, one, *PARTS[:2])
        again = await held(gate, two, PARTS[0])
        last = two.ask(SUBMIT, PARTS[2])
        heard = {one_.sequence: one_ for one_ in [await one.hear() for _ in first]}
        heard_again = {two_.sequence: two_ for two_ in [await two.hear() for _ in (again, last)]}
        assert heard[first[0]].body == heard_again[again[0]].body
        assert {answer.status for answer in (*heard.values(), *heard_again.values())} == {ROK}
        assert len(centre.messages) == 3
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert gate.judge.asked == [CANONICAL]


@pytest.mark.usefixtures("hurries")
async def test_3_a_part_that_comes_again_after_its_answer_has_the_same_total() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, PARTS[0], PARTS[0], PARTS[1], PARTS[2]) == [ROK] * 4
        assert places(centre) == [(7, 4, 4), (7, 4, 1), (7, 4, 1), (7, 4, 2), (7, 4, 3)]
        assert gate.judge.asked == [CANONICAL]


@pytest.mark.usefixtures("waits")
async def test_4_another_total_is_another_message() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        two = [part_of(1, total=2), part_of(2, total=2)]
        assert await send_at_once(client, PARTS[0], two[0], PARTS[1], two[1], PARTS[2]) == [ROK] * 5
        assert sorted(centre.take_texts()) == sorted([WHOLE + notice_of(), "Bir iki " + notice_of()])
        assert gate.judge.asked == [CANONICAL] * 2


@pytest.mark.parametrize("place", [(3, 0), (3, 4), (0, 0), (0, 1)])
@pytest.mark.parametrize("kind", ["udh8", "udh16", "sar"])
async def test_5_a_place_that_cannot_be_is_refused(kind: str, place: tuple[int, int]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        total, index = place
        assert await send(client, part_of(index, total=total, kind=kind, word="Bir")) == [SUBMITFAIL]
        assert (centre.messages, gate.judge.refused) == ([], [Reason.UNFIT])


@pytest.mark.parametrize(
    "user_data",
    [
        b"\x20\0\3\7\3\1Bir",  # longer than the field
        b"\5\0\7\7\3\1Bir",  # an element longer than the header
        b"\5\0\2\7\3\1Bir",  # an element too short for its kind
        b"\4\0\3\7\3Bir",
        b"\1\0Bir",  # half an element
        b"",
    ],
)
async def test_6_a_header_that_cannot_be_read_is_refused(user_data: bytes) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, submit_body(user_data, esm=0x40)) == [SUBMITFAIL]
        assert (centre.messages, gate.judge.refused) == ([], [Reason.UNFIT])


@pytest.mark.usefixtures("waits")
async def test_7_a_part_that_says_its_place_twice_is_where_its_header_says() -> None:
    sar = tlv(0x20C, b"\0\x63") + tlv(0x20E, b"\5") + tlv(0x20F, b"\4")
    before, after = tlv(0x1400, b"id"), tlv(0x204, b"\0\7")
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        bodies = [part_of(n, tlvs=before + sar + after) for n in (1, 2, 3)]
        assert await send_at_once(client, *bodies) == [ROK] * 3
        assert places(centre) == [(7, 3, 1), (7, 3, 2), (7, 3, 3)]
        assert [one.body for one in centre.messages[:2]] == [part_of(n, tlvs=before + after) for n in (1, 2)]
        assert {one.tlvs for one in centre.messages} == {((0x1400, b"id"), (0x204, b"\0\7"))}
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.parametrize("kinds", [("udh8", "sar", "udh8"), ("sar", "udh8", "udh16"), ("udh16", "udh16", "sar")])
@pytest.mark.usefixtures("hurries")
async def test_7_parts_that_say_their_places_in_different_ways_have_one_total(kinds: tuple[str, ...]) -> None:
    """Whether they are one message is the SMSC's and the handset's affair, as without us."""
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        bodies = [part_of(n, kind=kind) for n, kind in enumerate(kinds, start=1)]
        assert await send_at_once(client, *bodies) == [ROK] * 3
        assert {place and place[:2] for place in places(centre)} == {(7, 4)}
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.parametrize("codings", [(0, 8, 0), (8, 0, 0), (8, 8, 0), (3, 8, 3)])
@pytest.mark.usefixtures("waits")
async def test_8_parts_in_different_alphabets_at_once(codings: tuple[int, ...]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        bodies = [part_of(n, coding=coding) for n, coding in enumerate(codings, start=1)]
        assert await send_at_once(client, *bodies) == [ROK] * 3
        assert centre.take_texts() == [WHOLE + notice_of()]
        assert [one.data_coding for one in centre.messages] == list(codings)


@pytest.mark.parametrize("codings", [(0, 8, 0), (8, 0, 0), (0, 0, 8)])
@pytest.mark.usefixtures("hurries")
async def test_8_parts_in_different_alphabets_one_by_one(codings: tuple[int, ...]) -> None:
    """The notice is in the alphabet of the part that came first: a handset reads each part by itself."""
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, *(part_of(n, coding=c) for n, c in enumerate(codings, start=1))) == [ROK] * 3
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("waits")
async def test_8_a_shift_table_in_one_part_alone() -> None:
    shifted = submit_body(b"\x08\0\3\7\3\3\x24\1\1\x1bs.", esm=0x40)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send_at_once(client, *PARTS[:2], shifted) == [ROK] * 3
        assert centre.take_texts() == ["Bir iki ş." + notice_of()]


@pytest.mark.parametrize(("sending", "patience_s"), [(send, HARDLY), (send_at_once, FOR_EVER)])
@pytest.mark.parametrize("amid", [1, 3])
async def test_8_a_sender_that_cuts_characters_in_two_loses_no_part(
    amid: int, sending: Callable[..., Awaitable[list[int]]], patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """smpplib leaves an escape at the end of a part; without that part the others would never make a message."""
    monkeypatch.setattr(limits, "SMPP_PARTS_S", patience_s)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        texts = {n: b"Bir" + b"\x1b" * (n == amid) for n in (1, 2, 3)}
        bodies = [submit_body(b"\5\0\3\7\3" + bytes((n,)) + texts[n], esm=0x40) for n in texts]
        assert await sending(client, *bodies) == [ROK] * 3
        came = {(one.place() or (0, 0, 0))[2]: one for one in centre.messages}
        assert {one.place() for one in came.values()} == {(7, len(came), n) for n in range(1, len(came) + 1)}
        assert [came[n].user_data[6:] for n in (1, 2)] == [texts[1], texts[2]]
        assert b"".join(came[n].user_data[6:] for n in range(3, len(came) + 1)) == texts[3] + notice_of().encode()
        assert amid != 3 or came[3].user_data[6:] == texts[3], "no notice behind half a character"


@pytest.mark.usefixtures("waits")
async def test_9_what_waited_for_a_client_that_is_gone_is_not_sent() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as two:
        async with gate.client() as one:
            await held(gate, one, *PARTS[:2])
        await eventually_async(lambda: len(gate.door.sessions) == 1)
        assert centre.messages == []
        assert await send_at_once(two, *PARTS) == [ROK] * 3
        assert places(centre) == [(7, 3, 1), (7, 3, 2), (7, 3, 3)]
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("waits")
async def test_9_parts_of_other_binds_go_on_without_it() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as two:
        async with gate.client() as one:
            await held(gate, one, PARTS[0])
            await held(gate, two, PARTS[1])
        await eventually_async(lambda: len(gate.door.sessions) == 1)
        time_is_up(gate)
        assert (await two.hear()).status == ROK
        assert places(centre) == [(7, 4, 4), (7, 4, 2)]
        assert await send(two, PARTS[0], PARTS[2]) == [ROK] * 2
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("waits")
async def test_10_without_the_smsc_what_waits_is_told_to_come_again() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        sequences = await held(gate, client, *PARTS[:2])
        await centre.stop()
        await eventually_async(lambda: gate.metrics.upstream_up["smsc"] == 0)
        time_is_up(gate)
        assert await statuses(client, sequences) == [SYSERR] * 2
        assert centre.messages == []


@pytest.mark.usefixtures("waits")
async def test_11_more_long_messages_than_the_table_holds_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SMPP_GROUPS_MAX", 1)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        sequences = await held(gate, client, *PARTS[:2])
        assert await send(client, part_of(1, reference=8)) == [THROTTLED]
        assert gate.judge.refused == [Reason.OVERLOAD]
        sequences.append(client.ask(SUBMIT, PARTS[2]))
        assert await statuses(client, sequences) == [ROK] * 3
        assert await send_at_once(client, *(part_of(n, reference=8) for n in (1, 2, 3))) == [ROK] * 3


@pytest.mark.usefixtures("waits")
async def test_12_what_waited_when_a_worker_died_was_not_acknowledged_and_comes_again() -> None:
    async with smsc() as centre:
        async with house(centre.port) as gate, gate.client() as client:
            await held(gate, client, *PARTS[:2])
            gate.door.abort()
            assert await client.closed()
        assert centre.messages == []
        async with house(centre.port) as gate, gate.client() as client:
            assert await send_at_once(client, *PARTS) == [ROK] * 3
            assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("hurries")
async def test_12_a_message_that_a_dead_worker_began_is_completed_by_another() -> None:
    """Nothing is remembered and nothing needs to be: whoever sends a part puts the same total into it."""
    async with smsc() as centre:
        for body in PARTS:
            async with house(centre.port) as gate, gate.client() as client:
                assert await send(client, body) == [ROK]
        assert places(centre) == [(7, 4, 4), (7, 4, 1), (7, 4, 4), (7, 4, 2), (7, 4, 4), (7, 4, 3)]
        assert centre.take_texts() == [WHOLE + notice_of()]


@pytest.mark.usefixtures("waits")
async def test_13_an_smsc_that_dies_between_two_parts_leaves_none_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        sequences = [client.ask(SUBMIT, body) for body in PARTS]
        await eventually_async(lambda: len(centre.messages) == 3)
        centre.cut()
        assert await statuses(client, sequences) == [SYSERR] * 3
        centre.behaviour.holding = False
        await eventually_async(lambda: gate.metrics.upstream_up["smsc"] == 1)
        assert await send_at_once(client, *PARTS) == [ROK] * 3
        assert len(gate.judge.asked) == 2


@pytest.mark.parametrize("refused", [1, 2, 3])
@pytest.mark.usefixtures("waits")
async def test_13_i2_one_refused_part_refuses_all_that_were_sent_together(refused: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.extend([ROK] * (refused - 1) + [THROTTLED])
        assert await send_at_once(client, *PARTS) == [THROTTLED] * 3
        assert centre.take_texts() == []
        taken = len(centre.messages)
        assert await send_at_once(client, *PARTS) == [ROK] * 3
        assert places(centre)[taken:] == [(7, 3, 1), (7, 3, 2), (7, 3, 3)]
        assert "".join(one.text for one in centre.messages[taken:]) == WHOLE + notice_of()


@pytest.mark.usefixtures("waits")
async def test_14_a_withdrawal_while_parts_wait_counts_for_the_next_message() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        sequences = await held(gate, client, *PARTS[:2])
        gate.judge.verdicts[CANONICAL] = BLOCKED
        sequences.append(client.ask(SUBMIT, PARTS[2]))
        assert await statuses(client, sequences) == [ROK] * 3, "all parts have the answer of the first"
        assert await send_at_once(client, *PARTS) == [SUBMITFAIL] * 3
        assert len(centre.messages) == 3


async def test_14_a_blocked_message_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", FOR_EVER)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert await send(client, *PARTS) == [SUBMITFAIL] * 3
        assert centre.messages == []


async def test_15_parts_that_are_put_off_for_years_are_refused() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        bodies = [part_of(n, schedule=b"991125033000032+") for n in (1, 2, 3)]
        assert ROK not in await send_at_once(client, *bodies)
        assert centre.messages == []


@pytest.mark.usefixtures("waits")
async def test_16_a_text_with_its_notice_goes_as_it_came() -> None:
    """The link may lie across a border of parts."""
    link = link_of(CANONICAL).decode()
    bodies = [part_of(1), part_of(2, word="RET " + link[:20]), part_of(3, word=link[20:])]
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send_at_once(client, *bodies) == [ROK] * 3
        assert [one.body for one in centre.messages] == bodies


@pytest.mark.usefixtures("hurries")
async def test_16_a_text_whose_parts_come_one_by_one_gets_a_notice_in_any_case() -> None:
    """When its first part goes, nobody knows what its last will say. Twice is lawful, not at all is not."""
    last = part_of(3, word=f"RET {link_of(CANONICAL).decode()}")
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, *PARTS[:2], last) == [ROK] * 3
        (text,) = centre.take_texts()
        assert text.endswith(notice_of())


async def test_17_parts_in_packed_septets_are_refused() -> None:
    table = alphabets({}, septets=False)
    async with smsc() as centre, house(centre.port, alphabets=table) as gate, gate.client() as client:
        assert await send(client, PARTS[0]) == [SUBMITFAIL]
        assert (centre.messages, gate.judge.refused) == ([], [Reason.UNFIT])
        assert await send_at_once(client, *(part_of(n, coding=8) for n in (1, 2, 3))) == [ROK] * 3


# a client that sends the next part only when it has the answer to the last one


async def test_a_window_of_one_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)
        assert await send(client, *PARTS) == [ROK] * 3
        monkeypatch.setattr(limits, "SMPP_PARTS_S", FOR_EVER)
        assert await send(client, *(part_of(n, reference=8) for n in (1, 2, 3))) == [ROK] * 3
        assert places(centre) == [(ref, 4, n) for ref in (7, 8) for n in (4, 1, 2, 3)]


async def test_a_client_that_sends_all_at_once_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)
        assert await send(client, *PARTS) == [ROK] * 3
        monkeypatch.setattr(limits, "SMPP_PARTS_S", FOR_EVER)
        centre.behaviour.holding = True
        sequences = await held(gate, client, *(part_of(n, reference=8) for n in (1, 2, 3)))
        await eventually_async(lambda: len(centre.messages) == 5, what="the notice of the second message")
        centre.behaviour.holding = False
        centre.release()
        assert await statuses(client, sequences) == [ROK] * 3
        sequences = await held(gate, client, *(part_of(n, reference=9) for n in (1, 2)))
        assert len(centre.messages) == 8, "the third message waits for its end"
        sequences.append(client.ask(SUBMIT, part_of(3, reference=9)))
        assert await statuses(client, sequences) == [ROK] * 3
        assert places(centre)[8:] == [(9, 3, 1), (9, 3, 2), (9, 3, 3)]


@pytest.mark.usefixtures("waits")
async def test_nothing_is_waited_for_when_nothing_can_be_saved() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert await send(client, part_of(3, word="c" * 100), *PARTS[:2]) == [ROK] * 3
        assert places(centre) == [(7, 4, 4), (7, 4, 3), (7, 4, 1), (7, 4, 2)]
        assert centre.take_texts() == ["Bir iki " + "c" * 100 + notice_of()]


@pytest.mark.parametrize("kind", ["udh8", "udh16", "sar"])
@pytest.mark.usefixtures("waits")
async def test_a_notice_that_fills_two_parts_alone_needs_one_behind_a_short_end(kind: str) -> None:
    bodies = [part_of(n, kind=kind, coding=8, registered=1) for n in (1, 2, 3)]
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        sequences = [client.ask(SUBMIT, body) for body in bodies]
        heard = [await client.hear() for _ in range(6)]
        answers = {one.sequence: one for one in heard if one.command & RESP}
        assert [one.command & RESP for one in heard] == [RESP] * 3 + [0] * 3, "no receipt overtakes its answer"
        by_place = {(one.place() or (0, 0, 0))[2]: one for one in centre.messages}
        assert [answers[n].body for n in sequences] == [by_place[n].message_id.encode() + b"\0" for n in (1, 2, 3)]
        assert {place and place[:2] for place in places(centre)} == {(7, 4)}
        assert [by_place[n].registered_delivery for n in (1, 2, 3, 4)] == [1, 1, 1, 0]
        assert centre.take_texts() == [WHOLE + notice_of()]

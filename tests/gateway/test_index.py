"""One conformance suite for both forms of the index: what is listed is found, and what cannot be believed is not."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest

from filters.layout import Family, Suspended
from filters.model import Reason
from gateway import limits
from gateway.index.interface import Answers, Fault
from gateway.index.shared import RedisIndex
from tests.conftest import RedisServer, eventually_async
from tests.gateway.asking import ask, becomes, citizen, citizens
from tests.gateway.conftest import BIREYSEL, KEY, TACIR, Asking, Written, written_to

pytestmark = pytest.mark.usefixtures("patient")


async def test_members_are_found_and_others_are_not(written: Written) -> None:
    written.build(*(b"m%d@example.test" % number for number in range(500)))
    index = written.open()
    await index.start()
    batch = [citizen(b"m%d" % number) for number in range(0, 1000, 7)]
    assert await ask(index, *batch) == [number < 500 for number in range(0, 1000, 7)]
    assert index.status.reason is None
    await index.close()


async def test_what_was_answered_is_not_left_to_the_collector_of_cycles(written: Written) -> None:
    """A batch holds its messages: in cycles some ten thousand of them lay about before each look of the collector."""
    written.build(b"m1@example.test")
    index = written.open()
    await index.start()
    gc.collect()
    gc.disable()
    try:
        await ask(index, *citizens(50))
        left = sum(isinstance(one, Asking) for one in gc.get_objects())
    finally:
        gc.enable()
    assert left == 0
    await index.close()


async def test_families_are_apart(written: Written) -> None:
    written.build(b"both@example.test", family=Family.TACIR)
    index = written.open()
    await index.start()
    merchant, person = Asking(TACIR, b"both@example.test"), Asking(BIREYSEL, b"both@example.test")
    assert await ask(index, merchant, person) == [True, False]
    await index.close()


async def test_i5_a_withdrawal_is_seen_by_the_next_question(written: Written) -> None:
    written.build(b"a@example.test")
    index = written.open()
    await index.start()
    assert await ask(index, citizen(b"a")) == [True]
    written.change(b"a@example.test", member=False)
    assert await ask(index, citizen(b"a")) == [False]
    written.change(b"a@example.test", member=True)
    assert await ask(index, citizen(b"a")) == [True]
    await index.close()


async def test_a_switch_of_epochs_is_followed_without_a_wrong_answer(written: Written) -> None:
    written.build(b"a@example.test")
    index = written.open()
    await index.start()
    assert await ask(index, citizen(b"a"), citizen(b"b")) == [True, False]
    written.build(b"a@example.test", b"b@example.test", expected=1_000_000)
    assert await ask(index, citizen(b"a"), citizen(b"b")) == [True, True]
    await index.close()


async def test_who_is_suspended_is_known_with_the_next_answer(written: Written) -> None:
    written.build(b"a@example.test")
    index = written.open()
    await index.start()
    assert (await ask(index, citizen(b"a")), index.suspended) == ([True], frozenset())
    assert written.writer.suspend(Suspended(3, frozenset({100001, 100002}))) == 3
    assert (await ask(index, citizen(b"a")), index.suspended) == ([True], {100001, 100002})
    assert written.writer.suspend(Suspended(2)) == 3, "who knows less is not believed"
    assert (await ask(index, citizen(b"a")), index.suspended) == ([True], {100001, 100002})
    assert written.writer.suspend(Suspended(2), over=3) == 2
    assert (await ask(index, citizen(b"a")), index.suspended) == ([True], frozenset())
    await index.close()


async def test_i4_an_index_that_is_silent_about_suspensions_says_nothing(written: Written) -> None:
    written.build(b"a@example.test", suspended=None)
    index = written.open()
    await index.start()
    assert await ask(index, citizen(b"a")) is Reason.INDEX_STALE
    assert index.status.faults == {Fault.ABSENT}
    written.writer.suspend(Suspended())
    assert await ask(index, citizen(b"a")) == [True]
    await index.close()


@pytest.mark.parametrize("when", ["never built", "emptied", "other key"])
async def test_i4_an_index_that_is_not_whole_says_nothing(written: Written, when: str) -> None:
    if when != "never built":
        written.build(b"a@example.test")
    index = written.open(key=KEY[::-1] if when == "other key" else KEY)
    await index.start()
    if when == "emptied":
        assert await ask(index, citizen(b"a")) == [True]
        written.empty()
    assert await ask(index, citizen(b"a")) == Reason.INDEX_STALE
    assert index.status.faults == {Fault.OTHER_KEY if when == "other key" else Fault.ABSENT}
    await index.close()


async def test_i4_an_older_epoch_than_seen_says_nothing(written: Written) -> None:
    written.build(b"a@example.test")
    written.build(b"a@example.test")
    index = written.open()
    await index.start()
    assert await ask(index, citizen(b"a")) == [True]
    written.empty()
    written.epochs = 0
    assert written.build(b"a@example.test") == 1
    assert await ask(index, citizen(b"a")) == Reason.INDEX_STALE
    await index.close()


async def test_i4_an_index_unheard_of_for_too_long_says_nothing(written: Written) -> None:
    written.build(b"a@example.test")
    index = written.open(age_max_s=-1)
    await index.start()
    assert await ask(index, citizen(b"a")) == Reason.INDEX_STALE
    assert index.status.age_s >= 0
    assert index.status.faults == {Fault.NO_HEARTBEAT}
    await index.close()


async def test_i4_an_absent_index_is_down_and_comes_back_by_itself(written: Written) -> None:
    written.build(b"a@example.test")
    index = written.open()
    await index.start()
    assert await ask(index, citizen(b"a")) == [True]
    written.vanish()
    assert await ask(index, citizen(b"a")) == Reason.INDEX_DOWN
    written.come_back()
    if isinstance(index, RedisIndex):
        written.epochs = 10
        written.build(b"a@example.test")  # Redis kept nothing

    await becomes(index, [citizen(b"a")], [True])
    await index.close()


async def test_absent_at_the_start_is_no_error(written: Written) -> None:
    written.vanish()
    index = written.open()
    await index.start()
    assert await ask(index, citizen(b"a")) == Reason.INDEX_DOWN
    await index.close()


# What only a server can do.


async def test_a_batch_is_one_write_and_one_answer(redis_server: RedisServer, written: Written) -> None:
    """Pipelined: a thousand questions are answered together although each is a command."""
    written.build(*(b"m%d@example.test" % number for number in range(100)))
    index = written.open()
    await index.start()
    seen: list[int] = []

    def done(questions: Sequence[object], _: Answers) -> None:
        seen.append(len(questions))

    index.ask([citizen(b"m%d" % number) for number in range(limits.INDEX_BATCH_MAX)], done)
    await eventually_async(lambda: sum(seen) == limits.INDEX_BATCH_MAX, what="answers")
    assert len(seen) == 1
    await index.close()


async def test_i3_a_server_that_does_not_answer_is_hung_up_on(redis_server: RedisServer) -> None:
    """Its late answers must never meet the next question: the connection is closed, not used again."""
    with written_to(redis_server) as house:
        house.build(b"a@example.test")
        index = house.open()
        await index.start()
        redis_server.pause()
        for _ in range(3):
            assert await ask(index, citizen(b"b")) == Reason.INDEX_DOWN
        redis_server.resume()
        await becomes(index, [citizen(b"a"), citizen(b"b")], [True, False])
        for _ in range(50):
            assert await ask(index, citizen(b"b")) == [False]
            assert await ask(index, citizen(b"a")) == [True]
        await index.close()


async def test_more_batches_than_may_be_under_way_wait_their_turn(written: Written) -> None:
    written.build(b"a@example.test")
    index = written.open()
    await index.start()
    answered: list[Answers] = []
    for number in range(5 * limits.INDEX_BATCHES_IN_FLIGHT_MAX):
        index.ask([citizen(b"a" if number % 2 else b"b")], lambda _, answers: answered.append(answers))
    await eventually_async(lambda: len(answered) == 5 * limits.INDEX_BATCHES_IN_FLIGHT_MAX, what="answers")
    assert answered == [[bool(number % 2)] for number in range(5 * limits.INDEX_BATCHES_IN_FLIGHT_MAX)]
    await index.close()

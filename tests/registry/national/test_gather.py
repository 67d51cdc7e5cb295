"""Groups: in order, one at a time, bounded; a fault is everybody's, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from registry.national.gather import Gatherer, TooMany
from tests.waiting import eventually_async


class Work:
    """Doubles numbers; remembers the groups, and may be held up."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append(list(numbers))
        assert self.go.wait(30)
        if 13 in numbers:
            raise ZeroDivisionError
        return [2 * number for number in numbers]


@pytest.fixture
def work() -> Iterator[Work]:
    one = Work()
    yield one
    one.go.set()


async def test_what_gathers_meanwhile_is_one_group(work: Work) -> None:
    gatherer: Gatherer[int, int] = Gatherer(work, "test", group_max=100, waiting_max=100)
    work.go.clear()
    tasks = [asyncio.ensure_future(gatherer(1)), asyncio.ensure_future(gatherer(2))]
    await eventually_async(lambda: len(work.groups) == 1, within=30)
    tasks += [asyncio.ensure_future(gatherer(number)) for number in range(3, 8)]
    await asyncio.sleep(0)
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12, 14]
    assert work.groups == [[1, 2], [3, 4, 5, 6, 7]]
    gatherer.close()


async def test_groups_are_bounded(work: Work) -> None:
    gatherer: Gatherer[int, int] = Gatherer(work, "test", group_max=2, waiting_max=100)
    assert await asyncio.gather(*map(gatherer, range(5))) == [0, 2, 4, 6, 8]
    assert work.groups == [[0, 1], [2, 3], [4]]
    gatherer.close()


async def test_i7_more_than_may_wait_are_refused(work: Work) -> None:
    gatherer: Gatherer[int, int] = Gatherer(work, "test", group_max=2, waiting_max=3)
    answers = await asyncio.gather(*map(gatherer, range(5)), return_exceptions=True)
    assert answers[:3] == [0, 2, 4]
    assert [type(one) for one in answers[3:]] == [TooMany, TooMany]
    gatherer.close()


async def test_a_fault_is_its_group_s_and_the_next_group_goes_on(work: Work) -> None:
    gatherer: Gatherer[int, int] = Gatherer(work, "test", group_max=2, waiting_max=100)
    answers = await asyncio.gather(*map(gatherer, (1, 13, 2)), return_exceptions=True)
    assert [type(one) for one in answers[:2]] == [ZeroDivisionError] * 2
    assert answers[2] == 4
    gatherer.close()


async def test_who_goes_away_takes_nobody_along(work: Work) -> None:
    gatherer: Gatherer[int, int] = Gatherer(work, "test", group_max=10, waiting_max=100)
    work.go.clear()
    first, second = asyncio.ensure_future(gatherer(1)), asyncio.ensure_future(gatherer(2))
    await eventually_async(lambda: len(work.groups) == 1, within=30)
    first.cancel()
    work.go.set()
    assert await second == 4
    assert await gatherer(5) == 10
    gatherer.close()

"""Many requests, one trip to a thread: what has gathered while a thread was busy goes to it as one group.

A thread hop costs as much as the work of ten small requests, and a commit as much as that of hundreds. So requests do
not go one by one: under load the groups grow by themselves, and a single request waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class TooMany(Exception):
    """As many wait as may."""


class Gatherer(Generic[T, R]):
    """Awaitable for one item; `work` is called in a thread of its own with a group of them and answers each, in order.

    Groups follow one another. What `work` raises is raised for each item of the group. For one event loop.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Sequence[R]], name: str, *, group_max: int, waiting_max: int
    ) -> None:
        self._work = work
        self._group_max = group_max
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._busy = False

    async def __call__(self, item: T) -> R:
        """The answer to `item`. Raises TooMany, or what `work` raised."""
        if len(self._waiting) >= self._waiting_max:
            raise TooMany
        loop = asyncio.get_running_loop()
        told: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, told))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._begin, loop)  # what else this tick brings comes along
        return await told

    def close(self) -> None:
        """Take nothing more; a group under way is finished."""
        self._thread.shutdown(wait=True)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        count = min(len(self._waiting), self._group_max)
        group = [self._waiting.popleft() for _ in range(count)]
        under_way = loop.run_in_executor(self._thread, self._work, [item for item, _ in group])
        under_way.add_done_callback(lambda done: self._done(loop, group, done))

    def _done(
        self,
        loop: asyncio.AbstractEventLoop,
        group: Sequence[tuple[T, asyncio.Future[R]]],
        done: asyncio.Future[Sequence[R]],
    ) -> None:
        if self._waiting:
            self._begin(loop)
        else:
            self._busy = False
        if done.cancelled():  # the loop ends
            for _, told in group:
                told.cancel()
            return
        fault = done.exception()
        answers = [None] * len(group) if fault is not None else done.result()
        for (_, told), answer in zip(group, answers, strict=True):
            if told.done():  # who asked has gone
                continue
            if fault is not None:
                told.set_exception(fault)
            else:
                told.set_result(answer)  # type: ignore[arg-type]

"""Waiting for what is about to be true, without sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def eventually(
    holds: Callable[[], object], *, within: float = 60.0, what: str = "condition", every: float = 0.01
) -> None:
    """Poll until `holds()` is true; the deadline (seconds) only ends a test that has failed anyway.

    `every` (seconds) is for questions that cost something.
    """
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        time.sleep(every)


async def eventually_async(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], *, within: float = 60.0, what: str = "condition"
) -> None:
    """As `eventually`, without blocking the loop; `holds` may be a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        await asyncio.sleep(0.01)

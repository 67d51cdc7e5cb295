"""The body of the thread that keeps the index level with the ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from registry.index.interface import IndexDown
from registry.limits import FAULT_SECONDS, REVIEWS_LOOK_SECONDS, TICK_SECONDS
from registry.publish import Publisher


class PublisherLoop:
    """Runs until `stop` is set; its attributes are for the health page.

    `end_reviews(now)` records what has become valid by the calendar (`registry.transition`); it is called once in a
    while, and again at once as long as it finds something.

    A fault of the index or the ledger is remembered and the work tried again at the next tick; any other exception is
    our own, ends the thread and shows as a loop that no longer moves.
    """

    def __init__(
        self, publisher: Publisher, stop: threading.Event, end_reviews: Callable[[datetime], int] = lambda now: 0
    ) -> None:
        self._publisher = publisher
        self._end_reviews = end_reviews
        self._look_at = 0.0  # monotonic: when to look for ended reviews again
        self._stop = stop
        self._moved = self._level = time.monotonic()
        self.fault = "not yet level with the ledger"  # "" when the last tick went through

    def run(self) -> None:
        step = self._publisher.ensure
        while not self._stop.is_set():
            self._moved = time.monotonic()
            try:
                if time.monotonic() >= self._look_at and not self._end_reviews(datetime.now(UTC)):
                    self._look_at = time.monotonic() + REVIEWS_LOOK_SECONDS
                step(self._moving)
            except (IndexDown, SQLAlchemyError) as error:
                self.fault = f"{type(error).__name__}: {error}"
                self._stop.wait(FAULT_SECONDS)
            else:
                step = self._publisher.tick
                self._moved = self._level = time.monotonic()
                self.fault = ""
                self._stop.wait(TICK_SECONDS)

    @property
    def moved_age_s(self) -> float:
        """Seconds since the loop last did anything, a step of a long build included."""
        return time.monotonic() - self._moved

    @property
    def level_age_s(self) -> float:
        """Seconds since the index was last level with the ledger (since the start, if it never was)."""
        return time.monotonic() - self._level

    def _moving(self, _done: int, _total: int) -> None:
        self._moved = time.monotonic()
        if self._stop.is_set():
            raise IndexDown("stopping: the next start goes on with the build")

"""What the routes for batches, changes, pushes and retailers share, and the threads that work for them."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from filters.model import Brand
from registry.background import Sometimes, Watch, Worker
from registry.ledger import Ledger
from registry.limits import (
    API_FORGET_SECONDS,
    API_STOP_SECONDS,
    API_WORK_SECONDS,
    PUSH_THREADS,
    PUSH_THREADS_WAITING_MAX,
    PUSH_TICK_SECONDS,
)
from registry.national.batch_store import Batches
from registry.national.change_pages import Changes
from registry.national.gather import TooMany
from registry.national.outward import Outward
from registry.national.push_delivery import Delivery
from registry.national.push_store import Registrations
from registry.national.recorder import Recorder
from registry.national.retailer_store import RetailerStore
from registry.national.seal import Seal

T = TypeVar("T")
CHANGES_DELAY: Final = timedelta(minutes=60)


@dataclass(frozen=True, slots=True)
class Manners:
    """What may be chosen about the parts that are here."""

    changes_delay: timedelta = CHANGES_DELAY  # so long a move is kept from `changes`
    push_private: bool = False  # receivers of pushes may be in our own network
    push_trust: ssl.SSLContext | None = None  # whose certificates receivers may have; None: the system's CAs
    unknown_merchants_rejected: bool = False  # in the list for intermediaries


class Rest:
    """Its parts are thread-safe. `start` once, `close` at the end."""

    def __init__(
        self,
        ledger: Ledger,
        brands: Mapping[int, Brand],
        push_key: bytes,
        manners: Manners,
        clock: Callable[[], datetime],
        watch: Watch | None = None,
    ) -> None:
        """`recorder` has to be set before anything is worked off. `push_key` seals the passwords of receivers."""
        engine = ledger.engine
        self.retailers = RetailerStore(engine)
        self.changes = Changes(engine, manners.changes_delay, clock)
        self.registrations = Registrations(engine, Seal(push_key), clock)
        self.outward = Outward(private=manners.push_private, context=manners.push_trust)
        watch = watch or Watch()
        self._batching, self._pushing = watch.pulse("batches"), watch.pulse("pushes")
        self.delivery = Delivery(engine, self.registrations, self.outward, brands, self._pushing.moved)
        self.told = threading.Event()
        """Set when there may be something to push."""
        self._ledger = ledger
        self._clock = clock
        self._threads = ThreadPoolExecutor(PUSH_THREADS, thread_name_prefix="outside")
        self._under_way = 0
        self._workers: list[Worker] = []

    def record_with(self, recorder: Recorder) -> None:
        """Batches are recorded by it."""
        self.batches = Batches(self._ledger, recorder, self._clock)

    def start(self) -> None:
        """Begin to work off batches and to deliver pushes."""
        forget = Sometimes(self.batches.forget, API_FORGET_SECONDS)

        def step() -> bool:
            forget()
            return self.batches.work_off()

        self._workers = [
            Worker(self._batching, step, API_WORK_SECONDS, self.batches.arrived),
            Worker(self._pushing, self.delivery.step, PUSH_TICK_SECONDS, self.told),
        ]
        for worker in self._workers:
            worker.start()

    async def outside(self, work: Callable[[], T]) -> T:
        """What waits for somebody else's server, which may be slow. Raises TooMany."""
        if self._under_way >= PUSH_THREADS + PUSH_THREADS_WAITING_MAX:
            raise TooMany
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """What is under way is finished, or given up after a while: it is taken up again at the next start."""
        for worker in self._workers:
            worker.stop(API_STOP_SECONDS)
        self._threads.shutdown(wait=True, cancel_futures=True)

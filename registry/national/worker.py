"""What the national API does without being asked: threads that repeat a piece of work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from registry.index.interface import IndexDown
from registry.limits import FAULT_SECONDS
from registry.log import logger

Step = Callable[[], bool]
"""Does a piece of work; True: there may be more of it now."""


class Worker:
    """A thread that repeats a step: at once while there is more, else when it is woken, and every `wait_s` anyway.

    A fault of the ledger or the index is logged once and the step tried again; any other exception is our own, is
    logged, and tried again too: what this thread does nobody else does.
    """

    def __init__(self, name: str, step: Step, wait_s: float, woken: threading.Event | None = None) -> None:
        self._step = step
        self._wait_s = wait_s
        self._woken = woken or threading.Event()
        self._stopping = False
        self._faulty = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Returns when the step that is under way has ended, or later than `timeout_s` anyway."""
        self._stopping = True
        self._woken.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            wait_s = self._wait_s
            try:
                if self._step():
                    continue
                self._faulty = ""
            except (IndexDown, SQLAlchemyError) as fault:
                self._note("worker_waits", fault)
                wait_s = FAULT_SECONDS
            except Exception as fault:  # noqa: BLE001
                self._note("worker_broken", fault)
                wait_s = FAULT_SECONDS
            if not self._stopping:
                self._woken.wait(wait_s)

    def _note(self, event: str, fault: Exception) -> None:
        kind = type(fault).__name__
        if kind != self._faulty:
            logger.warning(event, worker=self._thread.name, error=kind)
        self._faulty = kind


class Sometimes:
    """Callable: does the work at most once in `seconds`, and at the first call."""

    def __init__(self, work: Callable[[], object], seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._next = float("-inf")  # monotonic

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self._work()

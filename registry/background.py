"""What a registry does without being asked: threads that repeat a piece of work, and what is known of their health.

A step that raises is logged once, counted, and tried again at growing intervals: what a thread does nobody else does.
One that neither ends nor moves cannot be ended from outside; `/livez` says so, for whoever can start the process anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from registry.index.interface import IndexDown
from registry.limits import BACKGROUND_BACKOFF_SECONDS_MAX, BACKGROUND_STALLED_SECONDS, FAULT_SECONDS
from registry.log import logger

HANGS: Final = "hangs"
ENDED: Final = "ended"

Step = Callable[[], bool]
"""Does a piece of work; True: there may be more of it now."""


class Pulse:
    """What one thread says of itself: it writes, everybody may read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults = 0
        """How many steps failed."""
        self._fault = ""
        self._parts: dict[str, str] = {}  # of a step that goes on for the others when one fails: name -> kind of fault
        self._in_vain = 0  # one after the other
        self._moved = 0.0  # monotonic; 0: it waits for work
        self._thread: threading.Thread | None = None

    @property
    def fault(self) -> str:
        """What the last step stumbled over, HANGS, ENDED, or ""."""
        if self._thread is not None and not self._thread.is_alive():
            return ENDED
        moved = self._moved
        if moved and time.monotonic() - moved > BACKGROUND_STALLED_SECONDS:
            return HANGS
        return self._fault or next(iter(self._parts.values()), "")

    def lives_in(self, thread: threading.Thread | None) -> None:
        """Which thread has to live; None: it may end now."""
        self._thread = thread

    def moved(self) -> None:
        """A step has begun, or a long one has come further."""
        self._moved = time.monotonic()

    def well(self) -> None:
        """A step went through."""
        self._moved = 0.0
        self._fault = ""
        self._in_vain = 0

    def stumbled(self, part: str, kind: str) -> bool:
        """A part of a step failed with this kind of fault, or not (""); whether that is news."""
        if not kind:
            self._parts = {name: one for name, one in self._parts.items() if name != part}
            return False
        news = self._parts.get(part) != kind
        self._parts = {**self._parts, part: kind}
        self.faults += 1
        return news

    def only(self, parts: Iterable[str]) -> None:
        """There are no other parts any more."""
        if self._parts:
            kept = frozenset(parts)
            self._parts = {name: kind for name, kind in self._parts.items() if name in kept}

    def failed(self, fault: BaseException) -> float:
        """Log it if it is new; seconds to wait."""
        kind = type(fault).__name__
        if kind != self._fault:
            expected = isinstance(fault, IndexDown | SQLAlchemyError | OSError)
            logger.warning("worker_waits" if expected else "worker_broken", worker=self.name, error=kind)
        self._moved = 0.0
        self._fault = kind
        self.faults += 1
        wait_s: float = min(FAULT_SECONDS * 2.0 ** min(self._in_vain, 16), BACKGROUND_BACKOFF_SECONDS_MAX)
        self._in_vain += 1
        return wait_s


class Watch:
    """The threads of a process."""

    def __init__(self) -> None:
        self._pulses: dict[str, Pulse] = {}

    def pulse(self, name: str) -> Pulse:
        """Of a thread; the same name again is a thread that replaces it."""
        self._pulses[name] = Pulse(name)
        return self._pulses[name]

    @property
    def pulses(self) -> list[Pulse]:
        """Of all threads."""
        return list(self._pulses.values())

    @property
    def faults(self) -> dict[str, str]:
        """Of each thread what is wrong with it, or ""."""
        return {pulse.name: pulse.fault for pulse in self.pulses}

    @property
    def hanging(self) -> list[str]:
        """The threads that only a new process can bring back."""
        return [name for name, fault in self.faults.items() if fault in (HANGS, ENDED)]


class Worker:
    """A thread that repeats a step: at once while there is more, else when it is woken, and every `wait_s` anyway."""

    def __init__(self, pulse: Pulse, step: Step, wait_s: float, woken: threading.Event | None = None) -> None:
        self._pulse = pulse
        self._step = step
        self._wait_s = wait_s
        self._woken = woken or threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=pulse.name, daemon=True)

    def start(self) -> None:
        self._pulse.lives_in(self._thread)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Returns when the step that is under way has ended, or later than `timeout_s` anyway."""
        self._pulse.lives_in(None)
        self._stopping = True
        self._woken.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            wait_s = self._wait_s
            self._pulse.moved()
            try:
                more = self._step()
            except BaseException as fault:  # noqa: BLE001 - also SystemExit: no thread ends without a word
                wait_s = self._pulse.failed(fault)
            else:
                self._pulse.well()
                if more:
                    continue
            if not self._stopping:
                self._woken.wait(wait_s)


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


class Timed:
    """A step: does the work when its time has come; the work says in how many seconds it comes again."""

    def __init__(self, work: Callable[[], float], first_s: float) -> None:
        self._work = work
        self._next = time.monotonic() + first_s

    def __call__(self) -> bool:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._work()
        return False

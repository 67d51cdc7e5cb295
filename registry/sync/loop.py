"""The thread that keeps all brands in step, and what the command line calls.

Of several processes on one ledger one works on a brand at a time. A fault holds up its brand only, and for as long as
the national system's code wants it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from registry.background import Pulse, Sometimes
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.limits import FAULT_SECONDS, SYNC_FORGET_SECONDS
from registry.log import logger
from registry.publish import Publisher
from registry.rules import TURKEY
from registry.sync import daily
from registry.sync.apply import Taker, forget
from registry.sync.brands import Brands
from registry.sync.client import Client, Fault
from registry.sync.codes import Then, wait_s
from registry.sync.outbox import oldest_due
from registry.sync.pull import GAP, Pulled, Wire, pull, take_rows
from registry.sync.reconcile import PLACE, Reconciled, reconcile
from registry.sync.settings import National, SyncedBrand
from registry.sync.state import Busy, Clock, State
from registry.sync.tokens import Tokens
from registry.sync.upload import Upload

FAULT: Final = "fault"
"""Name of the state that says what the last try stumbled over, "" when it went through."""
DAILY: Final = "compared"
"""Name of the state that says up to which day both sides' files were compared."""

STEPS: Final = ("pull", "repair", "push", "compare")

T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Sync:
    """Everything that is done with the national system. Thread-safe as far as brands' leases reach."""

    def __init__(
        self,
        national: National,
        ledger: Ledger,
        publisher: Publisher,
        secret: bytes,
        clock: Clock = utc_now,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """`secret` is a key of this installation. `moved` is called while long work goes on."""
        self._moved = moved
        self.national = national
        self.ledger = ledger
        self.publisher = publisher
        self.state = State(ledger.engine, clock, national.lease_s)
        self.client = Client(national)
        self.tokens = Tokens(self.client, self.state, national.url, secret)
        self.wire = Wire(self.client, self.tokens, self.state, Taker(ledger, publisher, clock))
        self.stopping = threading.Event()
        """Once it is set, what is under way ends at its next step."""
        self.brands = Brands(national, ledger.engine)
        self._uploads: dict[int, tuple[SyncedBrand, Upload]] = {}

    def close(self) -> None:
        self.client.close()

    def take(self, brand: SyncedBrand, rows: list[Any]) -> object:
        """What was pushed. Raises SQLAlchemyError or IndexDown."""
        return take_rows(self.wire, brand, rows)

    def upload(self, brand: SyncedBrand) -> Upload:
        """The one of a brand, until it has another login."""
        kept = self._uploads.get(brand.code)
        if kept is None or kept[0] != brand:
            kept = brand, Upload(self.wire, self.ledger, brand, self.national.result_s)
            self._uploads[brand.code] = kept
        return kept[1]

    # each for one brand, alone; raises Fault, Busy, IndexDown or SQLAlchemyError

    def pull(self, brand: SyncedBrand) -> Pulled:
        return self._alone(brand, lambda prolong: pull(self.wire, brand, prolong))

    def push(self, brand: SyncedBrand) -> int:
        return self._alone(brand, self.upload(brand).step)

    def reconcile(self, brand: SyncedBrand) -> Reconciled:
        return self._alone(brand, lambda prolong: reconcile(self.wire, self.ledger, brand, prolong))

    def compare(self, brand: SyncedBrand, day: date) -> str:
        return self._alone(brand, lambda prolong: daily.compare(self.wire, brand, day, prolong))

    def repair(self, brand: SyncedBrand) -> None:
        """Close the gap that pulls left, if there is one."""
        if self.state.get(brand.code, GAP) or self.state.get(brand.code, PLACE):
            found = self.reconcile(brand)
            logger.warning("national_reconciled", brand=brand.code, **found._asdict())

    def compare_days(self, brand: SyncedBrand) -> None:
        """Compare every day that is over and was not compared yet; the last hours of a day are told with delay."""
        now = self.state.clock().astimezone(TURKEY)
        last = (now - timedelta(hours=daily.TOLD_AFTER_HOURS)).date() - timedelta(days=1)
        said = self.state.get(brand.code, DAILY)
        day = last if not said else max(date.fromisoformat(said) + timedelta(days=1), last - timedelta(days=5))
        while day <= last:
            if self.compare(brand, day) == daily.UNDECIDED:
                return
            self.state.put(brand.code, DAILY, day.isoformat())
            day += timedelta(days=1)

    def forget(self) -> None:
        """Take out what nobody needs any more. Raises SQLAlchemyError."""
        if gone := forget(self.state, self.brands.codes(), self._moved):
            logger.info("national_uploads_forgotten", events=gone)

    def _alone(self, brand: SyncedBrand, work: Callable[[Callable[[], None]], T]) -> T:
        with self.state.lease(f"brand {brand.code}") as prolong:

            def go_on() -> None:
                if self.stopping.is_set():
                    raise Busy("stopping")
                self._moved()
                prolong()

            return work(go_on)


class SyncLoop:
    """`step` again and again. Any exception but the expected ones is ours: logged once, counted, and tried again."""

    def __init__(self, sync: Sync, pulse: Pulse | None = None) -> None:
        self._sync = sync
        self._pulse = pulse or Pulse("national")
        self._stop = sync.stopping
        self._forget = Sometimes(sync.forget, SYNC_FORGET_SECONDS)
        self._due: dict[tuple[int, str], float] = {}  # Unix time of the next turn
        self._tries: dict[tuple[int, str], int] = {}  # in vain, one after the other

    def step(self) -> bool:
        """What is due for all brands. Raises SQLAlchemyError."""
        brands = self._sync.brands.refresh()
        self._pulse.only(f"{brand.code} {name}" for brand in brands for name in STEPS)
        for brand in brands:
            if not self._stop.is_set():
                self._pulse.moved()
                self.turn(brand)
        self._forget()
        return False

    def turn(self, brand: SyncedBrand) -> None:
        """What is due for a brand."""
        national = self._sync.national
        steps: tuple[tuple[Callable[[SyncedBrand], object], float], ...] = (
            (self._sync.pull, national.pull_s),
            (self._sync.repair, national.pull_s),
            (self._push, national.upload_s),
            (self._sync.compare_days, national.pull_s),
        )
        for name, (step, every_s) in zip(STEPS, steps, strict=True):
            now = self._sync.state.clock()
            due = self._due.get((brand.code, name), 0.0)
            if due - every_s > now.timestamp() + 3600:  # the clock was set back
                due = 0.0
            if due <= now.timestamp():
                self._due[brand.code, name] = now.timestamp() + self._try(brand, name, step, every_s, now)

    def _push(self, brand: SyncedBrand) -> None:
        self._sync.push(brand)
        with self._sync.state.engine.connect() as connection:
            due = oldest_due(connection, brand.code)
        today = self._sync.state.clock().astimezone(TURKEY).date().isoformat()
        if due and due <= today:
            logger.warning("national_upload_late", brand=brand.code, due=due)

    def _try(
        self, brand: SyncedBrand, name: str, step: Callable[[SyncedBrand], object], every_s: float, now: datetime
    ) -> float:
        """Seconds until the next turn."""
        tries = self._tries.get((brand.code, name), 0)
        try:
            step(brand)
        except Busy:
            return FAULT_SECONDS
        except Fault as fault:
            self._note(brand, name, fault.code)
            self._tries[brand.code, name] = tries + 1
            return wait_s(fault.then, tries, now) if fault.then is not Then.FINAL else every_s
        except (IndexDown, SQLAlchemyError) as fault:
            kind = type(fault).__name__
            if self._pulse.stumbled(f"{brand.code} {name}", kind):
                logger.warning("national_waits", brand=brand.code, step=name, error=kind)
            return FAULT_SECONDS
        except Exception as fault:  # noqa: BLE001 - one brand's step must not keep the others
            kind = type(fault).__name__
            if self._pulse.stumbled(f"{brand.code} {name}", kind):
                logger.error("national_broken", brand=brand.code, step=name, error=kind)
            self._tries[brand.code, name] = tries + 1
            return wait_s(Then.LATER, tries, now)
        self._pulse.stumbled(f"{brand.code} {name}", "")
        self._tries[brand.code, name] = 0
        self._note(brand, name, "")
        return every_s

    def _note(self, brand: SyncedBrand, name: str, code: str) -> None:
        before = self._sync.state.get(brand.code, f"{FAULT} {name}")
        if before != code:
            if code:
                logger.warning("national_fault", brand=brand.code, step=name, code=code)
            self._sync.state.put(brand.code, f"{FAULT} {name}", code)

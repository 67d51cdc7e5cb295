"""The thread that once a day takes out what has lived long enough, and logs the digest that stands for the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from registry.append import newest
from registry.evidence import actors, retention
from registry.evidence.clock import ClockInDoubt
from registry.ledger import Ledger
from registry.limits import RETAIN_AGAIN_SECONDS, RETAIN_SECONDS
from registry.log import logger


def utc_now() -> datetime:
    return datetime.now(UTC)


class Daily:
    """Gives up when `stop` is set. Of several registries of one ledger the one that comes first does the work."""

    def __init__(
        self,
        ledger: Ledger,
        stop: threading.Event,
        now: Callable[[], datetime] = utc_now,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """`moved` is called while a long day's work goes on."""
        self._moved = moved
        self._ledger = ledger
        self._stop = stop
        self._now = now

    def turn(self) -> float:
        """One day's work; the seconds until the next."""
        try:
            with retention.alone(self._ledger.engine) as alone:
                if alone:
                    done = retention.retain(self._ledger, self._now(), actors.SERVICE, progress=self._go_on)
                    logger.info("ledger_retention", before=done.cutoff, events=done.events, removals=done.removals)
            with self._ledger.engine.connect() as connection:
                seq, digest = newest(connection)
        except SQLAlchemyError as error:
            logger.warning("ledger_retention_failed", error=type(error).__name__)
            return RETAIN_AGAIN_SECONDS
        except ClockInDoubt as doubt:
            logger.error("ledger_retention_refused", error=str(doubt), fix="izinli ledger retain --clock-is-right")
            return RETAIN_AGAIN_SECONDS
        except Stopped:
            return 0.0
        # kept elsewhere, it proves that nobody wrote the ledger anew
        logger.info("ledger_sealed", entry=seq, digest=digest.hex())
        return RETAIN_SECONDS

    def _go_on(self, _events: int) -> None:
        self._moved()
        if self._stop.is_set():
            raise Stopped


class Stopped(Exception):
    """The service ends; the next start goes on."""

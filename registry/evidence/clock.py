"""May this clock take evidence away? A machine that believes it is 2040 would remove what has years to live.

Each look of retention is written down. The next one has to come within RETAIN_CLOCK_DAYS of it, or somebody vouches for
the clock: so a clock that jumps ahead is refused for as long as it is wrong, also when new events are recorded by it.
Before there was a look, the newest event stands for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from registry.evidence.tables import retention_look
from registry.limits import RETAIN_CLOCK_DAYS
from registry.schema import consent_event

_WRITTEN: Final = "%Y-%m-%dT%H:%M:%SZ"


class ClockInDoubt(Exception):
    """The clock is so far ahead of what was seen last that nothing is removed; the text says how far."""


def check(connection: Connection, now: datetime) -> None:
    """Raises ClockInDoubt, SQLAlchemyError."""
    seen, what = connection.execute(select(retention_look.c.at)).scalar(), "the last look was at"
    if seen is None:
        newest = select(consent_event.c.recorded_at).order_by(consent_event.c.seq.desc()).limit(1)
        seen, what = connection.execute(newest).scalar(), "the newest event was recorded at"
    if seen is None:
        return  # an empty ledger
    then = datetime.strptime(seen, _WRITTEN).replace(tzinfo=UTC)
    if now - then > timedelta(days=RETAIN_CLOCK_DAYS):
        raise ClockInDoubt(
            f"the clock says {_written(now)}, and {what} {seen}, more than {RETAIN_CLOCK_DAYS} days before"
        )


def note(connection: Connection, now: datetime) -> None:
    """This look is the one to compare the next with. Raises SQLAlchemyError."""
    connection.execute(delete(retention_look))
    connection.execute(insert(retention_look).values(id=1, at=_written(now)))


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_WRITTEN)

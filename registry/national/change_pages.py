"""The moves of the last seven days, oldest first, page by page.

`after` is `<epoch>_<transactionId>` of the last row that was told, as in the national system. What it stands for in the
ledger is remembered for a while, also how far nothing followed it; else it is searched for in its second. An `after`
that is not found there (the ledger was restored) is taken as the beginning of its second: rather twice than never.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from registry.limits import API_CURSORS_MAX
from registry.national.moves import SKEW, Moved, Side, first_since, iso, last_seq, made_by, moved, moves_of
from registry.schema import consent_event, snapshot

WINDOW: Final = timedelta(days=7)
CURSOR: Final = re.compile(r"[0-9]{1,11}_[0-9a-f]{64}")


class Asked(NamedTuple):
    """One question."""

    brand: int
    side: Side
    after: str  # "": from the beginning of the window
    limit: int


class Changes:
    """Thread-safe. `delay`: how long a move is not told yet."""

    def __init__(self, engine: Engine, delay: timedelta, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._delay = delay
        self._clock = clock
        self._lock = threading.Lock()
        # (brand, side, after) -> the last event that need not be looked at again
        self._places: OrderedDict[tuple[int, Side, str], int] = OrderedDict()

    def page(self, asked: Asked) -> list[Moved]:
        """The next moves. Blocks; raises SQLAlchemyError."""
        now = self._clock()
        newest, oldest = iso(now - self._delay), now - WINDOW
        with snapshot(self._engine) as connection:
            place, since = self._place(connection, asked, oldest)
            head = last_seq(connection)
            query = moves_of(asked.brand).where(made_by(asked.side), consent_event.c.seq > place)
            query = query.where(consent_event.c.recorded_at >= max(iso(oldest), since))
            rows = connection.execute(query.order_by(consent_event.c.seq).limit(asked.limit)).all()
        found: list[Moved] = []
        for one in map(moved, rows):
            if one.recorded_at > newest:
                self._remember(asked, found, one.seq - 1)
                return found
            found.append(one)
        self._remember(asked, found, found[-1].seq if len(found) == asked.limit else head)
        return found

    def _place(self, connection: Connection, asked: Asked, oldest: datetime) -> tuple[int, str]:
        """(event behind which to look, `recorded_at` from which on)."""
        if not asked.after:
            return first_since(connection, oldest) - 1, ""
        with self._lock:
            place = self._places.get((asked.brand, asked.side, asked.after))
        if place is not None:
            return place, ""
        epoch, _, transaction = asked.after.partition("_")
        second = datetime.fromtimestamp(int(epoch), UTC)
        if second < oldest:
            return first_since(connection, oldest) - 1, ""
        first, behind = first_since(connection, second), first_since(connection, second + 2 * SKEW)
        at = consent_event.c.seq
        query = moves_of(asked.brand).where(at >= first, at < behind, consent_event.c.recorded_at == iso(second))
        for one in map(moved, connection.execute(query.order_by(at.desc()).execution_options(yield_per=1000))):
            if one.transaction == transaction:
                return one.seq, ""
        return first - 1, iso(second)

    def _remember(self, asked: Asked, found: list[Moved], place: int) -> None:
        after = cursor_of(found[-1]) if found else asked.after
        if after:
            with self._lock:
                self._places[asked.brand, asked.side, after] = place
                self._places.move_to_end((asked.brand, asked.side, after))
                if len(self._places) > API_CURSORS_MAX:
                    self._places.popitem(last=False)


def cursor_of(one: Moved) -> str:
    """What stands for it in `after`."""
    return f"{one.epoch}_{one.transaction}"

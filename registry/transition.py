"""Consents of before the national system, as the ledger has them (`filters.transition` has the calendar).

Until the end of the citizens' review nothing goes: such a consent stands in the ledger as an event like any other, but
its fold says BEKLIYOR, and the index does not have it. The end of the review is an event too, so that it reaches the
index by the way of all events, whoever is killed on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from filters.model import Status
from filters.transition import Window, window_of
from registry.append import move_of
from registry.awaiting import EXISTING, REVIEWED
from registry.evidence import actors
from registry.ledger import Ledger
from registry.limits import REVIEWS_ENDED_AT_ONCE
from registry.rules import TURKEY, Move
from registry.schema import consent, consent_event


class TooLate(ValueError):
    """Existing consents cannot be loaded any more; the text says since when."""


def origin_at(calendar: Sequence[Window], held: int, now: datetime) -> str:
    """The origin of what is loaded now. Raises TooLate after the last day."""
    window = window_of(calendar, held)
    today = now.astimezone(TURKEY).date()
    if today > window.load_until:
        raise TooLate(
            f"existing consents could be loaded until {window.load_until.isoformat()} by providers with more than "
            f"{window.over:,}; declare new ones within three business days (--declare)"
        )
    return f"{EXISTING}{window.review_until.isoformat()}"


def end_reviews(ledger: Ledger, now: datetime, *, at_once: int = REVIEWS_ENDED_AT_ONCE) -> int:
    """Let consents count whose review is over, the oldest first; how many. Raises SQLAlchemyError."""
    over = f"{EXISTING}{now.astimezone(TURKEY).date().isoformat()}"
    waiting = consent.join(consent_event, consent.c.seq == consent_event.c.seq)
    columns = [consent.c.fingerprint, *(consent_event.c[name] for name in Move._fields)]
    due = select(*columns).select_from(waiting).where(consent.c.status == Status.BEKLIYOR.value)
    due = due.where(consent_event.c.origin < over).order_by(consent.c.seq).limit(at_once)
    with ledger.append() as log:
        ended = [(bytes(row[0]), move_of(row[1:]), True) for row in log.connection.execute(due)]
        if ended:
            log.write(ended, origin=REVIEWED, now=now, actor=actors.SERVICE)
    return len(ended)

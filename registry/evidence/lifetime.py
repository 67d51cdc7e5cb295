"""When a consent's record has lived long enough. Pure: a history in, the numbers of its events that may go out.

A record is kept for three years after the consent's validity ended (regulation on commercial messages, art. 13). Read
here so, where the law is silent for what is kept longer:

* A history, in the order of consentDate, is a row of lives: one or more ONAY, and the RET that end them. A life goes as
  a whole, three years after the latest of its dates: what was said, and when it was recorded, because until then
  messages could go.
* What stands stays: an ONAY that no RET ended, however old; and the RET of a TACIR, which is what keeps messages away,
  though not what it ended.
* Lives go oldest first: while an older one stays (it was recorded late), a newer one stays too. So what stands never
  changes, but for one case: when the RET of a BIREYSEL goes, nothing stands, and the next consent is a first record.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from filters.model import RecipientType, Status
from registry.rules import turkey_time

YEARS: Final = 3
RULE: Final = "ended-3-years"


class Record(NamedTuple):
    """What counts of one event. Ordered as a history is: `registry.rules.Consent`, then as recorded."""

    consent_date: str
    status: str
    source: str
    seq: int
    recorded_at: str


class Cutoff(NamedTuple):
    """What is older may go, in the two ways that dates are written in the ledger."""

    turkey: str
    utc: str


def cutoff(now: datetime) -> Cutoff:
    """Three years before `now`; what has no day then (29 February) ends the day before."""
    then = now.astimezone(UTC)
    day = 28 if (then.month, then.day) == (2, 29) else then.day
    then = then.replace(year=then.year - YEARS, day=day)
    return Cutoff(turkey_time(then), then.strftime("%Y-%m-%dT%H:%M:%SZ"))


def ended(history: Sequence[Record], kind: str, before: Cutoff) -> list[int]:
    """The numbers of one key's events that may go."""
    ordered = sorted(history)
    gone: list[int] = []
    for life in _lives(ordered):
        if life[-1].status != Status.RET or not all(_is_old(one, before) for one in life):
            break
        gone += [one.seq for one in life]
    if kind == RecipientType.TACIR and len(gone) == len(ordered):
        gone = gone[:-1]
    return gone


def _lives(ordered: Sequence[Record]) -> list[list[Record]]:
    """A life ends with its last RET; the last one may not have ended."""
    lives: list[list[Record]] = []
    for one in ordered:
        if not lives or (lives[-1][-1].status == Status.RET and one.status != Status.RET):
            lives.append([])
        lives[-1].append(one)
    return lives


def _is_old(one: Record, before: Cutoff) -> bool:
    return one.consent_date < before.turkey and one.recorded_at < before.utc

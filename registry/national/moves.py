"""The ledger's events as moves of the national system: which of them it would know, whose they are, and when.

Events stand in the order in which they were committed. When they were recorded is not indexed, because an import of
millions would pay for it; but it hardly ever steps back, so a moment is found by bisection. "Hardly": a clock may be
wrong by a little, and an import writes the time at which it began; SKEW bounds both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from filters.model import Channel, RecipientType, Status
from registry.awaiting import MISSING, REGISTERED, REVIEWED
from registry.ledger import transaction_id
from registry.national.standing import REFUSED
from registry.rules import Move, turkey_time
from registry.schema import consent_event

SKEW: Final = timedelta(hours=6)
CITIZEN_ORIGINS: Final = ("link", "oneclick", "sms", "call")
"""How a citizen's own refusal reaches us, past every provider (`registry.citizen`, `rejections`, `admins.consents`)."""
_ISO: Final = "%Y-%m-%dT%H:%M:%SZ"


class Side(StrEnum):
    """Who made a move."""

    HS = "HS"  # the provider
    IYS = "IYS"  # the citizen, at the national system or by our own link, mail or SMS


class Moved(NamedTuple):
    """One event."""

    seq: int
    move: Move
    recorded_at: str  # UTC, ISO 8601

    @property
    def transaction(self) -> str:
        return transaction_id(self.move).hex()

    @property
    def created(self) -> str:
        """When it was recorded, in Turkey."""
        return turkey_time(datetime.fromisoformat(self.recorded_at))

    @property
    def epoch(self) -> int:
        """When it was recorded, Unix time."""
        return int(datetime.fromisoformat(self.recorded_at).timestamp())


_COLUMNS: Final = [consent_event.c[name] for name in ("seq", *Move._fields, "recorded_at")]


def rows_of() -> Select[Any]:
    """All that anybody said, in no order yet; rows for `moved`. That it began or ceased to count is no move."""
    return select(*_COLUMNS).where(consent_event.c.origin.not_in((REGISTERED, REVIEWED, MISSING)))


def moves_of(brand: int) -> Select[Any]:
    """Likewise of a brand, and what the national system would know of."""
    known = consent_event.c.origin.not_in(sorted(REFUSED))
    return rows_of().where(consent_event.c.brand == brand, known)


def made_by(side: Side) -> ColumnElement[bool]:
    """Those of one side."""
    citizen = or_(
        consent_event.c.source.startswith("IYS_", autoescape=True), consent_event.c.origin.in_(CITIZEN_ORIGINS)
    )
    return citizen if side is Side.IYS else ~citizen


def moved(row: Iterable[Any]) -> Moved:
    """A row of `moves_of`."""
    seq, brand, channel, recipient, kind, status, source, date, recorded_at = row
    move = Move(brand, Channel(channel), recipient.encode(), RecipientType(kind), Status(status), source, date)
    return Moved(seq, move, recorded_at)


def described(one: Moved) -> dict[str, Any]:
    """As the national API tells a move; what is not known is left out."""
    move = one.move
    told = {
        "consentDate": move.consent_date,
        "creationDate": one.created,
        "source": move.source,
        "recipient": move.recipient.decode(),
        "recipientType": move.recipient_type.value,
        "status": move.status.value,
        "type": move.channel.value,
        "transactionId": one.transaction,
    }
    return {name: value for name, value in told.items() if value}


def iso(moment: datetime) -> str:
    """As `recorded_at` is written."""
    return moment.astimezone(UTC).strftime(_ISO)


def last_seq(connection: Connection) -> int:
    """Of the newest event, 0 without any."""
    return int(connection.execute(select(func.coalesce(func.max(consent_event.c.seq), 0))).scalar_one())


def first_since(connection: Connection, moment: datetime) -> int:
    """A number below which no event was recorded at `moment` or later, and not much lower than it has to be."""
    wanted = iso(moment - SKEW)
    at = consent_event.c.seq
    low, high = 1, last_seq(connection) + 1
    while low < high:
        middle = (low + high) // 2
        query = select(at, consent_event.c.recorded_at).where(at >= middle).order_by(at).limit(1)
        row = connection.execute(query).one_or_none()
        if row is None or row[1] >= wanted:
            high = middle
        else:
            low = row[0] + 1
    return low

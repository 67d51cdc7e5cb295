"""All that the ledger holds about one recipient, for one brand and channel, with its place in the chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from filters.model import Channel, RecipientType, Status
from registry.evidence import chain
from registry.evidence.tables import recording
from registry.ledger import transaction_id
from registry.rules import Move
from registry.schema import consent, consent_event, snapshot
from registry.sync.tables import national_receipt


@dataclass(frozen=True, slots=True)
class Event:
    """One consent event. Digests are in hex; `before` and `digest` are those of the recording that seals it."""

    seq: int
    recipient_type: str
    status: str
    source: str
    consent_date: str  # Turkey time
    recorded_at: str  # UTC, ISO 8601
    origin: str
    actor: str
    transaction_id: str
    leaf: str
    first_sealed: int  # the recording's entries
    last_sealed: int
    before: str
    digest: str
    taken_at: str  # UTC, ISO 8601: when the national system was heard to have taken it; "": we did not tell it
    taken_as: str  # the transactionId there; "": it did not say


@dataclass(frozen=True, slots=True)
class Standing:
    """What the events amount to for a recipient type, and which of them says so."""

    recipient_type: str
    status: str
    seq: int


def events(engine: Engine, brand: int, channel: Channel, recipient: str, newest: int | None = None) -> list[Event]:
    """In the order in which they were recorded; all, or the `newest` ones. `recipient` is canonical.

    Raises SQLAlchemyError.
    """
    about = (consent_event.c.brand == brand, consent_event.c.channel == channel.value)
    statement = select(consent_event).where(consent_event.c.recipient == recipient, *about)
    with snapshot(engine) as connection:
        rows = connection.execute(statement.order_by(consent_event.c.seq.desc()).limit(newest)).all()
        return [_event(connection, row) for row in reversed(rows)]


def standing(engine: Engine, fingerprint: bytes) -> list[Standing]:
    """For each recipient type of which there are events. Raises SQLAlchemyError."""
    statement = select(consent.c.recipient_type, consent.c.status, consent.c.seq)
    with engine.connect() as connection:
        rows = connection.execute(statement.where(consent.c.fingerprint == fingerprint)).all()
    return sorted((Standing(*row) for row in rows), key=lambda one: one.recipient_type)


def _event(connection: Connection, row: Sequence[Any]) -> Event:
    seq, brand, channel, recipient, kind, status, source, date, recorded_at, origin = row
    move = Move(brand, Channel(channel), recipient.encode(), RecipientType(kind), Status(status), source, date)
    after = select(recording).where(recording.c.seq >= seq).order_by(recording.c.seq).limit(1)
    before = select(recording.c.seq, recording.c.digest).where(recording.c.seq < seq)
    seal = connection.execute(after).one_or_none()
    previous = connection.execute(before.order_by(recording.c.seq.desc()).limit(1)).one_or_none()
    taken = connection.execute(select(national_receipt).where(national_receipt.c.seq == seq)).one_or_none()
    return Event(
        seq=seq,
        recipient_type=kind,
        status=status,
        source=source,
        consent_date=date,
        recorded_at=recorded_at,
        origin=origin,
        actor="" if seal is None else seal.actor,
        transaction_id=transaction_id(move).hex(),
        leaf=chain.leaf(row).hex(),
        first_sealed=1 if previous is None else previous.seq + 1,
        last_sealed=0 if seal is None else seal.seq,
        before=chain.BEGINNING.hex() if previous is None else bytes(previous.digest).hex(),
        digest="" if seal is None else bytes(seal.digest).hex(),
        taken_at="" if taken is None else datetime.fromtimestamp(taken.heard_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        taken_as="" if taken is None else taken.transaction_id,
    )

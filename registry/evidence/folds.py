"""Does what stands follow from the events? `consent` is their fold, of which the index is made; no chain seals it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, and_, not_, or_, select

from filters.model import Channel, Status
from registry.schema import consent, consent_event, snapshot

_OF_THE_SAME: Final = consent_event.c.recipient_type == consent.c.recipient_type
# An ONAY may have to wait (`registry.awaiting`, `registry.transition`); then no message goes on it.
_AS_SAID: Final = or_(
    consent_event.c.status == consent.c.status,
    and_(consent.c.status == Status.BEKLIYOR.value, consent_event.c.status == Status.ONAY.value),
)


def wrong(connection: Connection, rows: int) -> Iterator[str]:
    """What stands and is not what its event says, of the whole ledger; `rows` are fetched at once.

    Raises SQLAlchemyError.
    """
    no_event: ColumnElement[bool] = consent_event.c.seq.is_(None)
    differs = or_(no_event, not_(and_(_OF_THE_SAME, _AS_SAID)))
    joined = consent.outerjoin(consent_event, consent_event.c.seq == consent.c.seq)
    columns = (consent.c.seq, consent.c.recipient_type, consent.c.status, consent_event.c.status)
    statement = select(*columns).select_from(joined).where(differs).order_by(consent.c.seq)
    for seq, kind, stands, said in connection.execute(statement.execution_options(yield_per=rows)):
        yield f"{stands} ({kind}) stands by event {seq}, which {f'is {said}' if said else 'is not there'}"


def wrong_about(engine: Engine, brand: int, channel: Channel, recipient: str, fingerprint: bytes) -> list[str]:
    """The same of one recipient, and whether the newest of the events is what stands. Raises SQLAlchemyError."""
    event = consent_event.c
    columns = (event.seq, event.recipient_type, event.consent_date, event.status, event.source)
    about = (event.brand == brand, event.channel == channel.value, event.recipient == recipient)
    with snapshot(engine) as connection:
        events = connection.execute(select(*columns).where(*about)).all()
        folds = connection.execute(select(consent).where(consent.c.fingerprint == fingerprint)).all()
    stands: dict[str, Any] = {fold.recipient_type: fold for fold in folds}
    found = []
    for kind in sorted({*stands, *(one.recipient_type for one in events)}):
        said = {one.seq: tuple(one[2:]) for one in events if one.recipient_type == kind}
        fold = stands.get(kind)
        newest = max(said.values(), default=None)
        if fold is None or said.get(fold.seq) != newest or newest is None or not _fits(fold.status, newest[1]):
            what = "nothing" if fold is None else f"{fold.status} by event {fold.seq}"
            found.append(f"{channel.value}, {kind}: {what} stands, which does not follow from the events")
    return found


def _fits(stands: str, said: str) -> bool:
    return stands == said or (stands, said) == (Status.BEKLIYOR.value, Status.ONAY.value)

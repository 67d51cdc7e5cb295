"""What an operator does about quotas: sets one, and sees whether what `registry.subscription` counts is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from filters.model import Channel
from registry.evidence import actors
from registry.ledger import Ledger
from registry.national.audit import write_audit
from registry.schema import consent_event, snapshot
from registry.subscription import Subscription, held_of, subscription, subscriptions


class Unknown(Exception):
    """No brand belongs to this iysCode."""


def set_quota(ledger: Ledger, iys_code: int, quota: int | None, actor: str, now: datetime) -> Subscription | None:
    """Let a provider hold so many consents from now on; None: as many as it likes. Returns what stands then.

    It is counted beside the writers, who wait only while what was recorded meanwhile is looked at. Raises Unknown (no
    brand is this provider's) or SQLAlchemyError.
    """
    known = ledger.subscriptions
    head = ledger.head()
    with snapshot(ledger.engine) as before:
        held = known.held(before)[iys_code] if quota is not None else 0
        with ledger.append() as log:
            mine = {brand for brand, owner in known.owners(log.connection).items() if owner == iys_code}
            if quota is not None and not mine:
                raise Unknown(str(iys_code))
            log.connection.execute(delete(subscription).where(subscription.c.iys_code == iys_code))
            detail = f"iysCode {iys_code}: {'none' if quota is None else quota}"
            write_audit(log.connection, actors.written(actor), "quota", now, detail=detail)
            if quota is None:
                return None
            touched = _touched(ledger, log.connection, head, mine)
            then, earlier = held_of(log.connection, touched), held_of(before, touched)
            held += sum(then[brand] - earlier[brand] for brand in mine)
            log.connection.execute(insert(subscription).values(iys_code=iys_code, quota=quota, held=held))
    return Subscription(iys_code, quota, held)


def wrong(ledger: Ledger) -> list[str]:
    """Where `held` is not what a count finds. Raises SQLAlchemyError."""
    with snapshot(ledger.engine) as connection:
        noted = subscriptions(connection)
        held = ledger.subscriptions.held(connection) if noted else Counter[int]()
    return [
        f"subscription of iysCode {one.iys_code}: {one.held} consents are noted and {held[one.iys_code]} are held; "
        "setting its quota again counts them"
        for one in noted
        if one.held != held[one.iys_code]
    ]


def _touched(ledger: Ledger, connection: Connection, after: int, brands: Collection[int]) -> list[bytes]:
    """The fingerprints of these brands that events behind one are about."""
    event = consent_event.c
    query = select(event.brand, event.channel, event.recipient).where(event.seq > after)
    touched = (row for row in connection.execute(query) if row.brand in brands)
    return sorted({ledger.fingerprint(one.brand, Channel(one.channel), one.recipient.encode()) for one in touched})

"""Who changed what, when: one row for each change, written in the transaction that makes it.

Actions: client-add, client-remove (by the command line), consent (one event of the ledger), consent-refused (an event
that the national system would not take, see docs/national.md), retailer-add, retailer-remove, access-add,
access-replace, access-remove (of retailers to consents: how many consents, and the retailers), push-add, push-remove,
agreement, quota (of a provider's subscription, by the command line). No address stands here: `event` leads to the
ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, insert

from registry.national.tables import api_audit


class Audited(NamedTuple):
    """One change."""

    client: str
    action: str
    brand: int | None
    event: int | None = None
    detail: str = ""


def write_audit(
    connection: Connection,
    client: str,
    action: str,
    now: datetime,
    *,
    brand: int | None = None,
    event: int | None = None,
    detail: str = "",
) -> None:
    """One row."""
    write_audits(connection, [Audited(client, action, brand, event, detail)], now)


def write_audits(connection: Connection, changes: Iterable[Audited], now: datetime) -> None:
    """A row for each."""
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = [{"at": at, **change._asdict()} for change in changes]
    if rows:
        connection.execute(insert(api_audit), rows)

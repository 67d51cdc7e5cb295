"""What admins did and what was done about them, and beside it what was decided about providers: who, when, what.

A row of `admin_audit` is written in the transaction that makes the change, or before what is only looked at is shown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Engine, String, cast, insert, literal, select, union_all

from registry.admins.tables import admin_audit
from registry.evidence import actors
from registry.national.tables import api_audit
from registry.providers.tables import provider_change


class Action(StrEnum):
    """What is written down."""

    ADD = "admin-add"
    RESET = "admin-reset"
    DISABLE = "admin-disable"
    ENABLE = "admin-enable"
    REMOVE = "admin-remove"
    LOGIN = "login"
    RECOVERY = "login-recovery"  # with a recovery code
    REFUSED = "login-refused"
    LOGOUT = "logout"
    DOCUMENT = "document"  # an applicant's document was fetched
    LOOKUP = "look-up"  # of a recipient's consents
    REFUSAL = "refusal"  # a RET for a caller is about to be recorded; the ledger says that it was


class Row(NamedTuple):
    """One line of the page, of whichever table."""

    at: str  # UTC, ISO 8601
    actor: str
    action: str
    subject: str
    detail: str


def write(
    connection: Connection, now: datetime, actor: str, action: Action, subject: str = "", detail: str = ""
) -> None:
    """One row. Neither `subject` nor `detail` may hold an address of a citizen."""
    row = {"at": utc(now), "actor": actors.written(actor), "action": action, "subject": subject, "detail": detail}
    connection.execute(insert(admin_audit).values(row))


def newest(engine: Engine, skip: int, limit: int) -> list[Row]:
    """What was done by admins, operators and the command line, newest first."""
    ours = select(
        *(admin_audit.c[name] for name in Row._fields), literal(0).label("source"), admin_audit.c.id.label("place")
    )
    change = provider_change.c
    subject = literal("provider ", String) + cast(change.provider, String)
    done = literal("provider ", String) + change.action + literal(" → ", String) + change.state
    decided = select(
        change.at, change.actor, done, subject, change.reason, literal(1).label("source"), change.seq.label("place")
    )
    clients = select(
        api_audit.c.at,
        api_audit.c.client,
        literal("API ", String) + api_audit.c.action,
        literal("", String),
        api_audit.c.detail,
        literal(2).label("source"),
        cast(api_audit.c.id, BigInteger).label("place"),
    ).where(api_audit.c.event.is_(None))  # events stand in the ledger, with who recorded them
    everything = union_all(ours, decided, clients).subquery()
    columns = everything.c
    query = select(*(columns[name] for name in Row._fields))
    query = query.order_by(columns.at.desc(), columns.source.desc(), columns.place.desc()).offset(skip).limit(limit)
    with engine.connect() as connection:
        return [Row(*row) for row in connection.execute(query)]


def utc(now: datetime) -> str:
    """As it is stored."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

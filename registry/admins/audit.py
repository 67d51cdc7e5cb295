"""What admins did and what was done about them, and beside it what was decided about providers: who, when, what.

A row of `admin_audit` is written in the transaction that makes the change, or before what is only looked at is shown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, Engine, insert, select

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
    DENIED = "denied"  # an auditor tried to decide
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
    row = {"actor": actor, "action": action, "subject": subject, "detail": detail}
    bounded = {name: actors.written(text) for name, text in row.items()}
    connection.execute(insert(admin_audit).values({"at": utc(now), **bounded}))


def newest(engine: Engine, skip: int, limit: int, *, refused: bool = True) -> list[Row]:
    """What was done by admins, operators and the command line, newest first; with `refused` logins, or without.

    Strangers write the latter, as many as they like: they must not hide what was done. Of each table no more is read
    than could be shown: each is numbered in the order in which it was written.
    """
    change, most = provider_change.c, skip + limit
    ours = select(*(admin_audit.c[name] for name in Row._fields)).order_by(admin_audit.c.id.desc()).limit(most)
    if not refused:
        ours = ours.where(admin_audit.c.action != Action.REFUSED)
    decided = select(change.at, change.actor, change.action, change.state, change.provider, change.reason)
    decided = decided.order_by(change.seq.desc()).limit(most)
    clients = select(api_audit.c.at, api_audit.c.client, api_audit.c.action, api_audit.c.detail)
    clients = clients.where(api_audit.c.event.is_(None))  # events stand in the ledger, with who recorded them
    clients = clients.order_by(api_audit.c.id.desc()).limit(most)
    with engine.connect() as connection:
        found = [
            *(Row(at, actor, f"API {action}", "", detail) for at, actor, action, detail in connection.execute(clients)),
            *(
                Row(at, actor, f"{action} → {state}", f"provider {number}", reason)
                for at, actor, action, state, number, reason in connection.execute(decided)
            ),
            *(Row(*row) for row in connection.execute(ours)),
        ]
    return sorted(found, key=lambda row: row.at, reverse=True)[skip : skip + limit]  # stable: newest first stays so


def utc(now: datetime) -> str:
    """As it is stored."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

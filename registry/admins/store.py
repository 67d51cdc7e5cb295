"""Admins in the ledger's database: added, given a new secret, disabled, enabled, removed, listed.

Each change is one transaction with its row in `admin_audit`. It takes the admin's row first and then ends the sessions,
so that a login that happens meanwhile is either seen and ended, or sees the change and fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from filters.passwords import Hash
from registry.admins import audit, totp
from registry.admins.audit import Action
from registry.admins.tables import admin_recovery, admin_session, admin_user
from registry.providers.vault import Vault
from registry.schema import appending

SECRET: Final = "admin totp"
RECOVERY: Final = "admin recovery"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class Role(StrEnum):
    """What an admin may do."""

    OPERATOR = "operator"  # decides
    AUDITOR = "auditor"  # reads


class NoSuchAdmin(Exception):
    """There is no admin of this name."""


class AdminExists(Exception):
    """There is an admin of this name."""


@dataclass(frozen=True, slots=True)
class Admin:
    """One admin, without secrets."""

    name: str
    role: Role
    disabled: bool
    created_at: str  # UTC, ISO 8601
    last_login: str | None
    recovery_codes: int  # that were not used yet


class Enrolment(NamedTuple):
    """What is shown once."""

    secret: str  # base32
    recovery_codes: list[str]


class Admins:
    """Thread-safe; a method is one transaction and raises SQLAlchemyError. `actor`: `registry.evidence.actors`."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self.engine = engine
        self._writing = appending(engine)  # SQLite takes its lock at once; PostgreSQL has row locks
        self.vault = vault

    def add(self, name: str, role: Role, password: Hash, now: datetime, actor: str) -> Enrolment:
        """A new admin. Raises AdminExists, and ValueError for a name that cannot be one."""
        if not NAME.fullmatch(name):
            raise ValueError("a name has 1 to 32 of a–z, 0–9, '.', '_' and '-', and begins with a letter or digit")
        new = _enrolment()
        row = {
            "name": name,
            "role": role,
            "password": str(password),
            "secret": self.vault.seal(SECRET, name.encode(), new.secret.encode()),
            "last_step": 0,
            "disabled": 0,
            "created_at": audit.utc(now),
        }
        try:
            with self.changing() as connection:
                connection.execute(insert(admin_user).values(row))
                self._keep_codes(connection, name, new.recovery_codes)
                audit.write(connection, now, actor, Action.ADD, name, role)
        except IntegrityError:
            raise AdminExists(name) from None
        return new

    def reset(self, name: str, password: Hash | None, now: datetime, actor: str) -> Enrolment:
        """A new TOTP secret and new recovery codes, and perhaps a new password. Raises NoSuchAdmin."""
        new = _enrolment()
        values = {"secret": self.vault.seal(SECRET, name.encode(), new.secret.encode()), "last_step": 0}
        if password is not None:
            values["password"] = str(password)
        with self.changing() as connection:
            _set(connection, name, values)
            self._keep_codes(connection, name, new.recovery_codes)
            _end_sessions(connection, name)
            detail = "secret, recovery codes" + (", password" if password is not None else "")
            audit.write(connection, now, actor, Action.RESET, name, detail)
        return new

    def set_disabled(self, name: str, disabled: bool, now: datetime, actor: str) -> None:
        """Let nobody in by this name, or again. Raises NoSuchAdmin."""
        with self.changing() as connection:
            _set(connection, name, {"disabled": int(disabled)})
            _end_sessions(connection, name)
            audit.write(connection, now, actor, Action.DISABLE if disabled else Action.ENABLE, name)

    def remove(self, name: str, now: datetime, actor: str) -> None:
        """Take an admin away; what it did stays in the audit. Raises NoSuchAdmin."""
        with self.changing() as connection:
            if not connection.execute(delete(admin_user).where(admin_user.c.name == name)).rowcount:
                raise NoSuchAdmin(name)
            connection.execute(delete(admin_recovery).where(admin_recovery.c.admin == name))
            _end_sessions(connection, name)
            audit.write(connection, now, actor, Action.REMOVE, name)

    def all(self) -> list[Admin]:
        """By name."""
        left = select(func.count()).where(admin_recovery.c.admin == admin_user.c.name).scalar_subquery()
        user = admin_user.c
        query = select(user.name, user.role, user.disabled, user.created_at, user.last_login, left).order_by(user.name)
        with self.engine.connect() as connection:
            return [Admin(row[0], Role(row[1]), bool(row[2]), *row[3:]) for row in connection.execute(query)]

    def note(self, now: datetime, actor: str, action: Action, subject: str, detail: str = "") -> None:
        """Write down what changes nothing here."""
        with self.changing() as connection:
            audit.write(connection, now, actor, action, subject, detail)

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """One transaction that writes."""
        with self._writing.begin() as connection:
            yield connection

    def recovery_digest(self, name: str, code: str) -> bytes:
        """What is kept of a recovery code."""
        return self.vault.digest(RECOVERY, f"{name}\n{totp.plain(code)}")

    def _keep_codes(self, connection: Connection, name: str, codes: list[str]) -> None:
        connection.execute(delete(admin_recovery).where(admin_recovery.c.admin == name))
        rows = [{"admin": name, "digest": self.recovery_digest(name, code)} for code in codes]
        connection.execute(insert(admin_recovery), rows)


def _enrolment() -> Enrolment:
    return Enrolment(totp.new_secret(), totp.new_recovery_codes())


def _set(connection: Connection, name: str, values: dict[str, object]) -> None:
    if not connection.execute(update(admin_user).where(admin_user.c.name == name).values(values)).rowcount:
        raise NoSuchAdmin(name)


def _end_sessions(connection: Connection, name: str) -> None:
    connection.execute(delete(admin_session).where(admin_session.c.admin == name))

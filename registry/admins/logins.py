"""Logging in with name, password and a code, and what a session is good for.

Whatever is wrong, the same work is done: the slow hash, three codes, one transaction that locks a row, looks for a
recovery code and writes a line. A code works once (RFC 6238 §5.2): its time step is compared and kept under the lock.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from filters.passwords import DECOY, PASSWORD_OCTETS_MAX, Hash
from registry.admins import audit, totp
from registry.admins.audit import Action
from registry.admins.store import SECRET, Admins, Role
from registry.admins.tables import admin_recovery, admin_session, admin_user
from registry.evidence import actors
from registry.limits import ADMIN_IDLE_SECONDS, ADMIN_SEEN_SECONDS, ADMIN_SESSION_SECONDS
from registry.log import logger

TOKEN_OCTETS: Final = 32  # of chance: nothing that can be guessed


class Session(NamedTuple):
    """Who asks."""

    name: str
    role: Role

    @property
    def actor(self) -> str:
        return actors.admin(self.name)


class Logins:
    """Thread-safe; a method is one transaction and raises SQLAlchemyError."""

    def __init__(self, admins: Admins) -> None:
        self._admins = admins

    def enter(self, name: str, password: str, code: str, now: datetime, client: str) -> str | None:
        """A new session's token, or None: no such admin, disabled, wrong password, wrong or used code.

        `code` is of the authenticator or a recovery code; `client` is whence, for the audit. Some 50 ms of a core.
        """
        admins = self._admins
        with admins.engine.connect() as connection:
            known = connection.execute(select(admin_user).where(admin_user.c.name == name)).first()
        hashed = DECOY if known is None else Hash.parse(known.password)
        secret = None if known is None else self._secret(known)
        said = password.encode("utf-8", "replace")
        fits = hashed.matches(said[:PASSWORD_OCTETS_MAX]) and len(said) <= PASSWORD_OCTETS_MAX and secret is not None
        step = totp.step_of(secret or totp.NOBODYS, totp.plain(code), now)
        digest = admins.recovery_digest(name, code)
        with admins.changing() as connection:
            used = _use(connection, known if fits else None, step, digest)
            if known is None or used is None:
                audit.write(connection, now, "nobody", Action.REFUSED, name if known else "", f"from {client}")
                return None
            token = secrets.token_urlsafe(TOKEN_OCTETS)
            seconds = int(now.timestamp())
            _forget_ended(connection, seconds)
            row = {"digest": digest_of(token), "admin": name, "began_at": seconds, "seen_at": seconds}
            connection.execute(insert(admin_session).values(row))
            mine = update(admin_user).where(admin_user.c.name == name)
            connection.execute(mine.values(last_login=audit.utc(now)))
            audit.write(connection, now, actors.admin(name), used, name, f"from {client}")
        return token

    def session(self, token: str, now: datetime) -> Session | None:
        """Whose a token is; None: nobody's, or not any more. That it was used prolongs it."""
        digest, seconds = digest_of(token), int(now.timestamp())
        with self._admins.engine.connect() as connection:
            query = select(admin_user.c.name, admin_user.c.role, admin_session.c.seen_at, admin_session.c.digest)
            query = query.join(admin_session, admin_session.c.admin == admin_user.c.name)
            query = query.where(admin_session.c.digest == digest, admin_user.c.disabled == 0)
            row = connection.execute(query.where(*_alive(seconds))).first()
        if row is None or not hmac.compare_digest(bytes(row.digest), digest):
            return None
        if row.seen_at + ADMIN_SEEN_SECONDS <= seconds:
            with self._admins.changing() as connection:
                mine = update(admin_session).where(admin_session.c.digest == digest)
                connection.execute(mine.values(seen_at=seconds))
        return Session(row.name, Role(row.role))

    def leave(self, token: str, session: Session, now: datetime) -> None:
        """End a session."""
        with self._admins.changing() as connection:
            connection.execute(delete(admin_session).where(admin_session.c.digest == digest_of(token)))
            audit.write(connection, now, session.actor, Action.LOGOUT, session.name)

    def forget(self, token: str) -> None:
        """End a session that a newer one replaces."""
        with self._admins.changing() as connection:
            connection.execute(delete(admin_session).where(admin_session.c.digest == digest_of(token)))

    def _secret(self, row: Row[Any]) -> str | None:
        """None: keys/provider.key is another one."""
        try:
            return self._admins.vault.open(SECRET, row.name.encode(), bytes(row.secret)).decode()
        except ValueError:
            logger.error("admin_secret_unreadable", fix="restore keys/provider.key, or: izinli admin reset")
            return None


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _use(connection: Connection, known: Row[Any] | None, step: int, digest: bytes) -> Action | None:
    """Use up the code of an admin whose password was right, under the lock of the row; None: it does not let in."""
    name = "" if known is None else known.name
    row = connection.execute(select(admin_user).where(admin_user.c.name == name).with_for_update()).first()
    if row is not None and known is not None:
        unchanged = row.password == known.password and bytes(row.secret) == bytes(known.secret)
        if row.disabled or not unchanged:  # meanwhile
            row = None
    if row is not None and step > row.last_step:
        connection.execute(update(admin_user).where(admin_user.c.name == name).values(last_step=step))
        return Action.LOGIN
    mine = admin_recovery.c.admin == ("" if row is None else name)
    found = connection.execute(delete(admin_recovery).where(mine, admin_recovery.c.digest == digest)).rowcount
    return Action.RECOVERY if found else None


def _alive(seconds: int) -> tuple[Any, ...]:
    idle, old = seconds - ADMIN_IDLE_SECONDS, seconds - ADMIN_SESSION_SECONDS
    return admin_session.c.seen_at > idle, admin_session.c.began_at > old


def _forget_ended(connection: Connection, seconds: int) -> None:
    idle, old = seconds - ADMIN_IDLE_SECONDS, seconds - ADMIN_SESSION_SECONDS
    ended = (admin_session.c.seen_at <= idle) | (admin_session.c.began_at <= old)
    connection.execute(delete(admin_session).where(ended))

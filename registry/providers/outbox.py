"""What waits to be sent: written in the transaction that wants it sent, and gone only when the next hop has taken it.

A letter is claimed for OUTBOX_LEASE_SECONDS and then tried; whoever is killed in between leaves it to the next try, so
one may come twice and none is lost. What nobody needs any more, because the code in it is too old, is not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update

from registry.background import Step
from registry.limits import (
    OUTBOX_BACKOFF_SECONDS,
    OUTBOX_BACKOFF_SECONDS_MAX,
    OUTBOX_LEASE_SECONDS,
    OUTBOX_LETTERS,
)
from registry.log import logger
from registry.providers.letters import Letter
from registry.providers.states import Way
from registry.providers.tables import provider_outbox
from registry.providers.vault import Vault
from registry.schema import appending, take_append_lock

_PURPOSE: Final = "letter"

Send = Callable[[Letter], None]
"""Hands a letter to the next hop. Raises CannotSend."""


class CannotSend(Exception):
    """Not now; the text says why and holds no address."""


class NeverSend(CannotSend):
    """The next hop will not take this one."""


def enqueue(connection: Connection, vault: Vault, way: Way, letter: Letter, now: int, expires_at: int) -> None:
    """Have a letter sent once this transaction has committed. Times are Unix times."""
    sealed = vault.seal(_PURPOSE, way.encode(), letter.packed())
    row = {"way": way, "letter": sealed, "due_at": now, "expires_at": expires_at, "tries": 0}
    connection.execute(insert(provider_outbox).values(row))


class Outbox:
    """Empties the outbox by `doors`. One tick at a time; several processes may have one each."""

    def __init__(
        self, engine: Engine, vault: Vault, doors: Mapping[Way, Send], moved: Callable[[], None] = lambda: None
    ) -> None:
        """`moved` is called before each letter: a door may take its time."""
        self._moved = moved
        self._engine = engine
        self._appending = appending(engine)
        self._vault = vault
        self._doors = doors

    def tick(self, now: datetime) -> None:
        """Try what is due. Raises SQLAlchemyError."""
        seconds = int(now.timestamp())
        due = select(provider_outbox.c.id).where(provider_outbox.c.due_at <= seconds)
        wanted = provider_outbox.c.way.in_(list(self._doors)) | (provider_outbox.c.expires_at <= seconds)
        due = due.where(wanted).order_by(provider_outbox.c.due_at).limit(OUTBOX_LETTERS)
        with self._engine.connect() as connection:
            numbers = connection.execute(due).scalars().all()
        for number in numbers:
            self._moved()
            self._try(number, seconds)

    def _try(self, number: int, now: int) -> None:
        claimed = self._claim(number, now)
        if claimed is None:
            return
        way, sealed, tries = claimed
        try:
            self._doors[way](Letter.unpacked(self._vault.open(_PURPOSE, way.encode(), sealed)))
        except CannotSend as fault:
            logger.warning("confirmation_not_sent", way=way.value, tries=tries, error=str(fault))
            if not isinstance(fault, NeverSend):
                wait = min(OUTBOX_BACKOFF_SECONDS << min(tries - 1, 16), OUTBOX_BACKOFF_SECONDS_MAX)
                self._write(update(provider_outbox).where(provider_outbox.c.id == number).values(due_at=now + wait))
                return
        except ValueError as fault:  # another key: it will never be read
            logger.error("confirmation_unreadable", way=way.value, error=str(fault))
        self._write(delete(provider_outbox).where(provider_outbox.c.id == number))

    def _claim(self, number: int, now: int) -> tuple[Way, bytes, int] | None:
        """None: somebody else has it, or nobody needs it any more."""
        at = provider_outbox.c.id == number
        with self._appending.begin() as connection:
            take_append_lock(connection)
            row = connection.execute(select(provider_outbox).where(at)).first()
            if row is None or row.due_at > now:
                return None
            if row.expires_at <= now:
                connection.execute(delete(provider_outbox).where(at))
                return None
            claimed = {"due_at": now + OUTBOX_LEASE_SECONDS, "tries": row.tries + 1}
            connection.execute(update(provider_outbox).where(at).values(claimed))
            return Way(row.way), bytes(row.letter), row.tries + 1

    def _write(self, statement: object) -> None:
        with self._appending.begin() as connection:
            take_append_lock(connection)
            connection.execute(statement)  # type: ignore[call-overload]


def stepping(outbox: Outbox, also: Callable[[], None]) -> Step:
    """What keeps the outbox empty, and does `also` in each step; for a thread."""

    def step() -> bool:
        also()
        outbox.tick(datetime.now(UTC))
        return False

    return step

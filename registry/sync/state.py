"""Places that are remembered, and leases: one process at a time works on a brand or asks for a token."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update

from registry.schema import appending, take_append_lock
from registry.sync.tables import national_lease, national_state

Clock = Callable[[], datetime]


class Busy(Exception):
    """Another process works on it; come again."""


class State:
    """Thread-safe; each method is a transaction and raises SQLAlchemyError."""

    def __init__(self, engine: Engine, clock: Clock, lease_s: float) -> None:
        self.engine = engine
        self.writing = appending(engine)
        self.clock = clock
        self._lease_s = lease_s
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"

    def get(self, brand: int, name: str) -> str:
        """What is remembered, "" if nothing is."""
        with self.engine.connect() as connection:
            return get(connection, brand, name)

    def put(self, brand: int, name: str, value: str) -> None:
        """Remember it."""
        with self.writing.begin() as connection:
            take_append_lock(connection)
            put(connection, brand, name, value, self.clock())

    @contextmanager
    def lease(self, name: str) -> Iterator[Callable[[], None]]:
        """Work on something alone, in this process too. Gives what prolongs it. Raises Busy.

        Who is killed lets others wait until the lease ends; work that goes on longer than that may be done twice, which
        all of it stands.
        """
        me = f"{self._holder}:{threading.get_ident()}"

        def prolong() -> None:
            if not self._take(name, me):
                raise Busy(name)

        prolong()
        try:
            yield prolong
        finally:
            mine = delete(national_lease).where(national_lease.c.name == name, national_lease.c.holder == me)
            with self.writing.begin() as connection:
                connection.execute(mine)

    def _take(self, name: str, me: str) -> bool:
        now = int(self.clock().timestamp())
        until = now + int(self._lease_s)
        with self.writing.begin() as connection:
            take_append_lock(connection)
            row = connection.execute(select(national_lease).where(national_lease.c.name == name)).one_or_none()
            if row is None:
                connection.execute(insert(national_lease).values(name=name, holder=me, held_until=until))
                return True
            if row.holder != me and now < row.held_until <= until:  # a lease from a clock that was ahead is not kept
                return False
            mine = update(national_lease).where(national_lease.c.name == name)
            connection.execute(mine.values(holder=me, held_until=until))
            return True


def get(connection: Connection, brand: int, name: str) -> str:
    """As `State.get`, inside a transaction."""
    query = select(national_state.c.value).where(national_state.c.brand == brand, national_state.c.name == name)
    return connection.execute(query).scalar_one_or_none() or ""


def put(connection: Connection, brand: int, name: str, value: str, now: datetime) -> None:
    """As `State.put`, inside an append transaction."""
    row: dict[str, Any] = {"value": value, "changed_at": int(now.timestamp())}
    here = (national_state.c.brand == brand, national_state.c.name == name)
    if connection.execute(update(national_state).where(*here).values(row)).rowcount == 0:
        connection.execute(insert(national_state).values(brand=brand, name=name, **row))

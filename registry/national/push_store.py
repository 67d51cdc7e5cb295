"""Who wants to be told of citizens' moves, and how far each was told: the log of the ledger is the outbox.

Each receiver has a cursor into it. One process at a time delivers to a receiver, by a lease, in the order of the log:
so the moves of one recipient never change their order.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, update

from filters.model import Channel
from registry.limits import PUSH_BACKOFF_SECONDS_MAX, PUSH_BACKOFF_SECONDS_MIN, PUSH_LEASE_SECONDS, PUSH_RECEIVERS_MAX
from registry.national.audit import write_audit
from registry.national.moves import last_seq
from registry.national.seal import Seal, SealBroken
from registry.national.stored import api_push
from registry.schema import appending, take_append_lock

_HIDDEN: Final = ("holder", "held_until")


class TooManyReceivers(Exception):
    """There are two for this brand and type."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.channel = channel


Asked = tuple[Channel, str, str, str]  # type, URL, user, password


class Receiver(NamedTuple):
    """One registration."""

    id: int
    brand: int
    channel: Channel
    url: str
    username: str
    password: bytes  # sealed
    registered_at: int  # Unix time
    cursor: int
    failures: int
    next_at: int  # Unix time

    @property
    def about(self) -> str:
        """What its password is sealed for."""
        return about(self.brand, self.channel, self.url)


class Registrations:
    """Thread-safe; a method is a transaction, blocks, and raises SQLAlchemyError."""

    def __init__(self, engine: Engine, seal: Seal, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._writing = appending(engine)
        self._seal = seal
        self._clock = clock

    def room(self, brand: int, channel: Channel, url: str) -> bool:
        """Whether this receiver could be added."""
        with self._engine.connect() as connection:
            return _room(connection, brand, channel, url)

    def add(self, brand: int, channel: Channel, url: str, username: str, password: str, client: str) -> None:
        """A receiver of all that happens from now on; the same address again has a new password. Raises
        TooManyReceivers."""
        self.add_all(brand, [(channel, url, username, password)], client)

    def add_all(self, brand: int, wanted: Sequence[Asked], client: str) -> None:
        """Likewise several, or none of them."""
        now = self._clock()
        with self._writing.begin() as connection:
            take_append_lock(connection)
            for one in wanted:
                self._put(connection, brand, one, now)
                write_audit(connection, client, "push-add", now, brand=brand, detail=one[0].value)

    def _put(self, connection: Connection, brand: int, one: Asked, now: datetime) -> None:
        channel, url, username, password = one
        sealed = self._seal.close(password, about(brand, channel, url))
        said = {"username": username, "password": sealed, "registered_at": int(now.timestamp())}
        fresh = {"failures": 0, "next_at": 0}
        if not _room(connection, brand, channel, url):
            raise TooManyReceivers(channel)
        known = update(api_push).where(_here(brand, channel, url)).values(**said, **fresh)
        if not connection.execute(known).rowcount:
            key = {"brand": brand, "channel": channel.value, "url": url, "cursor": last_seq(connection)}
            connection.execute(insert(api_push).values(**key, **said, **fresh, holder="", held_until=0))

    def remove(self, brand: int, channel: Channel, url: str, username: str, password: str, client: str) -> bool:
        """False: there is none with this address, user and password."""
        with self._writing.begin() as connection:
            row = connection.execute(_receivers().where(_here(brand, channel, url))).one_or_none()
            if row is None:
                return False
            receiver = _receiver(row)
            same = hmac.compare_digest(receiver.username.encode(), username.encode())
            if not (hmac.compare_digest(self.password_of(receiver).encode(), password.encode()) and same):
                return False
            connection.execute(delete(api_push).where(api_push.c.id == receiver.id))
            write_audit(connection, client, "push-remove", self._clock(), brand=brand, detail=channel.value)
        return True

    def of(self, brand: int) -> list[Receiver]:
        """A brand's receivers, in the order of their registration."""
        with self._engine.connect() as connection:
            rows = connection.execute(_receivers().where(api_push.c.brand == brand).order_by(api_push.c.id))
            return [_receiver(row) for row in rows]

    def due(self) -> list[Receiver]:
        """All that may be delivered to now."""
        with self._engine.connect() as connection:
            query = _receivers().where(api_push.c.next_at <= self._seconds()).order_by(api_push.c.id)
            return [_receiver(row) for row in connection.execute(query)]

    def take(self, receiver: Receiver, holder: str) -> Receiver | None:
        """Lease it to a process, and its newest state; None: another one has it, or it is gone."""
        now = self._seconds()
        free = or_(api_push.c.held_until <= now, api_push.c.holder == holder)
        mine = update(api_push).where(api_push.c.id == receiver.id, free)
        with self._writing.begin() as connection:
            if not connection.execute(mine.values(holder=holder, held_until=now + PUSH_LEASE_SECONDS)).rowcount:
                return None
            row = connection.execute(_receivers().where(api_push.c.id == receiver.id)).one_or_none()
        return None if row is None else _receiver(row)

    def delivered(self, receiver: Receiver, holder: str, cursor: int) -> None:
        """Move the cursor."""
        self._note(receiver, holder, {"cursor": cursor, "failures": 0, "next_at": 0})

    def failed(self, receiver: Receiver, holder: str) -> int:
        """Leave it alone for a while, each time for longer; the seconds."""
        wait_s = min(PUSH_BACKOFF_SECONDS_MIN << min(receiver.failures, 16), PUSH_BACKOFF_SECONDS_MAX)
        self._note(receiver, holder, {"failures": receiver.failures + 1, "next_at": self._seconds() + wait_s})
        return wait_s

    def release(self, receiver: Receiver, holder: str) -> None:
        """End the lease."""
        self._note(receiver, holder, {"held_until": 0})

    def password_of(self, receiver: Receiver) -> str:
        """In clear; "" when it was sealed with another key."""
        try:
            return self._seal.open(receiver.password, receiver.about)
        except SealBroken:
            return ""

    def _note(self, receiver: Receiver, holder: str, said: dict[str, int]) -> None:
        mine = update(api_push).where(api_push.c.id == receiver.id, api_push.c.holder == holder)
        with self._writing.begin() as connection:
            connection.execute(mine.values(said))

    def _seconds(self) -> int:
        return int(self._clock().timestamp())


def about(brand: int, channel: Channel, url: str) -> str:
    """What a receiver's password is sealed for."""
    return f"push|{brand}|{channel.value}|{url}"


def _room(connection: Connection, brand: int, channel: Channel, url: str) -> bool:
    others = select(func.count()).select_from(api_push).where(api_push.c.brand == brand)
    others = others.where(api_push.c.channel == channel.value, api_push.c.url != url)
    return int(connection.execute(others).scalar_one()) < PUSH_RECEIVERS_MAX


def _here(brand: int, channel: Channel, url: str) -> Any:
    return and_(api_push.c.brand == brand, api_push.c.channel == channel.value, api_push.c.url == url)


def _receivers() -> Any:
    return select(*(column for column in api_push.c if column.name not in _HIDDEN))


def _receiver(row: Any) -> Receiver:
    number, brand, channel, url, username, password, *rest = row
    return Receiver(number, brand, Channel(channel), url, username, bytes(password), *rest)

"""Subscriptions: how many consents the brands of one provider (iysCode) may hold together (V13).

A consent is held while its key (brand, recipient, recipientType, type) stands as ONAY, or waits to (BEKLIYOR). Who has
no quota has no row, and costs its writers one look at an empty table. `held` is kept by whoever writes folds, in the
same transaction. Those follow one another (`registry.schema.take_append_lock`), so two of them cannot take one place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Table, delete, func, insert, select, update

from filters.model import Status
from registry.bulk import among
from registry.rules import QUOTA_REACHED, Move
from registry.schema import consent, consent_event, metadata

subscription = Table(
    "subscription",
    metadata,
    Column("iys_code", BigInteger, primary_key=True, autoincrement=False),
    Column("quota", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
)

Approved = Callable[[Connection], Mapping[int, int]]
"""iysCodes of the brands that were ever approved (`registry.sync.brands.approved`)."""
Counts = dict[tuple[int, str], int]  # keys by brand and status

_RET: Final = Status.RET


class Subscription(NamedTuple):
    """A row of the table."""

    iys_code: int
    quota: int
    held: int  # may be more: a plain import is never refused


class Allowance:
    """What is left of the quotas of some brands' providers, as one transaction uses it up."""

    def __init__(self, owners: Mapping[int, int], left: dict[int, int]) -> None:
        """`owners`: the iysCode of each brand with a quota. `left`: by iysCode; below zero where too much is held."""
        self._owners = owners
        self._left = left

    def fault(self, move: Move, stands: Status | None) -> str | None:
        """V13's code if the move is one consent too many; `stands` is its key's status before it."""
        owner = self._owners.get(move.brand)
        if owner is None or self._left[owner] > 0 or _held(stands) or not _held(move.status):
            return None
        return QUOTA_REACHED

    def note(self, move: Move, stands: Status | None) -> None:
        """The move is taken, and stands from now on."""
        owner = self._owners.get(move.brand)
        if owner is not None:
            self._left[owner] += _held(stands) - _held(move.status)

    def take(self, move: Move, stands: Status | None) -> str | None:
        """Both: what is no fault is taken."""
        code = self.fault(move, stands)
        if code is None:
            self.note(move, stands)
        return code


class Subscriptions:
    """Whose brands are whose, and what their subscriptions say inside a transaction. Raises SQLAlchemyError."""

    def __init__(self, configured: Mapping[int, int] | None = None, approved: Approved = lambda _: {}) -> None:
        """`configured`: the iysCode of each brand of the configuration; it counts more than `approved`."""
        self._configured = dict(configured or {})
        self._approved = approved

    def owners(self, connection: Connection) -> dict[int, int]:
        """The iysCode of every brand."""
        return {**self._approved(connection), **self._configured}

    def allowance(self, connection: Connection, brands: Iterable[int]) -> Allowance | None:
        """None: none of these brands' providers has a quota. `brands` is looked at only if somebody has one."""
        left = {one.iys_code: one.quota - one.held for one in subscriptions(connection)}
        mine = self._among(connection, left, brands) if left else {}
        return Allowance(mine, left) if mine else None

    @contextmanager
    def kept(
        self, connection: Connection, brands: Iterable[int], keys: Collection[tuple[bytes, str]]
    ) -> Iterator[None]:
        """Keep `held` true of these brands' providers while the block writes the folds of `keys`.

        A key is a fingerprint and a recipient type.
        """
        quotas = {one.iys_code for one in subscriptions(connection)}
        mine = self._among(connection, quotas, brands) if quotas else {}
        if not mine:
            yield
            return
        fingerprints = sorted({fingerprint for fingerprint, _ in keys})
        before = held_of(connection, fingerprints)
        yield
        after = held_of(connection, fingerprints)
        for brand, owner in mine.items():
            if more := after[brand] - before[brand]:
                change = update(subscription).where(subscription.c.iys_code == owner)
                connection.execute(change.values(held=subscription.c.held + more))

    def recount(self, connection: Connection) -> None:
        """Count what every provider with a quota holds."""
        held = self.held(connection) if subscriptions(connection) else Counter()
        for one in subscriptions(connection):
            change = update(subscription).where(subscription.c.iys_code == one.iys_code)
            connection.execute(change.values(held=held[one.iys_code]))

    def held(self, connection: Connection) -> Counter[int]:
        """What every provider holds, by iysCode. Takes about a second for each million."""
        owners, held = self.owners(connection), Counter[int]()
        for (brand, status), keys in counted(connection).items():
            if brand in owners and status != _RET.value:
                held[owners[brand]] += keys
        return held

    def _among(self, connection: Connection, quotas: Collection[int], brands: Iterable[int]) -> dict[int, int]:
        owners = self.owners(connection)
        return {brand: owners[brand] for brand in set(brands) if owners.get(brand) in quotas}


def subscriptions(connection: Connection) -> list[Subscription]:
    """Every provider with a quota, by iysCode. Raises SQLAlchemyError."""
    rows = connection.exec_driver_sql("SELECT iys_code, quota, held FROM subscription ORDER BY iys_code")
    return [Subscription(*row) for row in rows]


def put(connection: Connection, rows: Iterable[Subscription]) -> None:
    """Make these all there are. Raises SQLAlchemyError."""
    connection.execute(delete(subscription))
    for row in rows:
        connection.execute(insert(subscription).values(row._asdict()))


def counted(connection: Connection) -> Counts:
    """How many keys of each brand stand in each status. Takes about a second for each million."""
    joined = consent.join(consent_event, consent_event.c.seq == consent.c.seq)
    query = select(consent_event.c.brand, consent.c.status, func.count()).select_from(joined)
    rows = connection.execute(query.group_by(consent_event.c.brand, consent.c.status))
    return {(brand, status): count for brand, status, count in rows}


def _held(status: Status | None) -> bool:
    return status is not None and status is not _RET


def held_of(connection: Connection, fingerprints: Sequence[bytes]) -> Counter[int]:
    """How many of the keys of these fingerprints are held, by brand."""
    query = (
        "SELECT e.brand FROM consent f JOIN consent_event e ON e.seq = f.seq "
        f"WHERE f.status <> '{_RET.value}' AND f.fingerprint"
    )
    return Counter(row[0] for row in among(connection, query, fingerprints))

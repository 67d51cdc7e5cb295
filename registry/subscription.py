"""Subscriptions: how many consents the brands of one provider (iysCode) may hold together (V13).

A consent is held while its key (brand, recipient, recipientType, type) stands as ONAY, or waits to (BEKLIYOR). Who has
no quota has no row, and costs its writers one look at an empty table. `held` is kept by whoever writes folds, in the
same transaction. Those follow one another (`registry.schema.take_append_lock`), so two of them cannot take one place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Table, delete, func, insert, select, update

from filters.model import Channel, Status
from registry.bulk import among
from registry.evidence import actors
from registry.national.audit import write_audit
from registry.rules import QUOTA_REACHED, Move
from registry.schema import consent, consent_event, metadata, snapshot

if TYPE_CHECKING:
    from registry.ledger import Key, Ledger

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


class Unknown(Exception):
    """No brand belongs to this iysCode."""


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
    def kept(self, connection: Connection, brands: Iterable[int], keys: Collection[Key]) -> Iterator[None]:
        """Keep `held` true of these brands' providers while the block writes the folds of `keys`."""
        quotas = {one.iys_code for one in subscriptions(connection)}
        mine = self._among(connection, quotas, brands) if quotas else {}
        if not mine:
            yield
            return
        fingerprints = sorted({fingerprint for fingerprint, _ in keys})
        before = _held_of(connection, fingerprints)
        yield
        after = _held_of(connection, fingerprints)
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
            then, earlier = _held_of(log.connection, touched), _held_of(before, touched)
            held += sum(then[brand] - earlier[brand] for brand in mine)
            log.connection.execute(insert(subscription).values(iys_code=iys_code, quota=quota, held=held))
    return Subscription(iys_code, quota, held)


def subscriptions(connection: Connection) -> list[Subscription]:
    """Every provider with a quota, by iysCode. Raises SQLAlchemyError."""
    rows = connection.exec_driver_sql("SELECT iys_code, quota, held FROM subscription ORDER BY iys_code")
    return [Subscription(*row) for row in rows]


def put(connection: Connection, rows: Iterable[Subscription]) -> None:
    """Make these all there are. Raises SQLAlchemyError."""
    connection.execute(delete(subscription))
    for row in rows:
        connection.execute(insert(subscription).values(row._asdict()))


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


def counted(connection: Connection) -> Counts:
    """How many keys of each brand stand in each status. Takes about a second for each million."""
    joined = consent.join(consent_event, consent_event.c.seq == consent.c.seq)
    query = select(consent_event.c.brand, consent.c.status, func.count()).select_from(joined)
    rows = connection.execute(query.group_by(consent_event.c.brand, consent.c.status))
    return {(brand, status): count for brand, status, count in rows}


def _held(status: Status | None) -> bool:
    return status is not None and status is not _RET


def _held_of(connection: Connection, fingerprints: Sequence[bytes]) -> Counter[int]:
    """How many of the keys of these fingerprints are held, by brand."""
    query = (
        "SELECT e.brand FROM consent f JOIN consent_event e ON e.seq = f.seq "
        f"WHERE f.status <> '{_RET.value}' AND f.fingerprint"
    )
    return Counter(row[0] for row in among(connection, query, fingerprints))


def _touched(ledger: Ledger, connection: Connection, after: int, brands: Collection[int]) -> list[bytes]:
    """The fingerprints of these brands that events behind one are about."""
    event = consent_event.c
    query = select(event.brand, event.channel, event.recipient).where(event.seq > after)
    touched = (row for row in connection.execute(query) if row.brand in brands)
    return sorted({ledger.fingerprint(one.brand, Channel(one.channel), one.recipient.encode()) for one in touched})

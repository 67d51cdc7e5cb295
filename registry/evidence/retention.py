"""Retention: what has lived long enough (`registry.evidence.lifetime`) is taken out of the ledger, and its removal is
one more entry of the chain.

Of a removed event its number and its leaf stay, so that the chain still verifies; the leaf is a digest over the whole
event with its times, from which nobody can tell whom it was about. A removal says how many events went, which, when and
by which rule, and its digest over their leaves lets nothing be added to it later. Readers of the index notice nothing:
of what goes, the index has nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, bindparam, column, delete, inspect, select, table

from filters.model import Channel, Status
from registry.append import Append, newest
from registry.bulk import among
from registry.evidence import actors, chain, clock, lifetime
from registry.evidence.chain import Removal
from registry.evidence.lifetime import RULE, Cutoff, Record
from registry.evidence.tables import recording, removal, removed_event
from registry.ledger import Ledger
from registry.limits import QUERY_KEYS_MAX, RETAIN_ENDINGS
from registry.schema import consent, consent_event, snapshot

RETAIN_LOCK: Final = 0x697A_696E_6C69 + 1  # beside `registry.schema.APPEND_LOCK`
_COLUMNS: Final = ", ".join(one.name for one in consent_event.c)
_KEY: Final = ("brand", "channel", "recipient", "recipient_type")
# What the national API keeps about keys and events (`registry.national`); it goes with them.
_OF_EVENTS: Final = tuple(
    table(name, column("seq")) for name in ("api_event_retailer", "national_receipt", "national_upload")
)
_OF_KEYS: Final = table("api_retailer_access", *map(column, _KEY))

Key = tuple[int, str, str, str]  # the columns of _KEY


@dataclass(slots=True)
class Retained:
    """What went, or would go."""

    cutoff: str  # Turkey time
    events: int = 0
    removals: int = 0  # entries in the ledger: a long list is worked through in parts


@dataclass(slots=True)
class _Going:
    """What of some recipients' histories goes."""

    rows: list[Sequence[Any]]  # columns of consent_event, ascending
    keys: list[Key]  # of which nothing stays


def retain(
    ledger: Ledger,
    now: datetime,
    actor: str,
    *,
    dry_run: bool = False,
    vouched: bool = False,
    progress: Callable[[int], None] = lambda events: None,
) -> Retained:
    """Take out what has lived long enough; `progress` is called with the number of events so far.

    Each part is a transaction, so withdrawals get their turn in between, and who is stopped goes on with the next call.
    `vouched`: somebody has looked at the clock. Raises ClockInDoubt, SQLAlchemyError.
    """
    if not dry_run:
        with ledger.append() as log:
            if not vouched:
                clock.check(log.connection, now)
            clock.note(log.connection, now)
    before = lifetime.cutoff(now)
    done = Retained(before.turkey)
    after = 0
    while True:
        with snapshot(ledger.engine) as connection:
            endings = _endings(connection, before, after)
            going = _going(connection, endings, before) if dry_run else None
        if not endings:
            return done
        after = endings[-1][0]
        if going is None:
            with ledger.append() as log:
                going = _going(log.connection, endings, before)
                if going.rows:
                    _remove(log, ledger, going, before, now, actor)
        done.events += len(going.rows)
        done.removals += bool(going.rows) and not dry_run
        progress(done.events)


@contextmanager
def alone(engine: Engine) -> Iterator[bool]:
    """Whether nobody else who uses the same ledger is within this; if so, nobody enters until it is left."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            taken = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({RETAIN_LOCK})").scalar_one()
            connection.commit()  # the lock is the session's: no transaction stays open for it
            try:
                yield bool(taken)
            finally:
                if taken:
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({RETAIN_LOCK})")
        return
    assert engine.url.database is not None
    path = Path(f"{engine.url.database}.retain")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _endings(connection: Connection, before: Cutoff, after: int) -> Sequence[Any]:
    """The next RET (number, recipient) that are old enough to have ended something for good."""
    old = (consent_event.c.consent_date < before.turkey, consent_event.c.recorded_at < before.utc)
    statement = select(consent_event.c.seq, consent_event.c.recipient)
    statement = statement.where(consent_event.c.seq > after, consent_event.c.status == Status.RET.value, *old)
    return connection.execute(statement.order_by(consent_event.c.seq).limit(RETAIN_ENDINGS)).all()


def _going(connection: Connection, endings: Sequence[Any], before: Cutoff) -> _Going:
    """What goes of the histories that these endings belong to.

    A recipient with a later ending is left to the part that has it, so that each is looked at once.
    """
    query = f"SELECT {_COLUMNS} FROM consent_event WHERE recipient"
    histories: dict[Key, list[Sequence[Any]]] = defaultdict(list)
    last_ending: dict[str, int] = defaultdict(int)
    for row in among(connection, query, sorted({recipient for _, recipient in endings})):
        seq, brand, channel, recipient, kind, status, _, date, recorded_at, _ = row
        histories[brand, channel, recipient, kind].append(tuple(row))
        if status == Status.RET and date < before.turkey and recorded_at < before.utc:
            last_ending[recipient] = max(last_ending[recipient], seq)
    through = endings[-1][0] if endings else 0
    going = _Going([], [])
    for key, rows in histories.items():
        if last_ending[key[2]] > through:
            continue
        gone = set(lifetime.ended([Record(row[7], row[5], row[6], row[0], row[8]) for row in rows], key[3], before))
        going.rows += [row for row in rows if row[0] in gone]
        if len(gone) == len(rows):
            going.keys.append(key)
    going.rows.sort(key=lambda row: int(row[0]))
    return going


def _remove(log: Append, ledger: Ledger, going: _Going, before: Cutoff, now: datetime, actor: str) -> None:
    """One removal, sealed."""
    connection = log.connection
    head, digest = newest(connection)
    leaves = [(int(row[0]), chain.leaf(row)) for row in going.rows]
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    total = chain.removed_digest(leaves)
    one = Removal(head + 1, at, RULE, before.turkey, len(leaves), leaves[0][0], leaves[-1][0], total)
    log.insert(removed_event, [(seq, leaf, one.seq) for seq, leaf in leaves])
    log.insert(removal, [one])
    who = actors.written(actor)
    log.insert(recording, [(one.seq, who, chain.link(digest, who, [one.leaf]))])
    numbers = [seq for seq, _ in leaves]
    with _for_good(connection):
        _delete(connection, consent_event, numbers)
        _forget(connection, ledger, going.keys)
        for beside in _OF_EVENTS:
            if inspect(connection).has_table(beside.name):
                _delete(connection, beside, numbers)


@contextmanager
def _for_good(connection: Connection) -> Iterator[None]:
    """SQLite leaves what is deleted in the file until its place is needed, unless it is told not to."""
    if connection.dialect.name != "sqlite":
        yield
        return
    usual = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    yield
    connection.exec_driver_sql(f"PRAGMA secure_delete = {int(usual)}")


def _forget(connection: Connection, ledger: Ledger, keys: Sequence[Key]) -> None:
    """What else is known of keys that have no event any more."""
    folds = [
        {"f": ledger.fingerprint(brand, Channel(channel), recipient.encode()), "k": kind}
        for brand, channel, recipient, kind in keys
    ]
    if not folds:
        return
    fold = (consent.c.fingerprint == bindparam("f"), consent.c.recipient_type == bindparam("k"))
    connection.execute(delete(consent).where(*fold), folds)
    if inspect(connection).has_table(_OF_KEYS.name):
        named = [_OF_KEYS.c[name] == bindparam(f"the_{name}") for name in _KEY]
        values = [{f"the_{name}": value for name, value in zip(_KEY, key, strict=True)} for key in keys]
        connection.execute(delete(_OF_KEYS).where(*named), values)


def _delete(connection: Connection, where: Table | Any, numbers: Sequence[int]) -> None:
    for start in range(0, len(numbers), QUERY_KEYS_MAX):
        connection.execute(delete(where).where(where.c.seq.in_(numbers[start : start + QUERY_KEYS_MAX])))

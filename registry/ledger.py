"""The ledger: an append-only log of consent events and its fold.

Appends follow one another, so the number of an event is also its place in the commit order: whoever has seen event n
has seen all before it. That makes the log its own outbox, and the publisher needs no other. Whatever is appended is
sealed in the same transaction (`registry.evidence.chain`); where a number is missing there is a removal, or what it
removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, Select, func, select

from filters.key import Fingerprinter
from filters.model import Channel, RecipientType, Status
from registry.append import Append, Entry, Key, Registering, folds_of
from registry.bulk import Bulk, among
from registry.evidence.tables import recording, removal
from registry.rules import Consent, Move, turkey_time
from registry.schema import (
    EMBEDDED,
    appending,
    consent,
    consent_event,
    open_engine,
    publication,
    take_append_lock,
    upgrade,
)
from registry.subscription import Subscriptions

RECORDED: Final = "recorded"
UNCHANGED: Final = "unchanged"
_RET: Final = Status.RET

Judge = Callable[[Move, Consent | None], str | None]


class KeyMismatch(Exception):
    """The ledger was folded with another fingerprint key. Its events are intact: see `Ledger.refold`."""


class Change(NamedTuple):
    """What the index has to know about one key: its fold."""

    fingerprint: bytes
    recipient_type: RecipientType
    status: Status


class Folds(NamedTuple):
    """Changes, and the newest event of the log when they were read: they may be newer than it says, never older."""

    as_of: int
    changes: list[Change]


class Ledger:
    """One database of consents. Thread-safe; a method is one transaction and raises SQLAlchemyError."""

    def __init__(
        self,
        engine: Engine,
        fingerprint: Fingerprinter,
        registering: Registering | None = None,
        subscriptions: Subscriptions | None = None,
    ) -> None:
        self._engine = engine
        self._registering = registering
        self.subscriptions = subscriptions or Subscriptions()
        self._appending = appending(engine)
        self._bulk = Bulk(engine)
        self.fingerprint = fingerprint

    @classmethod
    def open(
        cls,
        url: str,
        data_dir: Path,
        fingerprint_key: bytes,
        *,
        refold: bool = False,
        registering: Registering | None = None,
        subscriptions: Subscriptions | None = None,
    ) -> Ledger:
        """Open, migrate and check a ledger. Raises KeyMismatch unless `refold` allows to fold it with the new key."""
        engine = open_engine(url, data_dir)
        upgrade(engine)
        ledger = cls(engine, Fingerprinter(fingerprint_key), registering, subscriptions)
        if not ledger._check_key():
            if not refold:
                ledger.close()
                raise KeyMismatch("the ledger was folded with another fingerprint key")
            ledger.refold()
        return ledger

    @classmethod
    def with_fingerprints_of(cls, other: Ledger, data_dir: Path) -> Ledger:
        """An empty ledger in a file of `data_dir`, for a while, with the same key."""
        engine = open_engine(EMBEDDED, data_dir)
        upgrade(engine)
        return cls(engine, other.fingerprint, subscriptions=other.subscriptions)

    def close(self) -> None:
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """For what stands beside the events in the same database."""
        return self._engine

    @contextmanager
    def append(self) -> Iterator[Append]:
        """One serialised transaction: what it reads is still true when it commits."""
        with self._appending.begin() as connection:
            take_append_lock(connection)
            yield Append(connection, self._bulk, self.subscriptions, self._registering)

    def record(
        self, entries: Sequence[Entry], *, origin: str, now: datetime, judge: Judge | None = None, actor: str = ""
    ) -> list[str]:
        """Append moves in their order; for each RECORDED, UNCHANGED (it is in the log already) or the judge's code.

        `actor` says by whom, for the evidence, in the words of `registry.evidence.actors`; "": nobody said.
        A rejection without a date (a closed line, a first TACIR record) counts from now, and only if none stands.
        `judge(move, recorded)` sees the fold as it is just before the move and returns a code to refuse it; what is
        judged has to have room in its subscription, too (V13).
        """
        with self.append() as log:
            folds = log.folds({fingerprint for fingerprint, _ in entries})
            stood = frozenset(folds)
            known = log.known([move for fingerprint, move in entries if _differs(folds, fingerprint, move)])
            allowance = None if judge is None else log.allowance(move.brand for _, move in entries)
            answers: list[str] = []
            recorded: list[tuple[bytes, Move, bool]] = []
            for fingerprint, move in entries:
                key = (fingerprint, move.recipient_type._value_)
                stands = folds.get(key)
                if not move.consent_date and move.status is _RET:
                    if stands is not None and stands.status is _RET:
                        answers.append(UNCHANGED)
                        continue
                    move = dated(move, stands, now)
                consent = move.consent
                if stands is not None and (stands == consent or move in known):
                    answers.append(UNCHANGED)
                    continue
                if judge is not None and (code := judge(move, stands)) is not None:
                    answers.append(code)
                    continue
                if allowance is not None and (code := allowance.take(move, stands and stands.status)) is not None:
                    answers.append(code)
                    continue
                answers.append(RECORDED)
                if stands is not None:  # this batch may bring either of the two again
                    known.update((move, move._replace(**stands._asdict())))
                wins = stands is None or consent > stands
                recorded.append((fingerprint, move, wins))
                if wins:
                    folds[key] = consent
            log.write(recorded, origin=origin, now=now, actor=actor, stood=stood)
        return answers

    def fold(self, fingerprint: bytes) -> dict[RecipientType, Consent]:
        """What stands recorded under one fingerprint."""
        with self._engine.connect() as connection:
            return {RecipientType(kind): value for (_, kind), value in folds_of(connection, [fingerprint]).items()}

    def changes_of(self, keys: Iterable[Key]) -> Folds:
        """The state of these keys, as the index must know it; of a key without events there is none."""
        with self._engine.connect() as connection:
            return Folds(_head(connection), _changes(connection, set(keys)))

    def changes_after(self, cursor: int, limit: int) -> tuple[Folds, int]:
        """(state of the keys that the next `limit` events after `cursor` are about, number of the last such entry).

        The state is never older than those events; it may be newer, and is then seen again.
        """
        with self._engine.connect() as connection:
            as_of = _head(connection)
            columns = [consent_event.c[name] for name in ("seq", "brand", "channel", "recipient", "recipient_type")]
            statement = select(*columns).where(consent_event.c.seq > cursor).order_by(consent_event.c.seq).limit(limit)
            rows = connection.execute(statement).all()
            keys = {
                (self.fingerprint(brand, Channel(channel), recipient.encode()), kind)
                for _, brand, channel, recipient, kind in rows
            }
            seen = rows[-1][0] if rows else cursor
            if len(rows) < limit:  # a removal is an entry too, but tells the index nothing
                seen = max(seen, as_of)
            return Folds(as_of, _changes(connection, keys)), seen

    def members(
        self, recipient_type: RecipientType, status: Status, chunk: int, after: bytes = b""
    ) -> Iterator[Sequence[bytes]]:
        """The fingerprints above `after` whose fold is `status`, ascending, in chunks."""
        statement = _members(recipient_type, status).where(consent.c.fingerprint > after)
        with self._engine.connect() as connection:
            ordered = statement.order_by(consent.c.fingerprint)
            yield from connection.execution_options(yield_per=chunk).execute(ordered).scalars().partitions()

    def members_between(self, recipient_type: RecipientType, status: Status, low: bytes, high: bytes) -> list[bytes]:
        """The fingerprints from `low` to below `high` whose fold is `status`."""
        statement = _members(recipient_type, status)
        statement = statement.where(consent.c.fingerprint >= low, consent.c.fingerprint < high)
        with self._engine.connect() as connection:
            return list(connection.execute(statement).scalars())

    def member_count(self, recipient_type: RecipientType, status: Status, until: bytes | None = None) -> int:
        """How many keys' fold is `status`; `until`: of the fingerprints up to this one."""
        counted = _members(recipient_type, status).with_only_columns(func.count())
        if until is not None:
            counted = counted.where(consent.c.fingerprint <= until)
        with self._engine.connect() as connection:
            return int(connection.execute(counted).scalar_one())

    def head(self) -> int:
        """The number of the newest entry, 0 in an empty ledger."""
        with self._engine.connect() as connection:
            return _head(connection)

    def removed_until(self) -> int:
        """The newest event that retention took away; who has not seen it cannot follow the log to it. 0 without any."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.coalesce(func.max(removal.c.last_seq), 0))).scalar_one())

    def probe(self) -> None:
        """Take the lock that every append needs and let it go: proves that the ledger can be written."""
        with self.append():
            pass

    def next_epoch(self, seen: int) -> int:
        """A number for one build of the index, handed out once: above every earlier one and above `seen`."""
        with self.append() as log:
            return log.next_epoch(seen)

    def published_epoch(self) -> int:
        """The newest epoch ever handed out."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(publication.c.published_epoch)).scalar_one())

    def refold(self) -> None:
        """Make `consent` anew from the events, with this ledger's key."""
        with self.append() as log:
            log.refold(self.fingerprint)

    def _check_key(self) -> bool:
        """Whether the fold was made with our key; an empty ledger takes it."""
        with self.append() as log:
            return log.key_check(self.fingerprint.check_value()) == self.fingerprint.check_value()


def transaction_id(move: Move) -> bytes:
    """32 bytes that name an event; the same event has the same name, whoever records it (the national API's habit)."""
    brand, channel, recipient, recipient_type, status, source, consent_date = move
    text = f"{brand}|{channel}|{recipient_type}|{status}|{source}|{consent_date}|"
    return hashlib.sha256(text.encode() + recipient).digest()


def dated(move: Move, stands: Consent | None, now: datetime) -> Move:
    """A move without a date as it counts from now: not before what it takes back, which a clock that is ahead may have
    dated."""
    return move._replace(consent_date=max(turkey_time(now), stands.consent_date if stands is not None else ""))


def _members(recipient_type: RecipientType, status: Status) -> Select[Any]:
    fold = (consent.c.recipient_type == recipient_type.value, consent.c.status == status.value)
    return select(consent.c.fingerprint).select_from(consent).where(*fold)


def _differs(folds: dict[Key, Consent], fingerprint: bytes, move: Move) -> bool:
    stands = folds.get((fingerprint, move.recipient_type._value_))
    return stands is not None and stands != move.consent


def _changes(connection: Connection, keys: set[Key]) -> list[Change]:
    query = "SELECT fingerprint, recipient_type, status FROM consent WHERE fingerprint"
    rows = among(connection, query, sorted({fingerprint for fingerprint, _ in keys}))
    found = (Change(bytes(row[0]), RecipientType(row[1]), Status(row[2])) for row in rows)
    return [change for change in found if (change.fingerprint, change.recipient_type) in keys]


def _head(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(recording.c.seq), 0))).scalar_one())

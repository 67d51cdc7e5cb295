"""The ledger: an append-only log of consent events and its fold.

Appends follow one another, so the number of an event is also its place in the commit order: whoever has seen event n
has seen all before it. That makes the log its own outbox, and the publisher needs no other. Whatever is appended is
sealed in the same transaction (`registry.evidence.chain`); where a number is missing there is a removal, or what it
removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, Select, Table, delete, func, insert, select, update

from filters.key import Fingerprinter
from filters.model import Channel, RecipientType, Status
from registry.awaiting import MISSING, UNREGISTERED, folded, waits
from registry.bulk import Bulk, among
from registry.evidence import actors, chain
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
from registry.subscription import Allowance, Subscriptions

RECORDED: Final = "recorded"
UNCHANGED: Final = "unchanged"
REFOLD_EVENTS: Final = 50_000  # per round trip
_RET: Final = Status.RET

Key = tuple[
    bytes, str
]  # fingerprint, recipient type; a StrEnum and its plain value are the same key, the latter faster
Entry = tuple[bytes, Move]  # with its fingerprint
Entries = Iterable[tuple[bytes, Move, bool]]  # with whether each becomes its key's fold
Winners = dict[Key, tuple[str, int]]  # the status that each key's fold becomes, and the number of the event
Judge = Callable[[Move, Consent | None], str | None]
Registering = Callable[[Connection, Collection[int]], Collection[int]]
"""Of which of some brands consents count only when the national system has taken them (`registry.sync.brands`)."""


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
            return {RecipientType(kind): value for (_, kind), value in _folds(connection, [fingerprint]).items()}

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


class Append:
    """The inside of one append transaction."""

    def __init__(
        self,
        connection: Connection,
        bulk: Bulk,
        subscriptions: Subscriptions,
        registering: Registering | None = None,
    ) -> None:
        self._connection = connection
        self._bulk = bulk
        self._subscriptions = subscriptions
        self._registering = registering
        self._registered: Collection[int] = ()  # of the brands of the entries that are being written

    @property
    def connection(self) -> Connection:
        """For what has to be written together with the events."""
        return self._connection

    def folds(self, fingerprints: Iterable[bytes]) -> dict[Key, Consent]:
        """What stands recorded under these fingerprints."""
        return _folds(self._connection, sorted(fingerprints))

    def allowance(self, brands: Iterable[int]) -> Allowance | None:
        """What these brands' subscriptions let be added in this transaction; None: as much as they like."""
        return self._subscriptions.allowance(self._connection, brands)

    def known(self, moves: Sequence[Move]) -> set[Move]:
        """The moves that anybody ever recorded about the recipients of `moves`."""
        return moves_about(self._connection, {move.recipient for move in moves})

    def write(
        self,
        entries: Entries,
        *,
        origin: str,
        now: datetime,
        actor: str | Sequence[str] = "",
        stood: Collection[Key] | None = None,
    ) -> int:
        """Append events, each with whether it becomes its key's fold, and seal them.

        `actor`: who recorded them (`registry.evidence.actors`), one for all, or one for each of `entries`.
        `stood`: of their keys those that have a fold already, where the caller knows; the others are new.
        Returns the number of the log's last entry. The events of one call are numbered one after the other.
        """
        seq, before = newest(self._connection)
        recorded_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        events: list[tuple[Any, ...]] = []
        winners: Winners = {}
        entries, awaited = self._awaited(entries, origin)
        for fingerprint, move, wins in entries:
            seq += 1
            brand, channel, recipient, recipient_type, status, source, consent_date = move
            kind, said = recipient_type._value_, status._value_
            came = UNREGISTERED + origin if awaited is not None and self._waits(move, origin) else origin
            row = (
                seq,
                brand,
                channel._value_,
                recipient.decode(),
                kind,
                said,
                source,
                consent_date,
                recorded_at,
                came,
            )
            events.append(row)
            if wins:
                stands = None if awaited is None else awaited.get((fingerprint, kind))
                becomes = folded(move, came, stands)
                if awaited is not None:
                    awaited[fingerprint, kind] = becomes
                winners[fingerprint, kind] = (becomes._value_, seq)
        if not events:
            return seq
        who = actors.written(actor) if isinstance(actor, str) else [actors.written(one) for one in actor]
        with self._bulk.inserting(self._connection, consent_event, events):
            recordings = list(chain.links(before, who, events))
            folds = _rows(winners)
        self._bulk.insert(self._connection, recording, recordings)
        with self._subscriptions.kept(self._connection, (row[1] for row in events), winners):
            if stood is None:
                self._bulk.upsert(self._connection, consent, folds)
            else:  # what is new costs half
                self._bulk.insert(self._connection, consent, [row for row in folds if row[:2] not in stood])
                self._bulk.upsert(self._connection, consent, [row for row in folds if row[:2] in stood])
        return seq

    def _waits(self, move: Move, origin: str) -> bool:
        return move.brand in self._registered and not origin.startswith(UNREGISTERED) and waits(move, origin)

    def _awaited(self, entries: Entries, origin: str) -> tuple[Entries, dict[Key, Status] | None]:
        """The statuses that stand under the keys of these entries, if one of them may have to wait; else None."""
        if self._registering is None:
            return entries, None
        entries = list(entries)
        self._registered = self._registering(self._connection, {move.brand for _, move, _ in entries})
        if not any(self._waits(move, origin) or origin == MISSING for _, move, _ in entries):
            return entries, None
        return entries, {key: one.status for key, one in self.folds({entry[0] for entry in entries}).items()}

    def insert(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Many rows of a table that stands beside the events, as tuples in the order of its columns."""
        self._bulk.insert(self._connection, table, rows)

    def next_epoch(self, seen: int) -> int:
        highest = self._connection.execute(select(publication.c.published_epoch)).scalar_one()
        epoch = max(int(highest), seen) + 1
        self._connection.execute(update(publication).values(published_epoch=epoch))
        return epoch

    def key_check(self, ours: bytes) -> bytes:
        """The check value of the key in use; ours, if there is none yet."""
        found = self._connection.execute(select(publication.c.key_check)).scalar_one_or_none()
        if found is None:
            self._connection.execute(insert(publication).values(id=1, published_epoch=0, key_check=ours))
            return ours
        return bytes(found)

    def refold(self, fingerprint: Fingerprinter) -> None:
        self._connection.execute(delete(consent))
        columns = [consent_event.c.seq, consent_event.c.origin, *(consent_event.c[name] for name in Move._fields)]
        statement = select(*columns).order_by(consent_event.c.seq).limit(REFOLD_EVENTS)
        seq = 0
        while rows := self._connection.execute(statement.where(consent_event.c.seq > seq)).all():
            moves = [(row[0], row[1], move_of(row[2:])) for row in rows]
            seq = moves[-1][0]
            keys = [
                (fingerprint(move.brand, move.channel, move.recipient), str(move.recipient_type))
                for _, _, move in moves
            ]
            folds = self.folds({key[0] for key in keys})
            winners: Winners = {}
            for key, (number, origin, move) in zip(keys, moves, strict=True):
                stands = folds.get(key)
                if stands is None or move.consent > stands or (origin == MISSING and move.consent == stands):
                    status = folded(move, origin, None if stands is None else stands.status)
                    folds[key] = move.consent._replace(status=status)
                    winners[key] = (status._value_, number)
            self._bulk.upsert(self._connection, consent, _rows(winners))
        self._subscriptions.recount(self._connection)
        self._connection.execute(update(publication).values(key_check=fingerprint.check_value()))


def transaction_id(move: Move) -> bytes:
    """32 bytes that name an event; the same event has the same name, whoever records it (the national API's habit)."""
    brand, channel, recipient, recipient_type, status, source, consent_date = move
    text = f"{brand}|{channel}|{recipient_type}|{status}|{source}|{consent_date}|"
    return hashlib.sha256(text.encode() + recipient).digest()


def dated(move: Move, stands: Consent | None, now: datetime) -> Move:
    """A move without a date as it counts from now: not before what it takes back, which a clock that is ahead may have
    dated."""
    return move._replace(consent_date=max(turkey_time(now), stands.consent_date if stands is not None else ""))


def _rows(winners: Winners) -> list[tuple[bytes, str, str, int]]:
    """Of `consent`, sorted by fingerprint: each page of the primary key is visited once."""
    return sorted((*key, *what) for key, what in winners.items())


def _members(recipient_type: RecipientType, status: Status) -> Select[Any]:
    fold = (consent.c.recipient_type == recipient_type.value, consent.c.status == status.value)
    return select(consent.c.fingerprint).select_from(consent).where(*fold)


def _differs(folds: dict[Key, Consent], fingerprint: bytes, move: Move) -> bool:
    stands = folds.get((fingerprint, move.recipient_type._value_))
    return stands is not None and stands != move.consent


def _folds(connection: Connection, fingerprints: Sequence[bytes]) -> dict[Key, Consent]:
    query = (
        "SELECT f.fingerprint, f.recipient_type, e.consent_date, f.status, e.source "
        "FROM consent f JOIN consent_event e ON e.seq = f.seq WHERE f.fingerprint"
    )
    rows = among(connection, query, fingerprints)
    return {(bytes(row[0]), row[1]): Consent(row[2], Status(row[3]), row[4]) for row in rows}


def _changes(connection: Connection, keys: set[Key]) -> list[Change]:
    query = "SELECT fingerprint, recipient_type, status FROM consent WHERE fingerprint"
    rows = among(connection, query, sorted({fingerprint for fingerprint, _ in keys}))
    found = (Change(bytes(row[0]), RecipientType(row[1]), Status(row[2])) for row in rows)
    return [change for change in found if (change.fingerprint, change.recipient_type) in keys]


def moves_about(connection: Connection, recipients: Iterable[bytes]) -> set[Move]:
    """All that was ever recorded about these recipients, by every brand."""
    query = f"SELECT {', '.join(Move._fields)} FROM consent_event WHERE recipient"
    return {move_of(row) for row in among(connection, query, sorted(one.decode() for one in recipients))}


def move_of(row: Sequence[Any]) -> Move:
    """From the columns that `Move._fields` names."""
    brand, channel, recipient, recipient_type, status, source, consent_date = row
    return Move(
        brand, Channel(channel), recipient.encode(), RecipientType(recipient_type), Status(status), source, consent_date
    )


def newest(connection: Connection) -> tuple[int, bytes]:
    """The number of the log's last entry, and the digest that stands for all up to it."""
    latest = select(recording.c.seq, recording.c.digest).order_by(recording.c.seq.desc()).limit(1)
    row = connection.execute(latest).one_or_none()
    return (0, chain.BEGINNING) if row is None else (row.seq, bytes(row.digest))


def _head(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(recording.c.seq), 0))).scalar_one())

"""One append to the ledger: events and their seals, what they make stand, and what a quota counts, in one transaction.

Appends follow one another (`registry.schema.take_append_lock`), so what one reads is still true when it commits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, insert, select, update

from filters.key import Fingerprinter
from filters.model import Channel, RecipientType, Status
from registry.awaiting import MISSING, UNREGISTERED, folded, waits
from registry.bulk import Bulk, among
from registry.evidence import actors, chain
from registry.evidence.tables import recording
from registry.rules import Consent, Move
from registry.schema import consent, consent_event, publication
from registry.subscription import Allowance, Subscriptions

REFOLD_EVENTS: Final = 50_000  # per round trip

Key = tuple[bytes, str]
"""Fingerprint and recipient type; a StrEnum and its plain value are the same key, the latter faster."""
Entry = tuple[bytes, Move]  # with its fingerprint
Entries = Iterable[tuple[bytes, Move, bool]]  # with whether each becomes its key's fold
Winners = dict[Key, tuple[str, int]]  # the status that each key's fold becomes, and the number of the event
Registering = Callable[[Connection, Collection[int]], Collection[int]]
"""Of which of some brands consents count only when the national system has taken them (`registry.sync.brands`)."""


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
        return folds_of(self._connection, sorted(fingerprints))

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


def _rows(winners: Winners) -> list[tuple[bytes, str, str, int]]:
    """Of `consent`, sorted by fingerprint: each page of the primary key is visited once."""
    return sorted((*key, *what) for key, what in winners.items())


def folds_of(connection: Connection, fingerprints: Sequence[bytes]) -> dict[Key, Consent]:
    """What stands recorded under these fingerprints."""
    query = (
        "SELECT f.fingerprint, f.recipient_type, e.consent_date, f.status, e.source "
        "FROM consent f JOIN consent_event e ON e.seq = f.seq WHERE f.fingerprint"
    )
    rows = among(connection, query, fingerprints)
    return {(bytes(row[0]), row[1]): Consent(row[2], Status(row[3]), row[4]) for row in rows}


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

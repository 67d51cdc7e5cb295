"""The moves of a brand on one day of Turkey, as the file that both sides compare, and its hash.

    creationDate,transactionId,recipient,recipientType,type,status,consentDate,source

A header, a line for each move in the order of creationDate and transactionId, each ending in LF; no field can hold a
comma. SHA-384 over all of it. A day may have more lines than fit into memory: they are sorted by SQLite, on disk.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date, datetime, time, timedelta
from typing import IO, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func

from filters.model import Channel, RecipientType, Status
from registry.limits import API_DAY_ROWS
from registry.national.moves import SKEW, Moved, Side, first_since, iso, last_seq, made_by, moved, moves_of
from registry.rules import TURKEY
from registry.schema import consent_event

HEADER: Final = "creationDate,transactionId,recipient,recipientType,type,status,consentDate,source"
HASH: Final = "sha384"


class Line(NamedTuple):
    """One move, in the columns of the file."""

    created: str
    transaction: str
    recipient: str
    recipient_type: str
    channel: str
    status: str
    consent_date: str
    source: str


class Written(NamedTuple):
    """A file that was written: how many lines it has, its hash, and the newest event that there was."""

    lines: int
    digest: str  # hexadecimal
    through: int


def line_of(one: Moved) -> Line:
    """Of a move."""
    move = one.move
    kind, channel, status = move.recipient_type.value, move.channel.value, move.status.value
    said = one.created, one.transaction, move.recipient.decode(), kind, channel, status
    return Line(*said, move.consent_date, move.source)


def octets(lines: Iterable[Line]) -> Iterator[bytes]:
    """The file, in pieces; `lines` are in order already."""
    yield f"{HEADER}\n".encode()
    for line in lines:
        yield f"{','.join(line)}\n".encode()


def digest_of(pieces: Iterable[bytes]) -> str:
    """The hash of a file, in hexadecimal."""
    running = hashlib.new(HASH)
    for piece in pieces:
        running.update(piece)
    return running.hexdigest()


def write(connection: Connection, brand: int, day: date, out: IO[bytes] | None = None) -> Written:
    """Compute the hash of a day's file, and write it to `out`. Blocks: ten seconds for each million moves."""
    through = last_seq(connection)
    running, count = hashlib.new(HASH), 0

    def counted(lines: Iterable[Line]) -> Iterator[Line]:
        nonlocal count
        for line in lines:
            count += 1
            yield line

    for piece in octets(counted(_ordered(connection, brand, day))):
        running.update(piece)
        if out is not None:
            out.write(piece)
    return Written(count, running.hexdigest(), through)


def has_moves(connection: Connection, brand: int, day: date, after: int = 0) -> bool:
    """Whether there are any, or any that were committed after an event."""
    query = moves_of(brand).where(_on(connection, day), consent_event.c.seq > after)
    return connection.execute(query.limit(1)).first() is not None


def counts(
    connection: Connection, brand: int, day: date, kind: RecipientType
) -> dict[tuple[Channel, Side, Status], int]:
    """How many moves of each kind a day had."""
    found: dict[tuple[Channel, Side, Status], int] = {}
    columns = consent_event.c.channel, consent_event.c.status
    for side in Side:
        here = (_on(connection, day), consent_event.c.recipient_type == kind.value, made_by(side))
        query = moves_of(brand).where(*here).with_only_columns(*columns, func.count()).group_by(*columns)
        for channel, status, count in connection.execute(query):
            found[Channel(channel), side, Status(status)] = count
    return found


def temporary() -> IO[bytes]:
    """A file without a name: it is gone when it is closed, whatever happens."""
    return tempfile.TemporaryFile(prefix="izinli-day-")


def _on(connection: Connection, day: date) -> ColumnElement[bool]:
    """Recorded on this day."""
    begin = datetime.combine(day, time(), TURKEY)
    end = begin + timedelta(days=1)
    at, seq = consent_event.c.recorded_at, consent_event.c.seq
    first, behind = first_since(connection, begin), first_since(connection, end + 2 * SKEW)
    return and_(seq >= first, seq < behind, at >= iso(begin), at < iso(end))


def _ordered(connection: Connection, brand: int, day: date) -> Iterator[Line]:
    query = moves_of(brand).where(_on(connection, day)).execution_options(yield_per=API_DAY_ROWS)
    with closing(sqlite3.connect("")) as sorter:  # on disk, without a name
        names = ", ".join(f"[{name}]" for name in Line._fields)
        sorter.execute(f"CREATE TABLE line ({names})")
        marks = ", ".join("?" for _ in Line._fields)
        for part in connection.execute(query).partitions():
            sorter.executemany(f"INSERT INTO line VALUES ({marks})", [line_of(moved(row)) for row in part])
        yield from map(Line._make, sorter.execute("SELECT * FROM line ORDER BY created, [transaction], recipient"))

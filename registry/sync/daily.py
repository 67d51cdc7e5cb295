"""The daily agreement: both sides' moves of a day are compared by counters, then by the hash of the day's file.

What differs is repaired from the national system's file: its moves of the day are what it holds. Then its hash is
agreed to, because it is the hash of what we hold now.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from datetime import date
from typing import IO, Any, Final

from sqlalchemy import Connection, delete, func, select

from filters.model import RecipientType, Status
from registry.background import Sometimes
from registry.limits import QUERY_KEYS_MAX, SYNC_FILE_BEAT_SECONDS, SYNC_FILE_LINE_OCTETS_MAX, SYNC_PAGE_MOVES
from registry.log import logger
from registry.national.day_file import HASH, HEADER, Line, digest_of, octets, temporary
from registry.schema import take_append_lock
from registry.sync.apply import remember
from registry.sync.client import UNREADABLE, Fault
from registry.sync.codes import Then
from registry.sync.pull import Wire, base, take_rows
from registry.sync.settings import SyncedBrand
from registry.sync.tables import national_move
from registry.sync.wire import Told, told

AGREED: Final = "agreed"
REPAIRED: Final = "repaired"
NOTHING: Final = "nothing"  # no moves on that day, on either side
UNDECIDED: Final = "undecided"  # not computed there yet: come again
TOLD_AFTER_HOURS: Final = 2
"""After midnight: changes are told with an hour's delay."""
COMPLETED: Final = "completed"
LAST: Final = "9"
"""After every creationDate."""
COLUMNS: Final = HEADER.split(",")
HEX_DIGITS: Final = 96  # of a SHA-384; the sample of the official text has 64


def compare(wire: Wire, brand: SyncedBrand, day: date, prolong: Callable[[], None]) -> str:
    """One of the words above. Raises Fault, Busy, IndexDown or SQLAlchemyError."""
    answer = wire.ask(brand, "GET", f"/agreements/{day.isoformat()}")
    if answer.empty:
        return NOTHING if not _ours(wire, brand, day) else UNDECIDED
    said = answer.json()
    if not isinstance(said, dict):
        raise Fault(Then.LATER, UNREADABLE, answer.status)
    if said.get("processStatus") != COMPLETED:
        return UNDECIDED
    wanted = said.get("hashValue")
    if not isinstance(wanted, str) or len(wanted) != HEX_DIGITS:
        raise Fault(Then.HELD, UNREADABLE, answer.status)
    done = AGREED
    if not (_counters_agree(wire, brand, day) and _digest(wire, brand, day) == wanted.lower()):
        found = _repair(wire, brand, day, prolong)
        if found != wanted.lower():
            logger.warning("national_day_moved", brand=brand.code, day=day.isoformat())
            return UNDECIDED  # it was changed between the two questions
        done = REPAIRED
        logger.warning("national_day_repaired", brand=brand.code, day=day.isoformat())
    if said.get("agreementStatus") is not True:
        wire.ask(brand, "PUT", f"/agreements/{day.isoformat()}", body={"agreementStatus": True})
    return done


def _counters_agree(wire: Wire, brand: SyncedBrand, day: date) -> bool:
    for kind in RecipientType:
        answer = wire.ask(brand, "GET", f"/changes/{day.isoformat()}/recipients/{kind.value}")
        stats = answer.json().get("changeStats") if not answer.empty else []
        theirs: dict[tuple[str, str], int] = {}
        for stat in stats if isinstance(stats, list) else []:
            for one in stat.get("consents", []):
                for status, name in ((Status.ONAY, "approval"), (Status.RET, "rejection")):
                    key = str(stat.get("type")), status.value
                    theirs[key] = theirs.get(key, 0) + int(one.get(name) or 0)
        with wire.state.engine.connect() as connection:
            ours = _counts(connection, brand, day, kind)
        if {key: count for key, count in theirs.items() if count} != ours:
            return False
    return True


def _counts(connection: Connection, brand: SyncedBrand, day: date, kind: RecipientType) -> dict[tuple[str, str], int]:
    columns = national_move.c.channel, national_move.c.status
    query = select(*columns, func.count()).where(*_on(brand, day), national_move.c.recipient_type == kind.value)
    return {(channel, status): count for channel, status, count in connection.execute(query.group_by(*columns))}


def _digest(wire: Wire, brand: SyncedBrand, day: date) -> str:
    with wire.state.engine.connect() as connection:
        return digest_of(octets(_lines(connection, brand, day)))


def _ours(wire: Wire, brand: SyncedBrand, day: date) -> bool:
    with wire.state.engine.connect() as connection:
        return next(_lines(connection, brand, day), None) is not None


def _lines(connection: Connection, brand: SyncedBrand, day: date, *which: Any) -> Iterator[Line]:
    names = ("created", "transaction_id", "recipient", "recipient_type", "channel", "status", "consent_date", "source")
    query = select(*(national_move.c[name] for name in names)).where(*_on(brand, day), *which)
    query = query.order_by(national_move.c.created, national_move.c.transaction_id)
    for row in connection.execute(query.execution_options(yield_per=10_000)):
        yield Line(*row)


def _on(brand: SyncedBrand, day: date) -> tuple[Any, ...]:
    created = national_move.c.created
    return national_move.c.brand == brand.code, created >= f"{day} 00:00:00", created <= f"{day} 23:59:59"


def _repair(wire: Wire, brand: SyncedBrand, day: date, prolong: Callable[[], None]) -> str:
    """Take the national system's moves of a day as what it holds; the hash of its file.

    The file goes to disk; it and what we hold are in one order, so that only a part of each is in memory.
    """
    path = f"{base(brand)}/changes/{day.isoformat()}/file"
    running = hashlib.new(HASH)
    with temporary() as file:
        beat = Sometimes(prolong, SYNC_FILE_BEAT_SECONDS)

        def take(piece: bytes) -> None:
            beat()
            running.update(piece)
            file.write(piece)

        wire.tokens.call(brand.login, lambda token: wire.client.file(path, token, take))
        file.seek(0)
        low = ""
        for part in _parts(_rows(file)):
            prolong()
            high = part[-1]["creationDate"]
            _settle(wire, brand, day, part, low, high)
            low = high
    _settle(wire, brand, day, [], low, LAST)
    return running.hexdigest()


def _settle(wire: Wire, brand: SyncedBrand, day: date, part: list[dict[str, str]], low: str, high: str) -> None:
    """Of the moves after `low` and up to `high` (creationDate): take what differs, and let go what it does not hold."""
    column = national_move.c.created
    with wire.state.engine.connect() as connection:
        ours = {line.transaction: line for line in _lines(connection, brand, day, column > low, column <= high)}
    # two moves of one second may have one transactionId, so it names no row
    news = [row for row in part if ours.get(row["transactionId"]) != Line(*(row[name] for name in COLUMNS))]
    gone = sorted(set(ours) - {row["transactionId"] for row in part} | {row["transactionId"] for row in news})
    if not gone:
        return
    take_rows(wire, brand, news)
    found = [one for one in (told(row, brand.code) for row in news) if isinstance(one, Told)]
    with wire.state.writing.begin() as connection:
        take_append_lock(connection)  # pushes bring moves of the same day
        for start in range(0, len(gone), QUERY_KEYS_MAX):
            some = national_move.c.transaction_id.in_(gone[start : start + QUERY_KEYS_MAX])
            connection.execute(delete(national_move).where(national_move.c.brand == brand.code, some))
        remember(connection, found)


def _parts(rows: Iterator[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """A thousand rows and a few, all of a second in one. Raises Fault for rows out of order."""
    part: list[dict[str, str]] = []
    for row in rows:
        last = part[-1]["creationDate"] if part else ""
        if row["creationDate"] < last:
            raise Fault(Then.HELD, UNREADABLE)
        if len(part) >= SYNC_PAGE_MOVES and row["creationDate"] != last:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def _rows(file: IO[bytes]) -> Iterator[dict[str, str]]:
    """Raises Fault for a file that is none."""
    lines = _text(file)
    header = next(lines, "")
    if header and not header.startswith(HEADER):
        raise Fault(Then.HELD, UNREADABLE)
    try:
        yield from csv.DictReader(lines, header.rstrip("\r\n").split(","), restval="")
    except csv.Error:
        raise Fault(Then.HELD, UNREADABLE) from None


def _text(file: IO[bytes]) -> Iterator[str]:
    while line := file.readline(SYNC_FILE_LINE_OCTETS_MAX):
        if len(line) == SYNC_FILE_LINE_OCTETS_MAX:
            raise Fault(Then.HELD, UNREADABLE)
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise Fault(Then.HELD, UNREADABLE) from None

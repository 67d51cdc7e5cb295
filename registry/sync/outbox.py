"""What waits to be told to the national system: a row for each of our own events, from the ledger's log.

The log is the outbox; rows are made by following it, and say what became of each event. An event waits for the one
before it under the same key. What the national system would refuse is not sent (its success ratio is watched there:
below 70 % an address loses its access), but stays here to be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import holidays
from sqlalchemy import Connection, and_, exists, func, insert, select, update

from filters.model import Status
from filters.workdays import due
from registry.append import Key, move_of
from registry.awaiting import MISSING, UNREGISTERED, is_ours
from registry.bulk import among
from registry.importer import oldest_declaration
from registry.ledger import Ledger
from registry.limits import SYNC_SCAN_EVENTS
from registry.national.moves import last_seq
from registry.rules import (
    DECLARATION_WORKDAYS,
    TURKEY,
    Consent,
    Line,
    LineRules,
    Move,
    declaration_fault,
    turkey_time,
)
from registry.schema import consent_event
from registry.sync import state as places
from registry.sync.state import State
from registry.sync.tables import DONE, KNOWN, REFUSED, SENT, WAITING, national_upload

FEED: Final = "fed"
"""Name of the state that says up to which event the log was looked at."""
NOTHING_TO_TAKE_BACK: Final = frozenset({"H174", "H175", "H486"})
"""Why a RET is refused of somebody who has no ONAY there (V1, V2, V9)."""
OPEN: Final = (WAITING, SENT)


class Row(NamedTuple):
    """An event that may be sent now."""

    seq: int
    tries: int
    move: Move
    key: Key


class Outbox:
    """Of one brand. One process at a time (its lease). Raises SQLAlchemyError."""

    def __init__(self, ledger: Ledger, state: State, brand: int) -> None:
        self._ledger = ledger
        self._state = state
        self._brand = brand

    def feed(self) -> int:
        """Follow the log to its head; how many events are new."""
        news = 0
        while True:
            with self._state.engine.connect() as connection:
                said = places.get(connection, self._brand, FEED)
                start, head = int(said or 0), last_seq(connection)
                if start >= head:
                    return news
                upto, rows = self._scan(connection, start, head, first=not said)
            with self._ledger.append() as log:
                if rows:
                    log.connection.execute(insert(national_upload), rows)
                places.put(log.connection, self._brand, FEED, str(upto), self._state.clock())
            news += len(rows)

    def ready(self, limit: int) -> list[Row]:
        """What may be sent now, in the order of the log: of each key the oldest event that is open."""
        now = int(self._state.clock().timestamp())
        mine, before = national_upload, national_upload.alias()
        same = and_(
            before.c.fingerprint == mine.c.fingerprint,
            before.c.recipient_type == mine.c.recipient_type,
            before.c.seq < mine.c.seq,
            before.c.state.in_(OPEN),
        )
        columns = [mine.c.seq, mine.c.tries, mine.c.fingerprint, *(consent_event.c[name] for name in Move._fields)]
        query = select(*columns).join(consent_event, consent_event.c.seq == mine.c.seq)
        query = query.where(mine.c.brand == self._brand, mine.c.state == WAITING, mine.c.next_at <= now)
        query = query.where(~exists().where(same)).order_by(mine.c.seq).limit(limit)
        with self._state.engine.connect() as connection:
            return [_row(row) for row in connection.execute(query)]

    def judged(self, rows: Sequence[Row]) -> list[str]:
        """For each the code that the national system would refuse it with, or ""."""
        now = self._state.clock()
        rules = LineRules(self._brand, turkey_time(now), declare=True, oldest=oldest_declaration(now), strict=True)
        with self._state.engine.connect() as connection:
            there = held(connection, self._brand, {row.move.recipient for row in rows}, {row.seq for row in rows})
        codes = []
        for row in rows:
            found = rules(line_of(row.move))
            stands = there.get(identity(row.move))
            codes.append(found if isinstance(found, str) else declaration_fault(row.move, stands) or "")
        return codes

    def settle(self, connection: Connection, seqs: Iterable[int], state: str, **values: Any) -> None:
        """Note what became of events; inside an append."""
        now = int(self._state.clock().timestamp())
        mine = update(national_upload).where(national_upload.c.seq.in_(sorted(seqs)))
        connection.execute(mine.values(state=state, changed_at=now, **values))

    def refuse(self, codes: dict[int, tuple[Move, str]]) -> None:
        """Note for good, by event, that it is not taken, with the code."""
        with self._ledger.append() as log:
            for seq, (move, code) in codes.items():
                self.settle(log.connection, [seq], final_state(move, code), code=code)

    def _scan(self, connection: Connection, start: int, head: int, *, first: bool) -> tuple[int, list[dict[str, Any]]]:
        """(up to which event was looked, rows). At first what was recorded before the brand was kept in step, and is
        too old to be declared, is left alone."""
        columns = [consent_event.c[name] for name in ("seq", "origin", "recorded_at", *Move._fields)]
        oldest = oldest_declaration(self._state.clock())[:10] if first else ""
        rows: list[dict[str, Any]] = []
        upto = start
        while upto < head and not rows:
            begin, upto = upto, min(head, upto + SYNC_SCAN_EVENTS)
            query = select(*columns).where(consent_event.c.seq > begin, consent_event.c.seq <= upto)
            query = query.where(consent_event.c.brand == self._brand).order_by(consent_event.c.seq)
            for seq, origin, recorded_at, *said in connection.execute(query):
                move = move_of(said)
                too_old = _day(move, recorded_at).isoformat() < oldest and not origin.startswith(UNREGISTERED)
                if is_ours(origin) and not too_old:
                    rows.append(self._new(seq, move, recorded_at))
        return upto, rows

    def _new(self, seq: int, move: Move, recorded_at: str) -> dict[str, Any]:
        return {
            "seq": seq,
            "brand": move.brand,
            "fingerprint": self._ledger.fingerprint(move.brand, move.channel, move.recipient),
            "recipient_type": move.recipient_type.value,
            "state": WAITING,
            "due": due_day(_day(move, recorded_at)).isoformat(),
            "next_at": 0,
            "tries": 0,
            "code": "",
            "request": "",
            "sub_request": "",
            "changed_at": int(self._state.clock().timestamp()),
        }


def final_state(move: Move, code: str) -> str:
    """A RET of somebody who has no ONAY there is no failure: there is nothing that could be sent to them."""
    return KNOWN if move.status is Status.RET and code in NOTHING_TO_TAKE_BACK else REFUSED


Identity = tuple[str, bytes, str]


def identity(move: Move) -> Identity:
    """The key of a record of one brand, in clear."""
    return move.channel.value, move.recipient, move.recipient_type.value


def held(connection: Connection, brand: int, recipients: Iterable[bytes], but: set[int]) -> dict[Identity, Consent]:
    """What the national system holds about recipients, as far as we know: what it told us, what an import said, what it
    took from us. `but`: events that are left out."""
    names = ", ".join(f"e.{name}" for name in Move._fields)
    query = (
        f"SELECT e.seq, e.origin, u.state, r.seq, {names} FROM consent_event e "
        "LEFT JOIN national_upload u ON u.seq = e.seq "
        "LEFT JOIN national_receipt r ON r.seq = e.seq WHERE e.recipient"
    )
    found: dict[Identity, Consent] = {}
    rows = among(connection, query, sorted(one.decode() for one in recipients))
    for seq, origin, state, receipt, *said in sorted(rows, key=lambda row: int(row[0])):
        move = move_of(said)
        if move.brand != brand:
            continue
        one = identity(move)
        if origin == MISSING:
            found.pop(one, None)
        if seq in but:
            continue
        if state == DONE or (state is None and (receipt is not None or not is_ours(origin))):
            found[one] = max(move.consent, found.get(one, move.consent))
    return found


def line_of(move: Move) -> Line:
    """As the rules of one line want it."""
    _, channel, recipient, kind, status, source, consent_date = move
    return Line(recipient, *(text.encode() for text in (channel, status, source, kind, consent_date)))


@lru_cache(maxsize=4096)
def due_day(day: date) -> date:
    """The last day on which a consent or rejection of this day is told in time (regulation: three business days)."""
    return due(day, DECLARATION_WORKDAYS, holidays.country_holidays("TR", years={day.year, day.year + 1}))


def figures(connection: Connection, brand: int) -> dict[str, int]:
    """How many events are in which state."""
    counted = select(national_upload.c.state, func.count()).where(national_upload.c.brand == brand)
    rows = connection.execute(counted.group_by(national_upload.c.state))
    found = {state: int(count) for state, count in rows}
    return {state: found.get(state, 0) for state in (WAITING, SENT, DONE, REFUSED, KNOWN)}


def refusals(connection: Connection, brand: int) -> dict[str, int]:
    """How many events were refused for which reason."""
    mine = (national_upload.c.brand == brand, national_upload.c.state == REFUSED)
    counted = select(national_upload.c.code, func.count()).where(*mine).group_by(national_upload.c.code)
    return {code: int(count) for code, count in connection.execute(counted)}


def oldest_due(connection: Connection, brand: int) -> str:
    """The last day for the most urgent event that is not told yet, "" without any."""
    mine = (national_upload.c.brand == brand, national_upload.c.state.in_(OPEN))
    return connection.execute(select(func.min(national_upload.c.due)).where(*mine)).scalar_one() or ""


def _row(row: Any) -> Row:
    seq, tries, fingerprint, *said = row
    move = move_of(said)
    return Row(seq, tries, move, (bytes(fingerprint), move.recipient_type.value))


def _day(move: Move, recorded_at: str) -> date:
    """The day of the event in Turkey: its consentDate, or when it was recorded."""
    if move.consent_date:
        return date.fromisoformat(move.consent_date[:10])
    return datetime.fromisoformat(recorded_at).astimezone(TURKEY).date()

"""What the national system holds, into the ledger and the index.

Its moves obey the ledger's rules like everybody's: the newest consentDate wins, a tie is RET. When `take` returns, no
message passes to whoever refused (promise I5); only then a cursor moves or a push is acknowledged. To take the same
again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from filters.model import RecipientType, Status
from registry.append import Append, Key
from registry.awaiting import NATIONAL, REGISTERED, UNREGISTERED
from registry.ledger import RECORDED, Ledger
from registry.limits import QUERY_KEYS_MAX, SYNC_FORGET_ROWS, SYNC_MOVES_DAYS, SYNC_UPLOADS_DAYS
from registry.national.standing import standings
from registry.publish import Publisher
from registry.rules import Move, turkey_time
from registry.sync.state import Clock, State
from registry.sync.tables import SETTLED, national_move, national_receipt, national_upload
from registry.sync.wire import Told

ACTOR: Final = "national system"


class Taker:
    """Thread-safe. Raises SQLAlchemyError or IndexDown."""

    def __init__(self, ledger: Ledger, publisher: Publisher, clock: Clock) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock

    def take(self, found: Sequence[Told]) -> int:
        """Record moves and publish them; how many were news."""
        if not found:
            return 0
        now = self._clock()
        entries = [(self.fingerprint(one.move), one.move) for one in found]
        answers = self._ledger.record(entries, origin=NATIONAL, now=now, actor=ACTOR)
        self.register([one.move for one in found])
        with self._ledger.append() as log:
            remember(log.connection, found)
        # also what was known: the process that recorded it may have been killed before it published
        self.publish({self.key(move): None for _, move in entries})
        return answers.count(RECORDED)

    def publish(self, keys: Iterable[Key]) -> None:
        """Let the index know; returns when its readers do."""
        self._publisher.publish_now(keys)

    def register(self, moves: Iterable[Move]) -> None:
        """Let consents count that the national system has: those that still stand as they were taken there.

        Not published here: nobody is let through too late by that.
        """
        wanted = [move for move in moves if _may_wait(move)]
        if not wanted:
            return
        with self._ledger.append() as log:
            self.register_in(log, wanted)

    def register_in(self, log: Append, moves: Iterable[Move]) -> None:
        """As `register`, inside an append."""
        wanted = {self.key(move): move for move in moves if _may_wait(move)}
        found = standings(log.connection, sorted({fingerprint for fingerprint, _ in wanted}))
        entries = []
        for key, move in wanted.items():
            stands = found.get(key)
            if stands is None or not stands.origin.startswith(UNREGISTERED):
                continue
            if stands.status is Status.BEKLIYOR and stands.consent == move.consent:
                entries.append((key[0], move, True))
        if entries:
            log.write(entries, origin=REGISTERED, now=self._clock(), actor=ACTOR)

    def fingerprint(self, move: Move) -> bytes:
        return self._ledger.fingerprint(move.brand, move.channel, move.recipient)

    def key(self, move: Move) -> Key:
        return self.fingerprint(move), move.recipient_type._value_


def remember(connection: Connection, found: Iterable[Told]) -> None:
    """Keep what the national system says that it holds, each once."""
    named = {(one.move.brand, one.transaction): one for one in found if one.transaction and one.created}
    for brand in {brand for brand, _ in named}:
        mine = [transaction for of, transaction in named if of == brand]
        known: set[str] = set()
        for start in range(0, len(mine), QUERY_KEYS_MAX):
            part = mine[start : start + QUERY_KEYS_MAX]
            column = national_move.c.transaction_id
            query = select(column).where(national_move.c.brand == brand, column.in_(part))
            known |= set(connection.execute(query).scalars())
        if rows := [_row(named[brand, one]) for one in mine if one not in known]:
            connection.execute(insert(national_move), rows)


def keep_receipts(connection: Connection, taken: Iterable[tuple[int, Told]], now: datetime) -> None:
    """Note for as long as the events stay that the national system took them; the first time is the one that counts."""
    heard_at = int(now.timestamp())
    rows = {
        seq: {"seq": seq, "transaction_id": one.transaction, "created": one.created, "heard_at": heard_at}
        for seq, one in taken
    }
    known = connection.execute(select(national_receipt.c.seq).where(national_receipt.c.seq.in_(list(rows)))).scalars()
    for seq in known.all():
        del rows[seq]
    if rows:
        connection.execute(insert(national_receipt), list(rows.values()))


def forget(state: State, brands: Iterable[int], moved: Callable[[], None]) -> int:
    """Take out moves that nobody compares any more, and uploads that nobody can ask about; how many of the latter.

    What an inspector wants to see of an upload stays with its event: `national_receipt`. Raises SQLAlchemyError.
    """
    now = state.clock().astimezone(UTC)
    oldest = turkey_time(now - timedelta(days=SYNC_MOVES_DAYS))
    with state.writing.begin() as connection:
        connection.execute(delete(national_move).where(national_move.c.created < oldest))
    before = int((now - timedelta(days=SYNC_UPLOADS_DAYS)).timestamp())
    mine, gone = national_upload, 0
    for brand in brands:
        for settled in SETTLED:
            old = select(mine.c.seq).where(mine.c.brand == brand, mine.c.state == settled, mine.c.changed_at < before)
            part = old.order_by(mine.c.seq).limit(SYNC_FORGET_ROWS)
            deleted = SYNC_FORGET_ROWS
            while deleted == SYNC_FORGET_ROWS:  # withdrawals get their turn in between
                moved()
                with state.writing.begin() as connection:
                    deleted = connection.execute(delete(mine).where(mine.c.seq.in_(part))).rowcount
                gone += deleted
    return gone


def _row(one: Told) -> dict[str, Any]:
    move = one.move
    return {
        "brand": move.brand,
        "transaction_id": one.transaction,
        "created": one.created,
        "channel": move.channel.value,
        "recipient": move.recipient.decode(),
        "recipient_type": move.recipient_type.value,
        "status": move.status.value,
        "source": move.source,
        "consent_date": move.consent_date,
    }


def _may_wait(move: Move) -> bool:
    return move.status is Status.ONAY and move.recipient_type is RecipientType.BIREYSEL

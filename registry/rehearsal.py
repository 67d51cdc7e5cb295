"""What a ledger would answer, without a word in it: the dry run of an import.

Lines of one file depend on each other (the same recipient twice, ONAY and then RET), so each has to be recorded to
judge the next. They are recorded in a ledger of the moment, which is given first what the real one holds about a
batch's recipients. The real one is only read, a batch at a time, and nobody waits for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from registry import subscription
from registry.append import Entry, moves_about
from registry.ledger import Judge, Ledger


class Rehearsal:
    """Answers as `Ledger.record` does."""

    def __init__(self, real: Ledger, scratch: Ledger) -> None:
        self._real = real
        self._scratch = scratch
        with real.engine.connect() as connection:
            self._subscriptions = subscription.subscriptions(connection)

    def record(
        self, entries: Sequence[Entry], *, origin: str, now: datetime, judge: Judge | None = None, actor: str = ""
    ) -> list[str]:
        """See `Ledger.record`."""
        self._copy({move.recipient for _, move in entries}, now)
        if not self._subscriptions:
            return self._scratch.record(entries, origin=origin, now=now, judge=judge, actor=actor)
        with self._scratch.append() as log:
            subscription.put(log.connection, self._subscriptions)
        answers = self._scratch.record(entries, origin=origin, now=now, judge=judge, actor=actor)
        with self._scratch.append() as log:  # what is copied next is held already
            self._subscriptions = subscription.subscriptions(log.connection)
            subscription.put(log.connection, ())
        return answers

    def _copy(self, recipients: set[bytes], now: datetime) -> None:
        """What the real ledger holds about recipients that the other does not know yet."""
        with self._scratch.engine.connect() as connection:
            known = {move.recipient for move in moves_about(connection, recipients)}
        with self._real.engine.connect() as connection:
            moves = moves_about(connection, recipients - known)
        fingerprint = self._real.fingerprint
        history = [(fingerprint(move.brand, move.channel, move.recipient), move) for move in moves]
        self._scratch.record(history, origin="", now=now)


@contextmanager
def rehearsal(real: Ledger) -> Iterator[Rehearsal]:
    """A dry run beside `real`; its own ledger is gone at the end. Raises SQLAlchemyError, OSError."""
    with tempfile.TemporaryDirectory(prefix="izinli-dry-run-") as name:  # for this user alone: it holds addresses
        scratch = Ledger.with_fingerprints_of(real, Path(name))
        try:
            yield Rehearsal(real, scratch)
        finally:
            scratch.close()

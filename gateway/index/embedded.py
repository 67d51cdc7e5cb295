"""The embedded consent index: one SQLite file beside the ledger, read in-process; always current, nothing to start."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from filters.layout import FAMILY_OF, INDEX_FILE, Suspended
from filters.model import Reason
from gateway.index.interface import UNKNOWN, Answers, Asked, Believed, Done, Fault, Status


class SqliteIndex:
    """The embedded index: `index.sqlite`, read in-process; one read transaction per batch."""

    def __init__(self, data_dir: Path, believed: Believed) -> None:
        self.status = UNKNOWN
        self.suspended: frozenset[int] = frozenset()
        self._said = b""  # what that was read from
        self._path = data_dir / INDEX_FILE
        self._believed = believed
        self._connection: sqlite3.Connection | None = None
        self._file = (-1, -1)

    async def start(self) -> None:
        self.poll()

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        done(questions, self._answers(questions))

    def poll(self) -> None:
        self._answers(())

    async def close(self) -> None:
        self._drop()

    def _answers(self, questions: Sequence[Asked]) -> Answers:
        try:
            execute = self._open().execute
            execute("BEGIN")
            try:
                self.status = self._believed.status(execute(_META).fetchone(), time.time_ns() // 1_000_000)
                if self.status.reason is None:
                    self._read_suspended(execute(_SUSPENDED).fetchone())
                if self.status.reason is not None:
                    return self.status.reason
                epoch = self.status.epoch
                return [
                    execute(
                        _LISTED, (epoch, FAMILY_OF[question.stream.recipient_type], question.fingerprint)
                    ).fetchone()
                    is not None
                    for question in questions
                    if question.stream is not None
                ]
            finally:
                execute("COMMIT")
        except (OSError, ValueError, sqlite3.Error):
            self._drop()
            self.status = Status.failed(Fault.DOWN, self.status.epoch, self.status.age_s)
            return Reason.INDEX_DOWN

    def _read_suspended(self, row: tuple[bytes] | None) -> None:
        """Who may not send; a file that does not say it is not whole."""
        if row is None:
            self.status = Status.failed(Fault.ABSENT, self.status.epoch, self.status.age_s)
        elif row[0] != self._said:
            self.suspended = Suspended.parse(row[0]).brands
            self._said = row[0]

    def _open(self) -> sqlite3.Connection:
        """The connection to the file that has the path now: a deleted one would go on answering."""
        found = self._path.stat()
        if self._connection is not None and (found.st_dev, found.st_ino) == self._file:
            return self._connection
        self._drop()
        uri = f"{self._path.resolve().as_uri()}?mode=ro"
        self._connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, cached_statements=8)
        self._file = (found.st_dev, found.st_ino)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_META: Final = "SELECT format, epoch, heartbeat_ms, key_check FROM meta WHERE ready = 1"
_SUSPENDED: Final = "SELECT said FROM suspended"
_LISTED: Final = "SELECT 1 FROM member WHERE epoch = ? AND family = ? AND fingerprint = ?"

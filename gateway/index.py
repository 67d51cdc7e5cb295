"""Asking the consent index: one interface for its two forms, and the embedded one.

All questions of a loop tick are asked together and answered together: with whether each fingerprint is listed in its
family, or with the one reason why nothing can be said. An index is only believed while it is whole (format, key), not
older than it was before (epoch) and heard of lately (heartbeat).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from filters.layout import FAMILY_OF, FORMAT, INDEX_FILE
from filters.model import Reason, Stream


class Asked(Protocol):
    """What an index needs of a question; `stream` is not None."""

    fingerprint: bytes
    stream: Stream | None


Answers = list[bool] | Reason
Done = Callable[[Sequence[Asked], Answers], None]


class Status(NamedTuple):
    """What is known of the index: whether it can be believed, and how long it is unheard of (NaN: never heard)."""

    reason: Reason | None  # None: it answers
    epoch: int
    age_s: float


UNKNOWN: Final = Status(Reason.INDEX_DOWN, 0, float("nan"))


class ConsentIndex(Protocol):
    """The index as one worker sees it."""

    @property
    def status(self) -> Status:
        """As of the last answer."""

    async def start(self) -> None:
        """Reach for it; its absence is no error."""

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        """Call `done(questions, answers)` exactly once, in the loop, within INDEX_DEADLINE_S, possibly at once."""

    def poll(self) -> None:
        """Renew `status` when there is no traffic."""

    async def close(self) -> None: ...


class Believed:
    """The conditions under which an answer counts. `age_max_s`: unheard of its publisher for longer is stale."""

    def __init__(self, key_check: bytes, age_max_s: float) -> None:
        self._key_check = key_check
        self._age_max_s = age_max_s
        self.epoch_seen = 0

    def status(self, found: tuple[int, int, int, bytes] | None, now_ms: int) -> Status:
        """`found`: format, epoch, heartbeat in ms, key check value; None: there is no index."""
        if found is None:
            return Status(Reason.INDEX_STALE, 0, float("nan"))
        version, epoch, heartbeat_ms, key_check = found
        age_s = max(0.0, (now_ms - heartbeat_ms) / 1000)
        ours = version == FORMAT and key_check == self._key_check
        if not ours or epoch < self.epoch_seen or age_s > self._age_max_s:
            return Status(Reason.INDEX_STALE, epoch, age_s)
        self.epoch_seen = epoch
        return Status(None, epoch, age_s)


class SqliteIndex:
    """The embedded index: `index.sqlite`, read in-process; one read transaction per batch."""

    def __init__(self, data_dir: Path, believed: Believed) -> None:
        self.status = UNKNOWN
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
        except (OSError, sqlite3.Error):
            self._drop()
            self.status = Status(Reason.INDEX_DOWN, self.status.epoch, self.status.age_s)
            return Reason.INDEX_DOWN

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
_LISTED: Final = "SELECT 1 FROM member WHERE epoch = ? AND family = ? AND fingerprint = ?"

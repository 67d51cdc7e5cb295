"""The memory of mixed endings on one machine: `data_dir/delivered.sqlite`, shared by the workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway import limits
from gateway.smtp.delivered import Fate, Fates

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    digest BLOB PRIMARY KEY, fate BLOB NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_expires ON entry (expires);
"""


class SqliteStore:
    """A store (`delivered.Store`). `clock` gives seconds since 1970. Raises sqlite3.Error when it cannot be opened."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._database = sqlite3.connect(path, isolation_level=None, timeout=limits.SMTP_DELIVERED_BUSY_S)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a power cut may forget the last rows: sent twice at worst
        self._database.executescript(_SCHEMA)
        self._version = -1  # of the file as other workers left it; our own writes do not move it
        self._empty = True

    @property
    def is_empty(self) -> bool:
        """Microseconds: the file is looked into when another worker has written."""
        try:
            (version,) = self._database.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._empty = self._database.execute("SELECT 1 FROM entry LIMIT 1").fetchone() is None
                self._version = version
        except sqlite3.Error:
            return False  # let `read` say so
        return self._empty

    async def start(self) -> None:
        return

    def read(self, entries: Sequence[bytes], done: Callable[[Fates | None], None]) -> None:
        now = int(self._clock())
        try:
            rows = [
                self._database.execute(
                    "SELECT fate FROM entry WHERE digest = ? AND expires > ?", (entry, now)
                ).fetchone()
                for entry in entries
            ]
        except sqlite3.Error:
            done(None)
            return
        done([None if row is None else Fate(row[0]) for row in rows])

    def write(self, entries: Sequence[bytes], fate: Fate, keep_s: int, done: Callable[[bool], None]) -> None:
        try:
            self._put(entries, fate, keep_s)
        except sqlite3.Error:
            done(False)
            return
        self._empty = False
        done(True)

    def forget(self, entries: Sequence[bytes]) -> None:
        try:
            self._database.executemany("DELETE FROM entry WHERE digest = ?", [(entry,) for entry in entries])
        except sqlite3.Error:
            return  # they run out by themselves

    def poll(self) -> None:
        return

    async def close(self) -> None:
        self._database.close()

    def _put(self, entries: Sequence[bytes], fate: Fate, keep_s: int) -> None:
        """Raises sqlite3.Error."""
        now = int(self._clock())
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM entry WHERE expires <= ?", (now,))
            (count,) = self._database.execute("SELECT count(*) FROM entry").fetchone()
            if count + len(entries) > limits.SMTP_DELIVERED_ROWS_MAX:
                raise sqlite3.DataError("the memory of mixed endings is full")
            self._database.executemany(
                "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)",
                [(entry, fate.value, now + keep_s) for entry in entries],
            )

"""The memory of mixed endings on one machine: `data_dir/delivered.sqlite`, shared by the workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gateway import limits
from gateway.smtp.delivered import Said

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entry (
    digest BLOB PRIMARY KEY, fate BLOB NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_expires ON entry (expires);
"""
_READ: Final = "SELECT fate FROM entry WHERE digest = ? AND expires > ?"
_WRITE: Final = "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)"
_SWEEP: Final = "DELETE FROM entry WHERE expires <= ?"
_PROBE: Final = b""  # no digest


class SqliteStore:
    """A store (`delivered.Store`). `clock` gives seconds since 1970. A file that cannot be opened is tried again."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._opened: sqlite3.Connection | None = None
        self._version = -1  # of the file as other workers left it; our own writes do not move it
        self._empty = True
        self._busy = 0  # probes that found another writer, since the last one that did not

    @property
    def is_empty(self) -> bool:
        """Microseconds: the file is looked into when another worker has written."""
        try:
            database = self._opened or self._open()
            (version,) = database.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._empty = database.execute("SELECT 1 FROM entry LIMIT 1").fetchone() is None
                self._version = version
        except sqlite3.Error:
            return False  # let `read` say so
        return self._empty

    async def start(self) -> None:
        return

    def read(self, entries: Sequence[bytes], done: Callable[[Said | None], None]) -> None:
        now = int(self._clock())
        try:
            database = self._opened or self._open()
            rows = [database.execute(_READ, (entry, now)).fetchone() for entry in entries]
        except sqlite3.Error:
            done(None)
            return
        done([None if row is None else row[0] for row in rows])

    def write(self, entries: Sequence[bytes], said: bytes, keep_s: int, done: Callable[[bool], None]) -> None:
        try:
            self._put(entries, said, keep_s)
        except sqlite3.Error:
            done(False)
            return
        self._empty = False
        done(True)

    def forget(self, entries: Sequence[bytes]) -> None:
        try:
            database = self._opened or self._open()
            database.executemany("DELETE FROM entry WHERE digest = ?", [(entry,) for entry in entries])
        except sqlite3.Error:
            return  # they run out by themselves

    def probe(self, done: Callable[[bool, bool], None]) -> None:
        """A row that comes and goes: its page is written, so that a full disk and a file that is read-only show."""
        can_read = can_write = False
        try:
            database = self._opened or self._open()
            database.execute(_READ, (_PROBE, 0)).fetchone()
            can_read = True
            self._touch(database)
            can_write = True
            self._busy = 0
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                self._busy += 1
                can_read = self._opened is not None  # whom a writer does not keep from reading
                can_write = self._busy < limits.SMTP_DELIVERED_BUSY_PROBES
        done(can_read, can_write)

    def poll(self) -> None:
        return

    async def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _open(self) -> sqlite3.Connection:
        """Raises sqlite3.Error."""
        database = sqlite3.connect(self._path, isolation_level=None, timeout=limits.SMTP_DELIVERED_BUSY_S)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            # A power cut may forget the last rows: sent twice at worst.
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        self._opened = database
        return database

    def _touch(self, database: sqlite3.Connection) -> None:
        """Raises sqlite3.Error, without waiting for other writers."""
        database.execute("PRAGMA busy_timeout = 0")
        try:
            with database:
                database.execute("BEGIN IMMEDIATE")
                database.execute(_WRITE, (_PROBE, _PROBE, 0))
                database.execute(_SWEEP, (int(self._clock()),))
        finally:
            database.execute(f"PRAGMA busy_timeout = {int(limits.SMTP_DELIVERED_BUSY_S * 1000)}")

    def _put(self, entries: Sequence[bytes], said: bytes, keep_s: int) -> None:
        """Raises sqlite3.Error."""
        now = int(self._clock())
        database = self._opened or self._open()
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(_SWEEP, (now,))
            (count,) = database.execute("SELECT count(*) FROM entry").fetchone()
            if count + len(entries) > limits.SMTP_DELIVERED_ROWS_MAX:
                raise sqlite3.DataError("the memory of mixed endings is full")
            database.executemany(_WRITE, [(entry, said, now + keep_s) for entry in entries])

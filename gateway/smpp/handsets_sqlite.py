"""The memory of handsets on one machine: `data_dir/handsets.sqlite`, shared by the workers.

A thread of its own does the work: a campaign writes thousands of rows a second, and no message waits for them. The file
is made when the first is written.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from gateway import limits
from gateway.smpp.handsets import Notes

T = TypeVar("T")

FILE: Final = "handsets.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sent (
    digest BLOB NOT NULL, brand INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (digest, brand)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sent_at ON sent (at);
CREATE TABLE IF NOT EXISTS told (digest BLOB PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID;
"""
_COUNT_EVERY: Final = 60  # writes: counting a million rows takes 20 ms


class SqliteStore:
    """A store (`handsets.Store`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="handsets")
        self._database: sqlite3.Connection | None = None
        self._writes = 0

    async def start(self) -> None:
        return

    async def write(self, notes: Notes) -> bool:
        rows = [(digest, brand, at) for (digest, brand), at in notes.items()]
        return await self._in_thread(lambda: self._put(rows), failed=False)

    async def read(self, digest: bytes, now: int) -> list[tuple[int, int]] | None:
        return await self._in_thread(lambda: self._get(digest, now), failed=None)

    async def first(self, digest: bytes, now: int, until: int) -> bool:
        return await self._in_thread(lambda: self._tell(digest, now, until), failed=False)

    def poll(self) -> None:
        return

    async def close(self) -> None:
        def close() -> None:
            if self._database is not None:
                self._database.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, close)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], T], *, failed: T) -> T:
        def tried() -> T:
            try:
                return work()
            except sqlite3.Error:
                return failed

        return await asyncio.get_running_loop().run_in_executor(self._thread, tried)

    # in the thread

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(
                self._path, isolation_level=None, timeout=limits.MO_BUSY_S, check_same_thread=False
            )
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # a power cut may forget the last rows
            database.executescript(_SCHEMA)
            self._database = database
        return self._database

    def _put(self, rows: list[tuple[bytes, int, int]]) -> bool:
        database = self._open()
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "INSERT INTO sent VALUES (?, ?, ?) ON CONFLICT (digest, brand) DO UPDATE SET at = max(at, excluded.at)",
                rows,
            )
            database.execute("DELETE FROM sent WHERE at <= ?", (max(at for _, _, at in rows) - limits.MO_KEEP_S,))
            if self._writes % _COUNT_EVERY == 0:
                (count,) = database.execute("SELECT count(*) FROM sent").fetchone()
                oldest = "SELECT digest, brand FROM sent ORDER BY at LIMIT ?"
                over = max(0, count - limits.MO_ROWS_MAX)
                database.execute(f"DELETE FROM sent WHERE (digest, brand) IN ({oldest})", (over,))
        self._writes += 1
        return True

    def _get(self, digest: bytes, now: int) -> list[tuple[int, int]]:
        query = "SELECT brand, at FROM sent WHERE digest = ? AND at > ? ORDER BY at DESC, brand LIMIT ?"
        return self._open().execute(query, (digest, now - limits.MO_KEEP_S, limits.MO_BRANDS_KEPT)).fetchall()

    def _tell(self, digest: bytes, now: int, until: int) -> bool:
        database = self._open()
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM told WHERE expires <= ?", (now,))
            return database.execute("INSERT OR IGNORE INTO told VALUES (?, ?)", (digest, until)).rowcount == 1

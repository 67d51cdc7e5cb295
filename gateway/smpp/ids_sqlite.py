"""Message ids on one machine: `data_dir/message-ids.sqlite`, shared by the workers (`ids.MessageIds`).

A thread of its own does the work, one transaction after the other: whatever is asked while one runs is the next. So
each loop tick costs one at most, and a campaign some hundred a second. The file is made when it is first needed.

Rows are numbered in the order of their first writing, so that how many there are, and which are the oldest, is known
without counting. A killed process loses nothing that was noted; a power cut may lose the last rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, cast

from gateway import limits
from gateway.smpp.ids import Swap, Unavailable

T = TypeVar("T")

FILE: Final = "message-ids.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entry (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL, expires INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS due (
    queue BLOB NOT NULL, key BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due_at ON due (queue, at);
"""
_PUT: Final = (
    "INSERT INTO entry (key, value, expires) VALUES (?, ?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires"
)
_GET: Final = "SELECT value FROM entry WHERE key = ? AND expires > ?"
_OLD: Final = "SELECT number FROM entry ORDER BY number LIMIT ?"


class _Work(NamedTuple):
    """What a caller waits for."""

    writes: bool
    size: int  # rows
    run: Callable[[sqlite3.Connection, int], Any]
    heard: asyncio.Future[Any]


class SqliteIds:
    """A store (`ids.MessageIds`); inside a running loop. `clock` gives seconds since 1970."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="message-ids")
        self._database: sqlite3.Connection | None = None
        self._waiting: list[_Work] = []
        self._rows = 0  # that wait
        self._running: asyncio.Future[list[Any] | None] | None = None
        self._begun = False  # the next transaction will be, with all of this tick
        self._closed = False

    async def start(self) -> None:
        return

    async def note(self, entries: Sequence[tuple[bytes, bytes]], keep_s: int | None = None) -> None:
        seconds = limits.SMPP_IDS_S if keep_s is None else keep_s

        def put(database: sqlite3.Connection, now: int) -> None:
            database.executemany(_PUT, [(key, value, now + seconds) for key, value in entries])

        await self._do(put, len(entries), writes=True)

    async def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        def get(database: sqlite3.Connection, now: int) -> list[bytes | None]:
            rows = [database.execute(_GET, (key, now)).fetchone() for key in keys]
            return [row and row[0] for row in rows]

        return await self._do(get, len(keys), writes=False)

    async def swap(self, swaps: Sequence[Swap], keep_s: int | None = None) -> list[bool]:
        seconds = limits.SMPP_IDS_S if keep_s is None else keep_s
        return await self._do(lambda database, now: [_swap(database, now, one, seconds) for one in swaps], len(swaps))

    async def forget(self, keys: Sequence[bytes]) -> None:
        rows = [(key,) for key in keys]
        await self._do(lambda database, _now: _many(database, "DELETE FROM entry WHERE key = ?", rows), len(rows))

    async def remind(self, queue: bytes, key: bytes, at: int) -> None:
        put = "INSERT INTO due VALUES (?, ?, ?) ON CONFLICT (queue, key) DO UPDATE SET at = min(at, excluded.at)"
        await self._do(lambda database, _now: _many(database, put, [(queue, key, at)]), 1)

    async def due(self, queue: bytes, now: int, again: int) -> list[bytes]:
        def take(database: sqlite3.Connection, _now: int) -> list[bytes]:
            query = "SELECT key FROM due WHERE queue = ? AND at <= ? ORDER BY at LIMIT ?"
            keys = [key for (key,) in database.execute(query, (queue, now, limits.SMPP_IDS_DUE_MAX))]
            later = "UPDATE due SET at = ? WHERE queue = ? AND key = ?"
            database.executemany(later, [(again, queue, key) for key in keys])
            return keys

        return await self._do(take, limits.SMPP_IDS_DUE_MAX)

    async def settle(self, queue: bytes, keys: Sequence[bytes]) -> None:
        rows = [(queue, key) for key in keys]
        away = "DELETE FROM due WHERE queue = ? AND key = ?"
        await self._do(lambda database, _now: _many(database, away, rows), len(rows))

    def poll(self) -> None:
        return

    async def close(self) -> None:
        self._closed = True
        waiting, self._waiting = self._waiting, []
        _fail(waiting)
        if self._running is not None:
            await asyncio.wait([self._running])

        def close() -> None:
            if self._database is not None:
                self._database.close()

        await self._loop.run_in_executor(self._thread, close)
        self._thread.shutdown()

    # one transaction after the other

    async def _do(self, run: Callable[[sqlite3.Connection, int], T], size: int, *, writes: bool = True) -> T:
        """In the next transaction. Raises Unavailable."""
        if self._closed or self._rows + size > limits.SMPP_IDS_WAITING_MAX:
            raise Unavailable("closed" if self._closed else "too much waits")
        heard: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Work(writes, size, run, heard))
        self._rows += size
        if self._running is None and not self._begun:
            self._begun = True
            self._loop.call_soon(self._begin)
        return await heard

    def _begin(self) -> None:
        self._begun = False
        due, self._waiting, self._rows = self._waiting, [], 0
        if not due:
            return
        self._running = self._loop.run_in_executor(self._thread, self._tried, due)
        self._running.add_done_callback(lambda ran: self._ended(due, ran))

    def _ended(self, due: list[_Work], ran: asyncio.Future[list[Any] | None]) -> None:
        self._running = None
        answers = None if ran.cancelled() or ran.exception() is not None else ran.result()
        if answers is None:
            _fail(due)
        else:
            for work, answer in zip(due, answers, strict=True):
                if not work.heard.done():
                    work.heard.set_result(answer)
        if self._waiting:
            self._begin()

    # in the thread

    def _tried(self, due: list[_Work]) -> list[Any] | None:
        try:
            return self._transact(due)
        except sqlite3.Error:
            return None

    def _transact(self, due: list[_Work]) -> list[Any]:
        database, now = self._open(), int(self._clock())
        if not any(work.writes for work in due):
            return [work.run(database, now) for work in due]
        with database:
            database.execute("BEGIN IMMEDIATE")
            answers = [work.run(database, now) for work in due]
            self._make_room(database, now, sum(work.size for work in due))
        return answers

    def _make_room(self, database: sqlite3.Connection, now: int, rows: int) -> None:
        """Twice as many as came may go: those whose time is over, and the oldest of too many (promise I7)."""
        database.execute(f"DELETE FROM entry WHERE number IN ({_OLD}) AND expires <= ?", (2 * rows, now))
        database.execute(
            f"DELETE FROM entry WHERE number IN ({_OLD}) AND number <= (SELECT max(number) FROM entry) - ?",
            (2 * rows, limits.SMPP_IDS_ROWS_MAX),
        )
        database.execute("DELETE FROM due WHERE at <= ?", (now - limits.SMPP_IDS_S,))

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(
                self._path, isolation_level=None, timeout=limits.SMPP_IDS_BUSY_S, check_same_thread=False
            )
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
            self._database = database
        return self._database


def _many(database: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    database.executemany(statement, rows)


def _swap(database: sqlite3.Connection, now: int, one: Swap, seconds: int) -> bool:
    row = database.execute(_GET, (one.key, now)).fetchone()
    if cast(bytes | None, row and row[0]) != one.old:
        return False
    if one.new is None:
        database.execute("DELETE FROM entry WHERE key = ?", (one.key,))
    else:
        database.execute(_PUT, (one.key, one.new, now + seconds))
    return True


def _fail(waiting: Sequence[_Work]) -> None:
    for work in waiting:
        if not work.heard.done():
            work.heard.set_exception(Unavailable("not done"))

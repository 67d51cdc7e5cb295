"""The embedded consent index: one SQLite file that the gateway's workers read in-process.

Its tables are laid down in `filters.layout`. The current epoch is meta.epoch where meta.ready is 1; nothing is kept
that the ledger could not give again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filters.layout import FORMAT, Family
from registry.index.interface import Change, IndexDown, IndexState, IndexUnusable, Plan, Superseded
from registry.limits import BUILD_CHUNK_MEMBERS, INDEX_WAIT_SECONDS

CAPACITY: Final = 1 << 62  # a B-tree has no layout to outgrow

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(
  id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER, epoch INTEGER, ready INTEGER, count INTEGER, cursor INTEGER,
  heartbeat_ms INTEGER, key_check BLOB
);
CREATE TABLE IF NOT EXISTS member(
  epoch INTEGER, family INTEGER, fingerprint BLOB, PRIMARY KEY (epoch, family, fingerprint)
) WITHOUT ROWID;
"""
_ADD = "INSERT OR IGNORE INTO member VALUES (?, ?, ?)"
_REMOVE = "DELETE FROM member WHERE epoch = ? AND family = ? AND fingerprint = ?"
_CONTAINS = "SELECT 1 FROM member WHERE epoch = ? AND family = ? AND fingerprint = ?"
_COUNT = "SELECT count(*) FROM member WHERE epoch = ? AND family = ?"


class SqliteIndexWriter:
    """One writer of one index file; other processes may have theirs. The file may be deleted under it at any time."""

    def __init__(self, path: Path, key_check: bytes) -> None:
        self._path = path
        self._key_check = key_check
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = -1

    def state(self) -> IndexState | None:
        with self._reading() as connection:
            return self._state(connection)

    def last_epoch(self) -> int:
        with self._reading() as connection:
            query = "SELECT max(coalesce((SELECT epoch FROM meta), 0), coalesce((SELECT max(epoch) FROM member), 0))"
            return int(connection.execute(query).fetchone()[0])

    def contains(self, family: Family, fingerprints: Sequence[bytes]) -> list[bool]:
        with self._reading() as connection:
            epoch = self._usable(connection).epoch
            found = (connection.execute(_CONTAINS, (epoch, family, fingerprint)) for fingerprint in fingerprints)
            return [cursor.fetchone() is not None for cursor in found]

    def members(self, family: Family) -> int:
        with self._reading() as connection:
            found = connection.execute(_COUNT, (self._usable(connection).epoch, family))
            return int(found.fetchone()[0])

    def update(self, plan: Plan) -> IndexState:
        with self.writing() as connection:
            state = self._usable(connection)
            update = plan(state)
            count = state.count + change_members(connection, state.epoch, update.changes)
            cursor = state.cursor if update.cursor is None else update.cursor
            heartbeat_ms = _now_ms() if update.beat else state.heartbeat_ms
            connection.execute("UPDATE meta SET count = ?, cursor = ?, heartbeat_ms = ?", (count, cursor, heartbeat_ms))
            return IndexState(state.epoch, count, cursor, heartbeat_ms, CAPACITY)

    def build(self, epoch: int, expected: int) -> SqliteBuild:
        return SqliteBuild(self, epoch)

    def switch(self, epoch: int, count: int, plan: Plan) -> IndexState:
        """The last step of a build: its tail and the switch in one transaction."""
        with self.writing() as connection:
            found = connection.execute("SELECT epoch FROM meta").fetchone()
            if found is not None and found[0] >= epoch:
                raise Superseded(f"epoch {found[0]} was built in the meantime")
            update = plan(IndexState(epoch, count, 0, 0, CAPACITY))
            count += change_members(connection, epoch, update.changes)
            row = (FORMAT, epoch, count, update.cursor or 0, _now_ms(), self._key_check)
            connection.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, ?, 1, ?, ?, ?, ?)", row)
            return IndexState(epoch, count, update.cursor or 0, row[4], CAPACITY)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, begun at once; rolled back when the block raises."""
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                raise IndexDown(f"index file: {error}") from error

    def _open(self) -> sqlite3.Connection:
        """The connection to the file that has the path now; a deleted file would take our writes unseen."""
        inode = self._path.stat().st_ino if self._path.exists() else -1
        if self._connection is not None and inode == self._inode:
            return self._connection
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        connection = sqlite3.connect(
            self._path, timeout=INDEX_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):  # a removal must outlive the power (I5)
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self._inode = connection, self._path.stat().st_ino
        return connection

    def _usable(self, connection: sqlite3.Connection) -> IndexState:
        state = self._state(connection)
        if state is None:
            raise IndexUnusable("the index is empty, half-built or not ours")
        return state

    def _state(self, connection: sqlite3.Connection) -> IndexState | None:
        query = "SELECT epoch, count, cursor, heartbeat_ms FROM meta WHERE ready = 1 AND format = ? AND key_check = ?"
        row = connection.execute(query, (FORMAT, self._key_check)).fetchone()
        if row is None:
            return None
        epoch, count, cursor, heartbeat_ms = row
        return IndexState(epoch, count, cursor, heartbeat_ms, CAPACITY)


class SqliteBuild:
    """A build of one epoch, in transactions short enough for others to write in between."""

    def __init__(self, writer: SqliteIndexWriter, epoch: int) -> None:
        self._writer = writer
        self._epoch = epoch
        self._count = 0

    def add(self, family: Family, fingerprints: Sequence[bytes]) -> None:
        with self._writer.writing() as connection:
            cursor = connection.executemany(_ADD, [(self._epoch, family, fingerprint) for fingerprint in fingerprints])
            self._count += cursor.rowcount

    def apply(self, changes: Sequence[Change]) -> None:
        with self._writer.writing() as connection:
            self._count += change_members(connection, self._epoch, changes)

    def switch(self, plan: Plan) -> IndexState:
        state = self._writer.switch(self._epoch, self._count, plan)
        self._drop("epoch < ?")
        return state

    def abandon(self) -> None:
        self._drop("epoch = ?")

    def _drop(self, which: str) -> None:
        """Older epochs, a chunk at a time; also what a build left that was killed."""
        chosen = f"SELECT epoch, family, fingerprint FROM member WHERE {which} LIMIT {BUILD_CHUNK_MEMBERS}"
        while True:
            with self._writer.writing() as connection:
                statement = f"DELETE FROM member WHERE (epoch, family, fingerprint) IN ({chosen})"
                if connection.execute(statement, (self._epoch,)).rowcount == 0:
                    return


def change_members(connection: sqlite3.Connection, epoch: int, changes: Sequence[Change]) -> int:
    """Apply changes to one epoch; returns by how much its number of members grew."""
    added = [(epoch, change.family, change.fingerprint) for change in changes if change.member]
    removed = [(epoch, change.family, change.fingerprint) for change in changes if not change.member]
    grown = connection.executemany(_ADD, added).rowcount if added else 0
    return grown - (connection.executemany(_REMOVE, removed).rowcount if removed else 0)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

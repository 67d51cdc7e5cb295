"""The embedded consent index: one SQLite file that the gateway's workers read in-process.

Its tables are laid down in `filters.layout`. The current epoch is meta.epoch where meta.ready is 1; nothing is kept
that the ledger could not give again. There is one clock for facts, not one for each lane: writers of one file follow
one another anyway.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filters.layout import FORMAT, Family, Suspended, lane_bounds
from registry.index.interface import Change, Facts, IndexDown, IndexState, IndexUnusable, Superseded
from registry.limits import BUILD_CHUNK_MEMBERS, INDEX_WAIT_SECONDS

ROOM: Final = (1 << 62, 1 << 62)  # a B-tree has no layout to outgrow

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta(
  id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER, epoch INTEGER, ready INTEGER, heartbeat_ms INTEGER,
  key_check BLOB, cursor INTEGER, as_of INTEGER, next INTEGER, count_b INTEGER, count_t INTEGER
);
CREATE TABLE IF NOT EXISTS suspended(id INTEGER PRIMARY KEY CHECK (id = 1), said BLOB);
CREATE TABLE IF NOT EXISTS member(
  epoch INTEGER, family INTEGER, fingerprint BLOB, PRIMARY KEY (epoch, family, fingerprint)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS build(
  epoch INTEGER PRIMARY KEY, cursor INTEGER, builder TEXT, family INTEGER, done BLOB, count_b INTEGER, count_t INTEGER
);
PRAGMA user_version = {FORMAT};
"""
_ADD = "INSERT OR IGNORE INTO member VALUES (?, ?, ?)"
_REMOVE = "DELETE FROM member WHERE epoch = ? AND family = ? AND fingerprint = ?"
_CONTAINS = "SELECT 1 FROM member WHERE epoch = ? AND family = ? AND fingerprint = ?"
_LANE = "SELECT fingerprint FROM member WHERE epoch = ? AND family = ? AND fingerprint >= ? AND fingerprint < ?"
_SUSPENDED = "SELECT said FROM suspended"
_STATE = """SELECT epoch, count_b, count_t, cursor, heartbeat_ms, as_of, next FROM meta
  WHERE ready = 1 AND format = ? AND key_check = ?"""


class SqliteIndexWriter:
    """One writer of one index file; other processes may have theirs. The file may be deleted under it at any time."""

    def __init__(self, path: Path, key_check: bytes) -> None:
        self._path = path
        self._key_check = key_check
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = -1

    def state(self) -> IndexState | None:
        with self.reading() as connection:
            found = self._found(connection)
            return None if found is None else found[0]

    def put(self, facts: Facts) -> list[Change]:
        with self.writing() as connection:
            state, as_of, announced = self._usable(connection)
            if facts.as_of < as_of:
                return list(facts.changes)
            grown = change_members(connection, state.epoch, facts.changes)
            set_ = "UPDATE meta SET as_of = ?, count_b = count_b + ?, count_t = count_t + ?"
            connection.execute(set_, (facts.as_of, *grown))
            if announced:
                grow_build(connection, announced, change_members(connection, announced, facts.changes))
        return []

    def beat(self, cursor: int) -> IndexState:
        with self.writing() as connection:
            self._usable(connection)
            connection.execute("UPDATE meta SET cursor = max(cursor, ?), heartbeat_ms = ?", (cursor, now_ms()))
            return self._usable(connection)[0]

    def suspend(self, suspended: Suspended, *, over: int = -1) -> int:
        said = str(suspended).encode()
        with self.reading() as connection:  # mostly nothing has changed, and nothing need be written
            self._usable(connection)
            if connection.execute(_SUSPENDED).fetchone() == (said,):
                return suspended.version
        with self.writing() as connection:
            self._usable(connection)
            row = connection.execute(_SUSPENDED).fetchone()
            stands = -1 if row is None else Suspended.parse(row[0]).version
            if stands > suspended.version and stands != over:
                return stands
            connection.execute("INSERT OR REPLACE INTO suspended VALUES (1, ?)", (said,))
        return suspended.version

    def lost_after(self) -> int | None:
        """A file has no servers that could lose a part of it."""
        return None

    def vouch(self) -> None:
        """See `lost_after`."""

    def build(self, epoch: int, expected: tuple[int, int], cursor: int) -> SqliteBuild:
        del expected  # see ROOM
        builder = secrets.token_hex(8)
        with self.writing() as connection:
            connection.execute("INSERT INTO build VALUES (?, ?, ?, NULL, NULL, 0, 0)", (epoch, cursor, builder))
        return SqliteBuild(self, epoch, cursor, builder, None)

    def unfinished(self) -> SqliteBuild | None:
        builder = secrets.token_hex(8)
        with self.writing() as connection:
            query = """SELECT epoch, cursor, family, done FROM build
              WHERE epoch > coalesce((SELECT epoch FROM meta), 0) ORDER BY epoch DESC"""
            row = connection.execute(query).fetchone()
            if row is None:
                return None
            epoch, cursor, family, done = row
            connection.execute("UPDATE build SET builder = ? WHERE epoch = ?", (builder, epoch))
        return SqliteBuild(self, epoch, cursor, builder, None if done is None else (Family(family), bytes(done)))

    def name(self, family: Family, fingerprint: bytes) -> bytes:
        return fingerprint

    def lane(self, family: Family, lane: int) -> set[bytes]:
        with self.reading() as connection:
            epoch = self._usable(connection)[0].epoch
            return {bytes(row[0]) for row in connection.execute(_LANE, (epoch, family, *lane_bounds(lane)))}

    def contains(self, family: Family, fingerprints: Sequence[bytes]) -> list[bool]:
        with self.reading() as connection:
            epoch = self._usable(connection)[0].epoch
            found = (connection.execute(_CONTAINS, (epoch, family, fingerprint)) for fingerprint in fingerprints)
            return [cursor.fetchone() is not None for cursor in found]

    def last_epoch(self) -> int:
        with self.reading() as connection:
            query = "SELECT max(coalesce((SELECT epoch FROM meta), 0), coalesce((SELECT max(epoch) FROM build), 0))"
            return int(connection.execute(query).fetchone()[0])

    def memory(self) -> int:
        beside = [self._path, self._path.with_name(self._path.name + "-wal")]
        return sum(path.stat().st_size for path in beside if path.exists())

    def switch(self, epoch: int, cursor: int) -> IndexState:
        """The last step of a build, in one transaction."""
        with self.writing() as connection:
            found = connection.execute("SELECT epoch FROM meta").fetchone()
            if found is not None and found[0] >= epoch:
                raise Superseded(f"epoch {found[0]} was built in the meantime")
            counts = connection.execute("SELECT count_b, count_t FROM build WHERE epoch = ?", (epoch,)).fetchone()
            if counts is None:
                raise IndexUnusable("the build was lost")
            row = (FORMAT, epoch, 1, now_ms(), self._key_check, cursor, cursor, None, *counts)
            connection.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("DELETE FROM build WHERE epoch <= ?", (epoch,))
            return self._usable(connection)[0]

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, begun at once; rolled back when the block raises."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; SQLite's faults become IndexDown."""
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
            connection.executescript(_schema(connection))
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self._inode = connection, self._path.stat().st_ino
        return connection

    def _usable(self, connection: sqlite3.Connection) -> tuple[IndexState, int, int | None]:
        found = self._found(connection)
        if found is None:
            raise IndexUnusable("the index is empty, half-built or not ours")
        return found

    def _found(self, connection: sqlite3.Connection) -> tuple[IndexState, int, int | None] | None:
        """The state, as_of and the announced epoch."""
        row = connection.execute(_STATE, (FORMAT, self._key_check)).fetchone()
        if row is None:
            return None
        epoch, count_b, count_t, cursor, heartbeat_ms, as_of, announced = row
        return IndexState(epoch, (count_b, count_t), cursor, heartbeat_ms, ROOM), as_of, announced


class SqliteBuild:
    """A build of one epoch, in transactions short enough for others to write in between."""

    def __init__(
        self, writer: SqliteIndexWriter, epoch: int, cursor: int, builder: str, done: tuple[Family, bytes] | None
    ) -> None:
        self.epoch = epoch
        self.cursor = cursor
        self.done = done
        self._writer = writer
        self._builder = builder

    def add(self, family: Family, fingerprints: Sequence[bytes]) -> None:
        with self._writer.writing() as connection:
            self._ours(connection)
            rows = [(self.epoch, family, fingerprint) for fingerprint in fingerprints]
            grown = [0, 0]
            grown[family] = connection.executemany(_ADD, rows).rowcount if rows else 0
            grow_build(connection, self.epoch, grown)
            noted = (family, fingerprints[-1], self.epoch) if fingerprints else (None, None, self.epoch)
            connection.execute("UPDATE build SET family = ?, done = ? WHERE epoch = ?", noted)

    def put(self, facts: Facts) -> list[Change]:
        with self._writer.writing() as connection:
            self._ours(connection)
            meta = connection.execute("SELECT as_of, next FROM meta").fetchone()
            # once it is announced, others' facts are in it too
            if meta is not None and meta[1] == self.epoch and facts.as_of < meta[0]:
                return list(facts.changes)
            grow_build(connection, self.epoch, change_members(connection, self.epoch, facts.changes))
        return []

    def announce(self) -> None:
        with self._writer.writing() as connection:
            self._ours(connection)
            connection.execute("UPDATE meta SET next = ?", (self.epoch,))

    def switch(self, cursor: int) -> IndexState:
        with self._writer.writing() as connection:
            self._ours(connection)
        state = self._writer.switch(self.epoch, cursor)
        self._drop("epoch < ?")
        return state

    def abandon(self) -> None:
        with self._writer.writing() as connection:
            if connection.execute("SELECT 1 FROM meta WHERE epoch >= ?", (self.epoch,)).fetchone():
                return
            ours = connection.execute("DELETE FROM build WHERE epoch = ? AND builder = ?", (self.epoch, self._builder))
            if ours.rowcount == 0:  # another publisher has taken it up
                return
            connection.execute("UPDATE meta SET next = NULL WHERE next = ?", (self.epoch,))
        self._drop("epoch = ?")

    def _ours(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT builder FROM build WHERE epoch = ?", (self.epoch,)).fetchone()
        if row is None:
            newer = connection.execute("SELECT epoch FROM meta WHERE epoch >= ?", (self.epoch,)).fetchone()
            if newer is not None:
                raise Superseded(f"epoch {newer[0]} was built in the meantime")
            raise IndexUnusable("the build was lost")
        if row[0] != self._builder:
            raise Superseded("another publisher has taken this build up")

    def _drop(self, which: str) -> None:
        """Older epochs, a chunk at a time; also what a build left that was killed."""
        chosen = f"SELECT epoch, family, fingerprint FROM member WHERE {which} LIMIT {BUILD_CHUNK_MEMBERS}"
        while True:
            with self._writer.writing() as connection:
                statement = f"DELETE FROM member WHERE (epoch, family, fingerprint) IN ({chosen})"
                if connection.execute(statement, (self.epoch,)).rowcount == 0:
                    return


def change_members(connection: sqlite3.Connection, epoch: int, changes: Sequence[Change]) -> list[int]:
    """Apply changes to one epoch; returns by how much its families grew."""
    grown = [0, 0]
    for family in Family:
        added = [(epoch, family, change.fingerprint) for change in changes if change.family is family and change.member]
        removed = [
            (epoch, family, change.fingerprint) for change in changes if change.family is family and not change.member
        ]
        grown[family] += connection.executemany(_ADD, added).rowcount if added else 0
        grown[family] -= connection.executemany(_REMOVE, removed).rowcount if removed else 0
    return grown


def grow_build(connection: sqlite3.Connection, epoch: int, grown: Sequence[int]) -> None:
    """Count what a build has got."""
    statement = "UPDATE build SET count_b = count_b + ?, count_t = count_t + ? WHERE epoch = ?"
    connection.execute(statement, (*grown, epoch))


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


def _schema(connection: sqlite3.Connection) -> str:
    """What makes the tables; those of another format are dropped first, for the ledger can give them again."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    drop = "".join(f"DROP TABLE {name};" for (name,) in tables) if version != FORMAT else ""
    return f"BEGIN IMMEDIATE;{drop}{_SCHEMA}COMMIT;"

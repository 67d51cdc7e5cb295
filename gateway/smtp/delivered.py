"""The memory of transactions that ended mixed: a client's retry sends only the rest.

One SMTP reply answers for all recipients. When some copies were taken and others must be tried again, the client hears
451 and sends everything once more; what the next hop took already is looked up here and not sent again. The same holds
for a client that left between its final dot and our answer.

A row is a keyless digest of sender, recipient and content together, which nobody can guess without the content, and 16
bits of sender and recipient to find it by, which fit thousands of addresses (promise I9).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from hashlib import blake2b, sha256
from pathlib import Path

from gateway import limits

_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivered (
    hint INTEGER NOT NULL, digest BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (hint, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS delivered_expires ON delivered (expires);
"""


class Delivered:
    """`data_dir/delivered.sqlite`, shared by the workers. `clock` gives seconds since 1970."""

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

    def close(self) -> None:
        self._database.close()

    def holds(self, sender: bytes, path: bytes, content: bytes) -> bool:
        """Did this recipient get this message already? Microseconds while the memory is empty, as it mostly is."""
        (version,) = self._database.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self._empty = self._database.execute("SELECT 1 FROM delivered LIMIT 1").fetchone() is None
        if self._empty:
            return False
        envelope = _envelope(sender, path)
        rows = self._database.execute(
            "SELECT digest FROM delivered WHERE hint = ? AND expires > ?", (_hint(envelope), int(self._clock()))
        ).fetchall()
        return bool(rows) and (_digest(envelope, sha256(content).digest()),) in rows

    def remember(self, sender: bytes, paths: Iterable[bytes], content: bytes) -> None:
        """Keep that these recipients have the message; raises sqlite3.Error when it cannot."""
        now = int(self._clock())
        expires = now + limits.SMTP_DELIVERED_KEEP_S
        content_digest = sha256(content).digest()
        envelopes = [_envelope(sender, path) for path in paths]
        rows = [(_hint(envelope), _digest(envelope, content_digest), expires) for envelope in envelopes]
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM delivered WHERE expires <= ?", (now,))
            (count,) = self._database.execute("SELECT count(*) FROM delivered").fetchone()
            if count + len(rows) > limits.SMTP_DELIVERED_ROWS_MAX:
                raise sqlite3.DataError("the memory of mixed endings is full")
            self._database.executemany("INSERT OR REPLACE INTO delivered VALUES (?, ?, ?)", rows)
        self._empty = False


def _envelope(sender: bytes, path: bytes) -> bytes:
    return blake2b(b"%d:%b%b" % (len(sender), sender, path), digest_size=32).digest()


def _hint(envelope: bytes) -> int:
    return int.from_bytes(envelope[:2], "big")


def _digest(envelope: bytes, content_digest: bytes) -> bytes:
    return blake2b(envelope + content_digest, digest_size=16).digest()

"""Invented consents by the million, and a Redis to hold them: what the index's benchmarks begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from bench.process import Program, free_port, which
from filters.key import FINGERPRINT_BYTES, KEY_BYTES
from registry.ledger import Ledger

KEY = bytes(range(KEY_BYTES))
CHUNK = 100_000


@contextmanager
def redis(directory: Path, *options: str) -> Iterator[Program]:
    """A Redis of this run alone that keeps nothing on disk."""
    port = free_port()
    program = Program("redis", "Redis", port, directory / f"redis-{port}.log")
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(directory)]
    program.start([which("redis-server"), *settings, *options])
    try:
        yield program
    finally:
        program.stop()


def fingerprints(count: int) -> list[bytes]:
    """As a keyed hash spreads them, ascending."""
    octets = os.urandom(FINGERPRINT_BYTES * count)
    return sorted(octets[at : at + FINGERPRINT_BYTES] for at in range(0, len(octets), FINGERPRINT_BYTES))


def fill_ledger(directory: Path, members: int, merchants: int) -> Ledger:
    """A ledger whose fold has so many ONAY of BIREYSEL and RET of TACIR.

    The fold alone: a build reads nothing else, and a hundred million events would only take an hour to write.
    """
    ledger = Ledger.open("sqlite", directory, KEY)
    statement = text("INSERT INTO consent VALUES (:fingerprint, :kind, :status, 0)")
    for kind, status, count in (("BIREYSEL", "ONAY", members), ("TACIR", "RET", merchants)):
        known = fingerprints(count)
        for start in range(0, count, CHUNK):
            rows = [{"fingerprint": one, "kind": kind, "status": status} for one in known[start : start + CHUNK]]
            with ledger.append() as log:
                log._connection.execute(statement, rows)
    return ledger

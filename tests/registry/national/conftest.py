"""The national API on a SQLite ledger and a SQLite index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.publish import Publisher
from tests.registry.national.support import Served, served


@pytest.fixture
def embedded(tmp_path: Path, sqlite_ledger: Ledger) -> Iterator[SqliteIndexWriter]:
    """An index that is level with the empty ledger."""
    writer = SqliteIndexWriter(tmp_path / "data" / "index.sqlite", sqlite_ledger.fingerprint.check_value())
    Publisher(sqlite_ledger, writer).ensure()
    yield writer
    writer.close()


@pytest.fixture
async def api(sqlite_ledger: Ledger, embedded: SqliteIndexWriter) -> AsyncIterator[Served]:
    """An API whose callers may ask as often as they like."""
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded)) as one:
        yield one

"""Admins on each kind of ledger, and their pages on one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from tests.registry.admins.support import Rooms, Staff


@pytest.fixture
def staff(ledger: Ledger) -> Staff:
    return Staff(ledger.engine)


@pytest.fixture
async def rooms(sqlite_ledger: Ledger, tmp_path: Path) -> AsyncIterator[Rooms]:
    writer = open_index("sqlite", tmp_path / "data", sqlite_ledger.fingerprint.check_value())
    publisher = Publisher(sqlite_ledger, writer)
    publisher.ensure()
    made = Rooms(sqlite_ledger, publisher, writer, tmp_path / "data")
    yield made
    await made.close()
    writer.close()

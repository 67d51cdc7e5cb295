"""New ledgers at the price of a copy: each run migrates one, and the others begin as that one was.

A migration from nothing takes 50 ms of processor, most tests that open a ledger open a new one, and what they prove
begins behind it; `tests/registry/test_migrations.py` is about the migrations, and goes through all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from registry import ledger, service
from registry.schema import EMBEDDED, LEDGER_FILE, open_engine, upgrade

TEMPLATE_DATABASE: Final = "izinli_template"

assert service  # it imports every module that has tables


def migrated(url: str, directory: Path) -> None:
    """A ledger with all tables and nothing in them; nobody is connected to it any more."""
    engine = open_engine(url, directory)
    upgrade(engine)
    engine.dispose()


@contextmanager
def migrated_once(directory: Path) -> Iterator[None]:
    """Within this process a new SQLite ledger is a copy of the one that is made here.

    The product's own `upgrade` runs after that as after every start, and finds nothing to do.
    """
    migrated(EMBEDDED, directory)
    template = (directory / LEDGER_FILE).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "upgrade", _beginning_with(template))
        yield


def _beginning_with(template: bytes) -> Callable[[Engine], None]:
    one_at_a_time = threading.Lock()  # two threads may open the same new ledger

    def upgrade_copy(engine: Engine) -> None:
        with one_at_a_time:
            if engine.dialect.name == "sqlite" and engine.url.database:
                path = Path(engine.url.database)
                if not path.exists() or not path.stat().st_size:
                    path.write_bytes(template)
        upgrade(engine)

    return upgrade_copy

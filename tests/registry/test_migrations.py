"""The migrations lead from nothing to the schema the code expects, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from registry import service
from registry.evidence import check
from registry.schema import downgrade, metadata, open_engine, upgrade

assert service  # it imports every module that has tables
TABLES = {"alembic_version", *metadata.tables}
EVENTS = 1003  # more than one seal has


@pytest.fixture
def postgres_url(postgres_bare_url: str) -> str:
    """What `ledger_url` asks for; elsewhere it has its tables already."""
    return postgres_bare_url


def test_up_and_down_and_up_again(tmp_path: Path, ledger_url: str) -> None:
    engine = open_engine(ledger_url, tmp_path)
    upgrade(engine)
    assert set(inspect(engine).get_table_names()) == TABLES
    downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    upgrade(engine)
    upgrade(engine)
    assert set(inspect(engine).get_table_names()) == TABLES
    engine.dispose()


def test_the_migrations_end_where_the_code_begins(tmp_path: Path, ledger_url: str) -> None:
    engine = open_engine(ledger_url, tmp_path)
    upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def events(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM consent_event")).scalar_one())


def test_what_was_recorded_before_there_were_seals_is_sealed_and_stays(tmp_path: Path, ledger_url: str) -> None:
    engine = open_engine(ledger_url, tmp_path)
    upgrade(engine, "0002")
    insert = text(
        "INSERT INTO consent_event VALUES (:seq, 100001, 'MESAJ', :recipient, 'BIREYSEL', 'ONAY', 'HS_WEB', "
        "'2026-01-01 00:00:00', '2026-01-01T00:00:00Z', 'import')"
    )
    with engine.begin() as connection:
        rows = [{"seq": seq, "recipient": f"+90555{seq:07d}"} for seq in range(1, EVENTS + 1)]
        connection.execute(insert, rows)
    upgrade(engine)
    found = check.verify(engine)
    assert (found.events, found.head, found.faults) == (EVENTS, EVENTS, [])
    downgrade(engine, "0002")
    assert events(engine) == EVENTS
    upgrade(engine)
    assert check.verify(engine) == found
    with engine.begin() as connection:
        connection.execute(text("UPDATE consent_event SET status = 'RET' WHERE seq = 1002"))
    assert check.verify(engine).faults == ["entries 1001 to 1003, recorded by nobody knows whom: not as it was sealed"]
    engine.dispose()


def test_sqlite_clusters_the_fold_by_fingerprint(tmp_path: Path) -> None:
    engine = open_engine("sqlite", tmp_path)
    upgrade(engine)
    with engine.connect() as connection:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'consent'").scalar_one()
    assert made.strip().endswith("WITHOUT ROWID")
    engine.dispose()

"""The migrations lead from nothing to the schema the code expects, and back."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from registry.schema import downgrade, metadata, open_engine, upgrade

TABLES = {
    *("alembic_version", "consent", "consent_event", "publication"),
    *("api_client", "api_grant", "api_token", "api_audit"),
}


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


def test_sqlite_clusters_the_fold_by_fingerprint(tmp_path: Path) -> None:
    engine = open_engine("sqlite", tmp_path)
    upgrade(engine)
    with engine.connect() as connection:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'consent'").scalar_one()
    assert made.strip().endswith("WITHOUT ROWID")
    engine.dispose()

"""Many rows at once, past what SQLAlchemy does for each: at a million lines of an import that is felt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table


class Bulk:
    """Many rows in one statement, the fast way of each database. Rows are tuples in the table's column order."""

    def __init__(self, engine: Engine) -> None:
        self._dialect = engine.dialect

    def insert(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        self._execute(connection, table, rows, "")

    def upsert(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """As `insert`; a row whose primary key exists replaces the other columns."""
        keys = [column.name for column in table.primary_key]
        others = ", ".join(f"{column.name} = excluded.{column.name}" for column in table.c if column.name not in keys)
        self._execute(connection, table, rows, f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {others}")

    def _execute(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], conflict: str) -> None:
        names = ", ".join(column.name for column in table.c)
        if self._dialect.name == "postgresql":  # whole columns as arrays: one round trip, one plan
            arrays = ", ".join(f"%s::{column.type.compile(self._dialect)}[]" for column in table.c)
            statement = f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}){conflict}"
            connection.exec_driver_sql(statement, tuple(list(column) for column in zip(*rows, strict=True)))
        else:
            marks = ", ".join("?" for _ in table.c)
            statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}){conflict}"
            connection.exec_driver_sql(statement, list(rows))

"""Many rows at once, past what SQLAlchemy does for each: at a million lines of an import that is felt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table

from registry.arrays import array
from registry.limits import COPY_ROWS_MIN, QUERY_KEYS_MAX

Rows = Sequence[tuple[Any, ...]]


def among(connection: Connection, query: str, values: Sequence[Any]) -> Iterator[Any]:
    """The rows of a query that ends in a column's name, where that column is one of `values`.

    Past SQLAlchemy's expanding IN, which costs three times as much as the query.
    """
    for start in range(0, len(values), QUERY_KEYS_MAX):
        part = values[start : start + QUERY_KEYS_MAX]
        if connection.dialect.name == "postgresql":
            yield from connection.exec_driver_sql(f"{query} = ANY(%s)", (array(part),))
        else:
            yield from connection.exec_driver_sql(f"{query} IN (?{',?' * (len(part) - 1)})", tuple(part))


class Bulk:
    """Many rows in one statement, the fast way of each database. Rows are tuples in the table's column order."""

    def __init__(self, engine: Engine) -> None:
        self._dialect = engine.dialect

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        with self.inserting(connection, table, rows):
            pass

    @contextmanager
    def inserting(self, connection: Connection, table: Table, rows: Rows) -> Iterator[None]:
        """As `insert`; the block runs while a PostgreSQL takes the rows. It must not use the connection."""
        if self._dialect.name == "postgresql" and len(rows) >= COPY_ROWS_MIN:
            from registry.postgres import copying  # here: only who has such a ledger waits for the driver to load

            names = ", ".join(column.name for column in table.c)
            with copying(connection, f"{table.name} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types([column.type.compile(self._dialect).lower() for column in table.c])
                write = copy.write_row
                for row in rows:
                    write(row)
                yield
        else:
            self._execute(connection, table, rows, "")
            yield

    def upsert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """As `insert`; a row whose primary key exists replaces the other columns."""
        keys = [column.name for column in table.primary_key]
        others = ", ".join(f"{column.name} = excluded.{column.name}" for column in table.c if column.name not in keys)
        self._execute(connection, table, rows, f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {others}")

    def _execute(self, connection: Connection, table: Table, rows: Rows, conflict: str) -> None:
        if not rows:
            return
        names = ", ".join(column.name for column in table.c)
        if self._dialect.name == "postgresql":  # whole columns as arrays: one round trip, one plan
            arrays = ", ".join(f"%s::{column.type.compile(self._dialect)}[]" for column in table.c)
            statement = f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}){conflict}"
            connection.exec_driver_sql(statement, tuple(array(column) for column in zip(*rows, strict=True)))
        else:
            marks = ", ".join("?" for _ in table.c)
            statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}){conflict}"
            connection.exec_driver_sql(statement, list(rows))

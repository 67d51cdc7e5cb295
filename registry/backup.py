"""The ledger as files, and back: one moment of it, whatever is recorded meanwhile.

SQLite: one file, by its online backup. PostgreSQL: one file for each table, as COPY writes it, and `tables.json` with
the revision of the schema and the columns; so no program of PostgreSQL's is needed, and its version may differ.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, cast

from sqlalchemy import Connection, Engine, inspect, text

from registry import service
from registry.schema import (
    LEDGER_FILE,
    appending,
    knows,
    metadata,
    open_engine,
    snapshot,
    take_append_lock,
    upgrade_within,
)

TABLES_FILE: Final = "tables.json"
_CHUNK: Final = 1 << 20
_VERSIONS: Final = "alembic_version"

assert service  # it imports every module that has tables


class NotEmpty(Exception):
    """There is a ledger already; nothing was changed."""


class NotReadable(Exception):
    """The files are none of this program's, or of a newer version."""


def dump(url: str, data_dir: Path, directory: Path) -> list[Path]:
    """Write the ledger into an empty directory; returns the files. Raises SQLAlchemyError or OSError."""
    engine = open_engine(url, data_dir)
    try:
        with snapshot(engine) as connection:
            if connection.dialect.name == "sqlite":
                return [_dump_sqlite(connection, directory / LEDGER_FILE)]
            return _dump_tables(connection, directory)
    finally:
        engine.dispose()


def load(url: str, data_dir: Path, directory: Path) -> None:
    """Make a ledger of what `dump` wrote. Raises NotEmpty, NotReadable, SQLAlchemyError or OSError."""
    engine = open_engine(url, data_dir, create=False)
    try:
        if engine.dialect.name == "sqlite":
            _load_sqlite(engine, directory / LEDGER_FILE)
        else:
            _load_tables(engine, directory)
    finally:
        engine.dispose()


def _dump_sqlite(connection: Connection, path: Path) -> Path:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    source = cast("sqlite3.Connection", connection.connection.driver_connection)
    with closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without a write-ahead log beside it
    return path


def _load_sqlite(engine: Engine, source: Path) -> None:
    path = Path(cast("str", engine.url.database))
    if path.exists():
        raise NotEmpty(f"{path} exists")
    if not source.exists():
        raise NotReadable("the backup is that of a PostgreSQL ledger, and the configuration names an SQLite one")
    revision = _revision(source)
    if not knows(revision):
        raise NotReadable(f"the backup has revision {revision} of the ledger, which this version does not know")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as data, open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while chunk := data.read(_CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _revision(source: Path) -> str:
    """Of the schema of a ledger that is a file."""
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return str(connection.execute(f"SELECT version_num FROM {_VERSIONS}").fetchone()[0])
    except (sqlite3.Error, TypeError) as error:
        raise NotReadable(f"what the backup has as a ledger is none: {error}") from error


def _dump_tables(connection: Connection, directory: Path) -> list[Path]:
    from registry.postgres import copying  # here: the driver is slow to load

    there = inspect(connection).get_table_names()
    tables = {name: [column["name"] for column in inspect(connection).get_columns(name)] for name in metadata.tables}
    tables = {name: columns for name, columns in tables.items() if name in there}
    revision = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar_one()
    written = [directory / TABLES_FILE]
    written[0].write_text(json.dumps({"revision": revision, "tables": tables}))
    for name, columns in tables.items():
        path = directory / f"{name}.copy"
        with path.open("wb") as file, copying(connection, f"{_named(connection, name, columns)} TO STDOUT") as copy:
            for block in copy:
                file.write(block)
        written.append(path)
    return written


def _load_tables(engine: Engine, directory: Path) -> None:
    """All or nothing."""
    from registry.postgres import copying  # here: the driver is slow to load

    try:
        said = json.loads((directory / TABLES_FILE).read_bytes())
        revision, tables = said["revision"], said["tables"]
    except FileNotFoundError:
        raise NotReadable("the backup is that of an SQLite ledger, and the configuration names a PostgreSQL") from None
    with appending(engine).begin() as connection:
        take_append_lock(connection)
        if inspect(connection).get_table_names():
            raise NotEmpty("the database has tables already")
        if not upgrade_within(connection, revision):
            raise NotReadable(f"the backup has revision {revision} of the ledger, which this version does not know")
        for name, columns in tables.items():
            if name not in metadata.tables:
                raise NotReadable(f"the backup has a table that this version does not know: {name}")
            copied = f"{_named(connection, name, columns)} FROM STDIN"
            with (directory / f"{name}.copy").open("rb") as file, copying(connection, copied) as copy:
                while block := file.read(_CHUNK):
                    copy.write(block)
            _set_serials(connection, name, columns)


def _set_serials(connection: Connection, table: str, columns: list[str]) -> None:
    """What numbers rows by itself goes on behind the last one."""
    for column in columns:
        find = text("SELECT pg_get_serial_sequence(:table, :column)")
        serial = connection.execute(find, {"table": table, "column": column}).scalar_one()
        if serial is not None:
            quoted = connection.dialect.identifier_preparer.quote
            highest = f"SELECT max({quoted(column)}) FROM {quoted(table)}"
            last = connection.execute(text(highest)).scalar_one()
            if last is not None:
                connection.execute(text("SELECT setval(:serial, :last)"), {"serial": serial, "last": last})


def _named(connection: Connection, table: str, columns: list[str]) -> str:
    quote = connection.dialect.identifier_preparer.quote
    return f"{quote(table)} ({', '.join(map(quote, columns))})"

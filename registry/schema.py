"""The ledger's tables, its two databases, and the migrations that make the one out of the other.

One schema for SQLite and PostgreSQL. `consent_event` is the fact: append-only, numbered without gaps in commit order,
with addresses in clear because it is the evidence. `consent` is its fold and `publication` what is known about the
consent index; both can be made again from the events. What can be worked out (a move's transaction id, the recipient of
a fold) is not stored: at a million lines a minute each column and each index is felt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    create_engine,
    event,
    make_url,
    text,
)

from registry.limits import LEDGER_CONNECTIONS_MAX, LEDGER_WAIT_SECONDS

EMBEDDED: Final = "sqlite"
LEDGER_FILE: Final = "ledger.sqlite"
# PostgreSQL's key of the lock that makes appends follow one another; "izinli" in ASCII
APPEND_LOCK: Final = 0x697A_696E_6C69

metadata = MetaData()
_WAITING = "status = 'BEKLIYOR'"  # see `registry.transition`; a few rows, or none
_Serial = BigInteger().with_variant(Integer(), "sqlite")  # INTEGER PRIMARY KEY is SQLite's row id: no second index

consent_event = Table(
    "consent_event",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),
    Column("brand", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("recipient_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("consent_date", Text, nullable=False),  # Turkey time, as the national system writes it
    Column("recorded_at", Text, nullable=False),  # UTC, ISO 8601
    Column("origin", Text, nullable=False),  # how it came here: import, declare, link, oneclick, sms, call
    Index("consent_event_recipient", "recipient"),
)

consent = Table(
    "consent",
    metadata,
    Column("fingerprint", LargeBinary(12), nullable=False),
    Column("recipient_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),  # of the event that won: source, date and recipient stand there
    PrimaryKeyConstraint("fingerprint", "recipient_type"),
    Index("consent_under_review", "seq", sqlite_where=text(_WAITING), postgresql_where=text(_WAITING)),
    sqlite_with_rowid=False,  # one B-tree in the order that the index is built in
)

publication = Table(
    "publication",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("published_epoch", BigInteger, nullable=False),  # the newest ever handed to a build; epochs only grow
    Column("key_check", LargeBinary(8), nullable=False),  # of the key the fingerprints were made with
    CheckConstraint("id = 1", name="publication_one_row"),
)


def open_engine(url: str, data_dir: Path, *, create: bool = True) -> Engine:
    """An engine for `url`: "sqlite" (a file in `data_dir`), "sqlite:///…" or "postgresql://…". Does not connect.

    The file in `data_dir` is made unless `create` is False.

    Statements' values are kept out of exceptions and therefore out of logs (promise I9).
    """
    if url == EMBEDDED:
        path = data_dir / LEDGER_FILE
        if create:
            data_dir.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # it holds addresses in clear
        url = f"sqlite:///{path}"
    parsed = make_url(url)
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": LEDGER_CONNECTIONS_MAX, "max_overflow": 0}
    options["pool_timeout"] = LEDGER_WAIT_SECONDS
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": LEDGER_WAIT_SECONDS}, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() == "postgresql":
        arguments = {"connect_timeout": int(LEDGER_WAIT_SECONDS), "application_name": "izinli"}
        parsed = parsed.set(drivername="postgresql+psycopg")
        from registry.postgres import teach  # here: the driver is slow to load

        engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=True, **options)
        event.listen(engine, "connect", teach)
        return engine
    raise ValueError(f"the ledger can be sqlite or postgresql, not {parsed.get_backend_name()}")


def appending(engine: Engine) -> Engine:
    """The same database, seen by connections whose transactions follow one another (see `take_append_lock`)."""
    return engine.execution_options(izinli_append=True)


def take_append_lock(connection: Connection) -> None:
    """Wait for every other append to end. SQLite has done so at BEGIN IMMEDIATE already.

    PostgreSQL would otherwise commit seq 8 before seq 7, and a reader of the events would step over 7.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LEDGER_WAIT_SECONDS:g}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({APPEND_LOCK})")


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees the database as it is now, however long and often it reads. SQLite's readers do anyway."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a revision; several processes may start at the same time."""
    with appending(engine).begin() as connection:
        take_append_lock(connection)
        command.upgrade(_alembic(connection), revision)


def upgrade_within(connection: Connection, revision: str) -> bool:
    """As `upgrade`, inside an append transaction of the caller's. False: there is no such revision."""
    try:
        command.upgrade(_alembic(connection), revision)
    except CommandError:
        return False
    return True


def knows(revision: str) -> bool:
    """Whether this version can bring a ledger of that revision to its own."""
    try:
        return ScriptDirectory.from_config(_alembic(None)).get_revision(revision) is not None
    except CommandError:
        return False


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to a revision ("base": no tables at all)."""
    with appending(engine).begin() as connection:
        take_append_lock(connection)
        command.downgrade(_alembic(connection), revision)


def _alembic(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Write-ahead log, so that readers never wait; every commit on disk before it is acknowledged (evidence, I5)."""
    connection.isolation_level = None  # the driver must not begin transactions of its own
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -49152", "wal_autocheckpoint = 8192"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Appends take the write lock at once: a read transaction that wants to write later would only fail."""
    append = connection.get_execution_options().get("izinli_append", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if append else "BEGIN")

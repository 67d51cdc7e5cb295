"""Ledgers and indexes in all their forms: SQLite files, a private PostgreSQL, a private Redis."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from filters.key import Fingerprinter
from registry.index.interface import IndexWriter
from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from tests.conftest import RedisServer, free_port, unavailable
from tests.ledgers import TEMPLATE_DATABASE, migrated, migrated_once
from tests.registry.support import KEY

DEBIAN = "postgresql/*/bin/postgres"


def _postgres_directory() -> Path:
    """Where PostgreSQL's programs are; Debian keeps them out of everybody's PATH."""
    found = [*sorted(Path("/usr/lib").glob(DEBIAN)), *filter(None, [shutil.which("postgres")])]
    if not found:
        unavailable("postgres is not installed")
    return Path(found[-1]).parent


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL, without a database, of a PostgreSQL of this test run alone; as root it refuses to run."""
    programs = _postgres_directory()
    user: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="izinli-postgres-") as name:
        data, port = Path(name) / "data", free_port()
        if os.geteuid() == 0:
            account = next((one for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody")), None)
            if account is None:
                unavailable("PostgreSQL does not run as root, and there is nobody else")
            os.chown(name, account.pw_uid, account.pw_gid)
            user = {"user": account.pw_name, "cwd": name}
        initdb = [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "izinli", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, **user)  # type: ignore[call-overload]
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log")]
        subprocess.run([*control, "-o", options, "start"], check=True, capture_output=True, **user)  # type: ignore[call-overload]
        try:
            yield f"postgresql://izinli@127.0.0.1:{port}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, **user)  # type: ignore[call-overload]


@pytest.fixture(scope="session", autouse=True)
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """New SQLite ledgers of this process cost a copy, not a migration."""
    with migrated_once(tmp_path_factory.mktemp("ledger")):
        yield


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that is migrated and has nothing in it."""
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE_DATABASE}")
    migrated(f"{postgres_server}/{TEMPLATE_DATABASE}", tmp_path_factory.mktemp("nothing"))
    return TEMPLATE_DATABASE


def _database(server: str, template: str) -> Iterator[str]:
    name = f"test_{os.urandom(4).hex()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield f"{server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The URL of a new database, dropped afterwards; it has a ledger's tables already."""
    yield from _database(postgres_server, postgres_template)


@pytest.fixture
def postgres_bare_url(postgres_server: str) -> Iterator[str]:
    """The same without any table."""
    yield from _database(postgres_server, "template1")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.interop)])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Each kind of ledger."""
    if request.param == "sqlite":
        return "sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def open_ledger(tmp_path: Path, ledger_url: str) -> Iterator[Callable[[], Ledger]]:
    """Opens the same ledger, each time as another process would."""
    opened: list[Ledger] = []

    def open_one() -> Ledger:
        opened.append(Ledger.open(ledger_url, tmp_path / "data", KEY))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def ledger(open_ledger: Callable[[], Ledger]) -> Ledger:
    return open_ledger()


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """For tests in which the kind of ledger makes no difference."""
    one = Ledger.open("sqlite", tmp_path / "data", KEY)
    yield one
    one.close()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def index_url(request: pytest.FixtureRequest) -> str:
    """Each kind of index."""
    if request.param == "sqlite":
        return "sqlite"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
def open_writer(tmp_path: Path, index_url: str) -> Iterator[Callable[[], IndexWriter]]:
    """Opens the same index, each time as another process would."""
    opened: list[IndexWriter] = []

    def open_one() -> IndexWriter:
        opened.append(open_index(index_url, tmp_path / "data", Fingerprinter(KEY).check_value()))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def writer(open_writer: Callable[[], IndexWriter]) -> IndexWriter:
    return open_writer()


@pytest.fixture
def publisher(sqlite_ledger: Ledger, writer: IndexWriter) -> Publisher:
    return Publisher(sqlite_ledger, writer)

"""A backup is worth what its restoration is: on a fresh machine, with each kind of ledger."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from filters.link import LinkMinter
from filters.model import Channel, Reason, RecipientType
from gateway import journal_check, keys
from gateway.backup import archive, files
from gateway.check import problems
from gateway.cli_common import control
from gateway.config import load
from gateway.journal import Journal
from gateway.lookup import lookup
from registry.evidence import check
from registry.service import import_csv, open_ledger
from registry.service import verify as verify_index
from tests.conftest import accepts, eventually, free_port
from tests.gateway.command import HEADER, config, izinli
from tests.registry.conftest import postgres_server
from tests.registry.test_service import ask

__all__ = ["config", "postgres_server"]

LINES = "".join(f"+9055500000{n:02d},MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00\n" for n in range(20))


class Places(NamedTuple):
    """Where ledgers are: the one of the machine that is lost, and the one of the fresh machine; "sqlite" is both."""

    lost: str
    fresh: str


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.interop)])
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    if request.param == "sqlite":
        yield Places("sqlite", "sqlite")
        return
    server: str = request.getfixturevalue("postgres_server")
    names = [f"test_{os.urandom(4).hex()}" for _ in range(2)]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}")
        yield Places(*(f"{server}/{name}" for name in names))
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def lived(config: Path, tmp_path: Path, places: Places) -> Path:
    """An installation with a past: consents, decisions, secrets in and outside of its directory."""
    secret = tmp_path / "elsewhere/marka.pass"
    secret.parent.mkdir()
    secret.write_text("marka123")
    said = config.read_text().replace('ledger = "sqlite"', f'ledger = "{places.lost}"')
    said = said.replace('127.0.0.1:8080"', f'127.0.0.1:{free_port()}"')
    config.write_text(said.replace('"keys/marka.pass"', f'"{secret}"'))
    imported(config, tmp_path)
    journal = Journal(config.parent / "izinli-data/journal", 0)
    assert journal.write([b'{"id":"1"}\n', b'{"id":"2"}\n'])
    journal.close()
    return config


def imported(config: Path, tmp_path: Path) -> None:
    keys.create_missing(config.parent / "izinli-data")
    consents = tmp_path / "consents.csv"
    consents.write_text(HEADER + LINES)
    assert import_csv(control(config), 100001, consents).recorded == 20


def link(config: Path, index: int) -> str:
    """As it was sent."""
    found = keys.load(config.parent / "izinli-data")
    minter = LinkMinter(found.link, found.link_current)
    return minter.mint(100001, Channel.MESAJ, RecipientType.BIREYSEL, b"+9055500000%02d" % index).decode()


@contextmanager
def serving(config: Path) -> Iterator[int]:
    """The registry of an installation: the port of its page."""
    port = load(config).registry.bind[1]
    command = [sys.executable, "-m", "gateway.cli", "serve", "-c", str(config), "--only", "registry"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: accepts(port) and ask(port, "/readyz")[0] == 200, within=60)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def verdicts(config: Path, *indexes: int) -> list[Reason]:
    loaded = load(config)
    secrets, brand = keys.load(loaded.data_dir), loaded.brands[100001]
    return [
        lookup(loaded, secrets, brand, Channel.MESAJ, RecipientType.BIREYSEL, f"+9055500000{index:02d}").reason
        for index in indexes
    ]


def digest(config: Path, kept: str = "") -> str:
    """Of a ledger that is whole, and had this digest once."""
    with open_ledger(control(config)) as ledger:
        found = check.verify(ledger.engine, kept)
    assert found.faults == []
    return found.digest


def restored(source: Path, home: Path, places: Places, *more: str) -> subprocess.CompletedProcess[str]:
    other = ("--ledger", places.fresh) if places.fresh != "sqlite" else ()
    return izinli("restore", source, home, *other, *more)


def test_a_fresh_machine_goes_on_where_the_lost_one_ended(lived: Path, tmp_path: Path, places: Places) -> None:
    sent, kept = link(lived, 7), digest(lived)
    with serving(lived) as port:
        assert ask(port, f"/r/{link(lived, 3)}", {"List-Unsubscribe": "One-Click"})[0] == 200
        tar = tmp_path / "izinli.tar.gz"
        done = izinli("backup", "-c", lived, tar)  # while it serves
        assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(tar.stat().st_mode) == 0o600
    with ledger_gone(lived, tmp_path):
        done = restored(tar, tmp_path / "fresh", places, "--outside")
        assert done.returncode == 0, done.stderr
        config = tmp_path / "fresh/izinli.toml"
        assert (tmp_path / "elsewhere/marka.pass").read_text() == "marka123"
        assert problems(config) == []
        assert digest(config, kept) != kept  # the withdrawal is in it
        (journal,) = journal_check.verify(config.parent / "izinli-data/journal")
        assert (journal.lines, journal.faults) == (2, [])
        with serving(config) as port:
            assert verdicts(config, 3, 7, 8) == [Reason.NO_CONSENT, Reason.CONSENT, Reason.CONSENT]
            assert ask(port, f"/r/{sent}", {"List-Unsubscribe": "One-Click"})[0] == 200
            assert verdicts(config, 3, 7, 8) == [Reason.NO_CONSENT, Reason.NO_CONSENT, Reason.CONSENT]
        assert digest(config, kept) != kept
        assert not verify_index(control(config)).differences
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "fresh").rglob("*") if path.is_file()}
        assert modes <= {0o600, 0o644}  # the latter are the index' and its lock's


@contextmanager
def ledger_gone(config: Path, tmp_path: Path) -> Iterator[None]:
    """The lost machine: nothing of it can be read any more."""
    os.rename(config.parent, tmp_path / "lost")
    os.rename(tmp_path / "elsewhere", tmp_path / "lost-elsewhere")
    yield


@pytest.mark.parametrize("places", ["sqlite"], indirect=True)
def test_nothing_is_overwritten_and_nothing_stays_of_what_failed(lived: Path, tmp_path: Path, places: Places) -> None:
    directory, fresh = tmp_path / "backup", tmp_path / "fresh"
    assert izinli("backup", "-c", lived, directory).returncode == 0
    assert izinli("backup", "-c", lived, directory).returncode == 73
    assert izinli("backup", "-c", lived, lived.parent / "izinli-data/b.tar").returncode == 73
    inside = restored(directory, fresh, places)
    assert (inside.returncode, "--outside" in inside.stderr) == (73, True)
    assert not fresh.exists()
    (fresh / "x").mkdir(parents=True)
    assert restored(directory, fresh, places, "--outside").returncode == 73
    assert [path.name for path in fresh.iterdir()] == ["x"]
    (fresh / "x").rmdir()
    (tmp_path / "elsewhere/marka.pass").write_text("another")  # what stands there already, and differs
    assert restored(directory, fresh, places, "--outside").returncode == 73
    assert (tmp_path / "elsewhere/marka.pass").read_text() == "another"
    assert list(fresh.iterdir()) == []


def test_a_backup_that_is_not_whole_is_none(config: Path, tmp_path: Path) -> None:
    imported(config, tmp_path)
    tar = tmp_path / "izinli.tar"
    assert izinli("backup", "-c", config, tar).returncode == 0
    octets = tar.read_bytes()
    with tarfile.open(tar) as opened:
        names = opened.getnames()
    assert names[-1] == archive.MANIFEST
    assert {"config/izinli.toml", "data/keys/fingerprint.key", "ledger/ledger.sqlite"} <= set(names)
    broken = {
        "cut short": octets[: len(octets) // 2],
        "changed": octets.replace(b"+905550000007", b"+905550000009"),
        "no archive": b"nothing",
    }
    for name, content in broken.items():
        tar.write_bytes(content)
        (tmp_path / name).mkdir()
        with pytest.raises(archive.BadArchive):
            archive.unpack(tar, tmp_path / name)
    done = izinli("restore", tar, tmp_path / "fresh")
    assert (done.returncode, (tmp_path / "fresh").exists()) == (65, False)


def test_members_lead_nowhere_else(tmp_path: Path) -> None:
    for name, kind in (("../x", tarfile.REGTYPE), ("/x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE)):
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        (tmp_path / "into").mkdir(exist_ok=True)
        with pytest.raises(archive.BadArchive, match="no plain file"):
            archive.unpack(tmp_path / "evil.tar", tmp_path / "into")
        assert list((tmp_path / "into").iterdir()) == []


@pytest.mark.parametrize("places", ["sqlite"], indirect=True)
def test_what_is_made_again_is_left_out(lived: Path) -> None:
    data = lived.parent / "izinli-data"
    for name in ("handsets.sqlite", "handsets.sqlite-wal", "index.bloom", "ledger.sqlite.retain"):
        (data / name).write_text("x")
    (data / "documents").mkdir()
    (data / "documents/a.sqlite").write_text("x")
    names = [name for name, _ in files.members(load(lived))]
    assert "data/documents/a.sqlite" in names
    assert "config/keys/smsc.pass" in names
    assert any(name.startswith("outside/") and name.endswith("elsewhere/marka.pass") for name in names)
    assert not [name for name in names if "handsets" in name or "index" in name or "retain" in name]
    suffixes = [Path(name).suffix for name in names if name.startswith("data/journal/")]
    assert suffixes == [".seals", ".ndjson"]

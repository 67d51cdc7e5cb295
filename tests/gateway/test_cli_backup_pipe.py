"""Backups through a pipe, encrypted by age, and backups of other versions."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.backup import files
from gateway.cli_common import control
from gateway.config import load
from registry.evidence import check
from registry.schema import downgrade, open_engine
from registry.service import open_ledger
from tests.conftest import require
from tests.gateway.command import config, izinli
from tests.gateway.test_cli_backup import imported

__all__ = ["config"]

IZINLI = (sys.executable, "-m", "gateway.cli")


def piped(given: bytes, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(list(map(str, command)), input=given, capture_output=True, timeout=60, check=False)


def key(path: Path) -> str:
    """A new key of age; the recipient that is encrypted to."""
    keygen = require("age-keygen")
    assert piped(b"", keygen, "-o", path).returncode == 0
    return piped(b"", keygen, "-y", path).stdout.decode().strip()


def test_a_backup_is_encrypted_before_it_is_written_and_another_key_restores_nothing(
    config: Path, tmp_path: Path
) -> None:
    age, ours, other = require("age"), tmp_path / "ours.key", tmp_path / "other.key"
    recipient = key(ours)
    key(other)
    imported(config, tmp_path)
    (left := config.parent / f"izinli-data/{files.STAGING}x").mkdir()  # a killed one's
    (left / "ledger.sqlite").write_bytes(b"x")
    assert not [name for name, _ in files.members(load(config)) if files.STAGING in name]
    made = piped(b"", *IZINLI, "backup", "-c", config, "-")
    assert made.returncode == 0, made.stderr
    encrypted = piped(made.stdout, age, "-r", recipient).stdout
    assert b"+905550000007" in made.stdout
    assert b"+905550000007" not in encrypted
    wrong = piped(encrypted, age, "-d", "-i", other)
    assert wrong.returncode != 0
    cut = piped(encrypted[: len(encrypted) // 2], age, "-d", "-i", ours)
    for decrypted in (wrong, cut):
        done = piped(decrypted.stdout, *IZINLI, "restore", "-", tmp_path / "fresh")
        assert (done.returncode, (tmp_path / "fresh").exists()) == (65, False), done.stderr
    right = piped(encrypted, age, "-d", "-i", ours)
    done = piped(right.stdout, *IZINLI, "restore", "-", tmp_path / "fresh")
    assert done.returncode == 0, done.stderr
    assert whole(tmp_path / "fresh/izinli.toml") == 20


def whole(config: Path) -> int:
    """How many events its ledger has, which is whole."""
    with open_ledger(control(config)) as ledger:
        found = check.verify(ledger.engine)
    assert found.faults == []
    return found.events


def test_a_pipe_that_ends_is_no_backup(config: Path) -> None:
    command = [*IZINLI, "backup", "-c", str(config), "-"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, b"no backup was made" in done.stderr) == (73, True)


@pytest.mark.parametrize("revision", ["0003", "9999"])
def test_an_older_ledger_is_brought_up_and_a_newer_one_is_refused(config: Path, tmp_path: Path, revision: str) -> None:
    imported(config, tmp_path)
    data = config.parent / "izinli-data"
    if revision == "0003":
        engine = open_engine("sqlite", data)
        downgrade(engine, revision)
        engine.dispose()
    else:
        ledger = sqlite3.connect(data / "ledger.sqlite")
        with ledger:
            ledger.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        ledger.close()
    assert izinli("backup", "-c", config, tmp_path / "old.tar").returncode == 0
    done = izinli("restore", tmp_path / "old.tar", tmp_path / "fresh")
    if revision == "0003":
        assert done.returncode == 0, done.stderr
        assert whole(tmp_path / "fresh/izinli.toml") == 20
    else:
        assert (done.returncode, "does not know" in done.stderr, (tmp_path / "fresh").exists()) == (65, True, False)

"""The ledger as files and back, on both databases: every table, and nothing over what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from filters.model import Status
from registry import backup
from registry.evidence import check
from registry.ledger import Ledger
from tests.registry.support import KEY, fold, onay, record, ret

AUDIT = "INSERT INTO api_audit (at, client, action, detail) VALUES ('2026-01-01T00:00:00Z', 'crm', 'consent', :detail)"
HARD = "tab\tline\nback\\slash \\N ğüşİ"  # what COPY has to escape


@pytest.fixture
def fresh(ledger_url: str, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL and data directory of a ledger that is not there yet."""
    if ledger_url == "sqlite":
        yield ledger_url, tmp_path / "fresh"
        return
    server, _, name = ledger_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_fresh")
        yield f"{server}/{name}_fresh", tmp_path / "fresh"
        connection.execute(f"DROP DATABASE {name}_fresh WITH (FORCE)")


def audited(ledger: Ledger) -> list[tuple[int, str]]:
    with ledger.append() as log:
        log.connection.execute(text(AUDIT), {"detail": HARD})
        rows = log.connection.execute(text("SELECT id, detail FROM api_audit ORDER BY id"))
        return [(row[0], row[1]) for row in rows]


def dumped(ledger: Ledger, url: str, tmp_path: Path) -> Path:
    directory = tmp_path / "dump"
    directory.mkdir()
    record(ledger, onay(1), onay(2), ret(2, "2026-02-01 00:00:00"))
    assert audited(ledger) == [(1, HARD)]
    assert sorted(backup.dump(url, tmp_path / "data", directory)) == sorted(directory.iterdir())
    return directory


def test_the_copy_is_the_ledger_as_it_was(
    ledger: Ledger, ledger_url: str, tmp_path: Path, fresh: tuple[str, Path]
) -> None:
    directory = dumped(ledger, ledger_url, tmp_path)
    found = check.verify(ledger.engine)
    record(ledger, onay(3))  # afterwards: not in it
    backup.load(*fresh, directory)
    copy = Ledger.open(*fresh, KEY)  # its fold is of this key
    assert check.verify(copy.engine) == found
    assert [fold(copy, onay(index)) for index in (1, 2, 3)] == [Status.ONAY, Status.RET, None]
    assert audited(copy) == [(1, HARD), (2, HARD)]  # what numbers rows by itself goes on
    copy.close()
    with pytest.raises(backup.NotEmpty):
        backup.load(*fresh, directory)


def test_a_copy_of_another_kind_or_a_newer_version_is_refused_and_leaves_nothing(
    ledger: Ledger, ledger_url: str, tmp_path: Path, fresh: tuple[str, Path]
) -> None:
    directory = dumped(ledger, ledger_url, tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(backup.NotReadable):
        backup.load(*fresh, tmp_path / "other")
    if ledger_url != "sqlite":
        path = directory / backup.TABLES_FILE
        said = json.loads(path.read_bytes())
        for wrong in (said | {"revision": "9999"}, said | {"tables": said["tables"] | {"moon": ["phase"]}}):
            path.write_text(json.dumps(wrong))
            with pytest.raises(backup.NotReadable):
                backup.load(*fresh, directory)
        path.write_text(json.dumps(said))
    backup.load(*fresh, directory)
    with pytest.raises(backup.NotEmpty):
        backup.load(ledger_url, tmp_path / "data", directory)

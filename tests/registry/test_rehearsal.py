"""A dry run says what an import would, and leaves no trace; an export is what an import reads again."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest

from registry import lines
from registry.export import export
from registry.importer import Importer
from registry.ledger import Ledger
from registry.rehearsal import rehearsal
from registry.rules import turkey_time
from tests.registry.support import BRAND, HEADER, KEY, NOW
from tests.registry.test_importer import people

LATELY = [turkey_time(NOW - timedelta(minutes=minutes)) for minutes in (30, 20, 10)]  # may be declared
HELD = [*people(40), *people(5, "RET", "2026-01-03 00:00:00")]
NEW = [
    *people(10),  # known, five of them from before their RET
    *people(60, "ONAY", LATELY[0]),  # newer
    *people(60, "ONAY", LATELY[0]),  # twice in the file
    *people(3, "RET", LATELY[1]),
    *people(3, "RET", LATELY[2]),
    f"+905550000070,MESAJ,RET,HS_WEB,BIREYSEL,{LATELY[1]}",  # the first of its key
    "+905550000071,MESAJ,RET,,TACIR,",
    "+905550000071,MESAJ,RET,,TACIR,",
    "nonsense",
]


def outcome(run: Importer) -> tuple[object, ...]:
    return run.lines, run.recorded, run.unchanged, run.rejected, run.reasons


@pytest.mark.parametrize("declare", [False, True])
def test_a_dry_run_says_what_an_import_then_does(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declare: bool
) -> None:
    monkeypatch.setattr(lines, "IMPORT_BATCH_LINES", 7)  # so that batches depend on each other
    path, rejects = tmp_path / "in.csv", tmp_path / "rejects.csv"
    path.write_text("\n".join([HEADER, *HELD]))
    Importer(ledger, KEY, BRAND, now=NOW).run(path, rejects)
    path.write_text("\n".join([HEADER, *NEW]))
    head = ledger.head()
    with rehearsal(ledger) as dry:
        rehearsed = Importer(dry, KEY, BRAND, now=NOW, declare=declare)
        rehearsed.run(path, rejects)
    said = rejects.read_text()
    assert ledger.head() == head, "nothing was recorded"
    done = Importer(ledger, KEY, BRAND, now=NOW, declare=declare)
    done.run(path, rejects)
    assert outcome(rehearsed) == outcome(done)
    assert rejects.read_text() == said
    assert done.recorded
    assert done.rejected


def test_an_export_is_imported_to_the_same_state(ledger: Ledger, sqlite_ledger: Ledger, tmp_path: Path) -> None:
    path, rejects = tmp_path / "in.csv", tmp_path / "rejects.csv"
    other = "+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00"
    path.write_text("\n".join([HEADER, *HELD, *NEW]))
    Importer(ledger, KEY, BRAND, now=NOW).run(path, rejects)
    path.write_text(f"{HEADER}\n{other}\n")
    Importer(ledger, KEY, BRAND + 1, now=NOW).run(path, rejects)
    first = io.StringIO()
    seen: list[int] = []
    rows = export(ledger, BRAND, first, seen.append)
    assert rows == len(first.getvalue().splitlines()) - 1 == seen[-1] == 62
    path.write_text(first.getvalue())
    if ledger.engine.url == sqlite_ledger.engine.url:
        return
    Importer(sqlite_ledger, KEY, BRAND, now=NOW).run(path, rejects)
    again = io.StringIO()
    assert export(sqlite_ledger, BRAND, again) == rows
    assert again.getvalue() == first.getvalue()

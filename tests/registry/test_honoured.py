"""Declared rejections that the national system would not take are refused with its code, and honoured (I5)."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from filters.model import Channel, RecipientType, Status
from registry.ahead import parse, parse_ahead
from registry.importer import Importer, oldest_declaration
from registry.ledger import Ledger
from registry.lines import Job, read_batches, read_header
from registry.rehearsal import rehearsal
from registry.rules import Move, turkey_time
from registry.schema import consent_event
from tests.registry.support import BRAND, HEADER, KEY, NOW, fold

TACIR, BIREYSEL = RecipientType.TACIR, RecipientType.BIREYSEL
TODAY, LATER, LONG_AGO = "2026-03-04 09:00:00", "2026-03-04 09:30:00", "2026-02-20 10:00:00"


def merchant(kind: RecipientType = TACIR) -> Move:
    return Move(BRAND, Channel.MESAJ, b"+905550000001", kind, Status.RET, "HS_WEB", "")


def line(status: str, date: str, kind: str = "TACIR", source: str = "HS_WEB") -> str:
    return f"+905550000001,MESAJ,{status},{source},{kind},{date}"


def declared(ledger: Ledger, tmp_path: Path, *lines: str) -> list[str]:
    """The codes of the lines that were refused."""
    path, rejects = tmp_path / "in.csv", tmp_path / "rejects.csv"
    path.write_text("\n".join([HEADER, *lines]))
    Importer(ledger, KEY, BRAND, now=NOW, declare=True).run(path, rejects)
    if not rejects.exists():
        return []
    with rejects.open(newline="") as file:
        return [row["code"] for row in csv.DictReader(file)]


def origins(ledger: Ledger) -> list[str]:
    with ledger.engine.connect() as connection:
        return list(connection.execute(select(consent_event.c.origin).order_by(consent_event.c.seq)).scalars())


FIRST = {
    "V1": (line("RET", TODAY), "H175"),
    "V9": (line("RET", TODAY, source="HS_KARAR"), "H486"),
    "V7": (line("RET", LONG_AGO), "H467"),
    "undated": (line("RET", "", source=""), "H175"),
    "with blanks": (f" +905550000001 ,MESAJ,RET ,HS_WEB,TACIR,{LONG_AGO} ", "H467"),
}


@pytest.mark.parametrize(("said", "code"), FIRST.values(), ids=FIRST.keys())
def test_i5_a_first_rejection_is_refused_and_stands(
    sqlite_ledger: Ledger, tmp_path: Path, said: str, code: str
) -> None:
    """A merchant is written to until we know better, so this is no theory."""
    assert fold(sqlite_ledger, merchant()) is None
    assert declared(sqlite_ledger, tmp_path, said, said) == [code, code]
    assert fold(sqlite_ledger, merchant()) is Status.RET
    assert origins(sqlite_ledger) == ["declare-first"]
    declared(sqlite_ledger, tmp_path, said)
    assert origins(sqlite_ledger) == ["declare-first"], "the same file again changes nothing"


@pytest.mark.parametrize("kind", [TACIR, BIREYSEL])
def test_i5_a_late_rejection_ends_an_older_consent(ledger: Ledger, tmp_path: Path, kind: RecipientType) -> None:
    consents = line("ONAY", "2015-05-01 00:00:00", kind.value, "HS_2015")
    assert declared(ledger, tmp_path, consents, line("RET", LONG_AGO, kind.value)) == ["H467"]
    assert fold(ledger, merchant(kind)) is Status.RET
    assert origins(ledger) == ["declare", "declare-late"]


def test_a_consent_that_is_newer_stays(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    found = declared(sqlite_ledger, tmp_path, line("RET", TODAY), line("ONAY", LATER), line("RET", LONG_AGO))
    assert found == ["H175", "H467"]
    assert fold(sqlite_ledger, merchant()) is Status.ONAY
    assert origins(sqlite_ledger) == ["declare"]


def test_a_rejection_before_an_older_consent_of_the_same_file_wins(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    """By its date; the national system has the consent, so it would take a further RET."""
    assert declared(sqlite_ledger, tmp_path, line("RET", LATER), line("ONAY", TODAY)) == ["H175"]
    assert fold(sqlite_ledger, merchant()) is Status.RET
    assert origins(sqlite_ledger) == ["declare", "declare-late"]


def test_a_late_consent_is_only_refused(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    assert declared(sqlite_ledger, tmp_path, line("ONAY", LONG_AGO)) == ["H467"]
    assert origins(sqlite_ledger) == []


def test_a_dry_run_honours_nothing(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    path, rejects = tmp_path / "in.csv", tmp_path / "rejects.csv"
    path.write_text("\n".join([HEADER, line("RET", TODAY), line("RET", LONG_AGO)]))
    with rehearsal(sqlite_ledger) as dry:
        run = Importer(dry, KEY, BRAND, now=NOW, declare=True)
        run.run(path, rejects)
    assert (run.rejected, run.honoured) == (2, 1), "the second says nothing new"
    assert origins(sqlite_ledger) == []


def test_the_helper_process_finds_late_rejections_too(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("\n".join([HEADER, line("RET", LONG_AGO), line("ONAY", LONG_AGO)]))

    def late(parsing: Callable[..., object]) -> list[object]:
        with path.open("rb") as file:
            header = read_header(file)[0]
            job = Job(header, BRAND, turkey_time(NOW), True, oldest_declaration(NOW), KEY)
            return [parsed.late for _, parsed in parsing(job, read_batches(file))]  # type: ignore[attr-defined]

    assert late(parse) == late(parse_ahead)
    ((entry,),) = late(parse)  # type: ignore[misc]
    assert entry[1].status is Status.RET  # type: ignore[has-type]

"""Spreadsheets as they come from those who have consents: dates, numbers, blank rows, and files that are none."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import pytest
from openpyxl import Workbook

from filters.model import Status
from registry import sheet
from registry.importer import Importer
from registry.ledger import Ledger
from registry.lines import CsvError
from tests.registry.support import BRAND, HEADER, KEY, NOW, fold, onay
from tests.registry.test_importer import rejects

GOOD = ["+905550000001", "MESAJ", "ONAY", "HS_WEB", "BIREYSEL", "2026-01-01 00:00:00"]


def write(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    book = Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(list(row))
    book.save(path)
    return path


def run(ledger: Ledger, path: Path) -> Importer:
    done = Importer(ledger, KEY, BRAND, now=NOW)
    done.run(path, path.with_name("rejects.csv"))
    return done


def test_a_sheet_is_imported_as_its_csv_would_be(ledger: Ledger, tmp_path: Path) -> None:
    rows = [
        HEADER.split(","),
        GOOD,
        [905550000002, "MESAJ", "ONAY", "HS_WEB", "BIREYSEL", datetime(2026, 1, 1, 9, 30)],  # as Excel makes of both
        [],
        ["+905550000003", "MESAJ", "ONAY", "HS_WEB", "BIREYSEL", date(2026, 1, 1)],
        ["Ayşe, Yılmaz\nŞişli", "MESAJ", "ONAY", "HS_WEB", "BIREYSEL", "2026-01-01 00:00:00"],
    ]
    done = run(ledger, write(tmp_path / "in.xlsx", rows))
    assert (done.lines, done.recorded, done.rejected) == (4, 3, 1)
    assert rejects(tmp_path / "rejects.csv") == [(6, "H121")]
    assert "Ayşe, Yılmaz Şişli" in (tmp_path / "rejects.csv").read_text()
    assert [fold(ledger, onay(number)) for number in (1, 2, 3)] == [Status.ONAY] * 3


def test_a_large_sheet_is_one_too(ledger: Ledger, tmp_path: Path) -> None:
    rows = [[f"+90555{index:07}", *GOOD[1:]] for index in range(20_000)]
    done = run(ledger, write(tmp_path / "in.xlsx", [HEADER.split(","), *rows]))
    assert done.recorded == len(rows)


def test_the_header_is_the_first_row_that_is_not_blank(ledger: Ledger, tmp_path: Path) -> None:
    done = run(ledger, write(tmp_path / "in.xlsx", [[], [], HEADER.split(","), ["x", *GOOD[1:]], GOOD]))
    assert done.recorded == 1
    assert rejects(tmp_path / "rejects.csv") == [(4, "H121")]


def test_what_is_no_spreadsheet_is_said_to_be_none(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "in.xlsx"
    for content, said in (
        (sheet.MAGIC + os.urandom(100), "not a spreadsheet"),
        (sheet.OLD_MAGIC + bytes(100), "old spreadsheet"),
        ("recipient,type,status\n".encode("utf-16"), "UTF-16"),
    ):
        path.write_bytes(content)
        with pytest.raises(CsvError, match=said):
            run(ledger, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "no sheet in here")
    with pytest.raises(CsvError, match="not a spreadsheet"):
        run(ledger, path)
    with pytest.raises(CsvError, match="column"):
        run(ledger, write(path, []))
    assert ledger.head() == 0


def test_a_sheet_that_is_made_to_fill_the_memory_is_refused(
    sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some kB that are very much more when they are unpacked."""
    monkeypatch.setattr(sheet, "SHEET_MEMORY_OCTETS_MAX", 300 << 20)
    path = write(tmp_path / "in.xlsx", [HEADER.split(","), GOOD])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    row = b'<row><c t="inlineStr"><is><t>%b</t></is></c></row>' % (b"x" * 10_000)
    head, tail = parts.pop("xl/worksheets/sheet1.xml").split(b"</sheetData>")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as out:
            out.write(head)
            for _ in range(35):
                out.write(row * 1000)
            out.write(b"</sheetData>" + tail)
    with pytest.raises((CsvError, ChildProcessError)):
        run(sqlite_ledger, path)
    assert run(sqlite_ledger, write(path, [HEADER.split(","), GOOD])).recorded == 1, "others fit"


def test_a_code_page_of_windows_is_read_as_what_it_says(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(f"{HEADER}\nşükrü@örnek.test,EPOSTA,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00\n".encode("cp1254"))
    done = run(ledger, path)
    assert done.reasons == {"H120": 1}
    assert "şükrü@örnek.test" in (tmp_path / "rejects.csv").read_text()

"""Lines as spreadsheets and people save them, without a database."""

from __future__ import annotations

import pytest

from registry.lines import Batch, CsvError, Job, Parsed, Parser
from tests.registry.support import BRAND, HEADER, KEY

SAID = "MESAJ;ONAY;HS_WEB;BIREYSEL;2026-01-01 00:00:00"
SEMICOLONS = HEADER.replace(",", ";")


def parse(header: str, *lines: str) -> Parsed:
    job = Job(header.encode(), BRAND, "2026-03-04 10:00:00", False, "", KEY)
    return Parser(job)(Batch(2, [line.encode("cp1254") for line in lines], 0))


def recipients(parsed: Parsed) -> list[bytes]:
    return [move.recipient for _, move in parsed.entries]


@pytest.mark.parametrize("header", [SEMICOLONS, f"{SEMICOLONS};;;", f"{SEMICOLONS}; ;\r\n"])
def test_empty_columns_behind_the_last_one_are_none(header: str) -> None:
    lines = [f"+90555000000{place}{end}" for place, end in enumerate((f";{SAID}", f";{SAID};", f";{SAID};;; ;\r\n"))]
    parsed = parse(header, *lines, f"+905550000009;{SAID};note", "+905550000008;MESAJ;ONAY")
    assert recipients(parsed) == [b"+905550000000", b"+905550000001", b"+905550000002"]
    assert [(number, code) for number, code, _ in parsed.bad] == [(5, ""), (6, "")]


@pytest.mark.parametrize("blank", ["", "\r\n", ";;;;;", ";;;;;;;\r\n", '"";"";"";"";"";""', ' ; ;"";\t;;\n'])
def test_a_row_without_content_is_no_line(blank: str) -> None:
    parsed = parse(SEMICOLONS, blank, f"+905550000001;{SAID}")
    assert (parsed.bad, recipients(parsed), parsed.places) == ([], [b"+905550000001"], [1])


def test_blanks_around_a_value_are_not_part_of_it() -> None:
    spaced = SAID.replace(";", " ; ")
    lines = [f" +905550000001 ; {spaced} ", f'"+905550000002 ";"MESAJ ";{SAID.partition(";")[2]}']
    mail = f"ayse@firma.example.com.tr ;EPOSTA;{SAID.partition(';')[2]}"
    parsed = parse(SEMICOLONS, *lines, mail)
    assert recipients(parsed) == [b"+905550000001", b"+905550000002", b"ayse@firma.example.com.tr"]
    assert {move.consent_date for _, move in parsed.entries} == {"2026-01-01 00:00:00"}


def test_columns_are_known_in_capitals_too() -> None:
    assert len(parse("RECIPIENT;Type;Status;SOURCE;RecipientType;ConsentDate", f"+905550000001;{SAID}").entries) == 1
    with pytest.raises(CsvError, match="twice"):
        parse(f"{SEMICOLONS};Type")
    with pytest.raises(CsvError, match="unknown column 'Alıcı'"):
        parse("Alıcı;type;status")


def test_what_a_spreadsheet_made_of_a_value_is_no_value() -> None:
    """Digits that are gone, and dates that lost their seconds, are not guessed."""
    dates = [SAID.replace("2026-01-01 00:00:00", date) for date in ("1.01.2026 00:00", "46023.5", "2026-01-01")]
    numbers = [f"{number};{SAID}" for number in ("5,55E+09", "5.55E+09", "5550000001.5", '="5550000001"')]
    parsed = parse(SEMICOLONS, *numbers, *(f"+905550000001;{date}" for date in dates))
    assert (parsed.entries, [code for _, code, _ in parsed.bad]) == ([], ["H121"] * 4 + ["H158"] * 3)


def test_lines_of_an_old_macintosh_are_said_to_be_such() -> None:
    with pytest.raises(CsvError, match="CR alone"):
        parse(f"{SEMICOLONS}\r+905550000001;{SAID}\r")

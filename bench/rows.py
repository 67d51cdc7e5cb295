"""Invented consents for the registry's tables: telephone numbers that are nobody's, as files and as bodies.

The order of the numbers is not theirs: sorted rows would spare a database the work that real files make.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from registry.lines import COLUMNS

NUMBERS: Final = 10_000_000
"""So many are unique."""

PREFIX: Final = "+90555"
DIGITS: Final = 7
_STRIDE: Final = 7_919_317  # shares no factor with NUMBERS, so that each number comes once
_FIRST_DAY: Final = datetime(2019, 1, 1, 9)
_DAYS: Final = 2000
_SOURCES: Final = ("HS_WEB", "HS_MOBIL", "HS_CAGRI_MERKEZI", "HS_ISLAK_IMZA")

Row = tuple[str, str, str, str, str, datetime]


def number(digits: int) -> str:
    """The telephone number that ends in these digits."""
    return f"{PREFIX}{digits:0{DIGITS}}"


def numbers(count: int) -> Iterator[str]:
    """So many of them, each once, as little in order as a provider's customers."""
    return (number(place * _STRIDE % NUMBERS) for place in range(count))


def rows(count: int) -> Iterator[Row]:
    """As a provider's export has them: one in ten refuses."""
    for place, recipient in enumerate(numbers(count)):
        status = "RET" if place % 10 == 9 else "ONAY"
        said_at = _FIRST_DAY + timedelta(days=place * 37 % _DAYS, seconds=place % 30_000)
        yield recipient, "MESAJ", status, _SOURCES[place % len(_SOURCES)], "BIREYSEL", said_at


def write_csv(path: Path, count: int) -> Path:
    """A file of so many lines below the header."""
    with path.open("w", encoding="ascii") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(f"{','.join(said)},{said_at}\n" for *said, said_at in rows(count))
    return path


def write_xlsx(path: Path, count: int) -> Path:
    """The same as the first sheet of a workbook, its dates being dates."""
    from openpyxl import Workbook  # type: ignore[import-untyped]  # here: it is slow to load, and nobody else needs it

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(COLUMNS)
    for row in rows(count):
        sheet.append(row)
    book.save(path)
    return path


def consent(recipient: str, status: str, said_at: str) -> dict[str, str]:
    """The body of an addition; `said_at` as the national system writes it."""
    values = (recipient, "MESAJ", status, "HS_WEB", "BIREYSEL", said_at)
    return dict(zip(COLUMNS, values, strict=True))

"""The national rules for one line, row by row: V1–V14 of the error table, and the spellings of recipients."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from filters.model import Channel, RecipientType, Status
from registry.importer import oldest_declaration
from registry.rules import (
    DATE_MIN,
    HS_SOURCES,
    IYS_SOURCES,
    REASONS,
    Consent,
    Line,
    LineRules,
    Move,
    declaration_fault,
    turkey_time,
)
from tests.registry.support import BRAND, NOW

GOOD = Line(b"+905550000001", b"MESAJ", b"ONAY", b"HS_WEB", b"BIREYSEL", b"2026-03-03 18:05:00")
IMPORT = LineRules(BRAND, turkey_time(NOW))
DECLARE = LineRules(BRAND, turkey_time(NOW), declare=True, oldest=oldest_declaration(NOW))


def line(**columns: str) -> Line:
    return GOOD._replace(**{name: value.encode() for name, value in columns.items()})


def verdict(rules: LineRules, **columns: str) -> str:
    found = rules(line(**columns))
    return "taken" if isinstance(found, Move) else found


def test_a_good_line_says_what_it_records() -> None:
    assert DECLARE(GOOD) == Move(
        BRAND,
        Channel.MESAJ,
        b"+905550000001",
        RecipientType.BIREYSEL,
        Status.ONAY,
        "HS_WEB",
        "2026-03-03 18:05:00",
    )


# the row of iys.md 8.2, or the rule V… : columns, the code, or "taken"
BOTH = [
    ("A9 V8", {"source": "HS_KARAR"}, "H408"),
    ("V8", {"source": "HS_KARAR", "status": "RET"}, "taken"),
    ("A11 V5", {"source": "HS_2015", "consent_date": DATE_MIN}, "taken"),
    ("A12 V5", {"source": "HS_2015", "consent_date": "2015-05-02 00:00:00"}, "H155"),
    ("A13 V4", {"consent_date": "2015-04-30 23:59:59"}, "H156"),
    ("A14 V6", {"consent_date": "2026-03-04 10:00:01"}, "H162"),
    ("V6", {"consent_date": "2026-03-04 10:00:00"}, "taken"),
    ("A16", {"consent_date": "04.03.2026 09:00"}, "H158"),
    ("no such day", {"consent_date": "2026-02-30 09:00:00"}, "H157"),
    ("no such hour", {"consent_date": "2026-03-03 24:00:00"}, "H157"),
    ("no date", {"consent_date": ""}, "H112"),
    ("no source", {"source": ""}, "H113"),
    ("A17", {"recipient": "+9005550000001"}, "H121"),
    ("A20", {"type": "EPOSTA", "recipient": "a@b.c"}, "H120"),
    ("A22", {"type": "EPOSTA", "recipient": "x+tag@example.test"}, "taken"),
    ("A23", {"type": "SMS"}, "H117"),
    ("no type", {"type": ""}, "H111"),
    ("A24", {"status": "RED"}, "H115"),
    ("no status", {"status": ""}, "H110"),
    ("lower case", {"status": "onay"}, "H115"),
    ("A25", {"recipient_type": "KURUMSAL"}, "H116"),
    ("the default", {"recipient_type": ""}, "taken"),
    ("A26", {"recipient_type": "TACIR", "source": "", "consent_date": ""}, "taken"),
    ("half a TACIR", {"recipient_type": "TACIR", "source": "HS_NIX"}, "H119"),
    ("unknown source", {"source": "HS_NIX"}, "H119"),
    ("no recipient", {"recipient": ""}, "H114"),
    ("no address", {"type": "EPOSTA", "recipient": ""}, "H114"),
    ("S5", {"recipient": "ayse@example.com.tr"}, "H464"),
    ("mail to call", {"type": "ARAMA", "recipient": "ayse@example.com.tr"}, "H121"),
    ("fixed line", {"recipient": "+902120000001"}, "H121"),
    ("fixed line", {"type": "ARAMA", "recipient": "+902120000001"}, "taken"),
    ("too long", {"recipient": "+90555000000155555"}, "H160"),
    ("foreign", {"recipient": "+4915500000001"}, "taken"),
]


@pytest.mark.parametrize(("columns", "expected"), [row[1:] for row in BOTH], ids=[row[0] for row in BOTH])
def test_rules_of_every_line(columns: dict[str, str], expected: str) -> None:
    assert verdict(IMPORT, **columns) == expected
    assert verdict(DECLARE, **columns) == expected


DECLARATIONS = [
    ("A10 V10", {"source": "IYS_WEB"}, "taken", "H119"),
    ("A15 V7", {"consent_date": "2026-02-20 10:00:00"}, "taken", "H467"),
    ("V7 first day", {"consent_date": "2026-02-27 00:00:00"}, "taken", "taken"),
    ("V7 the day before", {"consent_date": "2026-02-26 23:59:59"}, "taken", "H467"),
    ("C7 closed line", {"source": "IYS_AHS_HAT_KAPATMA", "status": "RET", "consent_date": ""}, "taken", "H119"),
]


@pytest.mark.parametrize(
    ("columns", "imported", "declared"), [row[1:] for row in DECLARATIONS], ids=[row[0] for row in DECLARATIONS]
)
def test_rules_of_declarations_only(columns: dict[str, str], imported: str, declared: str) -> None:
    assert verdict(IMPORT, **columns) == imported
    assert verdict(DECLARE, **columns) == declared


@pytest.mark.parametrize("source", sorted(HS_SOURCES | IYS_SOURCES))
def test_an_import_knows_every_source(source: str) -> None:
    date = DATE_MIN if source == "HS_2015" else "2026-03-03 18:05:00"
    assert verdict(IMPORT, source=source, status="RET", consent_date=date) == "taken"


@pytest.mark.parametrize(
    "spelling", ["+905550000001", "05550000001", "5550000001", "905550000001", "0 (555) 000 00 01"]
)
def test_a_number_has_one_canonical_form(spelling: str) -> None:
    move = IMPORT(line(recipient=spelling))
    assert isinstance(move, Move)
    assert move.recipient == b"+905550000001"


def test_a19_an_address_is_lower_case() -> None:
    move = IMPORT(line(type="EPOSTA", recipient="Ada@Example.TEST"))
    assert isinstance(move, Move)
    assert move.recipient == b"ada@example.test"


def recorded(status: Status, date: str = "2026-03-03 18:05:00") -> Consent:
    return Consent(date, status, "HS_WEB")


def declared(
    status: Status, date: str, *, kind: RecipientType = RecipientType.BIREYSEL, source: str = "HS_WEB"
) -> Move:
    return Move(BRAND, Channel.MESAJ, b"+905550000001", kind, status, source, date)


HISTORIES = [
    ("A1", declared(Status.ONAY, "2026-03-03 18:05:00"), None, None),
    ("A2 V3", declared(Status.ONAY, "2026-03-03 18:05:00"), recorded(Status.ONAY), "H178"),
    ("V14: the same second", declared(Status.RET, "2026-03-03 18:05:00"), recorded(Status.ONAY), "H178"),
    ("A4 V2", declared(Status.ONAY, "2026-03-04 09:00:00"), recorded(Status.ONAY), None),
    ("A5", declared(Status.RET, "2026-03-04 09:30:00"), recorded(Status.ONAY), None),
    ("A6 V2", declared(Status.RET, "2026-03-04 09:40:00"), recorded(Status.RET), "H174"),
    ("A7 V1", declared(Status.RET, "2026-03-04 09:30:00"), None, "H175"),
    ("A8 V9", declared(Status.RET, "2026-03-04 09:30:00", source="HS_KARAR"), None, "H486"),
    ("A26", declared(Status.ONAY, "", kind=RecipientType.TACIR, source=""), None, None),
    ("A27", declared(Status.RET, "", kind=RecipientType.TACIR), recorded(Status.ONAY), "H462"),
    (
        "A28",
        declared(Status.RET, "2026-03-04 09:30:00", kind=RecipientType.TACIR, source=""),
        recorded(Status.ONAY),
        "H463",
    ),
]


@pytest.mark.parametrize(("move", "stands", "code"), [row[1:] for row in HISTORIES], ids=[row[0] for row in HISTORIES])
def test_rules_about_what_is_recorded(move: Move, stands: Consent | None, code: str | None) -> None:
    assert declaration_fault(move, stands) == code


def test_every_code_has_words() -> None:
    codes = {code for _, _, code in BOTH} | {row[3] for row in DECLARATIONS} | {row[3] for row in HISTORIES}
    assert codes - {"taken", None} <= REASONS.keys()


def test_consents_are_ordered_as_the_fold_needs_it() -> None:
    older, newer = (
        Consent("2026-01-01 00:00:00", Status.RET, "HS_WEB"),
        Consent("2026-01-02 00:00:00", Status.ONAY, "A"),
    )
    assert max(older, newer) == newer
    assert max(Consent("2026-01-01 00:00:00", Status.ONAY, "HS_WEB"), older) == older
    assert max(Consent("", Status.RET, "IYS_AHS_HAT_KAPATMA"), older) == older


@pytest.mark.parametrize(
    ("now", "oldest"),
    [
        (datetime(2026, 3, 4, 7, 0, tzinfo=UTC), "2026-02-27 00:00:00"),  # Wednesday: Friday, Monday, Tuesday before it
        (datetime(2026, 3, 4, 21, 0, tzinfo=UTC), "2026-03-02 00:00:00"),  # already Thursday in Turkey
        (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), "2026-03-04 00:00:00"),  # Sunday: Thursday, Friday, Monday
        (datetime(2026, 4, 24, 7, 0, tzinfo=UTC), "2026-04-20 00:00:00"),  # 23 April is a holiday
        (datetime(2026, 1, 2, 7, 0, tzinfo=UTC), "2025-12-29 00:00:00"),  # over the turn of the year
        (datetime(2026, 3, 22, 20, 59, 59, tzinfo=UTC), "2026-03-16 00:00:00"),  # a feast's last second: its eve, too
        (datetime(2026, 3, 22, 21, 0, tzinfo=UTC), "2026-03-16 00:00:00"),  # Monday after it; Thursday was half a day
        (datetime(2026, 6, 1, 7, 0, tzinfo=UTC), "2026-05-21 00:00:00"),  # four days and a half, and a weekend
        (datetime(2026, 10, 30, 7, 0, tzinfo=UTC), "2026-10-23 00:00:00"),  # 28 October is half a day, the 29th none
        (datetime(2024, 3, 1, 7, 0, tzinfo=UTC), "2024-02-27 00:00:00"),  # over a leap day
    ],
)
def test_v7_counts_business_days_in_turkey(now: datetime, oldest: str) -> None:
    assert oldest_declaration(now) == oldest

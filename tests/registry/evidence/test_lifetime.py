"""Which events may go, and which may not: the rule by itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.evidence.lifetime import Record, cutoff, ended

NOW = datetime(2026, 11, 26, 0, 30, tzinfo=UTC)
BEFORE = cutoff(NOW)
OLD, NEW = "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z"


def history(said: str, recorded: str = OLD) -> list[Record]:
    """ "O" and "R", one a year from 2016 on; a small letter: recorded lately."""
    return [
        Record(
            f"{2016 + place}-01-01 00:00:00",
            "ONAY" if letter in "Oo" else "RET",
            "HS_WEB",
            place,
            NEW if letter.islower() else recorded,
        )
        for place, letter in enumerate(said)
    ]


CASES = {
    "": ("", ""),
    "O": ("", ""),  # stands
    "OO": ("", ""),
    "OR": ("OR", "O"),
    "R": ("R", ""),
    "OOR": ("OOR", "OO"),
    "ORR": ("ORR", "OR"),
    "ORO": ("OR", "OR"),  # the last ONAY stands
    "OROR": ("OROR", "ORO"),
    "oR": ("", ""),  # recorded lately: messages may have gone on it
    "Or": ("", ""),
    "ORor": ("OR", "OR"),
    "orOR": ("", ""),  # the older one first
    "ORRo": ("ORR", "ORR"),
}


@pytest.mark.parametrize(("said", "individual", "merchant"), [(said, *gone) for said, gone in CASES.items()])
def test_what_may_go(said: str, individual: str, merchant: str) -> None:
    assert ended(history(said), "BIREYSEL", BEFORE) == list(range(len(individual)))
    assert ended(history(said)[::-1], "TACIR", BEFORE) == list(range(len(merchant)))


def test_three_years_to_the_second_in_both_notations() -> None:
    assert BEFORE == ("2023-11-26 03:30:00", "2023-11-26T00:30:00Z")
    day = Record("2023-11-26 03:29:59", "RET", "HS_WEB", 1, "2023-11-26T00:29:59Z")
    assert ended([day], "BIREYSEL", BEFORE) == [1]
    assert ended([day._replace(consent_date="2023-11-26 03:30:00")], "BIREYSEL", BEFORE) == []
    assert ended([day._replace(recorded_at="2023-11-26T00:30:00Z")], "BIREYSEL", BEFORE) == []


def test_a_leap_day_has_no_anniversary() -> None:
    assert cutoff(datetime(2028, 2, 29, 12, tzinfo=UTC)).utc == "2025-02-28T12:00:00Z"


def test_an_undated_first_record_of_a_merchant_counts_from_when_it_was_recorded() -> None:
    undated = Record("", "ONAY", "", 1, OLD)
    assert ended([undated, Record("2019-01-01 00:00:00", "RET", "HS_WEB", 2, OLD)], "TACIR", BEFORE) == [1]


@given(st.text("OoRr", max_size=12), st.sampled_from(["BIREYSEL", "TACIR"]))
def test_what_stands_stands_as_it_was(said: str, kind: str) -> None:
    before = history(said)
    gone = set(ended(before, kind, BEFORE))
    stays = [one for one in before if one.seq not in gone]
    assert all(one.recorded_at == OLD for one in before if one.seq in gone)
    if stays:
        assert max(stays) == max(before)
    else:
        assert not before or (kind == "BIREYSEL" and max(before).status == "RET")
    assert ended(stays, kind, BEFORE) == []

"""Three business days, as the regulation counts them, over real Turkish feasts."""

from __future__ import annotations

from datetime import date, timedelta

import holidays
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.workdays import due, is_workday, oldest_in_time

TURKEY = frozenset(holidays.country_holidays("TR", years=range(2024, 2029)))
"""What duties are counted with: official full holidays, not the half day before a feast."""

NONE: frozenset[date] = frozenset()


@pytest.mark.parametrize(
    ("day", "workday"),
    [
        (date(2026, 3, 4), True),  # a Wednesday
        (date(2026, 3, 7), False),
        (date(2026, 3, 8), False),
        (date(2026, 1, 1), False),
        (date(2026, 3, 19), True),  # the eve of the Ramazan feast: half a day
        (date(2026, 3, 20), False),  # its three days
        (date(2026, 3, 22), False),
        (date(2026, 3, 23), True),
        (date(2026, 4, 23), False),
        (date(2026, 5, 1), False),
        (date(2026, 5, 19), False),
        (date(2026, 5, 26), True),  # the eve of the Kurban feast
        (date(2026, 5, 27), False),  # its four days
        (date(2026, 5, 29), False),
        (date(2026, 7, 15), False),
        (date(2026, 8, 30), False),
        (date(2026, 10, 28), True),  # the eve of Republic Day
        (date(2026, 10, 29), False),
    ],
)
def test_turkish_days(day: date, workday: bool) -> None:
    assert is_workday(day, TURKEY) is workday


@pytest.mark.parametrize(
    ("day", "last"),
    [
        (date(2026, 3, 4), date(2026, 3, 9)),  # Wednesday: Thursday, Friday, Monday
        (date(2026, 3, 5), date(2026, 3, 10)),
        (date(2026, 3, 6), date(2026, 3, 11)),  # Friday, Saturday and Sunday have the same last day
        (date(2026, 3, 7), date(2026, 3, 11)),
        (date(2026, 3, 8), date(2026, 3, 11)),
        (date(2026, 3, 18), date(2026, 3, 24)),  # over the Ramazan feast, whose eve is half a day and counts
        (date(2026, 3, 19), date(2026, 3, 25)),
        (date(2026, 3, 20), date(2026, 3, 25)),
        (date(2026, 5, 26), date(2026, 6, 3)),  # over the Kurban feast, Wednesday to Saturday
        (date(2026, 10, 27), date(2026, 11, 2)),  # Republic Day is a Thursday
        (date(2025, 12, 31), date(2026, 1, 6)),  # New Year
    ],
)
def test_three_business_days(day: date, last: date) -> None:
    assert due(day, 3, TURKEY) == last


@pytest.mark.parametrize("day", [date(2026, 5, 26), date(2026, 5, 27), date(2026, 5, 31)])
def test_half_a_day_can_be_made_a_holiday(day: date) -> None:
    assert due(day, 3, TURKEY | {date(2026, 6, 1)}) == date(2026, 6, 4)


@pytest.mark.parametrize(
    ("today", "oldest"),
    [
        (date(2026, 3, 4), date(2026, 2, 27)),  # a Friday is in time on Wednesday
        (date(2026, 3, 9), date(2026, 3, 4)),
        (date(2026, 3, 11), date(2026, 3, 6)),  # Friday's, Saturday's and Sunday's
        (date(2026, 3, 8), date(2026, 3, 4)),  # on a Sunday: due on Monday and not late yet
        (date(2026, 3, 24), date(2026, 3, 18)),
        (date(2026, 3, 25), date(2026, 3, 19)),
    ],
)
def test_the_oldest_duty_that_is_still_in_time(today: date, oldest: date) -> None:
    assert oldest_in_time(today, 3, TURKEY) == oldest


@pytest.mark.parametrize("workdays", [0, -1])
def test_there_is_no_duty_without_a_day(workdays: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        due(date(2026, 3, 4), workdays, NONE)


DAYS = st.dates(date(2024, 2, 1), date(2028, 11, 30))
SETTINGS = settings(derandomize=True, deadline=None, max_examples=200)


@SETTINGS
@given(DAYS, st.integers(1, 12), st.sampled_from([NONE, TURKEY]))
def test_the_last_day_is_a_workday_and_the_right_number_lies_between(
    day: date, workdays: int, off: frozenset[date]
) -> None:
    last = due(day, workdays, off)
    assert is_workday(last, off)
    between = [day + timedelta(days=n) for n in range(1, (last - day).days + 1)]
    assert sum(is_workday(each, off) for each in between) == workdays


@SETTINGS
@given(DAYS, st.integers(1, 12), st.sampled_from([NONE, TURKEY]))
def test_oldest_in_time_is_the_border(today: date, workdays: int, off: frozenset[date]) -> None:
    oldest = oldest_in_time(today, workdays, off)
    assert due(oldest, workdays, off) >= today
    assert due(oldest - timedelta(days=1), workdays, off) < today

"""Business days, counted the way the regulation counts its “three business days”.

A day is a business day when it is neither Saturday nor Sunday nor in the set of holidays that the caller gives. Half
days (the eve of a feast, 28 October) are business days unless the caller lists them; how the national system sees them
is not published, and counting them is the stricter reading for whoever has a duty to fulfil.

A duty that arises on day D and is due within n business days can be fulfilled until the end of the n-th business day
after D; D itself never counts (the day of the event is not counted, Code of Obligations art. 92).
"""

from __future__ import annotations

from collections.abc import Container
from datetime import date, timedelta

SATURDAY = 5
_DAY = timedelta(days=1)


def is_workday(day: date, holidays: Container[date]) -> bool:
    """Whether offices work on `day`."""
    return day.weekday() < SATURDAY and day not in holidays


def due(day: date, workdays: int, holidays: Container[date]) -> date:
    """The last day on which a duty of `day` is fulfilled in time: the n-th business day after it (n ≥ 1)."""
    if workdays < 1:
        raise ValueError("a duty has at least one business day")
    while workdays:
        day += _DAY
        workdays -= is_workday(day, holidays)
    return day


def oldest_in_time(today: date, workdays: int, holidays: Container[date]) -> date:
    """The earliest day whose duty can still be fulfilled today."""
    day = today
    while due(day - _DAY, workdays, holidays) >= today:
        day -= _DAY
    return day

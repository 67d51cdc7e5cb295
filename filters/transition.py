"""The law's way in for consents of before the national system, as data.

Such a consent could be loaded until a date, whatever its age. Until a second date citizens looked at what was loaded
about them: who said no is not written to, and all others' consents count from the day after. Providers with many
consents came first (announcement of the Ministry of Trade of 30 November 2020; amendment RG 28.08.2020/31227).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True, slots=True)
class Window:
    """The two last days, in Turkey, for providers with more consents than `over`."""

    over: int
    load_until: date
    review_until: date


LAW: Final = (
    Window(150_000, date(2020, 12, 31), date(2021, 2, 15)),
    Window(0, date(2021, 5, 31), date(2021, 7, 15)),
)


def window_of(calendar: Sequence[Window], held: int) -> Window:
    """The window of a provider that holds so many consents in all."""
    fitting = [window for window in calendar if held > window.over]
    return max(fitting or calendar, key=lambda window: window.over if fitting else -window.over)

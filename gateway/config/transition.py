"""`[[registry.transition]]`: another calendar for consents of before the national system than the law's."""

from __future__ import annotations

from datetime import date

from filters.transition import LAW, Window
from gateway.toml import Table

_HELD_MAX = 10_000_000_000


def read_transition(table: Table) -> tuple[Window, ...]:
    """From `[registry]`; the law's where nothing is said."""
    return tuple(_window(one) for one in table.tables("transition")) or LAW


def _window(table: Table) -> Window:
    over = table.number("over", 0, 0, _HELD_MAX)
    load_until, review_until = (_day(table, key) for key in ("load_until", "review_until"))
    if review_until < load_until:
        table.note("review_until", "is before load_until")
    table.finish()
    return Window(over, load_until, review_until)


def _day(table: Table, key: str) -> date:
    text = table.text(key, required=True)
    return (table.parsed(key, date.fromisoformat, text) if text else None) or date.min

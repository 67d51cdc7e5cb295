"""`short_names` of a brand: what citizens call it who answer RET … to an SMS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from filters.model import Brand
from filters.rejection import KEYWORDS, NAME_LENGTH_MAX, fold_name
from gateway.toml import Table

SHORT_NAMES_MAX: Final = 3  # the national system takes no more for its own 3338


def read_short_names(table: Table, others: Iterable[Brand]) -> tuple[str, ...]:
    """The names of a brand; each must mean one brand, and is compared as `filters.rejection` does."""
    names = table.texts("short_names")
    if len(names) > SHORT_NAMES_MAX:
        table.note("short_names", f"more than {SHORT_NAMES_MAX} names")
    taken = {fold_name(name): other.name for other in others for name in other.short_names}
    for name in names:
        folded = fold_name(name)
        if not 0 < len(folded) <= NAME_LENGTH_MAX or folded in KEYWORDS:
            fix = f"use 1 to {NAME_LENGTH_MAX} letters and digits, and no word like RET"
            table.note("short_names", f"{name!r} is no name that could stand behind RET", fix)
        elif folded in taken:
            table.note("short_names", f"{name!r} is a name of brand {taken[folded]!r} too", "each name means one brand")
    return tuple(names)

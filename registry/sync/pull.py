"""Pull: the moves that the national system has recorded, page by page, with a cursor for each brand and side.

The national system tells seven days, and nothing of the last hour. Who did not look for longer has missed moves for
good: then every recipient's status is asked for (`registry.sync.reconcile`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from registry.limits import SYNC_PAGE_MOVES
from registry.log import logger
from registry.sync.apply import Taker
from registry.sync.client import UNREADABLE, Answer, Client, Fault
from registry.sync.codes import Then
from registry.sync.settings import SyncedBrand
from registry.sync.state import State
from registry.sync.tokens import Tokens
from registry.sync.wire import Told, Unreadable, rows_of, told

SIDES: Final = ("IYS", "HS")  # citizens first: their rejections are what it is about
WINDOW: Final = timedelta(days=6, hours=22)  # seven days, less the hour that is not told and one for a slow pull
LEVEL: Final = "pulled"
"""Name of the state that says since when nothing is missing: the beginning of the last pull that reached the end."""
GAP: Final = "gap"
"""Name of the state that says that moves were missed, "1", or "" again."""


class Pulled(NamedTuple):
    """What a pull brought."""

    moves: int
    news: int
    unreadable: int


class Wire(NamedTuple):
    """What every conversation with the national system needs."""

    client: Client
    tokens: Tokens
    state: State
    taker: Taker

    def ask(self, brand: SyncedBrand, method: str, path: str, **options: Any) -> Answer:
        """A call about a brand; `path` follows `/sps/{iysCode}/brands/{brandCode}`. Raises Fault, Busy."""
        return self.ask_full(brand, method, f"{base(brand)}{path}", **options)

    def ask_full(self, brand: SyncedBrand, method: str, path: str, **options: Any) -> Answer:
        """Likewise with the whole path."""
        return self.tokens.call(brand.login, lambda token: self.client.call(method, path, token=token, **options))


def base(brand: SyncedBrand) -> str:
    """Where a brand's paths begin."""
    return f"/sps/{brand.iys_code}/brands/{brand.there}"


def pull(wire: Wire, brand: SyncedBrand, prolong: Callable[[], None]) -> Pulled:
    """All pages of both sides. Raises Fault, Busy, IndexDown or SQLAlchemyError; a repetition goes on where it was."""
    began = wire.state.clock()
    missed = _has_gap(wire.state, brand, began)
    if missed:
        wire.state.put(brand.code, GAP, "1")
        logger.error("national_gap", brand=brand.code)
    moves = news = unreadable = 0
    for side in SIDES:
        while True:
            prolong()
            page = _page(wire, brand, side)
            moves += page.moves
            news += page.news
            unreadable += page.unreadable
            if page.moves < SYNC_PAGE_MOVES:
                break
    wire.state.put(brand.code, LEVEL, began.astimezone(UTC).isoformat())
    return Pulled(moves, news, unreadable)


def _page(wire: Wire, brand: SyncedBrand, side: str) -> Pulled:
    name = f"after {side}"
    after = wire.state.get(brand.code, name)
    params = {"source": side, "limit": str(SYNC_PAGE_MOVES)} | ({"after": after} if after else {})
    answer = wire.ask(brand, "GET", "/consents/changes", params=params)
    if answer.empty:
        return Pulled(0, 0, 0)
    said = answer.json()
    try:
        rows = rows_of(said)
    except ValueError:
        raise Fault(Then.LATER, UNREADABLE, answer.status) from None
    further = said.get("after")
    if not isinstance(further, str) or not further or len(further) > 200:
        raise Fault(Then.LATER, UNREADABLE, answer.status)
    news, unreadable = take_rows(wire, brand, rows)
    wire.state.put(brand.code, name, further)
    return Pulled(len(rows) if further != after else 0, news, unreadable)


def take_rows(wire: Wire, brand: SyncedBrand, rows: list[Any]) -> tuple[int, int]:
    """(news, rows that record nothing). What cannot be read is counted: it must not stop what can."""
    found: list[Told] = []
    faults: dict[str, int] = {}
    for row in rows:
        one = told(row, brand.code)
        if isinstance(one, Unreadable):
            faults[one.code] = faults.get(one.code, 0) + 1
        else:
            found.append(one)
    if faults:
        logger.warning("national_rows_unreadable", brand=brand.code, codes=faults)
    return wire.taker.take(found), sum(faults.values())


def _has_gap(state: State, brand: SyncedBrand, now: datetime) -> bool:
    level = state.get(brand.code, LEVEL)
    return bool(level) and now - datetime.fromisoformat(level) > WINDOW

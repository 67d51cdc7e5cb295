"""How far a brand is in step, for people and for monitoring."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, select

from registry.rules import TURKEY
from registry.sync.loop import FAULT, Sync
from registry.sync.outbox import figures as counted
from registry.sync.outbox import oldest_due, refusals
from registry.sync.pull import GAP, LEVEL
from registry.sync.settings import SyncedBrand
from registry.sync.state import get
from registry.sync.tables import national_state

PATIENCE: Final = timedelta(hours=6)
"""So long without a pull that went through is worth a look: messages still go on what was known then."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Times are UTC, ISO 8601, "" for never; `due` is a day in Turkey."""

    brand: int
    level: str  # up to when everything is known
    uploads: dict[str, int]  # events by state
    due: str  # the last day for the most urgent event that is not told yet
    refused: dict[str, int]  # events by the code of why they are not taken
    token_blocked_until: str
    problems: list[str]

    @property
    def well(self) -> bool:
        """Nobody has to look."""
        return not self.problems

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "well": self.well}


def figures(sync: Sync, brand: SyncedBrand) -> Figures:
    """Of one brand. Raises SQLAlchemyError."""
    now = sync.state.clock()
    blocked = sync.tokens.blocked_until(brand.login)
    with sync.state.engine.connect() as connection:
        level, due = get(connection, brand.code, LEVEL), oldest_due(connection, brand.code)
        problems = [f"{name}: {code}" for name, code in _faults(connection, brand.code)]
        if due and due < now.astimezone(TURKEY).date().isoformat():
            problems.append(f"not told in time: {due}")
        if not level or now - datetime.fromisoformat(level) > PATIENCE:
            problems.append("no pull went through lately")
        if get(connection, brand.code, GAP):
            problems.append("moves were missed; being reconciled")
        until = datetime.fromtimestamp(blocked, UTC).isoformat() if blocked else ""
        uploads, refused = counted(connection, brand.code), refusals(connection, brand.code)
    return Figures(brand.code, level, uploads, due, refused, until, problems)


def _faults(connection: Connection, brand: int) -> list[tuple[str, str]]:
    """What the last tries stumbled over."""
    columns = national_state.c.name, national_state.c.value
    query = select(*columns).where(national_state.c.brand == brand, national_state.c.name.startswith(f"{FAULT} "))
    rows = connection.execute(query.order_by(national_state.c.name))
    return [(name.removeprefix(f"{FAULT} "), value) for name, value in rows if value]

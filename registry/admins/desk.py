"""What the admins' pages work with, and what a request has proven before one of them looks at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import Request, Response
from sqlalchemy import Engine

from registry.admins import pages
from registry.admins.logins import Session
from registry.admins.store import Admins
from registry.ledger import Ledger
from registry.providers.approval import Codes
from registry.providers.service import OnboardingService
from registry.publish import Publisher


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts. `url`: where browsers find the pages; `codes`: of brands that are approved."""

    ledger: Ledger
    publisher: Publisher
    onboarding: OnboardingService
    codes: Codes
    data_dir: Path
    url: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def engine(self) -> Engine:
        return self.ledger.engine

    @property
    def admins(self) -> Admins:
        return Admins(self.engine, self.onboarding.providers.vault)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of an admin who may make it. `form`: of a POST, whose token was right; `csrf`: for the next form."""

    desk: Desk
    request: Request
    session: Session
    csrf: str
    form: Mapping[str, str]
    now: datetime

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def page(self, name: str, *, place: str = "", status: int = 200, **values: Any) -> Response:
        """One of the templates."""
        return pages.page(name, self.session, self.csrf, place=place, status=status, **values)


class May(Enum):
    """What a route asks of who calls it."""

    READ = "read"  # every admin
    DECIDE = "decide"  # operators


class Route(NamedTuple):
    """One path of the pages. The handler runs in a thread; what it raises is in `registry.admins.web`."""

    method: str
    path: str
    may: May
    handler: Callable[[Ask], Response]


class Denied(Exception):
    """What was asked cannot be done; `status` is the HTTP status that says so, the text says why."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


def whole(text: str, most: int) -> int | None:
    """A number from 0 to `most`, in digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        return None
    return int(text) if int(text) <= most else None

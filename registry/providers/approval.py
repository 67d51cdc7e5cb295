"""An approval as a whole: codes for the brands, and a user of the national API. Cut short, it may be repeated.

The two are two transactions, with what has to be kept of the password between them; a provider that was approved and
has no user yet gets one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Engine

from filters.model import Brand
from filters.passwords import SALT_OCTETS, make
from registry.national.access import Access
from registry.providers.states import State
from registry.providers.store import Provider, Providers

PASSWORD_OCTETS: Final = 24  # of chance


class Codes(NamedTuple):
    """Where new brand codes come from: the next free ones from `start` on that are not `taken` by a configuration."""

    start: int
    taken: Mapping[int, Brand]


class Credentials(NamedTuple):
    """How a program of the provider's logs in; the password is shown once and kept as a hash."""

    user: str
    password: str


def approve(
    engine: Engine, providers: Providers, number: int, codes: Codes, now: datetime, by: tuple[str, str]
) -> Provider:
    """Give the brands their codes, unless only the user is missing; `by`: actor and reason.

    Raises Unknown, NotNow or Refused.
    """
    one = providers.get(number)
    if one.state is State.APPROVED and not has_user(engine, one):
        return one
    actor, reason = by
    return providers.approve(number, now, actor, reason, start=codes.start, taken=codes.taken)


def has_user(engine: Engine, one: Provider) -> bool:
    """Whether it can log in at the API already."""
    return Access(engine).login(_user(one)) is not None


def give_user(
    engine: Engine, one: Provider, now: datetime, actor: str, deliver: Callable[[Credentials], None]
) -> Credentials:
    """A new user of the API, for the provider's brands; it counts after `deliver` has kept the password."""
    given = Credentials(_user(one), secrets.token_urlsafe(PASSWORD_OCTETS))
    hashed = make(given.password.encode(), secrets.token_bytes(SALT_OCTETS))
    deliver(given)
    Access(engine).add(given.user, hashed, dict.fromkeys(one.codes, True), now, actor)
    return given


def _user(one: Provider) -> str:
    return f"provider-{one.iys_code}"

"""Which brands may not send now: what the publisher tells the consent index (`filters.layout.Suspended`)."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, func, select

from filters.layout import Suspended
from registry.providers.states import State
from registry.providers.tables import provider, provider_brand, provider_change


def suspensions(engine: Engine) -> Suspended:
    """As the newest change of a provider left it."""
    with engine.connect() as connection:
        version = version_of(connection)  # before the brands are read: these may be newer than it says, never older
        query = select(provider_brand.c.code).join(provider, provider.c.id == provider_brand.c.provider)
        query = query.where(provider.c.state == State.SUSPENDED, provider_brand.c.code.is_not(None))
        return Suspended(version, frozenset(connection.execute(query).scalars()))


def version_of(connection: Connection) -> int:
    """The number of the newest change of any provider."""
    return int(connection.execute(select(func.coalesce(func.max(provider_change.c.seq), 0))).scalar_one())

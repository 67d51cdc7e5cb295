"""Does the database let in as many connections as a registry may need at once?"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, text

from registry.limits import LEDGER_CONNECTIONS_MAX

_LIMITS: Final = text(
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, "
    "(SELECT datconnlimit FROM pg_database WHERE datname = current_database()), "
    "(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)"
)


def shortage(engine: Engine) -> str:
    """What is too low and how high it should be, "" when there is room. Raises SQLAlchemyError.

    Of a single registry: several on one server, and whoever else uses it, need the sum.
    """
    if engine.dialect.name != "postgresql":
        return ""
    with engine.connect() as connection:
        server, database, role = connection.execute(_LIMITS).one()
    bounds = {
        "max_connections, less superuser_reserved_connections,": server,
        "CONNECTION LIMIT of the database": database,
        "CONNECTION LIMIT of the role": role,
    }
    low = [f"{name} is {bound}" for name, bound in bounds.items() if 0 <= bound < LEDGER_CONNECTIONS_MAX]
    return f"{'; '.join(low)}; a registry may need {LEDGER_CONNECTIONS_MAX} at once" if low else ""

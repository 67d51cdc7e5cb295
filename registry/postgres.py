"""PostgreSQL for many rows: COPY and arrays in binary. Imported where there is such a ledger, for the driver is slow to
load.

psycopg writes a list as text, which takes twenty times as long as the server then needs for it; COPY is the fastest way
in that there is. In binary nothing has to be escaped, and the server's errors do not repeat values (promise I9).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from registry.arrays import Octets, Texts

_BYTEA_ARRAY: Final = 1001  # pg_type.dat; they are the same in every PostgreSQL
_TEXT_ARRAY: Final = 1009


class _OctetsDumper(Dumper):
    format = Format.BINARY
    oid = _BYTEA_ARRAY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


class _TextsDumper(_OctetsDumper):
    oid = _TEXT_ARRAY


def teach(connection: Any, _record: object) -> None:
    """For the pool's event "connect": a driver's connection learns our arrays."""
    connection.adapters.register_dumper(Octets, _OctetsDumper)
    connection.adapters.register_dumper(Texts, _TextsDumper)


@contextmanager
def copying(connection: Connection, what: str) -> Iterator[Any]:
    """psycopg's own COPY, in this transaction. Its errors are raised as SQLAlchemy's, as those of statements are."""
    driver = cast("Any", connection.connection.driver_connection)
    statement = f"COPY {what}"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            yield copy
    except psycopg.Error as error:
        raise OperationalError(statement, None, error, hide_parameters=True) from error

"""Arrays of PostgreSQL in binary, as its driver is told to send them (`registry.postgres`)."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

# the head of an array in binary (array_recv): dimensions, flags, type of the elements, how many, number of the first
_ARRAY: Final = Struct("!iiIii").pack
_LENGTH: Final = Struct("!i").pack
_BYTEA: Final = 17  # pg_type.dat
_TEXT: Final = 25


class Octets(bytes):
    """A bytea[] as the server takes it."""


class Texts(bytes):
    """A text[] likewise."""


def array(values: Sequence[Any]) -> Any:
    """Values of one type, none of them NULL, for `= ANY(%s)` or `unnest(%s)`: octets and texts in a form that costs the
    driver nothing."""
    if values and isinstance(values[0], bytes):
        return Octets(_packed(_BYTEA, values))
    if values and isinstance(values[0], str):
        return Texts(_packed(_TEXT, [value.encode() for value in values]))
    return list(values)


def _packed(kind: int, values: Sequence[bytes]) -> bytes:
    parts = [_ARRAY(1, 0, kind, len(values), 1)]
    for value in values:
        parts += (_LENGTH(len(value)), value)
    return b"".join(parts)

"""One consent as the national API's callers write it, read and judged by the rules of one line (`registry.rules`).

The order of judgement: a field that does not belong there (H118), type, status, recipientType, source, recipient,
consentDate, retailers. An optional field that is there but empty or null is a fault, as in the national system.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from registry.importer import oldest_declaration
from registry.limits import API_VALUE_CHARACTERS_MAX
from registry.national.errors import FIELD_OF, Fault
from registry.rules import LATE, TURKEY, Line, LineRules, Move, turkey_time

FIELDS: Final = ("recipient", "type", "status", "source", "recipientType", "consentDate")
RETAILER_FIELDS: Final = ("retailerCode", "retailerAccess")
RETAILER_ACCESS_MAX: Final = 3000
_ALLOWED: Final = frozenset((*FIELDS, *RETAILER_FIELDS))
# What a field is accused of that may be left out, but not left empty.
_EMPTY: Final = {
    "source": "H113",
    "consentDate": "H112",
}
_MISFORMED: Final = {"type": "H117", "status": "H115", "source": "H119", "recipientType": "H116", "consentDate": "H158"}


class Declared(NamedTuple):
    """What a body says."""

    move: Move
    late: bool  # it breaks V7 and nothing else
    retailer: int  # 0: none
    retailer_access: tuple[int, ...]


class Rulebook:
    """The rules as they are at this second."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._second = -1
        self._day = ""
        self.now = clock()
        self._text = ""
        self._oldest = ""
        self._rules: dict[int, tuple[LineRules, LineRules]] = {}

    def turn(self) -> datetime:
        """Look at the clock; the time."""
        now = self.now = self._clock()
        second = int(now.timestamp())
        if second != self._second:
            self._second = second
            self._rules.clear()
            self._text = turkey_time(now)
            day = now.astimezone(TURKEY).date().isoformat()
            if day != self._day:
                self._day, self._oldest = day, oldest_declaration(now)
        return now

    def of(self, brand: int) -> tuple[LineRules, LineRules]:
        """The rules for declarations to a brand, and those without V7."""
        found = self._rules.get(brand)
        if found is None:
            strict = LineRules(brand, self._text, declare=True, oldest=self._oldest, strict=True)
            found = self._rules[brand] = strict, LineRules(brand, self._text, declare=True, strict=True)
        return found


def read_consent(said: dict[Any, Any], rules: tuple[LineRules, LineRules], index: int = -1) -> Declared | Fault:
    """From the JSON object. `index` is its place in a batch."""
    if not said.keys() <= _ALLOWED:
        name = next(name for name in said if name not in _ALLOWED)
        return Fault("H118", (str(name)[:API_VALUE_CHARACTERS_MAX],), shown(said[name]), index)
    columns: list[bytes] = []
    for name in FIELDS:
        value = said.get(name)
        if value is None or value == "":
            if name == "recipientType" and name in said:
                return Fault("H116", (name,), value, index)
            columns.append(b"")
        elif type(value) is str:
            columns.append(value.encode("utf-8", "replace"))
        else:
            return _misformed(name, value, index)
    line = Line(*columns)
    found = rules[0](line)
    late = found == LATE
    if late:
        found = rules[1](line)
    if isinstance(found, str):
        return _fault(found, said, index)
    for name in ("source", "consentDate"):  # a TACIR record may go without, but not with nothing
        if name in said and not said[name]:
            return Fault(_EMPTY[name], (name,), None, index)
    retailers = _read_retailers(said, index) if said.keys() & _RETAILER_FIELDS else _NO_RETAILERS
    return retailers if isinstance(retailers, Fault) else Declared(found, late, *retailers)


def _fault(code: str, said: dict[Any, Any], index: int) -> Fault:
    field = FIELD_OF.get(code)
    return Fault(code, (field,) if field else (), shown(said.get(field)), index)


def _misformed(name: str, value: object, index: int) -> Fault:
    code = _MISFORMED.get(name)
    if code is None:
        code = "H122"
    return Fault(code, (name,), shown(value), index)


def _read_retailers(said: dict[Any, Any], index: int) -> tuple[int, tuple[int, ...]] | Fault:
    code = said.get("retailerCode", 0)
    if "retailerCode" in said and not is_retailer_code(code):
        return Fault("H460", ("retailerCode",), shown(code), index)
    access = said.get("retailerAccess", [])
    if not isinstance(access, list) or not all(map(is_retailer_code, access)):
        return Fault("H460", ("retailerAccess",), None, index)
    if "retailerAccess" in said and not access:
        return Fault("H163", ("retailerAccess",), None, index)
    if len(access) > RETAILER_ACCESS_MAX:
        return Fault("H126", ("retailerAccess",), None, index)
    return code, tuple(dict.fromkeys(access))


def is_retailer_code(value: object) -> bool:
    """Eight digits at most in all samples; a bound that every database holds."""
    return type(value) is int and 0 < value < 1 << 31


def shown(value: object) -> Any:
    """A faulty value as it may be repeated: simple and short."""
    if isinstance(value, str):
        return value[:API_VALUE_CHARACTERS_MAX]
    return value if isinstance(value, int | float) and abs(value) < 1 << 53 else None


_RETAILER_FIELDS: Final = frozenset(RETAILER_FIELDS)
_NO_RETAILERS: Final = (0, ())

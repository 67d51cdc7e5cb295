"""Moves as the national system tells them, and consents as it wants to be told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from filters.model import Status
from registry.rules import LINE_CLOSED, Line, LineRules, Move

COLUMNS: Final = ("recipient", "type", "status", "source", "recipientType", "consentDate")
TEST_RECIPIENT: Final = "pushtest@iys.org.tr"
"""Of the record that is pushed to try a receiver; it is about nobody."""
LAST_DAY: Final = "9999-12-31 23:59:59"
TEXT_CHARACTERS_MAX: Final = 300
TRANSACTION_CHARACTERS_MAX: Final = 64


class Told(NamedTuple):
    """A move that the national system holds."""

    move: Move
    transaction: str  # "": it did not say
    created: str  # creationDate, Turkey time; "": it did not say


class Unreadable(NamedTuple):
    """A row that records nothing: the code of the rule it breaks."""

    code: str


def told(said: Any, brand: int) -> Told | Unreadable:
    """A row of changes, of a push or of a day's file. Leniently: names of earlier years, our clock behind theirs.

    A rejection whose date is missing or cannot be read counts from its creation: it must not be lost for that.
    """
    if not isinstance(said, dict):
        return Unreadable("")
    values = {name: said.get(name) for name in (*COLUMNS, "creationDate", "transactionId")}
    texts = {name: "" if value is None else str(value)[:TEXT_CHARACTERS_MAX] for name, value in values.items()}
    created = texts["creationDate"] if readable(texts["creationDate"], brand) else ""
    found = _move(texts, brand)
    if isinstance(found, str) and texts["status"] == Status.RET.value and created:
        found = _move({**texts, "consentDate": created}, brand)
    if isinstance(found, str):
        return Unreadable(found)
    if not found.consent_date and created and found.source == LINE_CLOSED:
        found = found._replace(consent_date=created)
    return Told(found, texts["transactionId"][:TRANSACTION_CHARACTERS_MAX], created)


def readable(moment: str, brand: int) -> bool:
    """Whether this is a moment as the national system writes them."""
    probe = Line(b"+905550000000", b"MESAJ", b"RET", b"HS_WEB", b"BIREYSEL", moment.encode("utf-8", "replace"))
    return bool(moment) and isinstance(LineRules(brand, LAST_DAY)(probe), Move)


def _move(texts: dict[str, str], brand: int) -> Move | str:
    line = Line(*(texts[name].encode("utf-8", "replace") for name in COLUMNS))
    return LineRules(brand, LAST_DAY)(line)


def consent(move: Move) -> dict[str, str]:
    """The body of an addition; what is not known is left out."""
    said = {
        "recipient": move.recipient.decode(),
        "type": move.channel.value,
        "status": move.status.value,
        "source": move.source,
        "recipientType": move.recipient_type.value,
        "consentDate": move.consent_date,
    }
    return {name: value for name, value in said.items() if value}


def rows_of(told_: Any) -> list[Any]:
    """The rows of `{"list": […]}`. Raises ValueError."""
    rows = told_.get("list") if isinstance(told_, dict) else None
    if not isinstance(rows, list):
        raise ValueError("an object with a list is wanted")
    return rows


def without_tests(rows: Iterable[Any]) -> list[Any]:
    """The rows that are about somebody."""
    return [row for row in rows if not (isinstance(row, dict) and row.get("recipient") == TEST_RECIPIENT)]

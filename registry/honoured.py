"""Rejections in a file of declarations that the national system would not take: refused with its code, and honoured.

It knows nothing of a RET that is a first record (V1, V9) or comes too late (V7). Whoever said it is not written to any
more, as with the API (`registry.national.recorder`). A file that is loaded again finds them recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from filters.model import Status
from registry.append import Entry
from registry.ledger import RECORDED
from registry.national.standing import DECLARED_FIRST, DECLARED_LATE
from registry.rules import VALIDATION, Consent, Move

if TYPE_CHECKING:
    from registry.importer import Recorder

NOT_TAKEN: Final = frozenset({VALIDATION["V1"], VALIDATION["V9"]})
"""Codes of a RET that is honoured; one that comes too late (V7) is told apart by the rules of one line."""
_UNKNOWN: Final = "unknown"
_NOT_NEWER: Final = "not newer"


def honour(ledger: Recorder, refused: Sequence[Entry], *, now: datetime, actor: str) -> int:
    """Record rejections that were refused; how many count that did not before. Raises SQLAlchemyError."""
    if not refused:
        return 0
    answers = ledger.record(refused, origin=DECLARED_LATE, now=now, judge=_after_an_onay, actor=actor)
    first = [entry for entry, answer in zip(refused, answers, strict=True) if answer == _UNKNOWN]
    if first:
        answers += ledger.record(first, origin=DECLARED_FIRST, now=now, judge=_of_nobody, actor=actor)
    return answers.count(RECORDED)


def _after_an_onay(move: Move, recorded: Consent | None) -> str | None:
    if recorded is None:
        return _UNKNOWN
    return None if recorded.status is Status.ONAY and move.consent > recorded else _NOT_NEWER


def _of_nobody(_move: Move, recorded: Consent | None) -> str | None:
    return None if recorded is None else _NOT_NEWER

"""An expression repeated as often as it fits, in bounded memory, and alike on every Python.

A possessive group, `(?:…)*+`, would do it in one match. Before 3.11.5 it does not go back to the end of its last
whole round when the next one fails half-way (CPython gh-106052), and Debian 12 has 3.11.2; so possessive groups are
for bodies that fail at their first character only. A greedy group goes back rightly, but keeps a mark of each
round: a message of a million short lines would cost a hundred megabytes. So: greedy, some hundred rounds at a time.
"""

from __future__ import annotations

import re
from typing import Final

_AT_ONCE: Final = 500


def repeated(body: bytes, flags: int = 0) -> re.Pattern[bytes]:
    """For `end_of`. A round of `body` is never empty."""
    return re.compile(b"(?:%b){0,%d}" % (body, _AT_ONCE), flags)


def end_of(rounds: re.Pattern[bytes], text: bytes, at: int, end: int | None = None) -> int:
    """Where the rounds that begin at `at` end."""
    end = len(text) if end is None else end
    while found := rounds.match(text, at, end):
        if found.end() == at:
            break
        at = found.end()
    return at

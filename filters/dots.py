"""The line discipline of a DATA payload: where it ends, what must not stand in it, dot transparency.

A relay is both ends of a smuggling attack: it must not take `LF . LF` for an end, and must not pass one on. So the
end of data is CRLF.CRLF and nothing else (RFC 5321 §4.1.1.4), and a payload with a lone CR or LF has a fault to be
refused, not repaired.
"""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder
from typing import Final, Literal

Fault = Literal["bare_lf", "bare_cr", "nul", "long_line"]

END_LENGTH: Final = 3
"""Octets of `.` CRLF: the next command stands this far behind what `find_end` returns."""

LINE_MAX: Final = 998
"""Octets of a line without its CRLF (RFC 5321 §4.5.3.1.6, RFC 5322 §2.1.1); Postfix breaks longer ones on the way."""

# bytes.find, and not the regex engine: a third less time in the Python of distributions (an unoptimised build prefers
# the other way round).
_DOTTED: Final = b"\r\n."
_END: Final = re.compile(rb"\r\n\.\r\n")


def find_dot(buffer: bytes | bytearray, start: int, since: int | None = None) -> int:
    """The offset of the first dot that begins a line, the final one included, or -1.

    `start` is the first octet after the CRLF of the DATA command, so a dot right there begins one. `since` is how far
    an earlier call has looked, for callers that receive in pieces: each octet is searched about once.
    """
    if buffer.startswith(b".", start):
        return start
    # An end may straddle the border by all but its last octet.
    found = buffer.find(_DOTTED, start if since is None else max(start, since - 4))
    return found + 2 if found >= 0 else -1


def find_end(buffer: bytes | bytearray, start: int, since: int | None = None) -> int:
    """The offset of the final dot, or -1: `buffer[start:offset]` is the payload, the last CRLF being part of it.

    `start` and `since` as in `find_dot`, whose answer will do for `since`: most payloads have no dot but the final one.
    """
    if buffer.startswith(b".\r\n", start):
        return start
    found = _END.search(buffer, start if since is None else max(start, since - 4))
    return found.start() + 2 if found else -1


def line_fault(body: bytes, limit: int = LINE_MAX) -> Fault | None:
    """The worst fault in a payload; None: every line ends in CRLF and is short enough.

    `limit` counts octets without CRLF and without a stuffed dot (unstuff first, or allow one more).
    """
    # The C implementation scans once and tells CR, LF and CRLF apart; three bytes.count() take four times as long.
    scanner = IncrementalNewlineDecoder(None, False)
    scanner.decode(body.decode("latin-1"), True)
    seen = scanner.newlines
    if seen is not None and seen != "\r\n":
        return "bare_lf" if "\n" in seen else "bare_cr"
    if b"\0" in body:
        return "nul"
    return "long_line" if _has_long_line(body, limit) else None


def _has_long_line(body: bytes, limit: int) -> bool:
    """One look per `limit` octets, not per line: the last line feed that can be reached must exist."""
    position, end, last = 0, len(body), body.rfind
    while end - position > limit:
        line_feed = last(b"\n", position, position + limit + 2)
        if line_feed < 0:
            return True
        position = line_feed + 1
    return False


def unstuff(data: bytes) -> bytes:
    """The message a payload stands for: the first dot of each line is dropped (RFC 5321 §4.5.2)."""
    if _DOTTED in data:
        data = data.replace(_DOTTED, b"\r\n")
    return data[1:] if data.startswith(b".") else data


def stuff(data: bytes) -> bytes:
    """The payload of a message: a dot before each line that begins with one. The end, `.` CRLF, is not added."""
    if _DOTTED in data:
        data = data.replace(_DOTTED, b"\r\n..")
    return b"." + data if data.startswith(b".") else data


def stuff_block(before: bytes, block: bytes | memoryview) -> bytes:
    """The same for a block of a message; `before` are the two octets in front of it, CRLF in front of the first."""
    return (before + block).replace(_DOTTED, b"\r\n..")[len(before) :]

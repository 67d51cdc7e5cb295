"""Where a block goes into an HTML text: before the last `</body`, else before the last `</html`, else at the end.

HTML is not parsed. The one construction that has to be understood is the comment, because mail templates keep whole
second documents in conditional comments for Outlook, with end tags of their own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TAIL: Final = 4096
"""Octets searched first: the end tags stand in the last few hundred, and lower-casing a whole template is slow."""

_COMMENT: Final = b"<!--"
_COMMENT_END: Final = b"-->"
_AFTER_NAME: Final = frozenset((b"", b">", b" ", b"/", b"\t", b"\r", b"\n", b"\f"))


class Point(NamedTuple):
    """An offset in the text, and the lower-case octets that stand there (empty: the end of the text)."""

    at: int
    token: bytes


def point(text: bytes) -> Point:
    """Where a visible block can be put; `text` is in a charset whose ASCII octets mean ASCII."""
    for token in (b"</body", b"</html"):
        for begin in (max(0, len(text) - TAIL), 0):
            at = _last_visible(text, token, begin)
            if at >= 0:
                return Point(at, token)
            if begin == 0:
                break
    # A comment that is never closed hides all that follows it.
    opened = comment_around(text, len(text))
    return Point(opened, _COMMENT) if opened >= 0 else Point(len(text), b"")


def comment_around(text: bytes, at: int) -> int:
    """The offset of the comment that `at` stands in, or -1."""
    opened = text.rfind(_COMMENT, 0, at)
    if opened < 0 or text.find(_COMMENT_END, opened, at) >= 0:
        return -1
    # A comment holds further openings as text: it begins with the first one behind the last end.
    return text.find(_COMMENT, text.rfind(_COMMENT_END, 0, opened) + 1)


def _last_visible(text: bytes, token: bytes, begin: int) -> int:
    """The last end tag at or behind `begin` that is in no comment, or -1."""
    lower = text[begin:].lower()
    at = lower.rfind(token)
    while at >= 0:
        follows = at + len(token)
        if lower[follows : follows + 1] not in _AFTER_NAME:
            at = lower.rfind(token, 0, at)
            continue
        opened = comment_around(text, begin + at)
        if opened < 0:
            return begin + at
        # All from there on is the same comment; each octet is looked at once.
        at = lower.rfind(token, 0, max(0, opened - begin))
    return -1

"""Where a block goes into an HTML text: before the last `</body`, else before the last `</html`, else at the end.

An end tag counts where a reader's program would take it for one: not in a comment (mail templates keep whole second
documents in conditional comments for Outlook, with end tags of their own), not in the text of a script or style
sheet, not in an attribute. What stands behind the last one is enough to tell for nearly every message; only where that
looks odd the text is read from its beginning, in one pass.

HTML Living Standard §13.2.5 (tokenization), as far as it says where tags, comments and raw text end.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from filters.rounds import end_of, repeated

TAIL: Final = 4096
"""Octets searched first: the end tags stand in the last few hundred, and lower-casing a whole template is slow."""

_COMMENT: Final = b"<!--"
_COMMENT_END: Final = b"-->"
_AFTER_NAME: Final = frozenset((b"", b">", b" ", b"/", b"\t", b"\r", b"\n", b"\f"))

# Elements whose content is text whatever it looks like, and one whose content is not shown.
_RAW: Final = rb"(?:script|style|title|textarea|xmp|iframe|noembed|noframes|template)(?=[\s/>])"
_ATTRIBUTES: Final = rb"""(?:[^>"'=]++|=\s*+"[^"]*+"|=\s*+'[^']*+'|["'=])*+>"""
_COMMENT_WHOLE: Final = rb"<!--(?:-?>|(?s:.*?)-->)"
_RAW_WHOLE: Final = rb"<(?P<raw>" + _RAW + rb")" + _ATTRIBUTES + rb"(?s:.*?)</(?P=raw)(?=[\s/>])[^>]*+>"
_BOGUS: Final = rb"<(?!!--)[!?][^>]*+>"
_END_TAG: Final = rb"</(?P<end>body|html)(?=[\s/>]|\Z)"
_TAG: Final = rb"</?(?!" + _RAW + rb")[a-z]" + _ATTRIBUTES
_STRAY: Final = rb"<(?![a-z/!?])|</(?![a-z])"

# Up to the next end tag, or to something that is never closed; each octet is looked at about once.
_UP_TO: Final = repeated(
    b"[^<]++|(?!%b)(?:%b)"
    % (_END_TAG.replace(b"?P<end>", b"?:"), b"|".join((_COMMENT_WHOLE, _TAG, _RAW_WHOLE, _BOGUS, _STRAY))),
    re.IGNORECASE,
)
_END: Final = re.compile(_END_TAG, re.IGNORECASE)
# What may stand behind an end tag without making one doubt that it is one: whole tags and comments, no lone `>`.
_ORDINARY: Final = repeated(b"[^<>]++|" + b"|".join((_COMMENT_WHOLE, _TAG, _BOGUS)), re.IGNORECASE)
_REST_OF_TAG: Final = re.compile(b"[^<>]*+>?")
_RAW_EDGE: Final = re.compile(b"<(/?)" + _RAW)  # in lower case


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
                return Point(at, token) if _is_ordinary(text, at + len(token)) else _read(text)
            if begin == 0:
                break
    return Point(len(text), b"") if _ends_in_the_open(text) else _read(text)


def hidden(text: bytes, at: int) -> bool:
    """Whether `at` stands in a comment, or in the content of a script, a style sheet or the like."""
    if comment_around(text, at) >= 0:
        return True
    edge = _RAW_EDGE.search(text[at:].lower())
    return edge is not None and bool(edge[1])


def comment_around(text: bytes, at: int) -> int:
    """The offset of the comment that `at` stands in, or -1."""
    opened = text.rfind(_COMMENT, 0, at)
    if opened < 0 or text.find(_COMMENT_END, opened, at) >= 0:
        return -1
    # A comment holds further openings as text: it begins with the first one behind the last end.
    return text.find(_COMMENT, text.rfind(_COMMENT_END, 0, opened) + 1)


def _ends_in_the_open(text: bytes) -> bool:
    """Whether what is put behind a text without end tags is surely seen; False: it has to be read."""
    tag = text.rfind(b"<")
    if tag >= 0 and not _is_ordinary(text, tag):
        return False
    edges = _RAW_EDGE.findall(text.lower())  # three times as fast as ignoring case in the expression
    return (not edges or edges[-1] == b"/") and comment_around(text, len(text)) < 0


def _read(text: bytes) -> Point:
    """`point`, found by reading the text from its beginning."""
    last: dict[bytes, int] = {}
    at = _length(text, 0)
    while end := _END.match(text, at):
        last[end[0].lower()] = at
        at = _length(text, end.end())
    for token in (b"</body", b"</html"):
        if token in last:
            return Point(last[token], token)
    # Something that is never closed hides all that follows it.
    return Point(at, text[at : at + 2].lower())


def _length(text: bytes, at: int) -> int:
    """Where what can be read from `at` on meets an end tag of body or html, or something never closed, or the end."""
    return end_of(_UP_TO, text, at)


def _is_ordinary(text: bytes, at: int) -> bool:
    """Whether from `at` on, which may stand within a tag, there is nothing but text, whole tags and comments."""
    rest = _REST_OF_TAG.match(text, at)
    return rest is not None and end_of(_ORDINARY, text, rest.end()) == len(text)


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

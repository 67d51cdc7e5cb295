"""The notice in the octets of a part: charset, line length, transfer encoding, with the places of the link left open.

A notice is the same for all messages of a brand, so its encoded forms are remembered; what is left per recipient is to
put the link between two segments.

RFC 2045 §6.7 (quoted-printable), RFC 3676 §4 (format=flowed).
"""

from __future__ import annotations

import binascii
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from filters import letters
from filters.dots import LINE_MAX

LINK: Final = "{link}"
"""Where the personal link goes in the texts of a `Notice`."""

LINK_MAX: Final = 440
"""Octets of a link. A mail token holds the encrypted address: for the longest it has 381 (`link.TOKEN_LENGTH_MAX`)."""

LINK_OCTET: Final = rb"[A-Za-z0-9:/?#@!$()*+,;=%._~-]"
"""An octet of a link, as a class of an expression: none that HTML, header fields or mail programs take amiss."""

BLOCKS_KEPT: Final = 512
"""Encoded notices remembered: a few per brand (plain and HTML, by charset and encoding)."""

ENCODED_WIDTH: Final = 76
"""Octets of a line in quoted-printable (RFC 2045 §6.7 rule 5) and base64 (§6.8)."""

CRLF: Final = b"\r\n"
SOFT_BREAK: Final = b"=\r\n"

_HTML_WIDTH: Final = 120  # two of the longest links still fit a line with it
_LINK_MARK: Final = LINK.encode()
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, eq=False)  # known by itself: each message looks its encoded forms up
class Notice:
    """What a brand must say, in two forms; both hold `LINK` exactly where the personal link goes.

    `text`: plain text, lines separated by LF, under 78 characters each apart from the link. `html`: a block that
    depends on nothing around it; where it has spaces it may be broken into lines. Build it once per brand and reuse it.
    Raises ValueError for a text without a link, with control characters, or with a line no mail server would pass.
    """

    text: str
    html: str

    def __post_init__(self) -> None:
        for text, markup in ((self.text, False), (self.html, True)):
            if LINK not in text or _CONTROL.search(text):
                raise ValueError("a notice needs the link and no control characters but LF")
            for line in _lines(text, markup, "utf-8", flowed=False):
                links = line.count(_LINK_MARK)
                if len(line) + links * (LINK_MAX - len(_LINK_MARK)) > LINE_MAX:
                    raise ValueError(f"a line of the notice can exceed {LINE_MAX} octets")


@lru_cache(maxsize=BLOCKS_KEPT)
def notice_segments(
    notice: Notice, markup: bool, codec: letters.Codec, flowed: bool, quoted: bool
) -> tuple[bytes, ...]:
    """The notice in one form (`markup`: HTML), cut at its links; CRLF between its lines, none at the ends.

    `quoted`: in quoted-printable, with a line of its own for each link, to be filled by `quoted_link`.
    """
    lines = _lines(notice.html if markup else notice.text, markup, codec, flowed)
    return tuple(CRLF.join(_quoted_line(line) if quoted else line for line in lines).split(_LINK_MARK))


def own_part(notice: Notice) -> tuple[bytes, ...]:
    """The notice as a body part of its own, header section included: 7-bit octets, to be filled by `quoted_link`."""
    header = (
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"Content-Disposition: inline\r\n\r\n"
    )
    return framed(header, notice_segments(notice, False, "utf-8", False, True), b"")


def framed(before: bytes, segments: tuple[bytes, ...], after: bytes) -> tuple[bytes, ...]:
    """`segments` with octets around them: at least two, for a notice has a link."""
    return (before + segments[0], *segments[1:-1], segments[-1] + after)


def quoted_link(link: bytes) -> bytes:
    """A link that stands alone on its quoted-printable line, soft breaks in it when it is longer than that."""
    encoded = link.replace(b"=", b"=3D")
    width = ENCODED_WIDTH - 1
    lines = []
    while len(encoded) > width:
        escape = encoded.rfind(b"=", width - 2, width)
        cut = width if escape < 0 else escape
        lines.append(encoded[:cut])
        encoded = encoded[cut:]
    lines.append(encoded)
    return SOFT_BREAK.join(lines)


def _lines(text: str, markup: bool, codec: letters.Codec, flowed: bool) -> list[bytes]:
    """The encoded lines of a notice, without blanks at their ends (soft breaks in format=flowed, dropped elsewhere)."""
    lines = [line.rstrip() for line in text.strip("\n").split("\n")]
    if markup:
        # Numeric references are right in every charset that contains ASCII, and in every transfer encoding.
        return [
            folded.encode()
            for line in lines
            for folded in textwrap.wrap(
                line.encode("ascii", "xmlcharrefreplace").decode(),
                _HTML_WIDTH,
                break_long_words=False,
                break_on_hyphens=False,
            )
        ]
    encoded = [letters.encode(line, codec) for line in lines]
    if flowed:
        return [b" " + line if line.startswith((b" ", b">", b"From ")) else line for line in encoded]
    return encoded


def _quoted_line(line: bytes) -> bytes:
    """A line in quoted-printable, each link mark on an output line of its own so that any link fits."""
    texts = [binascii.b2a_qp(text, istext=False).replace(b"=\n", SOFT_BREAK) for text in line.split(_LINK_MARK)]
    encoded = (SOFT_BREAK + _LINK_MARK + SOFT_BREAK).join(texts)
    if not texts[0]:
        encoded = encoded.removeprefix(SOFT_BREAK)
    return encoded if texts[-1] else encoded.removesuffix(SOFT_BREAK)

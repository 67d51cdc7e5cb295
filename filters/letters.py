"""Which letters a part can carry: charset labels, and Turkish text for those that lack its letters.

A notice is written in the charset a part already has; a part is never relabelled. What a charset cannot hold becomes
its ASCII look-alike. Labels are looked up in tables of our own: `codecs.lookup` would import modules by a name taken
from a stranger's message, and remember each name for ever.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal

Codec = Literal["utf-8", "iso8859-9", "cp1254", "ascii"]

_TURKISH: Final[dict[bytes, Codec]] = {
    b"utf-8": "utf-8",
    b"utf8": "utf-8",
    b"csutf8": "utf-8",
    b"iso-8859-9": "iso8859-9",
    b"iso8859-9": "iso8859-9",
    b"iso_8859-9": "iso8859-9",
    b"iso_8859-9:1989": "iso8859-9",
    b"iso-ir-148": "iso8859-9",
    b"latin5": "iso8859-9",
    b"l5": "iso8859-9",
    b"csisolatin5": "iso8859-9",
    b"windows-1254": "cp1254",
    b"x-windows-1254": "cp1254",
    b"cp1254": "cp1254",
    b"cswindows1254": "cp1254",
}

# Wide, shifting and EBCDIC charsets, in which the octets of ASCII text mean something else.
_NOT_ASCII: Final = re.compile(
    rb".*utf[-_]?(?:7|16|32).*|u(?:7|16|32)|.*ucs[-_]?[24].*|(?:cs)?unicode.*|iso[-_]10646.*|(?:cs)?iso[-_]?2022.*|(?:cs|x-)?hz.*"
    rb"|.*ebcdic.*|(?:cs)?(?:ibm|cp|x-cp|)[-_]?0*(?:3[79]|273|27[4-8]|28[0145]|29[07]|42[034]|500|87[015]|880|905|918|1026|1047"
    rb"|114\d)(?:[-_].*)?"
)

_LOOK_ALIKE: Final = str.maketrans(
    {
        "ı": "i", "ø": "o", "Ø": "O", "ß": "ss", "æ": "ae", "Æ": "AE", "đ": "d", "ł": "l", "Ł": "L",
        "‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
        "–": "-", "—": "-", "−": "-", "‐": "-", "‑": "-", "•": "*", "·": "-", "₺": "TL", "€": "EUR",
        "©": "(c)", "®": "(r)",
    }
)  # fmt: skip


def codec(charset: bytes) -> Codec | None:
    """The codec for text that joins a part of this charset (lower-case label, empty: none given).

    "ascii" for all charsets that cannot hold Turkish letters or are not known; None when even ASCII octets would be
    read as something else.
    """
    found = _TURKISH.get(charset)
    if found is not None:
        return found
    return None if _NOT_ASCII.fullmatch(charset) else "ascii"


def encode(text: str, codec: Codec) -> bytes:
    """`text` in `codec`; characters it lacks as ASCII look-alikes (ğ → g, ’ → '), or `?` where there are none."""
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        return b"".join(_character(character, codec) for character in text)


def _character(character: str, codec: Codec) -> bytes:
    try:
        return character.encode(codec)
    except UnicodeEncodeError:
        base = unicodedata.normalize("NFKD", character.translate(_LOOK_ALIKE))
        ascii_only = "".join(part for part in base if not unicodedata.combining(part))
        return ascii_only.encode("ascii", "replace")

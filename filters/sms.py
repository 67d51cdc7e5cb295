"""A short message as octets: its alphabet, its user data header, its segments, and the notice in it.

The notice uses only characters that have one code in GSM default, the Turkish tables, ASCII, Latin-1 and Latin-5
(`filters.notice`), so it is appended to a text that is never decoded. What is not plain text — binary, ports, (U)SIM
data, a header that cannot be read — takes no notice, and a commercial message that takes none is refused.

Lengths are octets in the PDU: a septet travels unpacked in an octet of its own, a UCS-2 character in two.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

SEGMENT_OCTETS = 140  # TP-User-Data of one short message (TS 23.040 §9.2.3.16)
NOTICE_PARTS_MAX = 3  # a notice fills at most this many segments, in the widest alphabet
RESERVE_MAX = 20  # characters that an operator may append; the code of BTK decision 2016/DK-YED/211 has 5
CONCAT_8 = 0x00  # TS 23.040 §9.2.3.24.1
CONCAT_16 = 0x08  # TS 23.040 §9.2.3.24.8
SINGLE_SHIFT = 0x24  # TS 23.040 §9.2.3.24.15
LOCKING_SHIFT = 0x25  # TS 23.040 §9.2.3.24.16
TURKISH = 1  # the one locking shift table that keeps ASCII letters and digits in place
TOTAL_MAX = 255

_ESC = 0x1B
_JOINER = "\u200d"  # between the halves of an emoji that is several
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_CLUSTER_UNITS_MAX = 24  # the longest emoji in use, a family with skin tones, has 19
_CONCAT_HEADER_OCTETS = {CONCAT_8: 5, CONCAT_16: 6}  # without the length octet


class Alphabet(Enum):
    """What the text is written in: octets of a character in the PDU, and whether septets are counted."""

    SEPTET = (1, True)
    OCTET = (1, False)
    UCS2 = (2, False)

    def __init__(self, width: int, packed: bool) -> None:
        self.width = width
        self.packed = packed
        self.single = self.room(0)

    def room(self, header: int) -> int:
        """Octets of text beside a user data header of `header` octets, its length octet included."""
        octets = SEGMENT_OCTETS - header
        return octets * 8 // 7 if self.packed else octets - octets % self.width

    def encode(self, notice: bytes) -> bytes:
        """A notice of invariant characters in this alphabet."""
        return notice.decode("ascii").encode("utf-16-be") if self is Alphabet.UCS2 else notice


_UCS2 = Alphabet.UCS2  # by name in its class it costs as much as a call, for every message

# The longest notice, in characters, that never needs more than NOTICE_PARTS_MAX segments, whatever is kept free.
NOTICE_LENGTH_MAX = NOTICE_PARTS_MAX * (Alphabet.UCS2.room(7) // 2) - RESERVE_MAX


def _alphabet(coding: int) -> Alphabet | None:
    """SMPP 3.4 §5.2.19 for the first sixteen, the coding groups of TS 23.038 §4 for the others.

    IA5 and the ISO sets count 140 and not 160: whether the SMSC packs them is its own affair. None: no plain text, or
    an alphabet in which the notice would read differently.
    """
    group = coding >> 4
    if group == 0:
        listed = {0: Alphabet.SEPTET, 1: Alphabet.OCTET, 3: Alphabet.OCTET, 6: Alphabet.OCTET, 7: Alphabet.OCTET}
        return listed.get(coding, Alphabet.UCS2 if coding == 8 else None)
    with_class = group in (0x1, 0x5, 0xF)
    if with_class and coding & 0x03 == 2:
        return None  # class 2: to the (U)SIM, not to a reader
    if group == 0xF:
        return None if coding & 0x0C else Alphabet.SEPTET
    if group in (0x1, 0x4, 0x5):  # not compressed
        return (Alphabet.SEPTET, None, Alphabet.UCS2, None)[coding >> 2 & 0x03]
    return None  # compressed, reserved, message waiting


ALPHABETS: tuple[Alphabet | None, ...] = tuple(_alphabet(coding) for coding in range(256))
"""By data_coding."""

CHARSETS: Final = {
    "gsm": Alphabet.SEPTET,
    "ascii": Alphabet.OCTET,
    "latin1": Alphabet.OCTET,
    "latin5": Alphabet.OCTET,
    "cp1254": Alphabet.OCTET,
}
"""What a sender may mean by a data_coding that its specification leaves open. The notice has the same octets in all."""


def alphabets(meant: Mapping[int, Alphabet], *, septets: bool = True) -> tuple[Alphabet | None, ...]:
    """`ALPHABETS` with what one sender means by some codings. Without `septets` no text in them takes a notice."""
    table = [meant.get(coding, usual) for coding, usual in enumerate(ALPHABETS)]
    return tuple(None if found is Alphabet.SEPTET and not septets else found for found in table)


@dataclass(frozen=True, slots=True)
class Concat:
    """The part a message says it is. `total_at` is where the total stands, counted from the user data's first octet."""

    kind: int  # CONCAT_8 or CONCAT_16
    reference: int
    total: int
    index: int
    total_at: int


@dataclass(frozen=True, slots=True)
class Header:
    """A user data header that goes with plain text. `end`: where the text begins; `shifts`: its other elements."""

    end: int
    concat: Concat | None
    shifts: bytes


def read_header(data: bytes) -> Header | None:
    """The header at the start of a user data field; None when it is malformed or the text is not plain.

    Taken are concatenation and national language shifts. Everything else (ports, (U)SIM toolkit, pictures, formatting)
    says that the octets are not simply a text, so nothing is appended to them.
    """
    if not data or (end := data[0] + 1) > len(data):
        return None
    concat: Concat | None = None
    shifts: dict[int, bytes] = {}
    at = 1
    while at < end:
        if at + 2 > end or (stop := at + 2 + data[at + 1]) > end:
            return None
        element, value = data[at], data[at + 2 : stop]
        if element in (CONCAT_8, CONCAT_16):
            if concat is not None or (concat := _concat(element, value, at + 2)) is None:
                return None
        elif element not in shifts and _is_shift(element, value):
            shifts[element] = data[at:stop]
        else:
            return None
        at = stop
    return Header(end, concat, b"".join(shifts.values()))


def read_place(data: bytes) -> Concat | None:
    """The part that a user data field says it is, whatever else its header says; None: none, or it cannot be read."""
    end, at = (data[0] + 1, 1) if data else (0, 0)
    while at + 2 <= end <= len(data):
        value = data[at + 2 : at + 2 + data[at + 1]]
        if data[at] in _CONCAT_HEADER_OCTETS:
            return _concat(data[at], value, at + 2)
        at += 2 + data[at + 1]
    return None


def _is_shift(element: int, value: bytes) -> bool:
    """A shift under which the notice still reads as it was written: it uses no escape, but letters and digits."""
    if element == SINGLE_SHIFT:
        return len(value) == 1
    return element == LOCKING_SHIFT and value == bytes((TURKISH,))


def _concat(kind: int, value: bytes, value_at: int) -> Concat | None:
    width = 1 if kind == CONCAT_8 else 2
    if len(value) != width + 2:
        return None
    total, index = value[-2], value[-1]
    if not 1 <= index <= total:
        return None
    return Concat(kind, int.from_bytes(value[:width], "big"), total, index, value_at + width)


def carries(alphabet: Alphabet, text: bytes, words: bytes) -> bool:
    """Whether a text holds `words`, which are of invariant characters."""
    if alphabet is not _UCS2:
        return words in text
    wide, at = alphabet.encode(words), -1
    while (at := text.find(wide, at + 1)) >= 0:
        if at % 2 == 0:
            return True
    return False


def segments(
    alphabet: Alphabet, shifts: bytes, text: bytes, notice: bytes, *, reference: int, reserve: int
) -> list[bytes]:
    """The user data fields of a whole message with its notice; more than one when it no longer fits.

    `notice` is encoded; `reserve` characters stay free at the end (the code an operator appends). Several segments
    carry a 16-bit reference: whatever 8-bit references the sender uses towards this handset, none collides with ours.
    The shifts are repeated in each segment, because each is decoded on its own (TS 23.040 §9.2.3.24.15).
    """
    whole = text + notice
    header = bytes((len(shifts),)) + shifts if shifts else b""
    if len(whole) + reserve * alphabet.width <= alphabet.room(len(header)):
        return [header + whole]
    pieces = list(cut(alphabet, whole, alphabet.room(_CONCAT_HEADER_OCTETS[CONCAT_16] + 1 + len(shifts)), reserve))
    total = len(pieces)
    return [
        concat_header(CONCAT_16, reference, total, index, shifts) + piece for index, piece in enumerate(pieces, start=1)
    ]


def notice_pieces(alphabet: Alphabet, kind: int, notice: bytes, *, reserve: int) -> list[bytes]:
    """The texts of the parts that follow a concatenated message and hold only the encoded notice."""
    return list(cut(alphabet, notice, alphabet.room(_CONCAT_HEADER_OCTETS[kind] + 1), reserve))


def concat_header(kind: int, reference: int, total: int, index: int, shifts: bytes = b"") -> bytes:
    """A user data header of one part: the concatenation element first, then the shifts."""
    width = 1 if kind == CONCAT_8 else 2
    element = bytes((kind, width + 2)) + reference.to_bytes(width, "big") + bytes((total, index))
    return bytes((len(element) + len(shifts),)) + element + shifts


def cut(alphabet: Alphabet, text: bytes, room: int, reserve: int) -> Iterator[bytes]:
    """Pieces of at most `room` octets, the last leaving `reserve` characters free; joined they are `text` again.

    No escape is parted from the character it belongs to, no high surrogate from its low half, and no combining mark,
    joiner or variation selector from what it changes, unless the run of them is longer than any script needs.
    """
    spare = reserve * alphabet.width
    at, end = 0, len(text)
    while end - at > room - spare:
        stop = _border(alphabet, text, at, at + (room if end - at > room else room - spare))
        yield text[at:stop]
        at = stop
    yield text[at:]


def _border(alphabet: Alphabet, text: bytes, at: int, stop: int) -> int:
    """Where a piece from `at` ends, not behind `stop`."""
    if alphabet is Alphabet.UCS2:
        if _parts_surrogates(text, stop):
            stop -= 2
        return _cluster_border(text, at, stop)
    if alphabet is not Alphabet.SEPTET:
        return stop
    escapes = stop
    while escapes > at and text[escapes - 1] == _ESC:  # ESC ESC is itself a pair
        escapes -= 1
    return stop - (stop - escapes) % 2


def _parts_surrogates(text: bytes, stop: int) -> bool:
    return 0xD8 <= text[stop - 2] <= 0xDB


def _cluster_border(text: bytes, at: int, stop: int) -> int:
    """The border of a character as a reader sees it, at or shortly before `stop`."""
    border, least = stop, max(at + 2, stop - 2 * _CLUSTER_UNITS_MAX)
    while border >= least:
        before, after = _last_character(text, border), _first_character(text, border)
        if not _belongs(before, after):
            return border
        border -= 2 * (1 + (ord(before) > 0xFFFF))
    return stop


def _first_character(text: bytes, at: int) -> str:
    return text[at : at + 4].decode("utf-16-be", "surrogatepass")[:1]


def _last_character(text: bytes, stop: int) -> str:
    return text[max(0, stop - 4) : stop].decode("utf-16-be", "surrogatepass")[-1]


def _belongs(before: str, after: str) -> bool:
    """Whether `after` changes or continues what a reader sees before it (Unicode Standard Annex 29, in short)."""
    mark = unicodedata.category(after).startswith("M") or after == _JOINER or after in _SKIN_TONES
    return mark or before == _JOINER

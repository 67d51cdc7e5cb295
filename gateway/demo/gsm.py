"""What a handset makes of the octets of a short message: GSM 03.38 with the Turkish tables, UCS-2, Latin-1.

Written apart from `filters.sms`, which never decodes a text: the two must not agree on a fault.
"""

from __future__ import annotations

from typing import Final

_DEFAULT: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
_TURKISH_SINGLE: Final = {
    **_EXTENSION,
    0x47: "Ğ",
    0x49: "İ",
    0x53: "Ş",
    0x63: "ç",
    0x67: "ğ",
    0x69: "ı",
    0x73: "ş",
}
_TURKISH_LOCKING: Final = {0x04: "€", 0x07: "ı", 0x0B: "Ğ", 0x0C: "ğ", 0x1C: "Ş", 0x1D: "ş", 0x40: "İ", 0x60: "ç"}
_ESC: Final = 0x1B
_SINGLE_SHIFT, _LOCKING_SHIFT = 0x24, 0x25

Elements = tuple[tuple[int, bytes], ...]


def read_header(user_data: bytes) -> tuple[Elements, bytes]:
    """The information elements of a user data header, and the text behind it."""
    end = user_data[0] + 1
    elements, at = [], 1
    while at < end:
        length = user_data[at + 1]
        elements.append((user_data[at], user_data[at + 2 : at + 2 + length]))
        at += 2 + length
    return tuple(elements), user_data[end:]


def decode(text: bytes, data_coding: int, elements: Elements = ()) -> str:
    """The characters; binary data as hexadecimal digits."""
    if data_coding & 0xEC == 0x08 or data_coding == 8:
        return text.decode("utf-16-be", "surrogatepass")
    if data_coding in (1, 3):
        return text.decode("latin-1")
    if data_coding not in (0, 0xF0, 0xF1, 0x10, 0x11):
        return text.hex()
    shifts = dict(elements)
    extension = _TURKISH_SINGLE if shifts.get(_SINGLE_SHIFT) == b"\1" else _EXTENSION
    locking = _TURKISH_LOCKING if shifts.get(_LOCKING_SHIFT) == b"\1" else {}
    letters, escaped = [], False
    for septet in text:
        if septet == _ESC and not escaped:
            escaped = True
            continue
        plain = locking.get(septet) or _DEFAULT[septet & 0x7F]
        letters.append(extension.get(septet, plain) if escaped else plain)
        escaped = False
    return "".join(letters)

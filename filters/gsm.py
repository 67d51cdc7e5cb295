"""The characters of a short message, as its reader sees them: GSM 03.38 with the Turkish tables, Latin, UCS-2.

Only what handsets send is decoded (`filters.rejection` reads it); what senders send is never, it passes as it came.
Decoding does not fail: an octet that means nothing becomes U+FFFD, which no word contains.
"""

from __future__ import annotations

from typing import Final

from filters.sms import LOCKING_SHIFT, SINGLE_SHIFT, TURKISH, Alphabet

# TS 23.038 §6.2.1, by septet.
_DEFAULT: Final = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\N{REPLACEMENT CHARACTER}ÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_EXTENSION: Final = dict(zip(b"\x0a\x14()/<=>@e", "\f^{}\\[~]|€", strict=True))  # §6.2.1.1
_TURKISH_LOCKING: Final = dict(zip(b"\x04\x07\x0b\x0c\x1c\x1d@`", "€ıĞğŞşİç", strict=True))  # §A.3.1, where it differs
_TURKISH_SINGLE: Final = _EXTENSION | dict(zip(b"GIScgis", "ĞİŞçğış", strict=True))  # §A.2.1
_ESC: Final = 0x1B
# What an SMSC calls Latin-1 is Latin-5 here: they differ in six letters, Icelandic in the one and Turkish in the other.
_OCTETS: Final = {1: "cp1254", 3: "cp1254", 6: "iso8859_5", 7: "iso8859_8"}


def decode(alphabet: Alphabet, data_coding: int, shifts: bytes, text: bytes) -> str:
    """The text behind a user data header; `shifts` are the header's national language elements, as they stand there."""
    if alphabet is Alphabet.UCS2:
        return text.decode("utf-16-be", "replace")
    if alphabet is Alphabet.OCTET:
        return text.decode(_OCTETS.get(data_coding, "cp1254"), "replace")
    if not text.isascii():
        return _loose(text)
    turkish = bytes((1, TURKISH))
    locking = _TURKISH_LOCKING if bytes((LOCKING_SHIFT,)) + turkish in shifts else {}
    single = _TURKISH_SINGLE if bytes((SINGLE_SHIFT,)) + turkish in shifts else _EXTENSION
    letters, escaped = [], False
    for septet in text:
        if septet == _ESC and not escaped:
            escaped = True
            continue
        plain = locking.get(septet) or _DEFAULT[septet]
        letters.append(single.get(septet, plain) if escaped else plain)
        escaped = False
    return "".join(letters)


def unpack(octets: bytes, header: int = 0) -> bytes:
    """Septets that stood packed in octets behind a user data header of `header` octets, each in one of its own.

    TS 23.038 §6.1.2.1; the text begins at a septet's border, counted from the header's first octet.
    """
    fill = -header * 8 % 7
    bits = int.from_bytes(octets, "little") >> fill
    return bytes(bits >> 7 * at & 0x7F for at in range((len(octets) * 8 - fill) // 7))


def pack(septets: bytes) -> bytes:
    """The way back, without a header. Seven bits that are left over are a carriage return, so that they are no “@”."""
    if len(septets) % 8 == 7:
        septets += b"\r"
    bits = sum(septet << 7 * at for at, septet in enumerate(septets))
    return bits.to_bytes((len(septets) * 7 + 7) // 8, "little")


def _loose(text: bytes) -> str:
    """No septets, whatever data_coding says: an SMSC that hands on what it has, in UTF-8 or Latin-5."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1254", "replace")

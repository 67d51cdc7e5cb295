"""What the notice costs in SMS, as `check-config` tells it: how much text stays in one segment beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from filters.link import MOBILE_TOKEN_LENGTH
from filters.model import Brand, Kind
from filters.notice import SMS_TEMPLATE, sms_prefix
from filters.sms import CONCAT_8, SINGLE_SHIFT, TURKISH, Alphabet, notice_pieces, segments
from gateway.config import LINK_PATH, Config

_EXAMPLE: Final = 120  # characters: a campaign of one segment, as most are
_TURKISH_SHIFT: Final = bytes((SINGLE_SHIFT, 1, TURKISH))
_ALPHABETS: Final = (
    ("GSM", Alphabet.SEPTET, b""),
    ("GSM with the Turkish shift table", Alphabet.SEPTET, _TURKISH_SHIFT),
    ("Latin", Alphabet.OCTET, b""),
    ("UCS-2", Alphabet.UCS2, b""),
)


def sms_notes(config: Config) -> Iterator[str]:
    """A paragraph for each brand and SMSC that commercial SMS go to, in the order of the streams."""
    link = (config.registry.public_url + LINK_PATH).encode() + b"x" * MOBILE_TOKEN_LENGTH
    told: set[tuple[int, str]] = set()
    for rule in config.rules:
        stream, upstream = rule.stream, config.upstreams.get(rule.stream.upstream)
        commercial = stream.kind is Kind.COMMERCIAL or stream.may_declare
        if not commercial or stream.brand is None or upstream is None or upstream.protocol != "smpp":
            continue
        if (stream.brand.code, upstream.name) not in told:
            told.add((stream.brand.code, upstream.name))
            yield _note(stream.brand, notice_of(stream.brand, link), upstream.reserve)


def notice_of(brand: Brand, link: bytes) -> bytes:
    """The notice of `brand` with `link`, in invariant characters."""
    return sms_prefix(brand, brand.sms_notice or SMS_TEMPLATE, link_length=len(link)).replace(b"{link}", link)


def _note(brand: Brand, notice: bytes, reserve: int) -> str:
    rooms = ", ".join(f"{room(notice, alphabet, shifts, reserve)} in {name}" for name, alphabet, shifts in _ALPHABETS)
    example = len(segments(Alphabet.SEPTET, b"", b"x" * _EXAMPLE, notice, reference=0, reserve=reserve))
    gained, wide = (
        len(notice_pieces(alphabet, CONCAT_8, alphabet.encode(notice), reserve=reserve))
        for alphabet in (Alphabet.SEPTET, Alphabet.UCS2)
    )
    return (
        f"brand {brand.code}: the SMS notice has {len(notice)} characters with the link of a mobile number, and "
        f"{reserve} stay free for the operator's code. Characters that keep to one segment: {rooms}. "
        f"An SMS of {_EXAMPLE} GSM characters goes in {example}; one that its sender has cut grows by {gained}, "
        f"in UCS-2 by {wide}."
    )


def room(notice: bytes, alphabet: Alphabet, shifts: bytes, reserve: int) -> int:
    """Characters of a text that stays one segment with the notice; 0 also when not even the notice alone does."""
    header = len(shifts) + 1 if shifts else 0
    return max(0, alphabet.room(header) // alphabet.width - len(notice) - reserve)

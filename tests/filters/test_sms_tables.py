"""Golden vectors of the alphabets (3GPP TS 23.038 §6.2.1, A.2.1, A.3.1), and what the notice needs of them.

They hold two decoders to the standard: that of `gateway.demo.gsm`, which the properties of cut texts are read with, and
that of `filters.gsm`, which reads what citizens answer.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from filters import gsm
from filters.notice import INVARIANT
from filters.sms import Alphabet, segments
from gateway.demo import gsm as demo
from gateway.demo.gsm import Elements

Decode = Callable[[bytes, Elements], str]

SINGLE, LOCKING = (0x24, b"\1"), (0x25, b"\1")
BOTH = (LOCKING, SINGLE)
DEFAULT_ROWS = (
    "@£$¥èéùìòÇ\nØø\rÅå",
    "Δ_ΦΓΛΩΠΨΣΘΞ",  # then the escape
    "ÆæßÉ",
    " !\"#¤%&'()*+,-./",
    "0123456789:;<=>?",
    "¡ABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÄÖÑÜ§",
    "¿abcdefghijklmno",
    "pqrstuvwxyzäöñüà",
)
EXTENSION = {0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€"}


def of_a_handset(septets: bytes, elements: Elements = ()) -> str:
    return demo.decode(septets, 0, elements)


def of_the_gateway(septets: bytes, elements: Elements = ()) -> str:
    shifts = b"".join(bytes((element, len(value))) + value for element, value in elements)
    return gsm.decode(Alphabet.SEPTET, 0, shifts, septets)


@pytest.fixture(params=[of_a_handset, of_the_gateway])
def decode(request: pytest.FixtureRequest) -> Decode:
    """Each decoder."""
    return request.param


def test_the_default_alphabet(decode: Decode) -> None:
    septets = bytes(septet for septet in range(128) if septet != 0x1B)
    assert decode(septets, ()) == "".join(DEFAULT_ROWS)


@pytest.mark.parametrize("elements", [(), (SINGLE,), (LOCKING,), BOTH])
def test_the_extension_of_the_default_alphabet_stands_in_all_tables(decode: Decode, elements: Elements) -> None:
    for septet, letter in EXTENSION.items():
        assert decode(bytes((0x1B, septet)), elements) == letter


@pytest.mark.parametrize(
    ("septets", "elements", "text"),
    [
        ("1b47 1b49 1b53 1b63 1b67 1b69 1b73", (SINGLE,), "ĞİŞçğış"),
        ("47 49 53 63 67 69 73", (SINGLE,), "GIScgis"),
        ("04 07 0b 0c 1c 1d 40 60", (LOCKING,), "€ıĞğŞşİç"),
        ("04 07 0b 0c 1c 1d 40 60", (SINGLE,), "èìØøÆæ¡¿"),  # a single shift leaves the base table alone
        ("04 07 0b 0c 1c 1d 40 60", (), "èìØøÆæ¡¿"),
        ("09 5c 5e 7c 7e", (LOCKING,), "ÇÖÜöü"),  # where they are in the default table
        ("1b47 1b67", (LOCKING,), "Gg"),  # without the single shift an escape leads to the default extension
        ("1b47 0c 1b67", BOTH, "Ğğğ"),
        ("1b47 1b49 1b53", (), "GIS"),  # what an old handset shows of the single shift
    ],
)
def test_the_turkish_tables(decode: Decode, septets: str, elements: Elements, text: str) -> None:
    assert decode(bytes.fromhex(septets), elements) == text


@pytest.mark.parametrize("elements", [(), (SINGLE,), (LOCKING,), BOTH])
def test_the_letters_of_a_notice_have_one_code_in_all_tables(decode: Decode, elements: Elements) -> None:
    octets = bytes(sorted(INVARIANT))
    assert decode(octets, elements) == octets.decode("ascii")


@pytest.mark.parametrize(
    ("shifts", "septets", "room"),
    [
        ("", "61", 160),
        ("240101", "61", 155),
        ("250101", "61", 155),
        ("250101240101", "61", 152),
        ("240101", "1b73", 155),
    ],
)
def test_published_limits_of_turkish_texts(shifts: str, septets: str, room: int) -> None:
    """155 with one shift table, 152 with two; a letter of a single shift counts twice."""
    unit, header = bytes.fromhex(septets), bytes.fromhex(shifts)
    fits = unit * (room // len(unit))
    one = segments(Alphabet.SEPTET, header, fits, b"", reference=1, reserve=0)
    two = segments(Alphabet.SEPTET, header, fits + unit, b"", reference=1, reserve=0)
    assert (len(one), len(two)) == (1, 2)

"""Alphabets, headers, segments: against the tables of TS 23.038 and TS 23.040, and as properties."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import sms
from filters.sms import ALPHABETS, CONCAT_8, CONCAT_16, Alphabet, Concat, read_header

STEADY = settings(derandomize=True, deadline=None)
NOTICE = b" Ornek Market Mersis 0123456789000015 RET https://ret.example.test/r/Ab3dEfGh1jKlMnOpQr"


UNITS = {
    Alphabet.SEPTET: [b"a", b"\x1b", b"\x1be", b"\x1b\x1b", b"\x07", b"\x1bea"],
    Alphabet.OCTET: [b"a", b"\xfe", b"\x1b", b"\x00"],
    Alphabet.UCS2: [
        letter.encode("utf-16-be", "surrogatepass") for letter in ("a", "ğ", "😀", "😀a", "\ud83d", "\ude00")
    ],
}


def text_of(alphabet: Alphabet) -> st.SearchStrategy[bytes]:
    """Runs of what is delicate at a border, so that borders fall everywhere in them."""
    run = st.tuples(st.sampled_from(UNITS[alphabet]), st.integers(0, 100))
    return st.lists(run, max_size=6).map(lambda runs: b"".join(unit * count for unit, count in runs))


ALPHABET_AND_TEXT = st.sampled_from(Alphabet).flatmap(lambda one: st.tuples(st.just(one), text_of(one)))


@pytest.mark.parametrize(
    ("coding", "alphabet"),
    [
        *((coding, Alphabet.SEPTET) for coding in (0x00, 0x10, 0x11, 0x13, 0x40, 0x50, 0xF0, 0xF1, 0xF3)),
        *((coding, Alphabet.OCTET) for coding in (0x01, 0x03, 0x06, 0x07)),
        *((coding, Alphabet.UCS2) for coding in (0x08, 0x18, 0x19, 0x1B, 0x48, 0x58)),
        *((coding, None) for coding in (0x02, 0x04, 0x14, 0x15, 0x44, 0x54, 0xF4, 0xF5, 0xF7)),  # 8-bit data
        *((coding, None) for coding in (0x12, 0x1A, 0x52, 0x5A, 0xF2, 0xF6)),  # class 2: (U)SIM
        *((coding, None) for coding in (0x05, 0x09, 0x0A, 0x0D, 0x0E, 0x0B)),  # no ASCII inside, or reserved
        *((coding, None) for coding in (0x20, 0x30, 0x60, 0x70)),  # compressed
        *((coding, None) for coding in (0x80, 0xB8, 0xC0, 0xD8, 0xE0)),  # reserved, message waiting
        *((coding, None) for coding in (0x1C, 0x4C, 0xF8)),  # reserved alphabets
    ],
)
def test_alphabet_of_data_coding(coding: int, alphabet: Alphabet | None) -> None:
    assert ALPHABETS[coding] is alphabet


@pytest.mark.parametrize(
    ("header", "septets", "octets", "ucs2"),
    [  # the table every operator prints: octets of the header, then what is left
        (0, 160, 140, 70),
        (4, 155, 136, 68),
        (6, 153, 134, 67),
        (7, 152, 133, 66),
        (9, 149, 131, 65),
        (10, 148, 130, 65),
        (12, 146, 128, 64),
        (13, 145, 127, 63),
    ],
)
def test_capacity(header: int, septets: int, octets: int, ucs2: int) -> None:
    assert Alphabet.SEPTET.room(header) == septets
    assert Alphabet.OCTET.room(header) == octets
    assert Alphabet.UCS2.room(header) == ucs2 * 2


@pytest.mark.parametrize(
    ("data", "end", "concat", "shifts"),
    [
        ("0500032a0201", 6, Concat(CONCAT_8, 0x2A, 2, 1, 4), ""),
        ("060804beef0302", 7, Concat(CONCAT_16, 0xBEEF, 3, 2, 5), ""),
        ("03240101", 4, None, "240101"),
        ("03250101", 4, None, "250101"),
        ("06250101240101", 7, None, "250101240101"),
        ("08240101" + "00032a0202", 9, Concat(CONCAT_8, 0x2A, 2, 2, 7), "240101"),
        ("00", 1, None, ""),
        ("0500032a0101", 6, Concat(CONCAT_8, 0x2A, 1, 1, 4), ""),
    ],
)
def test_header_is_read(data: str, end: int, concat: Concat | None, shifts: str) -> None:
    header = read_header(bytes.fromhex(data) + b"text")
    assert header == sms.Header(end, concat, bytes.fromhex(shifts))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "05",  # longer than the field
        "0500032a02",
        "0500042a0201",  # element longer than the header
        "0500022a02",  # wrong length for its kind
        "0608042a0302",
        "0500032a0203",  # index beyond total
        "0500032a0200",
        "0500032a0000",
        "0a00032a020100032a0202",  # twice
        "0100",  # half an element
        "0405021f90",  # truncated port element
        "06050415815b5c",  # application port, 16 bit
        "0404020b0c",  # application port, 8 bit
        "0b05040b8423f000032a0201",  # WAP push with concatenation
        "027000",  # (U)SIM toolkit
        "03250102",  # a locking shift that is not Turkish
        "06240101240101",  # a shift twice
        "0424020101",
    ],
)
def test_header_that_takes_no_notice(data: str) -> None:
    assert read_header(bytes.fromhex(data)) is None


@STEADY
@given(st.binary(max_size=160))
def test_header_never_raises_and_points_at_its_total(data: bytes) -> None:
    header = read_header(data)
    if header is not None:
        assert 1 <= header.end <= len(data)
        if header.concat is not None:
            assert data[header.concat.total_at] == header.concat.total


def test_one_segment_while_it_fits() -> None:
    text = b"a" * (160 - len(NOTICE))
    assert sms.segments(Alphabet.SEPTET, b"", text, NOTICE, reference=1, reserve=0) == [text + NOTICE]
    assert len(sms.segments(Alphabet.SEPTET, b"", text, NOTICE, reference=1, reserve=5)) == 2
    assert len(sms.segments(Alphabet.SEPTET, b"", text + b"a", NOTICE, reference=1, reserve=0)) == 2
    assert sms.segments(Alphabet.SEPTET, b"", text[5:], NOTICE, reference=1, reserve=5) == [text[5:] + NOTICE]


def test_a_shift_stays_in_every_segment() -> None:
    shift = bytes.fromhex("240101")
    single = sms.segments(Alphabet.SEPTET, shift, b"abc", b" x", reference=7, reserve=0)
    assert single == [b"\x03" + shift + b"abc x"]
    several = sms.segments(Alphabet.SEPTET, shift, b"a" * 155, b" x", reference=7, reserve=0)
    assert [piece[:10].hex() for piece in several] == [
        "0908040007" + "0201" + "240101",
        "0908040007" + "0202" + "240101",
    ]
    assert [len(piece) for piece in several] == [10 + 148, 10 + 9]


@STEADY
@given(
    ALPHABET_AND_TEXT,
    st.sampled_from([b"", b"\x24\x01\x01", b"\x25\x01\x01\x24\x01\x01"]),
    st.integers(0, 0xFFFF),
    st.sampled_from([0, 5]),
)
def test_segments_join_to_the_text_and_the_notice(
    pair: tuple[Alphabet, bytes], shifts: bytes, reference: int, reserve: int
) -> None:
    alphabet, text = pair
    notice = alphabet.encode(NOTICE)
    fields = sms.segments(alphabet, shifts, text, notice, reference=reference, reserve=reserve)
    if len(fields) == 1 and not shifts:
        assert fields == [text + notice]
        assert len(fields[0]) + reserve * alphabet.width <= alphabet.room(0)
        return
    joined = b""
    for index, field in enumerate(fields, start=1):
        header = read_header(field)
        assert header is not None
        assert header.shifts == shifts
        if len(fields) > 1:
            assert header.concat == Concat(CONCAT_16, reference, len(fields), index, 5)
        kept_free = reserve * alphabet.width if index == len(fields) else 0
        assert len(field) - header.end + kept_free <= alphabet.room(header.end)
        joined += field[header.end :]
    assert joined == text + notice


@STEADY
@given(ALPHABET_AND_TEXT, st.integers(20, 160), st.sampled_from([0, 5]))
def test_no_cut_parts_a_character(pair: tuple[Alphabet, bytes], room: int, reserve: int) -> None:
    alphabet, text = pair
    room -= room % alphabet.width
    pieces = list(sms.cut(alphabet, text, room, reserve))
    assert b"".join(pieces) == text
    assert all(len(piece) <= room for piece in pieces)
    assert len(pieces[-1]) <= room - reserve * alphabet.width
    for piece, following in pairwise(pieces):
        assert piece
        if alphabet is Alphabet.SEPTET:
            assert (len(piece) - len(piece.rstrip(b"\x1b"))) % 2 == 0
        if alphabet is Alphabet.UCS2:
            assert len(piece) % 2 == 0
            assert not (0xD8 <= piece[-2] <= 0xDB and 0xDC <= following[0] <= 0xDF)


def test_a_euro_sign_at_the_border_moves_whole() -> None:
    """Where smpplib leaves a bare escape at the end of the first part."""
    first, second = sms.cut(Alphabet.SEPTET, b"a" * 152 + b"\x1be" + b"b" * 20, 153, 0)
    assert (first, second) == (b"a" * 152, b"\x1be" + b"b" * 20)


def test_an_emoji_at_the_border_moves_whole() -> None:
    text = ("a" * 65 + "😀" + "b" * 10).encode("utf-16-be")
    first, second = sms.cut(Alphabet.UCS2, text, 132, 0)
    assert first.decode("utf-16-be") == "a" * 65
    assert second.decode("utf-16-be") == "😀" + "b" * 10


FAMILY = "👨🏽\u200d👩🏽\u200d👧🏽\u200d👦🏽"  # one character to a reader, 19 units


@pytest.mark.parametrize(
    ("before", "whole"),
    [
        (65, "e\u0301"),  # e, acute
        (65, "I\u0307"),  # the dotted capital in two
        (64, "a\u0323\u0302"),
        (65, "❤\ufe0f"),
        (64, "👍🏽"),
        (63, "👍🏽"),
        *((66 - units, FAMILY) for units in range(1, 19)),
    ],
)
def test_what_a_reader_sees_as_one_character_moves_whole(before: int, whole: str) -> None:
    text = ("a" * before + whole + "b" * 40).encode("utf-16-be")
    first, second = (piece.decode("utf-16-be") for piece in sms.cut(Alphabet.UCS2, text, 132, 0))
    assert (first, second) == ("a" * before, whole + "b" * 40)


def test_a_run_of_marks_without_end_is_cut_all_the_same() -> None:
    text = ("e" + "\u0301" * 300).encode("utf-16-be")
    assert [len(piece) for piece in sms.cut(Alphabet.UCS2, text, 132, 0)] == [132, 132, 132, 132, 74]


def test_a_sender_may_mean_something_else_by_a_coding() -> None:
    table = sms.alphabets({0: Alphabet.OCTET, 3: Alphabet.SEPTET})
    assert (table[0], table[3]) == (Alphabet.OCTET, Alphabet.SEPTET)
    assert all(table[coding] is ALPHABETS[coding] for coding in range(256) if coding not in (0, 3))


def test_where_septets_are_packed_none_of_them_takes_a_notice() -> None:
    table = sms.alphabets({3: Alphabet.SEPTET}, septets=False)
    assert Alphabet.SEPTET not in table
    assert table[8] is Alphabet.UCS2
    assert table[1] is Alphabet.OCTET


@pytest.mark.parametrize("alphabet", Alphabet)
@pytest.mark.parametrize("kind", [CONCAT_8, CONCAT_16])
def test_the_longest_notice_fits_its_parts(alphabet: Alphabet, kind: int) -> None:
    notice = alphabet.encode(b"x" * sms.NOTICE_LENGTH_MAX)
    pieces = sms.notice_pieces(alphabet, kind, notice, reserve=5)
    assert len(pieces) <= sms.NOTICE_PARTS_MAX
    assert b"".join(pieces) == notice


def test_concat_headers() -> None:
    assert sms.concat_header(CONCAT_8, 0x2A, 3, 2).hex() == "0500032a0302"
    assert sms.concat_header(CONCAT_16, 0xBEEF, 3, 2).hex() == "060804beef0302"


@pytest.mark.parametrize("alphabet", Alphabet)
def test_what_a_text_carries(alphabet: Alphabet) -> None:
    assert sms.carries(alphabet, alphabet.encode(b"abc https://x/r/1 d"), b"https://x/r/1")
    assert not sms.carries(alphabet, alphabet.encode(b"abc https://x/r/2 d"), b"https://x/r/1")


def test_two_halves_of_other_characters_carry_nothing() -> None:
    shifted = b"a" + Alphabet.UCS2.encode(b"https") + b"a"
    assert not sms.carries(Alphabet.UCS2, shifted, b"https")
    assert sms.carries(Alphabet.UCS2, shifted + Alphabet.UCS2.encode(b"https"), b"https")

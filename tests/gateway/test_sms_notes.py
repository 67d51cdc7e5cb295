"""What check-config says of the SMS notice is what happens to messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from filters.model import Brand
from filters.sms import Alphabet, segments
from gateway.config import load
from gateway.init import init, sample
from gateway.sms_notes import notice_of, room, sms_notes

BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)
LINK = b"https://ret.example.test/r/" + b"x" * 18
TURKISH_SHIFT = b"\x24\1\1"


def notes(directory: Path, *edits: tuple[str, str]) -> list[str]:
    init(directory)
    text = sample()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (directory / "izinli.toml").write_text(text)
    return list(sms_notes(load(directory / "izinli.toml")))


def test_each_brand_is_told_once_what_its_notice_costs(tmp_path: Path) -> None:
    (note,) = notes(tmp_path)
    assert "brand 100001: the SMS notice has 84 characters" in note
    assert "71 in GSM, 66 in GSM with the Turkish shift table, 51 in Latin, 0 in UCS-2" in note
    assert "120 GSM characters goes in 2; one that its sender has cut grows by 1, in UCS-2 by 2" in note


def test_a_shorter_notice_and_no_operator_code(tmp_path: Path) -> None:
    template = ('# sms_notice = " {brand} Mersis {mersis} RET {link}" ', 'sms_notice = " RET {shortcode} {link}" ')
    code = ('# shortcode = "3338"', 'shortcode = "3338"')
    (note,) = notes(tmp_path, template, code, ("# reserve = 5 ", "reserve = 0 "))
    assert "has 52 characters" in note
    assert "108 in GSM" in note
    assert "by 1, in UCS-2 by 1" in note


def test_mail_has_no_such_cost(tmp_path: Path) -> None:
    informational = (
        'match = { account = "marka" }\nbrand = 100001\nkind = "commercial"',
        'match = { account = "marka" }',
    )
    assert notes(tmp_path, (informational[0], informational[1] + '\nkind = "informational"')) == []


@pytest.mark.parametrize(
    ("alphabet", "shifts"),
    [(Alphabet.SEPTET, b""), (Alphabet.SEPTET, TURKISH_SHIFT), (Alphabet.OCTET, b""), (Alphabet.UCS2, b"")],
)
@pytest.mark.parametrize("reserve", [0, 5])
def test_the_room_is_where_a_text_becomes_two(alphabet: Alphabet, shifts: bytes, reserve: int) -> None:
    notice = notice_of(BRAND, LINK)[-40:] if alphabet is Alphabet.UCS2 else notice_of(BRAND, LINK)
    fits = room(notice, alphabet, shifts, reserve)
    assert fits > 0
    for more, expected in ((0, 1), (1, 2)):
        text = alphabet.encode(b"a" * (fits + more))
        made = segments(alphabet, shifts, text, alphabet.encode(notice), reference=1, reserve=reserve)
        assert len(made) == expected


def test_no_room_is_none_and_not_less() -> None:
    assert room(notice_of(BRAND, LINK), Alphabet.UCS2, b"", 5) == 0

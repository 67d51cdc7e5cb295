"""The numbers of docs/smpp-texts.md are those that texts are cut by."""

from __future__ import annotations

import re
from pathlib import Path

from filters.notice import INVARIANT, SMS_FIELDS, SMS_TEMPLATE
from filters.sms import ALPHABETS, CHARSETS, Alphabet

PAGE = (Path(__file__).parents[2] / "docs" / "smpp-texts.md").read_text(encoding="utf-8")
COLUMNS = (Alphabet.SEPTET, Alphabet.OCTET, Alphabet.UCS2)


def test_each_capacity_is_the_room_that_is_cut_by() -> None:
    rows = re.findall(r"^\| [^|]+ \| (\d+) \| (\d+) \| (\d+) \| (\d+|–) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 9
    for header, *rooms in rows:
        for alphabet, room in zip(COLUMNS, rooms, strict=True):
            assert room == "–" or alphabet.room(int(header)) == int(room) * alphabet.width


def test_each_data_coding_is_in_the_row_that_it_is_taken_for() -> None:
    meanings: dict[str, Alphabet | None] = {
        "GSM default": Alphabet.SEPTET,
        "ASCII": Alphabet.OCTET,
        "UCS-2": Alphabet.UCS2,
        "binary": None,
        "to the (U)SIM": None,
    }
    rows = re.findall(r"^\| ([^|]*\d[^|]*) \| ([^|]+) \|[^|]*\|$", PAGE.split("## Capacity")[0], re.MULTILINE)
    told = [(codings, what) for codings, what in rows if what.startswith(tuple(meanings))]
    assert len(told) == len(meanings)
    for codings, what in told:
        expected = next(alphabet for name, alphabet in meanings.items() if what.startswith(name))
        for coding in re.findall(r"0x[0-9A-F]+|\b\d\b(?! )", codings):
            assert ALPHABETS[int(coding, 0)] is expected, coding


def test_fields_letters_and_charsets_are_all_there() -> None:
    assert SMS_TEMPLATE in PAGE
    assert re.findall(r"^\| `\{(\w+)\}` \|", PAGE, re.MULTILINE) == ["link", "brand", "mersis", "shortcode"]
    assert set(SMS_FIELDS) == {"link", "brand", "mersis", "shortcode"}
    (letters,) = re.findall(r"space, line feed and `([^`]+)`", PAGE)
    shown = set(letters.replace(" ", "").encode())
    assert shown == {octet for octet in INVARIANT if not chr(octet).isalnum() and octet not in b" \n\r"}
    assert all(f"`{name}`" in PAGE for name in CHARSETS)

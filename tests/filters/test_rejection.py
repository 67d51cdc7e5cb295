"""What is a refusal, what may be one, and what is none; and the alphabets that it comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.gsm import decode, pack, unpack
from filters.rejection import KEYWORDS, Rejection, Review, fold, fold_name, read
from filters.sms import Alphabet

NAMES = frozenset({"ORNEK", "ORNEKMARKET", "MODA"})

BARE = [
    *(
        ("RET", spelling)
        for spelling in ("RET", "ret", "Ret", "rEt", "RET.", "RET:", " ret! ", "“ret”", "red", "R E T")
    ),
    *(("RET", spelling) for spelling in ("R E T", "R.E.T.", "ＲＥＴ", "reТ", "ʀᴇᴛ", "🅁🄴🅃", "re\u200bt")),
    *(("RET", spelling) for spelling in ("ret yaz", "RET YAZIYORUM", "ret ret", "ret lütfen", "lütfen ret", "RET 👍")),
    *(("IPTAL", spelling) for spelling in ("İPTAL", "IPTAL", "iptal", "ıptal", "i̇ptal", "İptal et", "iptal ediniz")),
    *(("DUR", spelling) for spelling in ("DUR", "dur", "Dur!", "durdur", "DURDURUN")),
    *(("CIK", spelling) for spelling in ("ÇIK", "çık", "cik", "CIK", "Çıkış", "ÇIKIŞ", "cikis", "çıkar", "C\u0327ık")),
    *(("STOP", spelling) for spelling in ("STOP", "stop", "Stop.", "SТОР", "Unsubscribe", "opt-out", "OPTOUT", "end")),
]


@pytest.mark.parametrize(("keyword", "text"), BARE, ids=[text for _, text in BARE])
def test_a_word_alone(keyword: str, text: str) -> None:
    assert read(text, NAMES) == Rejection(keyword, None, all=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RET ORNEK", Rejection("RET", "ORNEK", False)),
        ("ret örnek", Rejection("RET", "ORNEK", False)),
        ("Ret Örnek Market lütfen", Rejection("RET", "ORNEKMARKET", False)),
        ("örnek ret", Rejection("RET", "ORNEK", False)),
        ("ÖRNEK MARKET İPTAL", Rejection("IPTAL", "ORNEKMARKET", False)),
        ("RETORNEK", Rejection("RET", "ORNEK", False)),
        ("RET:MODA", Rejection("RET", "MODA", False)),
        ("dur moda", Rejection("DUR", "MODA", False)),
        ("ret yaz moda", Rejection("RET", "MODA", False)),
        ("moda ret moda", Rejection("RET", "MODA", False)),
        ("RET ORNKE", Rejection("RET", "ORNKE", False)),
        ("STOP ALL", Rejection("STOP", None, True)),
        ("STOPALL", Rejection("STOP", None, True)),
        ("iptal hepsi", Rejection("IPTAL", None, True)),
        ("RET TÜMÜ", Rejection("RET", None, True)),
        ("hepsini iptal et", Rejection("IPTAL", None, True)),
    ],
)
def test_a_word_with_a_name_or_all(text: str, expected: Rejection) -> None:
    assert read(text, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lütfen mesaj atmayın", "ISTEMEME"),
        ("Artık mesaj istemiyorum", "ISTEMEME"),
        ("beni rahatsız etmeyin, şikayet ederim", "ISTEMEME"),
        ("please stop", "STOP"),
        ("RET FOO BAR", "RET"),
        ("siparişimi iptal edebilir miyim", "IPTAL"),
        ("dur bir dakika", "DUR"),
        ("dur geldim", "DUR"),
    ],
)
def test_what_a_person_must_read(text: str, why: str) -> None:
    assert read(text, NAMES) == Review(why)


@pytest.mark.parametrize("text", ["", " ", "👍", "Siparişim nerede?", "evet", "the end", "retro", "moda", "1234", "\0"])
def test_what_is_none(text: str) -> None:
    assert read(text, NAMES) is None


@given(st.text(), st.frozensets(st.text()))
def test_nothing_raises(text: str, names: frozenset[str]) -> None:
    found = read(text, names)
    if isinstance(found, Rejection):
        assert found.keyword in KEYWORDS.values()


@given(st.sampled_from(["ret", "iptal", "dur", "çık", "stop"]), st.data())
def test_case_and_width_change_nothing(word: str, data: st.DataObject) -> None:
    """Any mixture of capitals, of the Turkish and the English i, of invisible characters and stops at the ends."""
    letters = []
    for letter in word:
        forms = [letter, letter.upper(), *({"i": "İIıi"}.get(letter, "")), *({"ı": "İIıi"}.get(letter, ""))]
        letters.append(data.draw(st.sampled_from(forms)) + data.draw(st.sampled_from(["", "\u200d", "\ufe0f"])))
    ends = st.text(alphabet=" .,!:;\"'()\n*")
    text = data.draw(ends) + "".join(letters) + data.draw(ends)
    assert read(text) == read(word)


@given(st.text())
def test_folding_leaves_words_of_letters_and_digits(text: str) -> None:
    folded = fold(text)
    assert folded == " ".join(folded.split())
    assert " " not in fold_name(text)


@pytest.mark.parametrize(
    ("coding", "shifts", "octets", "text"),
    [
        (0, "", "52 45 54", "RET"),
        (0, "", "09 49 4b", "ÇIK"),
        (0, "", "1b 65 1b 1b 41", "€\N{REPLACEMENT CHARACTER}A"),
        (0, "24 01 01", "1b 49 70 74 61 6c", "İptal"),
        (0, "24 01 01", "1b 63 1b 69 6b", "çık"),
        (0, "25 01 01", "60 07 6b", "çık"),
        (0, "25 01 01", "40 50 54 41 4c", "İPTAL"),
        (0, "25 01 01 24 01 01", "1b 63 07 6b", "çık"),
        (0, "24 01 02", "1b 49 50", "IP"),
        (0, "", "c7 49 4b", "ÇIK"),
        (0, "", "c3 87 49 4b", "ÇIK"),
        (3, "", "dd 50 54 41 4c", "İPTAL"),
        (1, "", "72 65 74", "ret"),
        (8, "", "00 c7 00 49 00 4b", "ÇIK"),
        (8, "", "d8 3d dc 4b 00 21", "👋!"),
        (8, "", "d8 3d", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_alphabets(coding: int, shifts: str, octets: str, text: str) -> None:
    alphabet = {0: Alphabet.SEPTET, 8: Alphabet.UCS2}.get(coding, Alphabet.OCTET)
    assert decode(alphabet, coding, bytes.fromhex(shifts), bytes.fromhex(octets)) == text


@given(st.sampled_from(Alphabet), st.sampled_from([0, 1, 3, 6, 7, 8]), st.binary(max_size=9), st.binary())
def test_no_octets_raise(alphabet: Alphabet, coding: int, shifts: bytes, octets: bytes) -> None:
    assert isinstance(decode(alphabet, coding, shifts, octets), str)


@pytest.mark.parametrize(
    ("septets", "octets"),
    [(b"RET", "d22215"), (b"STOP", "53ea130a"), (b"IPTALET", None), (b"hellohello", "e8329bfd4697d9ec37")],
)
def test_packed_septets(septets: bytes, octets: str | None) -> None:
    """TS 23.038 section 6.1.2.1; what is left of the last octet may not become a character."""
    if octets is not None:
        assert pack(septets).hex() == octets
    assert unpack(pack(septets)).rstrip(b"\r") == septets


def test_packed_septets_behind_a_header_begin_at_their_border() -> None:
    """Six octets of header are 48 bits: one of filling, then the text (TS 23.040 section 9.2.3.24)."""
    bits = int.from_bytes(pack(b"RET"), "little") << 1
    assert unpack(bits.to_bytes(3, "little"), 6)[:3] == b"RET"


@given(st.binary(max_size=160).map(lambda octets: bytes(octet & 0x7F for octet in octets)))
def test_packing_loses_nothing(septets: bytes) -> None:
    back = unpack(pack(septets))
    assert back[: len(septets)] == septets
    assert back[len(septets) :] in (b"", b"\r")

"""Charset labels and look-alikes."""

from __future__ import annotations

import encodings.aliases

import pytest

from filters.letters import codec, encode

ASCII = bytes(range(0x20, 0x7F)) + b"\r\n"
LABELS = sorted({*encodings.aliases.aliases, *encodings.aliases.aliases.values()})

# Shift states: ASCII text decodes as itself only as long as nothing before it has shifted.
SHIFTING = ("iso2022", "iso_2022", "csiso2022")
# One or two punctuation marks differ (backslash, tilde, per cent); refusing these would help nobody.
NEARLY_ASCII = ("864", "cp864", "ibm864", "csibm864", "shift", "s_jis", "sjis")
# Refused although harmless: no mail carries these names.
TOO_CAREFUL = ("utf8_ucs",)


def contains_ascii(label: str) -> bool | None:
    try:
        return ASCII.decode(label) == ASCII.decode("ascii")
    except LookupError:  # a transform such as rot13, not a charset
        return None
    except UnicodeError:
        return False


@pytest.mark.parametrize("label", LABELS)
def test_every_charset_of_the_standard_library_is_judged_as_it_decodes(label: str) -> None:
    """Ours is a table of names, theirs are decoders."""
    expected = contains_ascii(label)
    if label.startswith(SHIFTING + TOO_CAREFUL):
        expected = False
    elif label.startswith(NEARLY_ASCII):
        expected = True
    for spelling in (label, label.replace("_", "-")):
        known = codec(spelling.encode())
        if expected is not None:
            assert (known is not None) == expected
        if known not in (None, "ascii"):
            assert "ğışİŞĞ".encode(known) == "ğışİŞĞ".encode(label)


@pytest.mark.parametrize(
    ("label", "known"),
    [
        *((b"utf-8", "utf-8"), (b"utf8", "utf-8"), (b"iso-8859-9", "iso8859-9"), (b"latin5", "iso8859-9")),
        *((b"windows-1254", "cp1254"), (b"cp1254", "cp1254"), (b"us-ascii", "ascii"), (b"", "ascii")),
        *((b"iso-8859-1", "ascii"), (b"gb18030", "ascii"), (b"\xff\x00 nonsense", "ascii"), (b"utf-16", None)),
        *((b"unicode-1-1-utf-7", None), (b"hz-gb-2312", None), (b"ebcdic-cp-tr", None), (b"ibm01140", None)),
    ],
)
def test_labels_seen_in_mail(label: bytes, known: str | None) -> None:
    assert codec(label) == known


@pytest.mark.parametrize("name", ["utf-8", "iso8859-9", "cp1254"])
def test_all_turkish_letters_are_carried(name: str) -> None:
    letters = "çğıöşüÇĞİÖŞÜâîûÂÎÛ"
    assert encode(letters, name).decode(name) == letters  # type: ignore[arg-type]


def test_look_alikes_in_ascii() -> None:
    assert encode("çğıöşüÇĞİÖŞÜ âîû é ﬁ ß", "ascii") == b"cgiosuCGIOSU aiu e fi ss"
    assert encode("“Ay” – ‘x’ … 5 ₺ €", "ascii") == b"\"Ay\" - 'x' ... 5 TL EUR"
    assert encode("日本", "ascii") == b"??"


def test_only_what_a_charset_lacks_is_replaced() -> None:
    assert encode("Şen’in – ₺", "iso8859-9") == "Şen'in - TL".encode("iso8859-9")
    assert encode("Şen’in – ₺", "cp1254") == "Şen’in – TL".encode("cp1254")

"""Promise I3 for addresses: one form for each person, none for what is odd, never two people under one."""

from __future__ import annotations

import re
from collections.abc import Callable

import idna
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from filters.address import EMAIL_LENGTH_MAX, EMAIL_LENGTH_MIN, canonical_email, canonical_msisdn, is_mobile

STEADY = settings(derandomize=True, deadline=None, max_examples=150)

LOCAL = st.text("abcxyzABCXYZ019._+-", min_size=1, max_size=66)
LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,4}[A-Za-z0-9])?", fullmatch=True)
IDN_LABEL = st.text("abcçğıöşüÖİéß例مx-", min_size=1, max_size=8)
DOMAIN = st.lists(st.one_of(LABEL, LABEL, IDN_LABEL), min_size=1, max_size=4).map(
    lambda labels: ".".join([*labels, "test"])
)
EMAIL = st.builds("{}@{}".format, LOCAL, DOMAIN).map(str.encode)
# What parsers of addresses stumble over, in any order.
PIECES = st.sampled_from(
    [
        *("a", "B", "1", ".", "..", "+", "-", "_", "@", "@@", '"', "\\", " ", "\t", "\r\n", "\0", "<", ">", "(", ")"),
        *(
            "%",
            "!",
            ",",
            ";",
            ":",
            "[",
            "]",
            "example",
            ".test",
            ".TEST",
            "xn--",
            "xn--a",
            "ç",
            "İ",
            "ı",
            "\u212a",
            "ſ",
        ),
        *(
            "。",
            "．",
            "＠",
            "＂",
            "\u00ad",
            "\u200d",
            "\u202e",
            "ß",
            "😀",
            "o\u0308",
            "a@example.test",
            '"a"@example.test',
        ),
    ]
)
ODD_EMAIL = st.lists(PIECES, max_size=9).map("".join).map(str.encode)
ANY_EMAIL = st.one_of(EMAIL, ODD_EMAIL, st.binary(max_size=40))
FORM = re.compile(rb"[a-z0-9._+-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")

DIGITS = st.text("0123456789", max_size=16)
NUMBER_PIECES = st.sampled_from(
    ["+", "00", "0", "90", "5", "555", "0000001", "212", "49", "1", " ", "(", ")", "-", "a", "٣"]
)
NUMBER = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["", "0", "90", "+90", "0090", "+9", "+", "00", "+900"]), DIGITS),
    st.lists(NUMBER_PIECES, max_size=10).map("".join),
).map(str.encode)
ANY_NUMBER = st.one_of(NUMBER, NUMBER, st.binary(max_size=20))


def person(raw: bytes) -> tuple[str, str]:
    """Who is reached, read in another way than ours: quotes off, case folded, the domain as the DNS is asked for it."""
    local, _, domain = raw.decode().rpartition("@")
    if local[:1] == '"' == local[-1:]:
        local = local[1:-1]
    asked = idna.encode(domain, uts46=True).decode().lower().rstrip(".")
    return "".join(char.lower() if char.isascii() else char for char in local), asked


@STEADY
@given(ANY_EMAIL)
def test_an_address_never_raises_and_its_form_is_its_own_form(raw: bytes) -> None:
    canonical = canonical_email(raw)
    if canonical is None:
        return
    assert canonical_email(canonical) == canonical
    assert FORM.fullmatch(canonical)
    assert EMAIL_LENGTH_MIN <= len(canonical) <= EMAIL_LENGTH_MAX


@STEADY
@given(ANY_EMAIL)
def test_i3_the_form_names_the_person_who_is_reached(raw: bytes) -> None:
    """The canonical form is that person's, so two spellings that share it reach the same mailbox."""
    canonical = canonical_email(raw)
    if canonical is not None:
        assert person(raw) == person(canonical)


CHANGES: list[Callable[[str], str]] = [
    str,
    lambda text: text.upper().replace("SS", "ß"),
    lambda text: '"' + text.replace("@", '"@'),
    lambda text: text + ".",
    lambda text: text.replace("@", ".@"),
    lambda text: text.replace("@", "+x@"),
    lambda text: text.replace(".", "", 1),
    lambda text: text.replace("-", "_", 1),
    lambda text: text.replace("@", "@mail."),
    lambda text: text.replace("ı", "i"),
    lambda text: text.replace("İ", "i"),
    lambda text: text.replace("ß", "ss"),
    lambda text: text.replace("ö", "o\u0308").replace("é", "e"),
    lambda text: text.replace(".test", "。TEST"),
    lambda text: text.removesuffix(".test") + ".example.test",
]


@STEADY
@given(EMAIL, st.sampled_from(CHANGES), st.sampled_from(CHANGES))
def test_i3_two_people_never_share_a_form(
    raw: bytes, first: Callable[[str], str], second: Callable[[str], str]
) -> None:
    """Two ways to write nearly the same: one form if and only if they reach one mailbox."""
    one, other = first(raw.decode()).encode(), second(raw.decode()).encode()
    forms = canonical_email(one), canonical_email(other)
    if None not in forms:
        assert (forms[0] == forms[1]) == (person(one) == person(other))


@STEADY
@given(EMAIL, st.data())
def test_i3_the_spellings_of_a_person_share_one_form(raw: bytes, data: st.DataObject) -> None:
    canonical = canonical_email(raw)
    assume(canonical is not None)
    assert canonical is not None
    local, _, domain = canonical.partition(b"@")
    cased = bytes(
        octet ^ 0x20 if 97 <= octet <= 122 and data.draw(st.booleans()) else octet for octet in local + b"@" + domain
    )
    assert canonical_email(cased) == canonical
    assert canonical_email(canonical + b".") == canonical
    assert canonical_email(b'"%b"@%b' % (local, domain)) == canonical


@STEADY
@given(EMAIL, st.sampled_from([b" ", b"\0", b"\n", b",", b";", b"<", b">", b"%", b"@", b'"', b"(", b"\xff"]), st.data())
def test_i3_a_foreign_character_is_not_dropped(raw: bytes, foreign: bytes, data: st.DataObject) -> None:
    assume(canonical_email(raw) is not None)
    at = data.draw(st.integers(0, len(raw)))
    assert canonical_email(raw[:at] + foreign + raw[at:]) is None


@STEADY
@given(ANY_NUMBER, st.booleans())
def test_a_number_never_raises_and_its_form_is_its_own_form(raw: bytes, international: bool) -> None:
    canonical = canonical_msisdn(raw, international=international)
    if canonical is None:
        return
    assert canonical_msisdn(canonical) == canonical_msisdn(canonical, international=True) == canonical
    assert re.fullmatch(rb"\+[1-9][0-9]{7,14}", canonical)
    assert is_mobile(canonical) == bool(re.fullmatch(rb"\+905[0-9]{9}", canonical))
    if canonical.startswith(b"+90"):
        assert re.fullmatch(rb"\+90[2-58][0-9]{9}", canonical)


@STEADY
@given(ANY_NUMBER, st.booleans())
def test_i3_a_number_keeps_its_digits(raw: bytes, international: bool) -> None:
    """Nothing but prefixes is added or taken away: two numbers with other digits at the end are two people."""
    canonical = canonical_msisdn(raw, international=international)
    if canonical is not None:
        digits = re.sub(rb"[ ()+-]", b"", raw).removeprefix(b"0").removeprefix(b"0")
        assert digits in (canonical[1:], canonical.removeprefix(b"+90"))


@STEADY
@given(st.integers(0, 10**9 - 1), st.sampled_from([b"", b"0", b"90", b"+90", b"0090"]), st.data())
def test_i3_the_spellings_of_a_turkish_mobile_share_one_form(number: int, prefix: bytes, data: st.DataObject) -> None:
    digits = prefix + b"5%09d" % number
    spaced = b"".join(
        data.draw(st.sampled_from([b"", b"", b"", b" ", b"-", b"(", b")"])) + bytes((digit,)) for digit in digits
    )
    assert canonical_msisdn(digits) == b"+905%09d" % number
    assert canonical_msisdn(spaced) == (b"+905%09d" % number if len(spaced) <= 40 else None)


@STEADY
@given(st.integers(10**7, 10**15 - 1))
def test_i3_international_digits_mean_what_they_mean_with_a_plus(number: int) -> None:
    digits = b"%d" % number
    with_plus = canonical_msisdn(b"+" + digits)
    assert canonical_msisdn(digits, international=True) == with_plus
    assert canonical_msisdn(b"00" + digits) == with_plus
    assert with_plus == b"+" + digits or (with_plus is None and digits.startswith(b"90"))

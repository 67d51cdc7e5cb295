"""What an ESME means by a data_coding, how its SMSC carries septets, and what is said of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from filters.sms import ALPHABETS, Alphabet
from gateway.config import Account, ConfigError, load
from gateway.init import init, sample

SYSTEM_ID, HOSTS = 'system_id = "marka"', 'hosts = ["127.0.0.1:2776"]'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    init(tmp_path)
    return tmp_path


def configured(home: Path, account: str = "", upstream: str = "") -> Path:
    """A configuration with one more line for the account, and one for its SMSC."""
    text = sample()
    for known, line in ((SYSTEM_ID, account), (HOSTS, upstream)):
        assert text.count(known) == 1
        text = text.replace(known, f"{known}\n{line}")
    path = home / "izinli.toml"
    path.write_text(text)
    return path


def account_of(path: Path) -> Account:
    return load(path).accounts[b"marka"]


def test_without_a_word_the_specification_counts(home: Path) -> None:
    assert account_of(configured(home)).alphabets == ALPHABETS


@pytest.mark.parametrize("name", ["ascii", "latin1", "latin5", "cp1254"])
def test_the_default_alphabet_may_be_one_of_octets(home: Path, name: str) -> None:
    table = account_of(configured(home, f'alphabet_of = {{ 0 = "{name}" }}')).alphabets
    assert table[0] is Alphabet.OCTET
    assert table[1:] == ALPHABETS[1:]


def test_latin_may_be_counted_in_septets(home: Path) -> None:
    table = account_of(configured(home, 'alphabet_of = { 3 = "gsm", 1 = "gsm" }')).alphabets
    assert (table[1], table[3]) == (Alphabet.SEPTET, Alphabet.SEPTET)


def test_where_septets_are_packed_a_text_in_them_takes_no_notice(home: Path) -> None:
    table = account_of(configured(home, 'alphabet_of = { 3 = "gsm" }', "packed = true")).alphabets
    assert (table[0], table[3], table[8]) == (None, None, Alphabet.UCS2)


@pytest.mark.parametrize(
    ("account", "upstream", "told"),
    [
        (
            'alphabet_of = { 0 = "latin-5" }',
            "",
            "account.alphabet_of.0: unknown value 'latin-5' — did you mean 'latin5'?",
        ),
        ('alphabet_of = { 8 = "gsm" }', "", "account.alphabet_of.8: unknown key — known: 0, 1, 3"),
        ('alphabet_of = "gsm"', "", "account.alphabet_of: must be a table"),
        ("", 'packed = "yes"', "upstream.smsc.packed: must be"),
    ],
)
def test_what_is_said_of_a_mistake(home: Path, account: str, upstream: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(configured(home, account, upstream))
    (problem,) = caught.value.problems
    assert told in str(problem)
    assert problem.line > 0


MERSIS = 'mersis = "0123456789000015"'


def test_a_brand_may_name_its_short_code(home: Path) -> None:
    path = home / "izinli.toml"
    path.write_text(sample().replace(MERSIS, f'{MERSIS}\nshortcode = "3338"\nsms_notice = " {{shortcode}} {{link}}"'))
    assert load(path).brands[100001].shortcode == "3338"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('shortcode = "33 38"', "brand.shortcode: must have 3 to 15 digits"),
        ('shortcode = "33"', "brand.shortcode: must have 3 to 15 digits"),
        ('sms_notice = " {shortcode} {link}"', "brand.sms_notice: {shortcode} is empty"),
    ],
)
def test_what_is_said_of_a_short_code_that_is_none(home: Path, line: str, told: str) -> None:
    path = home / "izinli.toml"
    path.write_text(sample().replace(MERSIS, f"{MERSIS}\n{line}"))
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert told in str(problem)

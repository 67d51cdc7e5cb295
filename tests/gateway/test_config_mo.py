"""What a configuration says of refusals by SMS: names, confirmations, who is meant, where they are handed in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from filters.notice import CONFIRMATION_TEMPLATE, confirmation
from gateway.config import Config, ConfigError, load
from gateway.init import init, sample
from gateway.smpp.mo import speakers

ACCOUNT, BRAND, REGISTRY = 'system_id = "marka"', 'name = "Örnek Market"', 'ledger = "sqlite"'
SECOND = """
[[brand]]
code = 100002
name = "Moda Evi"
title = "Moda Evi A.Ş."
mersis = "0123456789000015"
short_names = ["MODA", "moda evi"]

[[stream]]
name = "sms-moda"
match = { source_addr = "MODA" }
brand = 100002
upstream = "smsc"

"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    init(tmp_path)
    return tmp_path


def configured(home: Path, after: str, line: str, more: str = "") -> Path:
    text = sample()
    assert text.count(after) == 1
    path = home / "izinli.toml"
    path.write_text(text.replace(after, f"{after}\n{line}").replace("[[stream]]", f"{more}[[stream]]", 1))
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path)
    return [str(problem) for problem in raised.value.problems]


def speaker(config: Config) -> tuple[tuple[int, ...], dict[str, int], bool]:
    one = speakers(config)[b"marka"]
    return one.brands, dict(one.names), one.all_of_last


def test_without_a_word_a_refusal_is_taken_and_confirmed(home: Path) -> None:
    config = load(home / "izinli.toml")
    assert speaker(config) == ((100001,), {"ORNEKMARKET": 100001, "100001": 100001}, False)
    brand = config.brands[100001]
    assert brand.mo_confirmation == CONFIRMATION_TEMPLATE
    assert confirmation(brand).startswith(b"Ornek Market: Ret talebiniz alindi.")
    assert urlsplit(config.registry.internal_url).netloc == str(config.registry.bind)


def test_names_of_several_brands(home: Path) -> None:
    config = load(configured(home, BRAND, 'short_names = ["ÖRNEK", "örnek-1"]', SECOND))
    brands, names, _ = speaker(config)
    assert set(brands) == {100001, 100002}
    assert names == {
        "ORNEK": 100001, "ORNEK1": 100001, "ORNEKMARKET": 100001, "MODA": 100002, "MODAEVI": 100002,
        "100001": 100001, "100002": 100002
    }  # fmt: skip


@pytest.mark.parametrize(
    ("after", "line", "told"),
    [
        (BRAND, 'short_names = ["A1", "B1", "C1", "D1"]', "brand.short_names: more than 3 names"),
        (BRAND, 'short_names = ["İptal"]', "'İptal' is no name that could stand behind RET"),
        (BRAND, 'short_names = ["…"]', "is no name that could stand behind RET — use 1 to 32 letters and digits"),
        (BRAND, f'short_names = ["{"A" * 33}"]', "is no name that could stand behind RET"),
        (BRAND, 'short_names = "ORNEK"', "brand.short_names: must be a list"),
        (BRAND, 'mo_confirmation = "{name}"', "brand.mo_confirmation: unknown field {name}; known: {brand}"),
        (BRAND, 'mo_confirmation = "[RET]"', "brand.mo_confirmation: the character '[' is not the same"),
        (BRAND, f'mo_confirmation = "{"a" * 156}"', "brand.mo_confirmation: the confirmation has 156 characters"),
        (ACCOUNT, 'mo_ambiguous = "last"', "account.mo_ambiguous: unknown value 'last'"),
        (REGISTRY, 'internal_url = "10.1.2.3:8080"', "registry.internal_url: not a web address: '10.1.2.3:8080'"),
        (REGISTRY, 'internal_url = "http://10.1.2.3:port"', "registry.internal_url: "),
        (REGISTRY, 'internal_url = "http://[::1"', "registry.internal_url: "),
    ],
)
def test_a_mistake_is_named_with_its_line(home: Path, after: str, line: str, told: str) -> None:
    path = configured(home, after, line)
    number = next(at for at, text in enumerate(path.read_text().splitlines(), start=1) if text.startswith(line))
    (problem,) = problems(path)
    assert problem.startswith(f"line {number}: ")
    assert told in problem


def test_a_name_means_one_brand(home: Path) -> None:
    path = configured(home, BRAND, 'short_names = ["Moda"]', SECOND)
    (problem,) = problems(path)
    assert "'MODA' is a name of brand 'Örnek Market' too" in problem


def test_a_name_wins_over_a_number(home: Path) -> None:
    """A name is chosen, a number given."""
    _, names, _ = speaker(load(configured(home, BRAND, 'short_names = ["100002"]', SECOND)))
    assert (names["100002"], names["100001"]) == (100001, 100001)


def test_a_brand_may_say_nothing_and_an_account_mean_all(home: Path) -> None:
    config = load(configured(home, ACCOUNT, 'mo_ambiguous = "all"'))
    assert speaker(config)[2]
    assert load(configured(home, BRAND, 'mo_confirmation = ""')).brands[100001].mo_confirmation == ""


def test_the_longest_confirmation_is_one_segment(home: Path) -> None:
    brand = load(configured(home, BRAND, f'mo_confirmation = "{"ş" * 155}"')).brands[100001]
    assert confirmation(brand) == b"s" * 155

"""Check digits, by numbers whose digits were worked out by hand or by others."""

from __future__ import annotations

import pytest

from registry.numbers import cautions, is_mersis, is_tckn, is_tin, is_vkn


@pytest.mark.parametrize(
    "text",
    [
        "1234567890",
        "0000000019",
        "1111111114",
        "9876543217",
        "5550001112",
        "9000000091",
        "1000000000",
        "3141592650",
        "4540536920",
    ],
)
def test_a_vkn_that_is_one(text: str) -> None:
    assert is_vkn(text)
    assert is_tin(text)
    others = [text[:9] + digit for digit in "0123456789" if digit != text[9]]
    assert not any(map(is_vkn, others))


@pytest.mark.parametrize("text", ["1234567891", "3141592651", "123456789", "12345678x0", "", "１234567890"])
def test_a_vkn_that_is_none(text: str) -> None:
    assert not is_vkn(text)


@pytest.mark.parametrize(
    "text", ["12345678950", "10000000146", "98765432150", "24681357994", "55566677760", "10909090996", "17291716060"]
)
def test_a_tckn_that_is_one(text: str) -> None:
    assert is_tckn(text)
    assert is_tin(text)
    for place in (9, 10):
        others = [text[:place] + digit + text[place + 1 :] for digit in "0123456789" if digit != text[place]]
        assert not any(map(is_tckn, others))


@pytest.mark.parametrize(
    "text", ["12345678951", "10000000147", "02345678950", "1234567895", "12346578950", "123456789５0", ""]
)
def test_a_tckn_that_is_none(text: str) -> None:
    assert not is_tckn(text)


def test_a_mersis_number_holds_a_tax_number_where_it_begins_with_0() -> None:
    assert all(map(is_mersis, ["0123456789000015", "0555000111200001", "0314159265000028", "8867713444958600"]))
    wrong = ["0123456789100015", "012345678900001", "01234567890000155", "0123456789ABCDEF", ""]
    assert not any(map(is_mersis, wrong))


def test_an_operator_is_told_what_no_check_digit_says() -> None:
    assert cautions("0123456789000015", "1234567890") == []
    assert cautions("0123456789000015", "12345678950") == []  # a sole trader's
    assert "another one" in cautions("0555000111200001", "1234567890")[0]
    assert "older form" in cautions("8867713444958600", "1234567890")[0]

"""Numbers that the state gives, by their check digits: VKN (companies' tax number), TCKN (citizens), MERSİS. Pure.

The formulas are the ones the national system's API applies (İYS API 3.2.0, H226, H227, H243); MERSİS has no check digit
of its own, but where it begins with 0 the next ten digits are the company's VKN.
"""

from __future__ import annotations

from typing import Final

VKN_DIGITS: Final = 10
TCKN_DIGITS: Final = 11
MERSIS_DIGITS: Final = 16


def is_vkn(text: str) -> bool:
    """Ten digits, of which the last checks the others."""
    if not _digits(text, VKN_DIGITS):
        return False
    total = 0
    for place, digit in enumerate(map(int, text[:-1]), start=1):
        shifted = (digit + VKN_DIGITS - place) % 10
        total += ((shifted * 2 ** (VKN_DIGITS - place)) % 9 or 9) if shifted else 0
    return int(text[-1]) == -total % 10


def is_tckn(text: str) -> bool:
    """Eleven digits, of which the last two check the others; the first is not 0."""
    if not _digits(text, TCKN_DIGITS) or text[0] == "0":
        return False
    digits = [int(digit) for digit in text]
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


def is_tin(text: str) -> bool:
    """A company's VKN or a sole trader's TCKN."""
    return is_vkn(text) or is_tckn(text)


def is_mersis(text: str) -> bool:
    """Sixteen digits; older numbers that do not begin with 0 are known by their length alone."""
    return _digits(text, MERSIS_DIGITS) and (text[0] != "0" or is_vkn(vkn_of(text)))


def vkn_of(mersis: str) -> str:
    """The tax number in a MERSİS number that begins with 0."""
    return mersis[1 : 1 + VKN_DIGITS]


def cautions(mersis: str, tin: str) -> list[str]:
    """What an operator should look into before an approval: it may be right, and no check digit says so."""
    if not mersis.startswith("0"):
        return ["the MERSİS number is of the older form, which has no check digits"]
    if len(tin) == VKN_DIGITS and vkn_of(mersis) != tin:
        return ["the tax number in the MERSİS number is another one"]
    return []


def _digits(text: str, count: int) -> bool:
    return len(text) == count and text.isascii() and text.isdigit()

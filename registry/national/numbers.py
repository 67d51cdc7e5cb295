"""Numbers that Turkish authorities give: tax number (VKN), citizen's number (TCKN), trade registry (MERSİS). Pure.

The last digits of the first two check the others, as the authorities' forms do. A MERSİS number of a company is a zero,
its VKN and five digits more; older ones are sixteen digits without a rule.
"""

from __future__ import annotations

from typing import Final

VKN_DIGITS: Final = 10
TCKN_DIGITS: Final = 11
MERSIS_DIGITS: Final = 16


def is_vkn(text: str) -> bool:
    """Ten digits, the last of which fits."""
    if not _are_digits(text, VKN_DIGITS):
        return False
    total = 0
    for place, digit in enumerate(map(int, text[:9])):
        moved = (digit + 9 - place) % 10
        weighed = (moved << (9 - place)) % 9
        total += 9 if moved and not weighed else weighed
    return (10 - total % 10) % 10 == int(text[9])


def is_tckn(text: str) -> bool:
    """Eleven digits, no zero in front, the last two of which fit."""
    if not _are_digits(text, TCKN_DIGITS) or text[0] == "0":
        return False
    digits = [int(char) for char in text]
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


def is_mersis(text: str) -> bool:
    """Sixteen digits; with a zero in front also a tax number behind it."""
    return _are_digits(text, MERSIS_DIGITS) and (text[0] != "0" or is_vkn(vkn_of_mersis(text)))


def vkn_of_mersis(text: str) -> str:
    """Where a company's tax number stands in it."""
    return text[1 : 1 + VKN_DIGITS]


def _are_digits(text: str, count: int) -> bool:
    return len(text) == count and text.isascii() and text.isdigit()

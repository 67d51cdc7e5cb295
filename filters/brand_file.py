"""The brands that a registry approved, as a text that a gateway reads: the contract between the planes.

    {"format": 1, "version": 17, "brands": [
      {"code": 900000, "name": "…", "title": "…", "mersis": "0123456789000015", "iys_code": 900000}]}

It stands in `data_dir/brands.json`; `version` only grows. What a [[brand]] of a configuration says of the same code
counts more: there is a key to sign with, a contact and a notice of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from filters.model import Brand
from filters.notice import CONFIRMATION_TEMPLATE, check_brand

NAME: Final = "brands.json"
FORMAT: Final = 1
_FIELDS: Final = ("code", "name", "title", "mersis", "iys_code")
_TYPES: Final = (int, str, str, str, int)


def write(version: int, brands: Iterable[Brand]) -> str:
    """The text for these brands."""
    told = [{name: getattr(brand, name) for name in _FIELDS} for brand in brands]
    return json.dumps({"format": FORMAT, "version": version, "brands": told}, ensure_ascii=False, indent=1) + "\n"


def read(text: str) -> dict[int, Brand]:
    """By code. Raises ValueError for what `write` would not have written."""
    try:
        said: Any = json.loads(text)
        if said["format"] != FORMAT:
            raise ValueError(f"its format is {said['format']!r}, not {FORMAT}: it was written by another version")
        found = {}
        for one in said["brands"]:
            values = [one[name] for name in _FIELDS]
            if [type(value) for value in values] != list(_TYPES):
                raise ValueError("a brand has a field of the wrong type")
            brand = replace(Brand(*values), mo_confirmation=CONFIRMATION_TEMPLATE)
            check_brand(brand)
            found[brand.code] = brand
    except (KeyError, TypeError, RecursionError) as fault:
        raise ValueError(f"not a list of brands: {type(fault).__name__}") from None
    return found

"""docs/index.md says what is true: each fault has its row, each user the rights that the tests give it, no more."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.index.interface import Fault
from tests.registry.test_index_nodes import RIGHTS

PAGE = (Path(__file__).resolve().parents[2] / "docs/index.md").read_text()


def test_every_fault_has_its_row_and_no_row_is_of_another() -> None:
    table = PAGE[PAGE.index("| `fault` |") :].split("\n\n", 1)[0]
    assert re.findall(r"^\| `([a-z_]+)` \| ", table, re.MULTILINE)[1:] == [fault.value for fault in Fault]


def test_the_registry_needs_no_other_rights_than_the_page_gives_it() -> None:
    (line,) = re.findall(r"^user izinli-registry on >… (.*)$", PAGE, re.MULTILINE)
    assert line.split() == RIGHTS.split()

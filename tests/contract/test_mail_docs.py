"""docs/mail.md shows what the code does: its examples are run, and every refusal of the source stands in its table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from filters.mail import LINK, Notice, plan
from filters.mime import Seal
from filters.model import Brand, Sealed
from filters.notice import mail_html, mail_text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/mail.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```eml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)
NOTICE = Notice(mail_text(BRAND, LINK), mail_html(BRAND, LINK))


def octets(example: str) -> bytes:
    return example.replace("\n", "\r\n").encode()


def refusals() -> set[str]:
    """What `Unfit` is raised with in the filters; what is filled in at run time reads `…`."""
    found = set()
    for name in ("mail", "mime", "splice"):
        for node in ast.walk(ast.parse((ROOT / f"filters/{name}.py").read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Unfit":
                (said,) = node.args
                parts = said.values if isinstance(said, ast.JoinedStr) else [said]
                words = [part.value if isinstance(part, ast.Constant) else "…" for part in parts]
                found.add("".join(map(str, words)))
    return found


@pytest.mark.parametrize("at", range(0, len(EXAMPLES), 2))
def test_each_example_is_what_happens(at: int) -> None:
    before, after = EXAMPLES[at : at + 2]
    copy = b"".join(plan(octets(before), NOTICE).render(b"https://ret.example.com.tr/r/Ab3dEf5hIj7L"))
    assert copy == octets(after)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8


def test_each_refusal_stands_in_the_table() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", PAGE[PAGE.index("## What is refused") :], re.MULTILINE)
    said = refusals()
    said.remove("… mail cannot carry the notice")
    said |= {f"{seal} mail cannot carry the notice" for seal in Seal}
    assert len(said) >= 15
    assert sorted(said) == sorted(listed)


def test_each_policy_stands_on_the_page() -> None:
    for policy in Sealed:
        assert f'| `"{policy}"` |' in PAGE

"""Whoever reads an answer in a log finds it in docs/smtp.md; and nothing stands there that is never said."""

from __future__ import annotations

import re

import pytest

from tests.contract.smtp_answers import ROOT, Answer, of_door

PAGE = (ROOT / "docs/smtp.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\d\d\d[^`]*)` \| (.*) \|$", PAGE, re.MULTILINE)
# What is put together octet by octet: the keywords of EHLO, and the challenges of AUTH.
BUILT = {"250 …", "334 …"}


def test_each_answer_of_the_source_is_in_the_page() -> None:
    listed = {answer for answer, _ in ROWS}
    assert [f"{answer} ({answer.where})" for answer in sorted(of_door()) if str(answer) not in listed] == []


def test_each_answer_of_the_page_is_in_the_source() -> None:
    said = {str(answer) for answer in of_door()} | BUILT
    assert [answer for answer, _ in ROWS if answer not in said] == []


def test_no_answer_stands_twice() -> None:
    listed = [answer for answer, _ in ROWS]
    assert sorted(set(listed)) == sorted(listed)


@pytest.mark.parametrize("answer", sorted(of_door()), ids=str)
def test_answers_keep_the_rules(answer: Answer) -> None:
    """RFC 2034 §4: the enhanced code has the class of the basic one; RFC 5321 §4.2: which have none."""
    if answer.enhanced:
        assert answer.enhanced[0] == str(answer.code)[0]
    else:
        assert answer.code in (220, 354)
    assert answer.text.replace("…", "").isascii()
    if answer.code // 100 == 4:
        assert "try again" in answer.text or answer.code in (421, 452) or answer.text == "…", "what to do is said"


def test_the_reader_finds_what_is_there() -> None:
    """A reader that finds nothing would agree with any page."""
    texts = {str(answer) for answer in of_door()}
    assert len(texts) > 70
    assert {
        "530 5.7.0 authentication required",
        "501 5.1.3 address is too long",
        "503 5.5.1 send … first",
        "451 4.4.1 next hop cannot be reached, try again later",
    } <= texts

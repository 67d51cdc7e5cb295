"""When what was refused is sent again; and the page that says so."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.rules import REASONS
from registry.sync.client import Pace, Ratio, fault_of
from registry.sync.codes import TABLE, Then, then, wait_s
from tests.registry.support import NOW

PAGE = (Path(__file__).resolve().parents[3] / "docs/national.md").read_text(encoding="utf-8")


def test_no_code_has_two_meanings() -> None:
    codes = [code for listed in TABLE.values() for code in listed.split()]
    assert len(codes) == len(set(codes))


def test_what_the_rules_refuse_is_not_sent_again() -> None:
    healed = {"", "H162", "H525"}  # the second by time, the last by a greater quota
    assert {code for code in REASONS if then(code) is not Then.FINAL} == healed


def test_the_page_has_the_table() -> None:
    table = PAGE[PAGE.index("| what happens next | codes |") :]
    rows = dict(re.findall(r"^\| ([a-z ,;]+) \| (H[H0-9 ]+) \|$", table, re.MULTILINE | re.IGNORECASE))
    assert rows == {what.value: codes for what, codes in TABLE.items()}


@pytest.mark.parametrize(
    ("code", "status", "what"),
    [
        ("H084", 429, Then.STOP),
        ("H124", 429, Then.SECOND),
        ("H174", 400, Then.FINAL),
        ("H101", 500, Then.LATER),
        ("H520", 403, Then.HELD),
        ("H9999", 422, Then.HELD),  # nobody told us: it is not thrown away
        ("H9999", 500, Then.LATER),
        ("H9999", 0, Then.LATER),
        ("", 401, Then.RENEW),
        ("", 429, Then.SECOND),
    ],
)
def test_what_happens_next(code: str, status: int, what: Then) -> None:
    assert then(code, status) is what


def test_the_waits() -> None:
    assert [wait_s(Then.LATER, tries, NOW) for tries in (0, 1, 2, 20, 1000)] == [5, 10, 20, 900, 900]
    assert (wait_s(Then.SECOND, 9, NOW), wait_s(Then.HOUR, 9, NOW)) == (1, 3600)
    assert wait_s(Then.DAY, 0, datetime(2026, 3, 4, 20, 59, 30, tzinfo=UTC)) == 30  # until midnight in Turkey


@pytest.mark.parametrize(
    ("body", "code", "items"),
    [
        (b'{"errors":[{"code":"H117","index":3},{"code":"H121","index":5}]}', "H117", {3: "H117", 5: "H121"}),
        (b'{"errors":[{"code:":"H353"}]}', "H353", {}),  # a typing error of the official samples
        (b'{"error":"invalid_grant","error_description":"no"}', "invalid_grant", {}),
        (b'{"errors":[{"index":-1}, 5, null]}', "HTTP 422", {}),
        (b"<html>", "HTTP 422", {}),
        (b"", "HTTP 422", {}),
        (b"[" * 100_000, "HTTP 422", {}),
    ],
)
def test_the_shape_of_a_refusal_is_read_leniently(body: bytes, code: str, items: dict[int, str]) -> None:
    fault = fault_of(422, body)
    assert (fault.code, fault.items) == (code, items)


def test_the_pace_is_even_and_does_not_save_up() -> None:
    slept: list[float] = []
    now = [100.0]
    pace = Pace(10, slept.append, lambda: now[0])
    for _ in range(4):
        pace.wait()
    assert slept == pytest.approx([0.1, 0.2, 0.3])
    now[0] = 200.0  # an idle minute is no credit
    pace.wait()
    pace.wait()
    assert slept[3:] == pytest.approx([0.1])


def test_the_ratio_is_that_of_the_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.sync.client.SYNC_RATIO_CALLS_MIN", 10)
    now = [0.0]
    ratio = Ratio(lambda: now[0])
    for status in (200, 202, 204, 404, 422, 500, 429, 503):  # theirs count for nobody
        ratio.note(status)
    assert (ratio.counts(), ratio.low) == ((3, 2), False)  # too few to tell
    now[0] += 3600
    for _ in range(5):
        ratio.note(401)
    assert (ratio.counts(), ratio.low) == ((3, 7), True)
    for _ in range(30):
        ratio.note(200)
    assert not ratio.low
    now[0] += 23 * 3600
    assert ratio.counts() == (30, 5)
    now[0] += 3600
    assert ratio.counts() == (0, 0)

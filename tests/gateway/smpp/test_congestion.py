"""The window that an SMSC's complaints leave us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.smpp.congestion import Window


def test_it_begins_with_half_of_what_was_unanswered() -> None:
    assert [Window(n, 0.0).size for n in (0, 1, 2, 9, 100)] == [1, 1, 1, 4, 50]


def test_complaints_about_one_volley_count_once() -> None:
    window = Window(100, 10.0)
    window.complained(9.9, 10.1)
    assert window.size == 50
    window.complained(10.2, 10.3)
    window.complained(10.2, 10.3)
    assert window.size == 25


def test_it_never_closes() -> None:
    window = Window(2, 0.0)
    for n in range(10):
        window.complained(n + 1.0, n + 1.5)
    assert window.size == 1


def test_it_grows_by_one_for_a_window_of_good_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_CONGESTED_GOOD_MIN", 3)
    window = Window(10, 0.0)
    grown = []
    for _ in range(11):
        window.answered()
        grown.append(window.size)
    assert grown == [5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7]
    small = Window(1, 0.0)
    for _ in range(3):
        small.answered()
    assert small.size == 2


def test_a_complaint_makes_the_count_begin_anew() -> None:
    window = Window(2, 0.0)
    for _ in range(limits.SMPP_CONGESTED_GOOD_MIN - 1):
        window.answered()
    window.complained(0.0, 0.1)
    window.answered()
    assert window.size == 1


@given(st.integers(0, 10**6), st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=300))
def test_i7_it_stays_in_its_bounds(in_flight: int, story: list[float | None]) -> None:
    window = Window(in_flight, 0.0)
    for sent_at in story:
        if sent_at is None:
            window.answered()
        else:
            window.complained(sent_at, sent_at + 1)
        assert 1 <= window.size <= limits.SMPP_CONGESTED_MAX + 1

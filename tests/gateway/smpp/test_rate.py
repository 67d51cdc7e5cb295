"""The token bucket, with a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp.rate import Bucket


def test_a_burst_then_the_rate() -> None:
    bucket = Bucket(10, 3, 0.0)
    assert [bucket.take(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(1, 0.1) for _ in range(2)] == [True, False]
    assert [bucket.take(1, 100.0) for _ in range(4)] == [True, True, True, False]


def test_who_reserves_waits_behind_who_came_before() -> None:
    bucket = Bucket(10, 2, 0.0)
    assert [bucket.reserve(1, 0.0) for _ in range(5)] == pytest.approx([0.0, 0.0, 0.1, 0.2, 0.3])
    assert bucket.reserve(1, 0.35) == pytest.approx(0.05)


def test_what_costs_more_than_the_bucket_holds_is_taken_from_a_full_one_and_paid_for() -> None:
    bucket = Bucket(10, 5, 0.0)
    assert bucket.take(25, 0.0)
    assert not bucket.take(1, 1.9)
    assert bucket.take(1, 2.2)
    assert not bucket.take(25, 2.3)
    assert bucket.take(25, 60.0)


@given(st.integers(1, 100), st.integers(1, 50), st.lists(st.floats(0, 5), max_size=200))
def test_never_more_than_the_burst_and_the_rate(rate: int, burst: int, steps: list[float]) -> None:
    bucket, now, taken = Bucket(rate, burst, 0.0), 0.0, 0
    for step in steps:
        now += step
        taken += bucket.take(1, now)
        assert taken <= burst + rate * now + 1e-6

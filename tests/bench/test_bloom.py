"""The comparison of filters compares like with like: none denies a member, all are as large and as seldom wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.bloom import Ours, Pybloom, Rbloom, Subject, measure


@pytest.mark.parametrize("make", [Ours, Pybloom, Rbloom])
def test_each_filter_holds_its_members(
    make: Callable[[int], Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.bloom.ASKED", 20_000)
    figures = measure(make, 10_000, tmp_path)  # raises when a member is denied
    assert figures.false_positives < 0.003
    assert 0.017 < figures.megabytes < 0.025

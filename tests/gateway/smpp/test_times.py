"""Times as SMPP writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp.times import ahead_s

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3600


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        (b"261125120000000+", 0),
        (b"261125150000012+", 0),  # three hours ahead of UTC, as in Türkiye
        (b"261125090000012-", 0),
        (b"261126120000000+", 24),
        (b"261125110000000+", -1),
        (b"000000000000000R", 0),
        (b"000002030000000R", 51),
        (b"000100000000000R", 31 * 24),
        (b"010000000000000R", 366 * 24),
    ],
)
def test_what_they_mean(written: bytes, hours: int) -> None:
    assert ahead_s(written, NOW) == hours * HOUR


@pytest.mark.parametrize(
    "written",
    [
        *(b"", b"261125", b"26112512000000+", b"261125120000000", b"2611251200000000", b"261125120000000*"),
        *(b"261325120000000+", b"261131120000000+", b"261125240000000+", b"261125120000049+", b" 61125120000000+"),
        b"2611251200000+0+",
    ],
)
def test_what_is_none(written: bytes) -> None:
    assert ahead_s(written, NOW) is None


@given(st.one_of(st.binary(max_size=20), st.from_regex(rb"[0-9]{15}[R+-]", fullmatch=True)), st.floats(0, 4e9))
def test_it_never_raises(written: bytes, now: float) -> None:
    ahead_s(written, now)

"""Times as SMPP writes them (SMPP 3.4 §7.1.1): seventeen octets with their NUL, absolute or relative.

YYMMDDhhmmsstnn+    absolute: t tenths of a second, nn quarters of an hour ahead of UTC (`-`: behind it)
YYMMDDhhmmss000R    relative: so much later
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_OCTETS: Final = 16
_DAYS_OF_YEAR, _DAYS_OF_MONTH = 366, 31  # what a relative year or month may last; the SMSC counts, we only bound it
_QUARTERS_MAX: Final = 48


def ahead_s(written: bytes, now: float) -> float | None:
    """Seconds from `now` (Unix time) until the time that is `written`, negative for the past; None: it is no time."""
    digits, sign = written[: _OCTETS - 1], written[_OCTETS - 1 :]
    if len(written) != _OCTETS or not digits.isdigit():
        return None
    years, months, days, hours, minutes, seconds = (int(digits[at : at + 2]) for at in range(0, 12, 2))
    if sign == b"R":
        days += _DAYS_OF_YEAR * years + _DAYS_OF_MONTH * months
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    quarters = int(digits[13:15])
    if sign not in (b"+", b"-") or quarters > _QUARTERS_MAX:
        return None
    try:
        local = datetime(2000 + years, months, days, hours, minutes, seconds, tzinfo=UTC)
    except ValueError:
        return None
    offset = 15 * 60 * quarters * (1 if sign == b"+" else -1)
    return local.timestamp() - offset - now

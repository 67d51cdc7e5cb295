"""How many requests an SMSC that says “slower” may have unanswered: additive increase, multiplicative decrease.

There is no window before the first ESME_RTHROTTLED or ESME_RMSGQFUL: an SMSC that does not complain gets what comes.
The first complaint sets the window to half of what was unanswered; each later one halves it again. A window's worth of
answers without complaint makes it larger by one, until it is as large as it can be and is given up. A `Ceiling` is
there from the beginning, as large as it can be, and stays.
"""

from __future__ import annotations

from gateway import limits


class Window:
    """`in_flight`: requests unanswered at the first complaint; `now`: its time, as of all times here loop time."""

    __slots__ = ("_good", "_halved_at", "size")

    def __init__(self, in_flight: int, now: float) -> None:
        self.size = max(1, min(in_flight, limits.SMPP_CONGESTED_MAX) // 2)
        self._good = 0
        self._halved_at = now

    @property
    def is_open(self) -> bool:
        """It holds nobody back any more."""
        return self.size >= limits.SMPP_CONGESTED_MAX

    def complained(self, sent_at: float, now: float) -> None:
        """About a request that was sent at `sent_at`. All about what was sent before the last halving count once."""
        self._good = 0
        if sent_at >= self._halved_at:
            self.size = max(1, self.size // 2)
            self._halved_at = now

    def answered(self) -> None:
        """An answer without complaint."""
        self._good += 1
        if self._good >= max(self.size, limits.SMPP_CONGESTED_GOOD_MIN):
            self._good = 0
            self.size += 1


class Ceiling(Window):
    """Never more than `most`, which somebody has agreed on with the SMSC."""

    __slots__ = ("_most",)

    def __init__(self, most: int, now: float) -> None:
        super().__init__(most, now)
        self.size = self._most = most

    @property
    def is_open(self) -> bool:
        return False

    def answered(self) -> None:
        if self.size < self._most:
            super().answered()

"""How fast an account may submit: a token bucket, without a clock of its own.

The bucket holds `burst` tokens and gains `rate` of them each second; a submit to one recipient costs one. One bucket
serves all binds of an account in a worker.
"""

from __future__ import annotations


class Bucket:
    """`rate` in tokens a second, `burst` in tokens; `now` is loop time in seconds."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: int, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._since = now

    def take(self, cost: int, now: float) -> bool:
        """Take `cost` tokens if they are there. What costs more than the bucket holds needs it full, and empties it."""
        self._fill(now)
        if self._tokens < min(cost, self._burst):
            return False
        self._tokens -= cost
        return True

    def reserve(self, cost: int, now: float) -> float:
        """Take `cost` tokens that may be there later only; the seconds until they are.

        Whoever comes next waits behind: the tokens are taken now.
        """
        self._fill(now)
        self._tokens -= cost
        return max(0.0, -self._tokens / self._rate)

    def _fill(self, now: float) -> None:
        self._tokens = min(float(self._burst), self._tokens + (now - self._since) * self._rate)
        self._since = now

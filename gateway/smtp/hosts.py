"""The hosts of one next hop: which are healthy, and whose turn it is.

A host is healthy until something fails there: a connect, a greeting, a message on a fresh connection. It then stays out
for a time that doubles with each failure, with jitter, and is looked at again with a connection of its own when that
time is over; messages go there again once it has greeted. Among healthy hosts chance decides, by weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from random import Random

from gateway import limits
from gateway.config import Address, UnixAddress
from gateway.smtp.client import Extensions


class Host:
    """One entry of `hosts`. Times are the loop's, in seconds."""

    def __init__(self, address: Address | UnixAddress, weight: int) -> None:
        self.address = address
        self.weight = weight
        self.extensions: Extensions | None = None  # as announced last; None: never reached
        self.up = False  # it greeted, and did not fail since
        self.failing = False
        self.failures = 0  # since a message was answered
        self.retry_at = 0.0  # when it is looked at again
        self.why = ""  # it failed last; a metric label
        self._failed_at = float("-inf")

    def __str__(self) -> str:
        return str(self.address)

    def failed(self, began: float, now: float, why: str, chance: Random) -> None:
        """What `began` then did not work. Attempts that ran side by side count as one."""
        self.up, self.failing, self.why = False, True, why
        if began > self._failed_at:
            self.failures += 1
            self._failed_at = now
        longest = limits.SMTP_BACKOFF_S_MIN * 2 ** min(self.failures - 1, 16)
        self.retry_at = now + min(longest, limits.SMTP_BACKOFF_S_MAX) * chance.uniform(0.5, 1.0)

    def greeted(self, extensions: Extensions) -> None:
        """It takes messages. What it does with them is not known: the next failure still counts as one more."""
        self.up, self.failing = True, False
        self.extensions = extensions

    def worked(self) -> None:
        """It answered a message."""
        self.up, self.failing, self.failures = True, False, 0


class Hosts:
    """All of them. `chance` decides among the healthy ones and spreads the times of the others."""

    def __init__(
        self, addresses: Sequence[Address | UnixAddress], weights: Sequence[int] = (), *, chance: Random | None = None
    ) -> None:
        self.all = [
            Host(address, weight) for address, weight in zip(addresses, weights or [1] * len(addresses), strict=True)
        ]
        self.chance = chance or Random()

    @property
    def up(self) -> bool:
        """At least one takes messages."""
        return any(host.up for host in self.all)

    @property
    def healthy(self) -> bool:
        """At least one is not known to fail."""
        return any(not host.failing for host in self.all)

    @property
    def extensions(self) -> Extensions | None:
        """What every host takes that was ever reached; None: none was."""
        known = [host.extensions for host in self.all if host.extensions is not None]
        return reduce(Extensions.common, known) if known else None

    def order(self) -> list[Host]:
        """Whom to try for a message, one after the other.

        The healthy hosts, each next one drawn by weight; if there is none, the one that is to be looked at soonest, so
        that the first message after a while without any is not refused for what happened long ago.
        """
        drawn: list[Host] = []
        left = [host for host in self.all if not host.failing]
        while left:
            (host,) = self.chance.choices(left, [host.weight for host in left])
            left.remove(host)
            drawn.append(host)
        return drawn or [self.soonest]

    @property
    def soonest(self) -> Host:
        """The failing host to be looked at next; any, if none fails."""
        return min(self.all, key=lambda host: (not host.failing, host.retry_at))

    def due(self, now: float) -> Host | None:
        """A failing host to be looked at now. Nobody else is told so before its time is over once more."""
        host = self.soonest
        if not host.failing or now < host.retry_at:
            return None
        host.retry_at = now + limits.SMTP_BACKOFF_S_MAX
        return host

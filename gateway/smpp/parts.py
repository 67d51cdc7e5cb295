"""The long messages that clients send in parts of their own, and what was decided about each.

The verdict is taken once, at the first part that comes, whichever it is; the others follow it. Where the notice goes,
and what parts are answered, stands in `long`.

Parts may come in any order and over several binds of their account. What comes a second time is the same message as
long as it is the same octets; other octets in a place that was taken are a new message under the same reference, with
a verdict and a notice of their own. So is what comes after the message was complete, or much later. The journal has one
line for each message, not for each part.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from filters.model import Reason
from gateway import limits

if TYPE_CHECKING:
    from gateway.smpp.long import Long, Part

Key = tuple[int, int, int, str, bytes]
"""Kind of reference, reference, total, stream, and both addresses as they stand in the PDU."""


class Phase(Enum):
    """How far a message is."""

    JUDGING = "judging"  # the verdict, then other parts or the SMSC, are waited for: parts wait
    OPEN = "open"  # the SMSC has the notice: parts go on
    BLOCKED = "blocked"  # parts are refused
    ANSWERED = "answered"  # all parts were sent together, and accepted


class Group:
    """One long message. `accepted` has the places whose part the SMSC took."""

    __slots__ = (
        "accepted",
        "answers",
        "awaited",
        "began",
        "extra",
        "key",
        "message",
        "partner",
        "phase",
        "reason",
        "status",
        "taken",
        "touched",
        "waiting",
    )

    def __init__(self, key: Key, now: float) -> None:
        self.key = key
        self.phase = Phase.JUDGING
        self.extra = 0  # parts that the notice fills
        self.partner = 0  # the place of that part of the client's whose receipt speaks of them too …
        self.message: bytes | None = None  # … and what it is joined to (`split`); None: nothing
        self.status = 0  # what the parts of a blocked one are told …
        self.reason: Reason | None = None  # … or why, if it was refused for good
        self.accepted: set[int] = set()
        self.taken: dict[int, int] = {}  # place -> hash of the octets seen there
        self.answers: dict[int, bytes] = {}  # place -> what the SMSC said to its part, of one that is answered
        self.waiting: list[Part] = []
        self.awaited: Callable[[], None] | None = None  # called for each further part while they are waited for
        self.began = self.touched = now

    @property
    def complete(self) -> bool:
        return len(self.accepted) == self.key[2]

    def settle(self, phase: Phase, *, extra: int = 0, status: int = 0, reason: Reason | None = None) -> None:
        """Let those go on who wait."""
        self.phase, self.extra, self.status, self.reason = phase, extra, status, reason
        waiting, self.waiting = self.waiting, []
        for part in waiting:
            part.go_on()


class Groups:
    """Those of one account, the one that heard of a part last at the end."""

    def __init__(self) -> None:
        self.together: set[Long] = set()  # whose parts are at the SMSC, to be answered together
        self._known: dict[Key, Group] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: Key, place: int, octets: bytes, now: float) -> Group | None:
        """The message that this part belongs to; None: it begins a new one."""
        group = self._known.get(key)
        if group is None:
            return None
        known = group.taken.get(place)
        again = known is not None
        stale = now - group.touched > limits.SMPP_GROUP_S or now - group.began > limits.SMPP_GROUP_S_MAX
        if stale or (again and (group.phase is Phase.BLOCKED or known != hash(octets))):
            del self._known[key]
            return None
        self._touch(group, place, octets, now)
        return group

    def begin(self, key: Key, place: int, octets: bytes, now: float) -> Group | None:
        """A new message; None: there is no room for it."""
        if len(self._known) >= limits.SMPP_GROUPS_MAX:
            return None
        group = Group(key, now)
        self._touch(group, place, octets, now)
        return group

    def hold(self, delivery: bytes, later: Callable[[], None]) -> bool:
        """Whether this is the receipt of a part that is not answered yet; `later` is called when it is."""
        for message in self.together:
            if message.speaks_of(delivery) and len(message.receipts) < limits.SMPP_DELIVERIES_MAX:
                message.receipts.append(later)
                return True
        return False

    def drop(self, group: Group) -> None:
        """`group` is complete, or failed: what comes under its key is a new message."""
        if self._known.get(group.key) is group:
            del self._known[group.key]

    def expire(self, now: float) -> None:
        """Forget what nobody has sent a part of for a while. Parts that wait keep their group themselves."""
        while self._known:
            oldest = next(iter(self._known.values()))
            if now - oldest.touched <= limits.SMPP_GROUP_S:
                return
            del self._known[oldest.key]

    def _touch(self, group: Group, place: int, octets: bytes, now: float) -> None:
        group.touched = now
        group.taken[place] = hash(octets)
        self._known.pop(group.key, None)
        self._known[group.key] = group

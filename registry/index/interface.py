"""What the publisher writes: the consent index (`filters.layout`), behind one small interface for its two forms.

The index is a set of fingerprints in two families. BIREYSEL recipients are members while they consent (ONAY), TACIR
recipients while they refuse (RET): absence means "no consent" in the one and "may be addressed" in the other. It is
derived data with an epoch, a cursor into the ledger's events and a heartbeat, by which a reader tells a living, whole
index from an emptied, half-built or abandoned one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from filters.layout import Family


class IndexDown(Exception):
    """The index cannot be written now; nothing was changed. Try again later."""


class Superseded(IndexDown):
    """A newer epoch was built in the meantime; this build was not switched to and may be dropped."""


class IndexUnusable(Exception):
    """The index answers, but is empty, half-built, of another format or of another key: it has to be built."""


class Change(NamedTuple):
    """One fingerprint's membership from now on."""

    family: Family
    fingerprint: bytes
    member: bool


@dataclass(frozen=True, slots=True)
class Update:
    """One step: the changes (no fingerprint twice in a family), the cursor after them (None: unchanged), and whether
    the heartbeat is renewed."""

    changes: Sequence[Change]
    cursor: int | None = None
    beat: bool = False


@dataclass(frozen=True, slots=True)
class IndexState:
    """What the index says of itself."""

    epoch: int
    count: int  # members of both families
    cursor: int  # every ledger event up to here is in it
    heartbeat_ms: int  # Unix time
    capacity: int  # members it was laid out for


Plan = Callable[[IndexState], Update]


class Build(Protocol):
    """A new epoch that nobody reads yet."""

    def add(self, family: Family, fingerprints: Sequence[bytes]) -> None:
        """Add members; ascending fingerprints are fastest."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Apply what has changed since its members were read."""

    def switch(self, plan: Plan) -> IndexState:
        """Apply the plan's last changes and make this epoch the current one, in one step; then drop the older ones.

        The plan is asked inside the index's own transaction. Raises Superseded when a newer epoch was faster. After
        any other IndexDown nobody knows whether the switch went through.
        """

    def abandon(self) -> None:
        """Drop it again. Never after a switch that may have gone through: the current epoch would be emptied."""


class IndexWriter(Protocol):
    """One consent index. Thread-safe. Every method raises IndexDown when the index cannot be reached or written."""

    def state(self) -> IndexState | None:
        """None: not usable."""

    def update(self, plan: Plan) -> IndexState:
        """Ask the plan and carry it out in one transaction that no other update can come between.

        The plan reads the ledger in there. So of two publishers the later one always has the newer facts, and none can
        put a consent back that the other one has just removed (promise I5). Raises IndexUnusable.
        """

    def build(self, epoch: int, expected: int) -> Build:
        """Begin a new epoch for about `expected` members."""

    def contains(self, family: Family, fingerprints: Sequence[bytes]) -> list[bool]:
        """For each: is it a member of the current epoch? Raises IndexUnusable."""

    def members(self, family: Family) -> int:
        """How many members the current epoch really has, counted one by one. Raises IndexUnusable."""

    def last_epoch(self) -> int:
        """The newest epoch it knows, 0 if none: also of an index that is not usable."""

    def close(self) -> None:
        """Let go of connections."""

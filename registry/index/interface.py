"""What the publisher writes: the consent index (`filters.layout`), behind one small interface for its two forms.

The index is a set of fingerprints in two families. BIREYSEL recipients are members while they consent (ONAY), TACIR
recipients while they refuse (RET): absence means "no consent" in the one and "may be addressed" in the other. It is
derived data with an epoch, a cursor into the ledger's events and a heartbeat, by which a reader tells a living, whole
index from an emptied, half-built or abandoned one.

Several publishers may write at once, from several machines. What keeps them from overwriting each other's newer facts
is not a lock but the ledger's clock: facts carry the number of the newest event when they were read (`as_of`), and the
index refuses facts that are older than what it was told before. Who is refused reads the ledger again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from filters.layout import Family, Suspended


class IndexDown(Exception):
    """The index cannot be written now. What was written of the step is true; try the whole step again later."""


class Superseded(IndexDown):
    """A newer epoch was built in the meantime; this build was not switched to and may be dropped."""


class IndexUnusable(Exception):
    """The index answers, but is empty, half-built, of another format or of another key: it has to be built."""


class Change(NamedTuple):
    """One fingerprint's membership from now on."""

    family: Family
    fingerprint: bytes
    member: bool


class Facts(NamedTuple):
    """What the ledger says of some fingerprints (none twice in a family), read when event `as_of` was its newest.

    The number is read before the facts: these may be newer than it says, never older.
    """

    as_of: int
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class IndexState:
    """What the index says of itself. Pairs are (BIREYSEL, TACIR)."""

    epoch: int
    counts: tuple[int, int]  # members
    cursor: int  # every ledger event up to here is in it
    heartbeat_ms: int  # Unix time
    room: tuple[int, int]  # members it can take before it has to be laid out anew

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def full(self) -> bool:
        """Whether a family has outgrown its buckets."""
        return any(count > room for count, room in zip(self.counts, self.room, strict=True))


class Build(Protocol):
    """A new epoch that nobody reads yet."""

    @property
    def epoch(self) -> int: ...

    @property
    def cursor(self) -> int:
        """Events up to here need no catching up: the newest one when the build was begun."""

    @property
    def done(self) -> tuple[Family, bytes] | None:
        """A build that was taken up again: the last fingerprint that is surely in it, families in their order."""

    def add(self, family: Family, fingerprints: Sequence[bytes]) -> None:
        """Add members, ascending and never beginning before `done`. They may be outdated by what `put` has said since
        the build was begun: catch up from `cursor` afterwards. Raises IndexUnusable when the build was lost, Superseded
        when another publisher has taken it up."""

    def put(self, facts: Facts) -> list[Change]:
        """As `IndexWriter.put`, for this epoch alone."""

    def announce(self) -> None:
        """From now on every `IndexWriter.put` writes to this epoch too. Catch up once more after it, then switch."""

    def switch(self, cursor: int) -> IndexState:
        """Make this epoch the current one, which holds every event up to `cursor`; then drop the older ones.

        Raises Superseded when a newer epoch was faster, IndexUnusable when a part of the build was lost. After any
        other IndexDown nobody knows whether the switch went through.
        """

    def abandon(self) -> None:
        """Drop it again, unless it has become the current epoch."""


class IndexWriter(Protocol):
    """One consent index. Thread-safe. Every method raises IndexDown when the index cannot be reached or written."""

    def state(self) -> IndexState | None:
        """None: not usable."""

    def put(self, facts: Facts) -> list[Change]:
        """Make facts true in the current epoch, and in an announced build. When it returns, readers see them (I5).

        Returns those that were refused because the index knows later ones: read them again and put them again. Raises
        IndexUnusable. Taking members away works also while the index is too full for new ones.
        """

    def beat(self, cursor: int) -> IndexState:
        """Renew the heartbeat: every event up to `cursor` was put. Raises IndexUnusable."""

    def suspend(self, suspended: Suspended, *, over: int = -1) -> int:
        """Say which brands may not send; readers see it when this returns. Raises IndexUnusable.

        Returns the version that stands: a later one is left alone, unless it is `over`.
        """

    def lost_after(self) -> int | None:
        """Where servers started or were promoted since `vouch`: the newest event up to which they lack nothing.

        None: there are none. Put what the ledger recorded after that event, then `vouch`. Readers believe these servers
        only then. Raises IndexUnusable when too much is lost.
        """

    def vouch(self) -> None:
        """The servers that `lost_after` looked at lack nothing any more."""

    def build(self, epoch: int, expected: tuple[int, int], cursor: int) -> Build:
        """Begin a new epoch for about so many members, with the ledger's newest event."""

    def unfinished(self) -> Build | None:
        """Take up the newest build that was begun and neither switched to nor abandoned; its former builder, should it
        still live, can write to it no more."""

    def name(self, family: Family, fingerprint: bytes) -> bytes:
        """What the index remembers of a fingerprint: 12 octets that stand for it in `put`. Raises IndexUnusable."""

    def lane(self, family: Family, lane: int) -> Collection[bytes]:
        """The names of all members of a lane (`filters.layout.lane_of`), read one by one. Raises IndexUnusable."""

    def contains(self, family: Family, fingerprints: Sequence[bytes]) -> list[bool]:
        """For each: is it a member of the current epoch? Raises IndexUnusable."""

    def last_epoch(self) -> int:
        """The newest epoch it knows, 0 if none: also of an index that is not usable."""

    def memory(self) -> int:
        """Octets that the index takes where it is kept, about."""

    def close(self) -> None:
        """Let go of connections."""

"""Comparing the index with the fold of the ledger, lane by lane, and mending what differs.

A lane is a range of fingerprints, a thousandth of them all, and is read whole on both sides. While consents are
recorded the two sides are never read at the same moment, so a lane that differs is looked at again: what stays
different after the publisher had time to follow is a difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from filters.layout import FAMILY_OF, LANE_BITS, LANES, MEMBER_STATUS, Family, lane_bounds
from registry.index.interface import Change, IndexState, IndexUnusable, IndexWriter
from registry.ledger import Ledger
from registry.limits import VERIFY_TRIES, VERIFY_WAIT_SECONDS
from registry.publish import Publisher

Progress = Callable[[int, int], None]  # (lanes done, lanes in all)

_KIND_OF: Final = {family: kind for kind, family in FAMILY_OF.items()}


class Side(NamedTuple):
    """One side of a lane: how many members, and the sum of their names, which does not depend on their order."""

    members: int
    checksum: str  # 16 hexadecimal digits


@dataclass(frozen=True, slots=True)
class Difference:
    """A lane in which the index is not the fold."""

    family: Family
    lane: int
    ledger: Side
    index: Side
    missing: tuple[bytes, ...]  # fingerprints that the fold has and the index has not
    surplus: tuple[bytes, ...]  # names that the index has and the fold has not

    @property
    def range(self) -> str:
        """The first and the last bucket hash of the lane, in hexadecimal."""
        first = self.lane << (32 - LANE_BITS)
        return f"{first:08x}-{first + (1 << (32 - LANE_BITS)) - 1:08x}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The index beside the ledger's fold, member by member. `counted`: what the index says of itself."""

    ledger_members: int
    index_members: int
    counted: int
    differences: tuple[Difference, ...]

    @property
    def missing(self) -> int:
        return sum(len(one.missing) for one in self.differences)

    @property
    def surplus(self) -> int:
        return sum(len(one.surplus) for one in self.differences)

    @property
    def equal(self) -> bool:
        return not self.differences


def verify(
    ledger: Ledger, writer: IndexWriter, progress: Progress | None = None, *, tries: int = VERIFY_TRIES
) -> Verification:
    """Compare; changes nothing. `tries`: 1 where nobody records meanwhile.

    Raises IndexDown, IndexUnusable or SQLAlchemyError.
    """
    expected = found = 0
    differences: list[Difference] = []
    for at, (family, lane) in enumerate(_lanes()):
        for left in reversed(range(tries)):
            wanted, members, difference = _compare(ledger, writer, family, lane)
            if difference is None or not left:
                break
            time.sleep(VERIFY_WAIT_SECONDS)
        expected += wanted
        found += members
        if difference is not None:
            differences.append(difference)
        if progress is not None:
            progress(at + 1, len(Family) * LANES)
    return Verification(expected, found, _state(writer).count, tuple(differences))


def repair(publisher: Publisher, differences: tuple[Difference, ...]) -> None:
    """Put what the ledger says of every fingerprint that differs, with whatever it says by now.

    Raises IndexDown, IndexUnusable or SQLAlchemyError; then some of it is mended.
    """
    for one in differences:
        publisher.mend(
            [Change(one.family, name, True) for name in one.missing]
            + [Change(one.family, name, False) for name in one.surplus]
        )


def _lanes() -> Iterator[tuple[Family, int]]:
    return ((family, lane) for family in Family for lane in range(LANES))


def _compare(ledger: Ledger, writer: IndexWriter, family: Family, lane: int) -> tuple[int, int, Difference | None]:
    """(members of the fold, members of the index, their difference)."""
    kind = _KIND_OF[family]
    recorded = ledger.members_between(kind, MEMBER_STATUS[kind], *lane_bounds(lane))
    fold = {writer.name(family, one): one for one in recorded}
    names = writer.lane(family, lane)
    if fold.keys() == names:
        return len(fold), len(names), None
    there = set(names)
    missing = tuple(sorted(fingerprint for name, fingerprint in fold.items() if name not in there))
    surplus = tuple(sorted(there - fold.keys()))
    return len(fold), len(there), Difference(family, lane, _side(set(fold)), _side(there), missing, surplus)


def _side(names: set[bytes]) -> Side:
    total = 0
    for name in names:
        total += int.from_bytes(blake2b(name, digest_size=8).digest())
    return Side(len(names), f"{total & (1 << 64) - 1:016x}")


def _state(writer: IndexWriter) -> IndexState:
    state = writer.state()
    if state is None:
        raise IndexUnusable("the index is empty, half-built or not ours")
    return state

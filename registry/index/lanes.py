"""Lanes of the shared index: facts put into them, members read from them, all of them passed over.

The layout is `filters.layout`'s. Every write to a lane is one script on the lane's slot, of bounded size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

from filters.key import split
from filters.layout import LANE_BITS, LANES, LETTER, MARKER, Family, bucket_key, lane_key, lane_of
from registry.index import scripts
from registry.index.interface import Change, Facts, IndexUnusable
from registry.index.nodes import Servers
from registry.index.rounds import Round, Server
from registry.index.scripts import FAULTS, REFUSED, UNUSABLE
from registry.limits import LANE_CALL_KEYS_MAX, LANE_CALL_MEMBERS_MAX, LANE_CALLS_AT_ONCE, LANE_READ_BUCKETS

BUCKET_ROOM: Final = 384  # members on average; 512 keep a set an intset, and few buckets are a third above the average


_Kind = tuple[Family, bool]  # and whether they are members from now on
_STEPS: Final[tuple[tuple[scripts.Script, _Kind], ...]] = (
    (scripts.REMOVE, (Family.BIREYSEL, False)),
    (scripts.REFUSE, (Family.TACIR, True)),
    (scripts.REMOVE, (Family.TACIR, False)),
    (scripts.ADD, (Family.BIREYSEL, True)),
)


class Layout(NamedTuple):
    """Where an epoch keeps its members. `bits` by family."""

    epoch: int
    bits: tuple[int, int]

    @property
    def room(self) -> tuple[int, int]:
        return BUCKET_ROOM << self.bits[0], BUCKET_ROOM << self.bits[1]

    def key(self, family: Family, bucket_hash: int) -> str:
        return bucket_key(self.epoch, family, self.bits[family], bucket_hash)

    def lane(self, lane: int) -> str:
        return lane_key(self.epoch, lane)

    def hashes(self, family: Family, lane: int) -> range:
        """The lowest hash of each of the lane's buckets."""
        return range(lane << 32 - LANE_BITS, lane + 1 << 32 - LANE_BITS, 1 << 32 - self.bits[family])

    def keys(self, lane: int) -> Iterator[list[str]]:
        """The keys of all its buckets, as many as one call takes."""
        names = (self.key(family, one) for family in Family for one in self.hashes(family, lane))
        while some := list(islice(names, LANE_CALL_KEYS_MAX)):
            yield some


class Applied(NamedTuple):
    """What became of facts."""

    refused: list[Change]
    grown: list[int]  # members by family
    lost: bool  # a lane or a bucket is not there; the facts of the others are in


class _Call(NamedTuple):
    lane: int
    family: Family
    changes: list[Change]
    keys: list[str]
    arguments: list[str | int]


def apply(servers: Servers, layout: Layout, facts: Facts) -> Applied:
    """Put facts into one epoch: withdrawals first, which go also when Redis is full."""
    refused: list[Change] = []
    grown = [0, 0]
    lost = False
    with servers.round() as turn:
        for script, kind in _STEPS:
            calls = _calls(layout, facts, kind)
            while some := list(islice(calls, LANE_CALLS_AT_ONCE)):
                for call in some:
                    turn.run(script, servers.of(call.lane), call.keys, call.arguments)
                for call, answer in zip(some, turn.answers(), strict=True):
                    if answer == REFUSED:
                        refused += call.changes
                    elif answer == UNUSABLE:
                        lost = True
                    else:
                        grown[call.family] += -answer if script is scripts.REMOVE else answer
    return Applied(refused, grown, lost)


def _calls(layout: Layout, facts: Facts, kind: _Kind) -> Iterator[_Call]:
    found: dict[tuple[int, Family], list[tuple[str, int, Change]]] = defaultdict(list)
    for change in facts.changes:
        if (change.family, change.member) == kind:
            bucket_hash, number = split(change.fingerprint)
            key = layout.key(change.family, bucket_hash)
            found[lane_of(bucket_hash), change.family].append((key, number, change))
    for (lane, family), wanted in found.items():
        wanted.sort(key=itemgetter(0))
        for start in range(0, len(wanted), LANE_CALL_MEMBERS_MAX):
            some = wanted[start : start + LANE_CALL_MEMBERS_MAX]
            keys = [layout.lane(lane)]
            arguments: list[str | int] = [facts.as_of, LETTER[family]]
            for key, group in groupby(some, key=itemgetter(0)):
                numbers = [number for _, number, _ in group]
                keys.append(key)
                arguments += (len(numbers), *numbers)
            yield _Call(lane, family, [change for _, _, change in some], keys, arguments)


def contains(servers: Servers, layout: Layout, family: Family, fingerprints: Sequence[bytes]) -> list[bool]:
    """For each: is it a member? Raises IndexUnusable when its bucket was lost."""
    found: list[bool] = []
    for start in range(0, len(fingerprints), LANE_CALL_KEYS_MAX):
        with servers.round() as turn:
            for fingerprint in fingerprints[start : start + LANE_CALL_KEYS_MAX]:
                bucket_hash, number = split(fingerprint)
                key = layout.key(family, bucket_hash)
                turn.ask(servers.of(lane_of(bucket_hash)), "SMISMEMBER", key, number, MARKER)
            answers = turn.answers()
        if not all(marker for _, marker in answers):
            raise IndexUnusable("a part of the index was lost")
        found += [bool(listed) for listed, _ in answers]
    return found


def names(servers: Servers, layout: Layout, family: Family, lane: int) -> set[bytes]:
    """What the index remembers of a lane's members: the bucket's lowest hash, then the member."""
    found: set[bytes] = set()
    hashes = layout.hashes(family, lane)
    for start in range(0, len(hashes), LANE_READ_BUCKETS):
        some = hashes[start : start + LANE_READ_BUCKETS]
        server = servers.of(lane)
        with servers.round() as turn:
            for one in some:
                turn.ask(server, "SMEMBERS", layout.key(family, one))
            answers = turn.answers()
        for one, members in zip(some, answers, strict=True):
            numbers = set(map(int, members))
            if MARKER not in numbers:
                raise IndexUnusable("a part of the index was lost")
            numbers.remove(MARKER)
            found.update(one.to_bytes(4) + number.to_bytes(8) for number in numbers)
    return found


def name(layout: Layout, family: Family, fingerprint: bytes) -> bytes:
    """As `names`, for one fingerprint."""
    bucket_hash, number = split(fingerprint)
    shift = 32 - layout.bits[family]
    return (bucket_hash >> shift << shift).to_bytes(4) + number.to_bytes(8)


def level(servers: Servers, layout: Layout, cursor: int, vouched: dict[Server, str]) -> tuple[int, int] | None:
    """Tell all lanes of servers that are vouched for how far they are. Returns the members; None: a lane is lost."""
    counts = [0, 0]
    for lanes in batches():
        with servers.round() as turn:
            for lane in lanes:
                server = servers.of(lane)
                turn.run(scripts.LEVEL, server, [layout.lane(lane)], [cursor, vouched.get(server, "")])
            for answer in turn.answers():
                if answer == UNUSABLE:
                    return None
                counts = [have + more for have, more in zip(counts, answer, strict=True)]
    return counts[0], counts[1]


def lowest_level(servers: Servers, layout: Layout, unvouched: set[Server]) -> int | None:
    """What these servers' lanes are level with at least; None: they have none. Raises IndexUnusable."""
    owned = [lane for lane in range(LANES) if servers.of(lane) in unvouched]
    levels: list[int] = []
    with servers.round() as turn:
        for lane in owned:
            turn.ask(servers.of(lane), "HGET", layout.lane(lane), "level")
        answers = turn.answers()
    for answer in answers:
        if answer is None:
            raise IndexUnusable("a part of the index was lost")
        levels.append(int(answer))
    return min(levels, default=None)


Queue = Callable[[Round, Server, list[str], bool], None]


def pass_over(servers: Servers, layout: Layout, queue: Queue) -> list[Any]:
    """Call `queue(round, server, keys, last)` for all lanes: `keys` are the lane's and those of some of its buckets,
    `last` says whether they are the last of the lane. Returns the answers to the last ones; of the others only
    faults.
    """
    found: list[Any] = []
    with servers.round() as turn:
        for lanes in batches():
            waiting: list[bool] = []
            for lane in lanes:
                server = servers.of(lane)
                some = list(layout.keys(lane))
                for at, keys in enumerate(some):
                    waiting.append(at + 1 == len(some))
                    queue(turn, server, [layout.lane(lane), *keys], waiting[-1])
                    if len(waiting) == LANE_CALLS_AT_ONCE:
                        found += _kept(waiting, turn.answers())
                        waiting = []
            found += _kept(waiting, turn.answers())
    return found


def _kept(last: list[bool], answers: list[Any]) -> list[Any]:
    return [answer for final, answer in zip(last, answers, strict=True) if final or answer in FAULTS]


def batches() -> Iterator[range]:
    """All lanes, as many at a time as are asked before the answers are read."""
    return (range(first, min(first + LANE_CALLS_AT_ONCE, LANES)) for first in range(0, LANES, LANE_CALLS_AT_ONCE))

"""The filter never denies a member: for any members, and for any order in which an index and its followers move."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from filters.bloom import Bloom, Origin, read
from filters.layout import CHANGES_FIELD
from gateway import limits
from gateway.index.changes import Additions, Standing

MEMBERS = st.integers(0, 2**63 - 1)
RUN = b"a" * 40
FEW = st.integers(0, 30)  # so that members meet again


@given(st.sets(MEMBERS, max_size=300), st.integers(0, 50), st.floats(1e-6, 0.5))
def test_every_member_is_found_before_and_after_a_snapshot(members: set[int], room: int, error_rate: float) -> None:
    bloom = Bloom.empty(len(members) + room + 1, error_rate)
    bloom.add(members)
    page, bits = bloom.pages(Origin(1, b"h", 0, bytes(8)))
    _, again = read(memoryview(page + bytes(bits)), whole=True)
    assert all(member in bloom and member in again for member in members)
    assert again.count == len(members)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=64), st.integers(0, 2**64 - 1), st.binary(min_size=8, max_size=8))
def test_an_origin_comes_back(epoch: int, history: bytes, changes: int, key_check: bytes) -> None:
    origin = Origin(epoch, history, changes, key_check)
    page, bits = Bloom.empty(5).pages(origin)
    assert read(memoryview(page + bytes(bits)), whole=True)[0] == origin


class Index:
    """What a publisher keeps in Redis, as far as a filter sees it."""

    def __init__(self) -> None:
        self.epoch = 1
        self.history = 1
        self.changes = 0
        self.vouched = True
        self.members: set[int] = set()  # in the lanes
        self.told: set[int] = set()  # and acknowledged: these must never be denied
        self.stream: list[tuple[int, list[int]]] = []

    def fields(self) -> list[bytes]:
        return [b"%d" % self.epoch, b"%d" % self.history, b"%d" % self.changes, RUN if self.vouched else b""]

    def after(self, number: int) -> list[Any]:
        found = [(n, members) for n, members in self.stream if n > number][: limits.FILTER_ENTRIES_AT_ONCE]
        field = CHANGES_FIELD.encode()
        return [[b"%d-0" % n, [field, b"".join(one.to_bytes(8) for one in members)]] for n, members in found]


class Following(RuleBasedStateMachine):
    """One index, one snapshot at a time, one follower. A poll and the reading of a snapshot take several steps.

    The snapshot is an exact set here: a Bloom filter says "maybe" more often, which would only hide a mistake.
    """

    def __init__(self) -> None:
        super().__init__()
        self.index = Index()
        self.written: list[int] = []  # in the lanes, and not yet told
        self.reading: tuple[Origin, set[int], set[int]] | None = None  # lanes still to read, members found
        self.snapshot: set[int] | None = None
        self.additions: Additions | None = None
        self.poll: tuple[list[bytes], set[int], Additions] | None = None  # state as it was read, told by then
        self.standing = Standing.NO_SNAPSHOT
        self.claimed: set[int] | None = None  # the filter is level: it answers for all of these

    # the publisher

    @rule(members=st.lists(FEW, min_size=1, max_size=3))
    def write(self, members: list[int]) -> None:
        self.index.members.update(members)
        self.written += members

    @precondition(lambda self: self.written)
    @rule()
    def tell(self) -> None:
        index = self.index
        index.changes += 1
        index.stream.append((index.changes, self.written))
        index.told.update(set(self.written) & index.members)
        self.written = []

    @rule(times=st.integers(1, 2 * limits.FILTER_ENTRIES_AT_ONCE), member=FEW)
    def tell_often(self, times: int, member: int) -> None:
        for _ in range(times):
            self.write([member])
            self.tell()

    @rule(member=FEW)
    def withdraw(self, member: int) -> None:
        self.index.members.discard(member)
        self.index.told.discard(member)
        if self.claimed is not None:
            self.claimed.discard(member)  # a "no" is right from now on
        if self.poll is not None:
            self.poll[1].discard(member)

    @rule(members=st.lists(FEW, min_size=1, max_size=3))
    def grant(self, members: list[int]) -> None:
        self.write(members)
        self.tell()

    @rule(upset=st.sampled_from(["trim", "switch", "lose", "doubt", "file", "late"]), number=st.integers(0, 5))
    def upset(self, upset: str, number: int) -> None:
        """All that happens rarely, as one rule among many."""
        index = self.index
        if upset == "trim":
            index.stream = index.stream[max(0, len(index.stream) - number) :]
        elif upset == "switch":  # a new epoch begins with what the ledger says, and with a new history
            index.epoch, index.history, index.stream = index.epoch + 1, index.history + 1, []
            index.members = index.members | set(range(number))
            index.told = set(index.members)
            self.written = []
        elif upset == "lose":  # a promoted server lacks the newest entries, and gives their numbers again
            index.stream = index.stream[: max(0, len(index.stream) - number)]
            index.changes, index.history = max(0, index.changes - number), index.history + 1
            for member in range(number):
                self.grant([member])
        elif upset == "doubt":
            index.vouched = not index.vouched
        elif upset == "file":
            self.snapshot = self.additions = self.claimed = None
        else:  # no poll for FILTER_LEVEL_S
            self.claimed = self.poll = None

    # the keeper

    @rule()
    def begin_reading(self) -> None:
        index = self.index
        origin = Origin(index.epoch, b"%d" % index.history, index.changes, bytes(8))
        self.reading = (origin, set(range(31)), set())

    @precondition(lambda self: self.reading is not None)
    @rule(lanes=st.sets(FEW))
    def read_some(self, lanes: set[int]) -> None:
        assert self.reading is not None
        _, remaining, found = self.reading
        found |= self.index.members & remaining & lanes
        remaining -= lanes

    @precondition(lambda self: self.reading is not None)
    @rule()
    def end_reading(self) -> None:
        assert self.reading is not None
        origin, remaining, _ = self.reading
        self.read_some(set(remaining))
        found, self.reading = self.reading[2], None
        if (origin.epoch, origin.history) != (self.index.epoch, b"%d" % self.index.history) or not self.index.vouched:
            return  # as `gateway.index.snapshot`: it is thrown away
        carried = None if self.additions is None else self.additions.carried_to(origin)
        if carried is None:
            self.claimed = None
        self.snapshot, self.additions = found, carried or Additions(origin)

    @rule()
    def take(self) -> None:
        self.begin_reading()
        self.end_reading()

    @precondition(lambda self: self.additions is not None)
    @rule(members=st.lists(FEW, min_size=1, max_size=3), trimmed=st.integers(0, 2))
    def take_meanwhile(self, members: list[int], trimmed: int) -> None:
        """What is granted when its lane was read already, and heard of before the snapshot is there."""
        self.begin_reading()
        self.read_some(set(members))
        self.grant(members)
        self.send_poll()
        for _ in range(trimmed):
            self.grant(members)
        self.index.stream = self.index.stream[trimmed:]
        self.hear_poll()
        self.end_reading()

    # the follower

    @precondition(lambda self: self.additions is not None)
    @rule()
    def send_poll(self) -> None:
        assert self.additions is not None
        self.poll = (self.index.fields(), set(self.index.told), self.additions)

    @precondition(lambda self: self.poll is not None and self.poll[2] is self.additions)
    @rule()
    def hear_poll(self) -> None:
        assert self.poll is not None
        (fields, told, additions), self.poll = self.poll, None
        entries = [] if additions.spoilt else self.index.after(additions.number)
        self.standing = additions.hear(fields, entries, RUN)
        if self.standing is Standing.LEVEL:
            self.claimed = told
        elif self.standing is not Standing.BEHIND:
            self.claimed = None

    @precondition(lambda self: self.additions is not None)
    @rule()
    def follow(self) -> None:
        """Poll until there is nothing more to come."""
        self.send_poll()
        self.hear_poll()
        while self.standing is Standing.BEHIND:
            self.send_poll()
            self.hear_poll()

    @invariant()
    def no_member_is_denied(self) -> None:
        if self.claimed is not None:
            assert self.snapshot is not None
            assert self.additions is not None
            assert self.claimed <= self.snapshot | set(self.additions.members)


Following.TestCase.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
TestFollowing = Following.TestCase

"""The publisher: it keeps the consent index equal to the fold of the ledger.

The ledger's log is its own outbox. A build copies the fold under a new epoch, is announced, catches up with the log and
is switched to in one step; after that the tail of changes follows the log. Facts go to the index with the number of the
ledger's newest event, and the index refuses older ones than it has; so of two publishers the one with the newer facts
wins, and none can put back what another one has just removed (promise I5).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filters.index_url import IndexUrl
from filters.layout import FAMILY_OF, INDEX_FILE, MEMBER_STATUS
from registry import ledger as facts
from registry.append import Key
from registry.index.embedded import SqliteIndexWriter
from registry.index.interface import Build, Change, Facts, IndexDown, IndexState, IndexUnusable, IndexWriter
from registry.index.shared import RedisIndexWriter
from registry.ledger import Folds, Ledger
from registry.limits import (
    BEAT_SECONDS,
    BUILD_CHUNK_MEMBERS,
    CONTENTION_TRIES_MAX,
    REBUILD_EVENTS_MIN,
    TAIL_CHANGES_MAX,
)
from registry.providers.suspensions import suspensions

EMBEDDED: Final = "sqlite"
_KIND_OF: Final = {family: kind for kind, family in FAMILY_OF.items()}

Progress = Callable[[int, int], None]  # (members done, members in all)
Put = Callable[[Facts], list[Change]]


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What an operator wants to know of the index. `fault` is why it has to be built, "" while it can be used."""

    fault: str
    epoch: int
    count: int
    room: int  # members it can take before it is laid out anew
    cursor: int
    head: int  # the ledger's newest event
    published_epoch: int  # the newest epoch ever handed to a build
    heartbeat_age_s: float | None  # None: the index is not usable
    memory: int  # octets, about


def open_index(url: str | IndexUrl, data_dir: Path, key_check: bytes) -> IndexWriter:
    """The writer for `url`: "sqlite" (a file in `data_dir`) or what `filters.index_url` reads, or has read.

    Does not connect. Raises ValueError for anything else.
    """
    if url == EMBEDDED:
        data_dir.mkdir(parents=True, exist_ok=True)
        return SqliteIndexWriter(data_dir / INDEX_FILE, key_check)
    return RedisIndexWriter(url, key_check)


class Publisher:
    """Ledger → index. Thread-safe. Raises IndexDown, or SQLAlchemyError when it is the ledger that cannot be read."""

    def __init__(self, ledger: Ledger, writer: IndexWriter) -> None:
        self._ledger = ledger
        self._writer = writer
        self._beaten = 0.0  # monotonic

    def ensure(self, progress: Progress | None = None) -> IndexState:
        """Make the index usable and level with the ledger, whatever is found there. For a start: see `tick`."""
        if self._fault(self._writer.state(), unfinished=True):
            return self.rebuild(progress)
        return self.tick(progress)

    def tick(self, progress: Progress | None = None) -> IndexState:
        """Follow the log to its head in bounded steps, and renew the heartbeat. Builds an index that is unusable.

        An epoch that was handed out but never switched to is no reason here: its build may be going on elsewhere.
        """
        state = self._writer.state()
        if state is None or self._fault(state, unfinished=False):
            return self.rebuild(progress)
        try:
            self._mend()
            return self._tail(state)
        except IndexUnusable:  # emptied since we looked
            return self.rebuild(progress)

    def follow(self, progress: Progress | None = None) -> IndexState:
        """As `tick`, for after an import: one build when that is faster than following the log."""
        state = self._writer.state()
        if state is None or self._ledger.head() - state.cursor > max(REBUILD_EVENTS_MIN, state.count):
            return self.rebuild(progress)
        return self.tick(progress)

    def publish_now(self, keys: Iterable[Key]) -> None:
        """Bring these keys up to date. When it returns, readers of the index see them as they stand in the ledger (I5).

        Raises IndexDown also for an index that is empty or half built: the build that is due will know these keys, but
        an acknowledgement should not lean on it.
        """
        try:
            self._put(self._writer.put, self._ledger.changes_of(keys))
        except IndexUnusable as error:
            raise IndexDown(f"it has to be built first: {error}") from error

    def publish_suspensions(self) -> None:
        """Tell the index which brands may not send. When it returns, readers of the index know.

        Raises IndexDown also for an index that has to be built first: the build will tell.
        """
        try:
            self._tell_suspensions()
        except IndexUnusable as error:
            raise IndexDown(f"it has to be built first: {error}") from error

    def rebuild(self, progress: Progress | None = None, *, anew: bool = False) -> IndexState:
        """Build the index under a new epoch and switch to it. Until then readers keep the old one and its heartbeat.

        A build that was cut short is gone on with, unless it is to begin `anew`. One that is cut short now is left to
        the next call.
        """
        state = self._writer.state()
        keep_level = state is not None and not self._foreign(state)
        counts = [self._ledger.member_count(kind, MEMBER_STATUS[kind]) for kind in _KIND_OF.values()]
        build = self._begun(sum(counts), anew=anew)
        if build is None:
            epoch = self._ledger.next_epoch(self._writer.last_epoch())
            cursor = self._ledger.head()  # before the members are read: what commits in between is seen twice
            build = self._writer.build(epoch, (counts[0], counts[1]), cursor)
        try:
            self._copy(build, sum(counts), progress, keep_level=keep_level)
            cursor = self._catch_up(build, build.cursor)
            build.announce()
            state = build.switch(self._catch_up(build, cursor))
            self._tell_suspensions()  # an index that was emptied is whole only now
            return state
        except IndexUnusable as error:
            _abandon(build)
            raise IndexDown(f"what was built is lost: {error}") from error

    def status(self) -> IndexStatus:
        """What the index says of itself, beside the ledger. Changes nothing."""
        state = self._writer.state()
        head, published = self._ledger.head(), self._ledger.published_epoch()
        fault = self._fault(state, unfinished=True)
        memory = self._writer.memory()
        if state is None:
            return IndexStatus(fault, self._writer.last_epoch(), 0, 0, 0, head, published, None, memory)
        age_s = max(0.0, time.time() - state.heartbeat_ms / 1000)
        room = sum(state.room)
        return IndexStatus(fault, state.epoch, state.count, room, state.cursor, head, published, age_s, memory)

    def mend(self, changes: Iterable[Change]) -> None:
        """Read the keys of these changes from the ledger; put what it says of them, and the changes themselves about
        those that it knows nothing of: what only the index has goes. Raises IndexUnusable."""
        wanted = list(changes)
        folds = self._ledger.changes_of(_keys(wanted))
        known = memberships(folds.changes)
        told = {(change.family, change.fingerprint) for change in known}
        unknown = [change for change in wanted if (change.family, change.fingerprint) not in told]
        self._insist(self._writer.put, Facts(folds.as_of, [*known, *unknown]), unknown)

    def _fault(self, state: IndexState | None, *, unfinished: bool) -> str:
        """Why the index has to be built, or "". `unfinished`: a newer epoch than its own counts as a reason."""
        if state is None or (foreign := self._foreign(state)):
            return "empty, half built, of another format or of another key" if state is None else foreign
        if unfinished and state.epoch < (published := self._ledger.published_epoch()):
            return f"epoch {state.epoch}, but the build of epoch {published} was begun"
        if state.full:
            return f"laid out for {state.room} members, but has {state.counts}"
        return ""

    def _foreign(self, state: IndexState) -> str:
        """Why following the log would not make this index equal to the ledger's fold, or ""."""
        if state.epoch > self._ledger.published_epoch():
            return f"epoch {state.epoch} is not one of this ledger's"
        if state.cursor > self._ledger.head():
            return "ahead of the ledger: the ledger is an older copy"
        if state.cursor < self._ledger.removed_until():
            return "so old that retention has taken away what it would have to follow"
        return ""

    def _begun(self, members: int, *, anew: bool) -> Build | None:
        """A build that can be gone on with."""
        build = self._writer.unfinished()
        if build is None:
            return None
        head = self._ledger.head()
        ours = build.epoch <= self._ledger.published_epoch() and self._ledger.removed_until() <= build.cursor <= head
        if anew or not ours or head - build.cursor > max(REBUILD_EVENTS_MIN, members):
            _abandon(build)
            return None
        return build

    def _mend(self) -> None:
        """Give servers that started or were promoted what they may lack, so that readers believe them again."""
        lost_after = self._writer.lost_after()
        if lost_after is not None:
            self._follow(self._writer.put, lost_after)
            self._tell_suspensions()
            self._writer.vouch()

    def _tail(self, state: IndexState) -> IndexState:
        """Steps until the log's head is reached; only then it beats, so a heartbeat means “level at that time”."""
        cursor = self._follow(self._writer.put, state.cursor)
        if cursor == state.cursor and time.monotonic() - self._beaten < BEAT_SECONDS:
            return state
        self._tell_suspensions()
        state = self._writer.beat(cursor)
        self._beaten = time.monotonic()
        return state

    def _tell_suspensions(self) -> None:
        told = suspensions(self._ledger.engine)
        stands = self._writer.suspend(told)
        if stands > told.version:
            told = suspensions(self._ledger.engine)
            if told.version < stands:  # the index was written from a ledger that this one is an older copy of
                self._writer.suspend(told, over=stands)

    def _copy(self, build: Build, total: int, progress: Progress | None, *, keep_level: bool) -> None:
        """All members into the build; meanwhile the epoch that is still being read is kept level, if it is ours."""
        resumed, after = build.done or (None, b"")
        done, beaten = 0, time.monotonic()
        for family, kind in _KIND_OF.items():
            begin = b"" if resumed is None or family > resumed else after if family is resumed else None
            if begin is None:  # the whole family is in it
                done += self._ledger.member_count(kind, MEMBER_STATUS[kind])
                continue
            done += self._ledger.member_count(kind, MEMBER_STATUS[kind], begin) if begin else 0
            for chunk in self._ledger.members(kind, MEMBER_STATUS[kind], BUILD_CHUNK_MEMBERS, begin):
                build.add(family, chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
                if keep_level and time.monotonic() - beaten >= BEAT_SECONDS:
                    self._keep_level()
                    beaten = time.monotonic()

    def _keep_level(self) -> None:
        """A step for the epoch that readers have while another one is built."""
        with suppress(IndexUnusable):  # emptied meanwhile: nobody reads it
            state = self._writer.state()
            if state is not None:
                self._mend()
                self._tail(state)

    def _catch_up(self, build: Build, cursor: int) -> int:
        """Put what was recorded after `cursor` into the build; the new cursor."""
        return self._follow(build.put, cursor)

    def _follow(self, put: Put, cursor: int) -> int:
        """Put the log's events after `cursor` in bounded steps; returns the last one's number."""
        while True:
            folds, seen = self._ledger.changes_after(cursor, TAIL_CHANGES_MAX)
            self._put(put, folds)
            if seen - cursor < TAIL_CHANGES_MAX:  # the log has no gaps
                return seen
            cursor = seen

    def _put(self, put: Put, folds: Folds) -> None:
        if folds.changes:
            self._insist(put, Facts(folds.as_of, memberships(folds.changes)), ())

    def _insist(self, put: Put, told: Facts, unknown: Iterable[Change]) -> None:
        """Put facts; those that came too late are read again. `unknown`: changes that the ledger has no facts for."""
        kept = {(change.family, change.fingerprint): change for change in unknown}
        for _ in range(CONTENTION_TRIES_MAX):
            refused = put(told)
            if not refused:
                return
            folds = self._ledger.changes_of(_keys(refused))
            if folds.as_of <= told.as_of:
                raise IndexUnusable("the index knows facts that this ledger does not have")
            again = memberships(folds.changes)
            found = {(change.family, change.fingerprint) for change in again}
            still = [change for key, change in kept.items() if change in refused and key not in found]
            told = Facts(folds.as_of, [*again, *still])
        raise IndexDown("other publishers write too often")


def memberships(changes: Iterable[facts.Change]) -> list[Change]:
    """What the ledger says of keys, in the index's words."""
    return [
        Change(FAMILY_OF[kind], fingerprint, status is MEMBER_STATUS[kind]) for fingerprint, kind, status in changes
    ]


def _keys(changes: Iterable[Change]) -> list[Key]:
    return [(change.fingerprint, _KIND_OF[change.family].value) for change in changes]


def _abandon(build: Build) -> None:
    with suppress(IndexDown):  # what stays behind is dropped by the next build
        build.abandon()

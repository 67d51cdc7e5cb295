"""The publisher: it keeps the consent index equal to the fold of the ledger.

The ledger's log is its own outbox. A build copies the fold under a new epoch and is switched to in one step; after that
the tail of changes follows the log. Every plan reads the ledger inside the index's own transaction, so whoever writes
last has the newest facts, and no publisher can put back what another one has just removed (promise I5).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from filters.layout import FAMILY_OF, INDEX_FILE, MEMBER_STATUS
from registry import ledger as facts
from registry.index.embedded import SqliteIndexWriter
from registry.index.interface import (
    Build,
    Change,
    IndexDown,
    IndexState,
    IndexUnusable,
    IndexWriter,
    Superseded,
    Update,
)
from registry.index.shared import RedisIndexWriter
from registry.ledger import Key, Ledger
from registry.limits import (
    BUILD_CHUNK_MEMBERS,
    CONTENTION_TRIES_MAX,
    REBUILD_EVENTS_MIN,
    TAIL_CHANGES_MAX,
    TICK_SECONDS,
)

EMBEDDED: Final = "sqlite"
SHARED: Final = ("redis", "rediss", "unix")

Progress = Callable[[int, int], None]  # (members done, members in all)


class _Behind(Exception):
    """More has changed than one index transaction takes."""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What an operator wants to know of the index. `fault` is why it has to be built, "" while it can be used."""

    fault: str
    epoch: int
    count: int
    capacity: int
    cursor: int
    head: int  # the ledger's newest event
    published_epoch: int  # the newest epoch ever handed to a build
    heartbeat_age_s: float | None  # None: the index is not usable


def open_index(url: str, data_dir: Path, key_check: bytes) -> IndexWriter:
    """The writer for `url`: "sqlite" (a file in `data_dir`), redis://, rediss:// or unix://. Does not connect.

    Raises ValueError for any other scheme.
    """
    if url == EMBEDDED:
        data_dir.mkdir(parents=True, exist_ok=True)
        return SqliteIndexWriter(data_dir / INDEX_FILE, key_check)
    if (scheme := urlsplit(url).scheme) not in SHARED:
        raise ValueError(f"the index can be {EMBEDDED}, {', '.join(SHARED)}, not {scheme or url}")
    return RedisIndexWriter(url, key_check)


class Publisher:
    """Ledger → index. Thread-safe. Raises IndexDown, or SQLAlchemyError when it is the ledger that cannot be read."""

    def __init__(self, ledger: Ledger, writer: IndexWriter) -> None:
        self._ledger = ledger
        self._writer = writer

    def ensure(self, progress: Progress | None = None) -> IndexState:
        """Make the index usable and level with the ledger, whatever is found there. For a start: see `tick`."""
        if self._fault(self._writer.state(), unfinished=True):
            return self.rebuild(progress)
        return self.tick(progress)

    def tick(self, progress: Progress | None = None) -> IndexState:
        """Follow the log to its head in bounded steps, then renew the heartbeat. Builds an index that is unusable.

        An epoch that was handed out but never switched to is no reason here: its build may be going on elsewhere.
        """
        if self._fault(self._writer.state(), unfinished=False):
            return self.rebuild(progress)
        try:
            return self._tail()
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
        wanted = list(keys)
        try:
            self._writer.update(lambda _state: Update(memberships(self._ledger.changes_of(wanted))))
        except IndexUnusable as error:
            raise IndexDown(f"it has to be built first: {error}") from error

    def rebuild(self, progress: Progress | None = None) -> IndexState:
        """Build the index under a new epoch and switch to it. Until then readers keep the old one and its heartbeat."""
        state = self._writer.state()
        keep_level = state is not None and not self._foreign(state)
        epoch = self._ledger.next_epoch(self._writer.last_epoch())
        counts = [self._ledger.member_count(kind, status) for kind, status in MEMBER_STATUS.items()]
        build = self._writer.build(epoch, sum(counts))
        try:
            cursor = self._ledger.head()  # before the members are read: what commits in between is seen twice
            self._copy(build, sum(counts), progress, keep_level=keep_level)
        except BaseException:
            _abandon(build)
            raise
        return self._switch(build, cursor)

    def status(self) -> IndexStatus:
        """What the index says of itself, beside the ledger. Changes nothing."""
        state = self._writer.state()
        head, published = self._ledger.head(), self._ledger.published_epoch()
        fault = self._fault(state, unfinished=True)
        if state is None:
            return IndexStatus(fault, self._writer.last_epoch(), 0, 0, 0, head, published, None)
        age_s = max(0.0, time.time() - state.heartbeat_ms / 1000)
        return IndexStatus(fault, state.epoch, state.count, state.capacity, state.cursor, head, published, age_s)

    def _fault(self, state: IndexState | None, *, unfinished: bool) -> str:
        """Why the index has to be built, or "". `unfinished`: a newer epoch than its own counts as a reason."""
        if state is None or (foreign := self._foreign(state)):
            return "empty, half built, of another format or of another key" if state is None else foreign
        if unfinished and state.epoch < (published := self._ledger.published_epoch()):
            return f"epoch {state.epoch}, but the build of epoch {published} was begun"
        if state.count > state.capacity:
            return f"laid out for {state.capacity} members, but has {state.count}"
        return ""

    def _foreign(self, state: IndexState) -> str:
        """Why following the log would not make this index equal to the ledger's fold, or ""."""
        if state.epoch > self._ledger.published_epoch():
            return f"epoch {state.epoch} is not one of this ledger's"
        if state.cursor > self._ledger.head():
            return "ahead of the ledger: the ledger is an older copy"
        return ""

    def _tail(self) -> IndexState:
        """Steps until the log's head is reached; only the last one beats, so a heartbeat means “level at that time”."""
        level = False

        def plan(state: IndexState) -> Update:
            nonlocal level
            changes, cursor = self._ledger.changes_after(state.cursor, TAIL_CHANGES_MAX)
            level = cursor - state.cursor < TAIL_CHANGES_MAX  # the log has no gaps
            return Update(memberships(changes), cursor, beat=level)

        while not level:
            state = self._writer.update(plan)
        return state

    def _copy(self, build: Build, total: int, progress: Progress | None, *, keep_level: bool) -> None:
        """All members into the build; meanwhile the epoch that is still being read is kept level, if it is ours."""
        done, beaten = 0, time.monotonic()
        for kind, status in MEMBER_STATUS.items():
            for chunk in self._ledger.members(kind, status, BUILD_CHUNK_MEMBERS):
                build.add(FAMILY_OF[kind], chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
                if keep_level and time.monotonic() - beaten >= TICK_SECONDS:
                    with suppress(IndexUnusable):  # emptied meanwhile: nobody reads it
                        self._tail()
                    beaten = time.monotonic()

    def _switch(self, build: Build, cursor: int) -> IndexState:
        """Catch up with what was recorded during the copy, then switch with the rest in one transaction."""

        def plan(_state: IndexState) -> Update:
            changes, seen = self._ledger.changes_after(cursor, TAIL_CHANGES_MAX)
            if seen - cursor == TAIL_CHANGES_MAX:
                raise _Behind
            return Update(memberships(changes), seen, beat=True)

        try:
            for _ in range(CONTENTION_TRIES_MAX):
                cursor = self._catch_up(build, cursor)
                with suppress(_Behind):
                    return build.switch(plan)
        except Superseded:
            _abandon(build)
            raise
        _abandon(build)
        raise IndexDown("consents are recorded faster than the index takes them")

    def _catch_up(self, build: Build, cursor: int) -> int:
        seen = cursor - TAIL_CHANGES_MAX
        while cursor - seen == TAIL_CHANGES_MAX:
            seen = cursor
            changes, cursor = self._ledger.changes_after(cursor, TAIL_CHANGES_MAX)
            if changes:
                build.apply(memberships(changes))
        return cursor


class PublisherLoop:
    """The body of one thread that keeps the index level until `stop` is set; its attributes are for the health page.

    A fault of the index or the ledger is remembered and the work tried again at the next tick; any other exception is
    our own, ends the thread and shows as a loop that no longer moves.
    """

    def __init__(self, publisher: Publisher, stop: threading.Event) -> None:
        self._publisher = publisher
        self._stop = stop
        self._moved = self._level = time.monotonic()
        self.fault = "not yet level with the ledger"  # "" when the last tick went through

    def run(self) -> None:
        step = self._publisher.ensure
        while not self._stop.is_set():
            self._moved = time.monotonic()
            try:
                step(self._moving)
            except (IndexDown, SQLAlchemyError) as error:
                self.fault = f"{type(error).__name__}: {error}"
            else:
                step = self._publisher.tick
                self._moved = self._level = time.monotonic()
                self.fault = ""
            self._stop.wait(TICK_SECONDS)

    @property
    def moved_age_s(self) -> float:
        """Seconds since the loop last did anything, a step of a long build included."""
        return time.monotonic() - self._moved

    @property
    def level_age_s(self) -> float:
        """Seconds since the index was last level with the ledger (since the start, if it never was)."""
        return time.monotonic() - self._level

    def _moving(self, _done: int, _total: int) -> None:
        self._moved = time.monotonic()
        if self._stop.is_set():
            raise IndexDown("stopping: the build is left to the next start")


def memberships(changes: Iterable[facts.Change]) -> list[Change]:
    """What the ledger says of keys, in the index's words."""
    return [
        Change(FAMILY_OF[kind], fingerprint, status is MEMBER_STATUS[kind]) for fingerprint, kind, status in changes
    ]


def _abandon(build: Build) -> None:
    with suppress(IndexDown):  # what stays behind is dropped by the next build
        build.abandon()

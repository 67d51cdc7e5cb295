"""The shared consent index in Redis: one server, Sentinel or Cluster (`filters.layout`; 10.4 octets per consent).

    {izinli:index}:builds   hash: epoch -> what is known of its build; every epoch that has, or may have, keys

Redis 7.0 or newer. Replication is asynchronous, so a promoted replica may lack what was acknowledged last: `lost_after`
finds out how much, by the levels that the publisher leaves in the lanes, and readers believe it only when that was put
again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from filters.index_url import IndexUrl, parse
from filters.key import split
from filters.layout import CHANGES_KEY, FORMAT, INDEX_KEY, MEMBER_OCTETS, Family, Suspended
from registry.index import lanes, scripts
from registry.index.build import BUILDS_KEY, Entry, RedisBuild, drop_older
from registry.index.interface import Change, Facts, IndexDown, IndexState, IndexUnusable
from registry.index.lanes import Layout
from registry.index.nodes import Servers
from registry.index.rounds import Server, info
from registry.index.scripts import UNUSABLE
from registry.limits import CHANGES_ENTRIES_MAX, CHANGES_ENTRY_MEMBERS_MAX, CONTENTION_TRIES_MAX, LEVEL_SECONDS

LOST: Final = "a part of the index was lost"
TOO_FAST: Final = "epochs follow one another too fast"
NOT_OURS: Final = "the index is empty, half-built or not ours"

_Answer = TypeVar("_Answer")


class _Found(NamedTuple):
    """The state as it was read."""

    state: IndexState
    layout: Layout
    runs: frozenset[str]
    announced: int | None


class _Looked(NamedTuple):
    """What `lost_after` looked at."""

    epoch: int
    runs: dict[Server, str]
    lost_state: bool  # the state's own server was among the unvouched


class RedisIndexWriter:
    """One writer of one Redis index; other processes may have theirs. Does not connect before it is used.

    `url` is what `filters.index_url` reads, or has read. Raises ValueError.
    """

    def __init__(self, url: str | IndexUrl, key_check: bytes) -> None:
        self._key_check = key_check
        self._servers = Servers(parse(url) if isinstance(url, str) else url)
        self._lock = threading.Lock()
        self._layout: Layout | None = None  # as it was last seen: for `name`
        self._looked: _Looked | None = None
        self._lives: frozenset[str] | None = None  # the runs that everything was put to since it was last looked
        self._levelled = float("-inf")  # monotonic

    def state(self) -> IndexState | None:
        found = self._found()
        return None if found is None else found.state

    def put(self, facts: Facts) -> list[Change]:
        refused: dict[Change, None] = {}
        done: set[int] = set()
        members = [change.fingerprint for change in facts.changes if change.member and change.family is Family.BIREYSEL]
        for _ in range(CONTENTION_TRIES_MAX):
            current, announced = self._epochs()
            grown = [0, 0]
            for layout in filter(None, (current, announced)):
                if layout.epoch in done:
                    continue
                applied = lanes.apply(self._servers, layout, facts)
                if layout is current:
                    if applied.lost:
                        break
                    grown = applied.grown
                refused.update(dict.fromkeys(applied.refused))
                done.add(layout.epoch)  # a build that was lost notices it by itself
            if current.epoch not in done:
                self._insist_on(current)
                continue
            heard = self._tell(current.epoch, grown, members)
            if heard <= done:
                return list(refused)
            members = []
        raise IndexDown(TOO_FAST)

    def beat(self, cursor: int) -> IndexState:
        self._servers.confirm()
        lives = self._servers.runs()
        with self._lock:
            known, self._lives = self._lives, frozenset(lives.values())
        if known is not None and not self._lives <= known:
            # what was put to the former life of a server may be lost: the caller must look before it promises
            raise IndexDown("a server was started or promoted meanwhile")
        counted: list[str | int] = ["", 0, 0]
        now = time.monotonic()
        if now - self._levelled >= LEVEL_SECONDS:
            counted = self._level(cursor, lives)
            self._levelled = now
        arguments: list[str | bytes | int] = [self._key_check, cursor, *counted]
        answer = self._on_state(scripts.BEAT, [INDEX_KEY], arguments)
        found = None if answer == UNUSABLE else self._parsed(_pairs(answer))
        if found is None:
            raise IndexUnusable(NOT_OURS)
        return found.state

    def suspend(self, suspended: Suspended, *, over: int = -1) -> int:
        arguments: list[str | bytes | int] = [self._key_check, suspended.version, str(suspended), over]
        stands = int(self._on_state(scripts.SUSPEND, [INDEX_KEY], arguments))
        if stands == UNUSABLE:
            raise IndexUnusable(NOT_OURS)
        return stands

    def lost_after(self) -> int | None:
        found = self._usable()
        runs = self._servers.runs()
        unvouched = {server for server, run in runs.items() if run not in found.runs}
        lowest = self._lowest(found.layout, unvouched) if unvouched else None
        with self._lock:
            self._lives = frozenset(runs.values())
            self._looked = _Looked(found.layout.epoch, runs, self._servers.state in unvouched) if unvouched else None
        if unvouched and lowest is None:  # they have no lanes yet
            self.vouch()
        return lowest

    def vouch(self) -> None:
        with self._lock:
            looked, self._looked = self._looked, None
        if looked is None:
            return
        if self._servers.runs() != looked.runs:
            raise IndexDown("a server was started or promoted meanwhile")
        history = secrets.token_hex(8) if looked.lost_state else ""
        arguments: list[str | bytes | int] = [self._key_check, looked.epoch, " ".join(looked.runs.values()), history]
        if self._on_state(scripts.VOUCH, [INDEX_KEY], arguments) == UNUSABLE:
            raise IndexDown("the index was built anew meanwhile")

    def build(self, epoch: int, expected: tuple[int, int], cursor: int) -> RedisBuild:
        return self._began(RedisBuild.begin(self._servers, self._key_check, epoch, expected, cursor))

    def unfinished(self) -> RedisBuild | None:
        build = RedisBuild.resume(self._servers, self._key_check)
        return None if build is None else self._began(build)

    def name(self, family: Family, fingerprint: bytes) -> bytes:
        layout = self._layout or self._usable().layout
        return lanes.name(layout, family, fingerprint)

    def lane(self, family: Family, lane: int) -> set[bytes]:
        return self._read(lambda layout: lanes.names(self._servers, layout, family, lane))

    def contains(self, family: Family, fingerprints: Sequence[bytes]) -> list[bool]:
        return self._read(lambda layout: lanes.contains(self._servers, layout, family, fingerprints))

    def last_epoch(self) -> int:
        with self._servers.round() as turn:
            turn.ask(self._servers.state, "HGET", INDEX_KEY, "epoch")
            turn.ask(self._servers.state, "HKEYS", BUILDS_KEY)
            epoch, builds = turn.answers()
        return max(int(one) if one.isdigit() else 0 for one in (epoch or b"0", *builds))

    def memory(self) -> int:
        masters = self._servers.topology().masters
        with self._servers.round() as turn:
            for server in masters:
                turn.ask(server, "INFO", "memory")
            answers = turn.answers()
        return sum(int(info(answer)["used_memory"]) for answer in answers)

    def close(self) -> None:
        self._servers.close()

    def _began(self, build: RedisBuild) -> RedisBuild:
        with self._lock:
            self._lives = build.runs  # what these servers forget from now on, the build misses
        return build

    def _epochs(self) -> tuple[Layout, Layout | None]:
        """The current epoch and the announced one. Raises IndexUnusable."""
        with self._servers.round() as turn:
            turn.ask(self._servers.state, "HGETALL", INDEX_KEY)
            turn.ask(self._servers.state, "HGETALL", BUILDS_KEY)
            fields, builds = turn.answers()
        found = self._parsed(_pairs(fields))
        if found is None:
            raise IndexUnusable(NOT_OURS)
        entry = None if found.announced is None else _pairs(builds).get(b"%d" % found.announced)
        if found.announced is None or entry is None:
            return found.layout, None
        return found.layout, Layout(found.announced, Entry.read(entry).bits)

    def _read(self, ask: Callable[[Layout], _Answer]) -> _Answer:
        """`ask` of the current epoch, which may be dropped while it is asked."""
        for _ in range(CONTENTION_TRIES_MAX):
            layout = self._usable().layout
            try:
                return ask(layout)
            except IndexUnusable:
                self._insist_on(layout)
        raise IndexDown(TOO_FAST)

    def _insist_on(self, layout: Layout) -> None:
        """Lanes of this epoch are missing: that is right when another one is current by now."""
        if self._usable().layout == layout:
            raise IndexUnusable(LOST)

    def _tell(self, epoch: int, grown: Sequence[int], fingerprints: Sequence[bytes]) -> set[int]:
        """Count, tell filters of new members, and read which epochs have to have the facts. Raises IndexUnusable."""
        packed = [split(one)[1].to_bytes(MEMBER_OCTETS) for one in fingerprints]
        steps = range(0, len(packed), CHANGES_ENTRY_MEMBERS_MAX)
        entries = [b"".join(packed[start : start + CHANGES_ENTRY_MEMBERS_MAX]) for start in steps]
        arguments: list[str | bytes | int] = [self._key_check, epoch, *grown, CHANGES_ENTRIES_MAX, *entries]
        answer = self._on_state(scripts.TELL, [INDEX_KEY, CHANGES_KEY, BUILDS_KEY], arguments)
        if answer == UNUSABLE:
            raise IndexUnusable(NOT_OURS)
        return {int(one) for one in answer if one}

    def _level(self, cursor: int, lives: dict[Server, str]) -> list[str | int]:
        """Pass over all lanes; the epoch and its counts. What a build left behind goes, too."""
        found = self._usable()
        vouched = {server: run for server, run in lives.items() if run in found.runs}
        counts = lanes.level(self._servers, found.layout, cursor, vouched)
        if counts is None:
            self._insist_on(found.layout)
            return ["", 0, 0]
        drop_older(self._servers, found.layout.epoch)
        return [found.layout.epoch, *counts]

    def _lowest(self, layout: Layout, unvouched: set[Server]) -> int | None:
        try:
            return lanes.lowest_level(self._servers, layout, unvouched)
        except IndexUnusable:
            self._insist_on(layout)
            raise IndexDown("the index was built anew meanwhile") from None

    def _on_state(self, script: scripts.Script, keys: list[str], arguments: Sequence[str | bytes | int]) -> Any:
        with self._servers.round() as turn:
            turn.run(script, self._servers.state, keys, arguments)
            return turn.answers()[0]

    def _usable(self) -> _Found:
        found = self._found()
        if found is None:
            raise IndexUnusable(NOT_OURS)
        return found

    def _found(self) -> _Found | None:
        with self._servers.round() as turn:
            turn.ask(self._servers.state, "HGETALL", INDEX_KEY)
            fields = turn.answers()[0]
        return self._parsed(_pairs(fields))

    def _parsed(self, fields: dict[bytes, bytes]) -> _Found | None:
        if fields.get(b"format") != b"%d" % FORMAT or fields.get(b"key_check") != self._key_check:
            return None
        names = (b"epoch", b"bits_b", b"bits_t", b"count_b", b"count_t", b"cursor", b"heartbeat_ms")
        try:
            epoch, bits_b, bits_t, count_b, count_t, cursor, heartbeat_ms = (int(fields[name]) for name in names)
            runs = frozenset(fields[b"runs"].decode().split())
        except (KeyError, ValueError):
            return None
        announced = fields.get(b"next")
        self._layout = layout = Layout(epoch, (bits_b, bits_t))
        state = IndexState(epoch, (count_b, count_t), cursor, heartbeat_ms, layout.room)
        return _Found(state, layout, runs, None if announced is None else int(announced))


def _pairs(answer: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(answer[::2], answer[1::2], strict=True))

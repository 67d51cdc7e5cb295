"""A build of the shared index: a new epoch beside the one that is being read.

    entry of {izinli:index}:builds, JSON: format key_check bits cursor runs turn done

Who builds is known by a number, `turn`, that stands in the entry and in every lane: whoever takes a build up counts it
on, and what the former builder still sends is refused. A lane has no `level` while it is filled; with it, it is whole
wherever it is replicated to. Lanes count what really came and went, so nothing has to be counted in the end.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, Final

import msgspec

from filters.key import MEMBER_MASK
from filters.layout import CHANGES_KEY, FORMAT, INDEX_KEY, LANE_BITS, LETTER, Family, lane_of
from registry.index import lanes, scripts
from registry.index.interface import Change, Facts, IndexDown, IndexState, IndexUnusable, Superseded
from registry.index.lanes import Layout
from registry.index.nodes import Servers
from registry.index.rounds import Round, Server, info
from registry.index.scripts import SUPERSEDED, UNUSABLE, Script
from registry.limits import LANE_CALL_MEMBERS_MAX, LANE_CALLS_AT_ONCE
from registry.log import logger

BUILDS_KEY: Final = "{izinli:index}:builds"
BUCKET_MEMBERS: Final = 128  # at most on average after a build; it may grow threefold (`lanes.BUCKET_ROOM`)
BITS_LEAST: Final = LANE_BITS
BITS_MOST: Final = 26  # 67 million buckets: 8.6 billion members
INTSET_ENTRIES: Final = 512  # Redis' own default
_HALF: Final = Struct(">4xQ")  # the second half of a fingerprint (`filters.key.split`)

_Filling = tuple[int, list[str], list[int]]  # lane, keys, for each bucket: how many members, members…


def bits_for(members: int) -> int:
    """How many bits choose a bucket in an index of so many members: ceil(log2(members / 128)), within bounds."""
    buckets = -(-members // BUCKET_MEMBERS)
    return min(max((max(1, buckets) - 1).bit_length(), BITS_LEAST), BITS_MOST)


class Entry(msgspec.Struct, frozen=True):
    """What is known of a build, also to those who take it up."""

    format: int
    key_check: str  # hexadecimal
    bits: tuple[int, int]
    cursor: int
    runs: tuple[str, ...]  # of all masters when it was begun
    turn: int
    done: tuple[int, str] | None = None  # family, fingerprint in hexadecimal

    @classmethod
    def read(cls, text: bytes) -> Entry:
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise IndexDown(f"{BUILDS_KEY} is not ours: {error}") from error

    def written(self) -> bytes:
        return msgspec.json.encode(self)


class RedisBuild:
    """A build of one epoch; begun or taken up by `RedisIndexWriter`."""

    def __init__(self, servers: Servers, epoch: int, entry: Entry) -> None:
        self.epoch = epoch
        self._servers = servers
        self._entry = entry
        self._layout = Layout(epoch, entry.bits)

    @property
    def cursor(self) -> int:
        return self._entry.cursor

    @property
    def done(self) -> tuple[Family, bytes] | None:
        done = self._entry.done
        return None if done is None else (Family(done[0]), bytes.fromhex(done[1]))

    @property
    def runs(self) -> frozenset[str]:
        """The masters' replication ids since it was begun: what they have been told they still know."""
        return frozenset(self._entry.runs)

    @classmethod
    def begin(
        cls, servers: Servers, key_check: bytes, epoch: int, expected: tuple[int, int], cursor: int
    ) -> RedisBuild:
        """See `IndexWriter.build`."""
        _check_settings(servers)
        runs = tuple(sorted(servers.runs().values()))
        bits = bits_for(expected[Family.BIREYSEL]), bits_for(expected[Family.TACIR])
        build = cls(servers, epoch, Entry(FORMAT, key_check.hex(), bits, cursor, runs, 1))
        with servers.round() as turn:
            turn.ask(servers.state, "HSETNX", BUILDS_KEY, epoch, build._entry.written())
            entered = turn.answers()[0]
        if not entered:
            raise Superseded(f"epoch {epoch} is being built already")

        def open_lane(turn: Round, server: Server, keys: list[str], last: bool) -> None:
            turn.run(scripts.OPEN, server, keys, [cursor, 1])

        lanes.pass_over(servers, build._layout, open_lane)
        return build

    @classmethod
    def resume(cls, servers: Servers, key_check: bytes) -> RedisBuild | None:
        """See `IndexWriter.unfinished`. A build whose servers are not what they were is dropped."""
        with servers.round() as turn:
            turn.ask(servers.state, "HGET", INDEX_KEY, "epoch")
            turn.ask(servers.state, "HGETALL", BUILDS_KEY)
            current, found = turn.answers()
        builds = dict(zip(map(int, found[::2]), found[1::2], strict=True))
        epoch = max(builds, default=0)
        if epoch <= int(current or 0):
            return None
        old = Entry.read(builds[epoch])
        entry = msgspec.structs.replace(old, turn=old.turn + 1)
        build = cls(servers, epoch, entry)
        ours = (entry.format, entry.key_check) == (FORMAT, key_check.hex())
        build._on_state(scripts.TAKE, [INDEX_KEY, BUILDS_KEY], [builds[epoch], entry.written()])
        whole = ours and build.runs == frozenset(servers.runs().values())
        if not whole or not build._claimed():
            build.abandon()
            return None
        return build

    def add(self, family: Family, fingerprints: Sequence[bytes]) -> None:
        if not fingerprints:
            return
        builder = self._entry.turn
        calls = _fillings(self._layout, family, fingerprints)
        with self._servers.round() as turn:
            for at, (lane, keys, members) in enumerate(calls):
                turn.run(scripts.FILL, self._servers.of(lane), keys, [builder, LETTER[family], *members])
                if at % LANE_CALLS_AT_ONCE == LANE_CALLS_AT_ONCE - 1:
                    _check(turn.answers())
            _check(turn.answers())
        noted = msgspec.structs.replace(self._entry, done=(int(family), fingerprints[-1].hex()))
        self._on_state(scripts.NOTE, [BUILDS_KEY], [builder, noted.written()])
        self._entry = noted

    def put(self, facts: Facts) -> list[Change]:
        applied = lanes.apply(self._servers, self._layout, facts)
        if applied.lost:
            raise IndexUnusable("a part of the build was lost")
        return applied.refused

    def announce(self) -> None:
        self._on_state(scripts.ANNOUNCE, [INDEX_KEY, BUILDS_KEY], [self._entry.turn])

    def switch(self, cursor: int) -> IndexState:
        counts = self._sealed(cursor)
        # a server that had another life meanwhile may have forgotten what it was told in the former one
        if frozenset(self._servers.runs().values()) != self.runs:
            raise IndexDown("a server was started or promoted during the build: it has to be built anew")
        fields: dict[str, str | int | bytes] = {
            "format": FORMAT,
            "key_check": bytes.fromhex(self._entry.key_check),
            "bits_b": self._layout.bits[Family.BIREYSEL],
            "bits_t": self._layout.bits[Family.TACIR],
            "count_b": counts[Family.BIREYSEL],
            "count_t": counts[Family.TACIR],
            "cursor": cursor,
            "runs": " ".join(self._entry.runs),
            "history": secrets.token_hex(8),
        }
        flat = [part for pair in fields.items() for part in pair]
        answer = self._on_state(scripts.SWITCH, [INDEX_KEY, BUILDS_KEY, CHANGES_KEY], [self._entry.turn, *flat])
        try:
            drop_older(self._servers, self.epoch)
        except IndexDown as error:  # the switch went through; `beat` drops them later
            logger.warning("old_epochs_not_dropped", error=str(error))
        heartbeat_ms = int(dict(zip(answer[::2], answer[1::2], strict=True))[b"heartbeat_ms"])
        return IndexState(self.epoch, counts, cursor, heartbeat_ms, self._layout.room)

    def abandon(self) -> None:
        try:
            self._on_state(scripts.LEAVE, [INDEX_KEY, BUILDS_KEY], [self._entry.turn])
        except Superseded:  # it is the current epoch, or somebody else's build
            return
        _drop(self._servers, self._layout)

    def _claimed(self) -> bool:
        """From now on the lanes listen to this builder alone. False: a lane is not there."""
        layout, answers = self._layout, []
        for some in lanes.batches():
            with self._servers.round() as turn:
                for lane in some:
                    turn.run(scripts.CLAIM, self._servers.of(lane), [layout.lane(lane)], [self._entry.turn])
                answers += turn.answers()
        if SUPERSEDED in answers:
            raise Superseded("another publisher has taken this build up")
        return UNUSABLE not in answers

    def _sealed(self, level: int) -> tuple[int, int]:
        """The lanes are whole, level with this event, and take no filling any more. Returns the members."""

        def seal(turn: Round, server: Server, keys: list[str], last: bool) -> None:
            turn.run(scripts.SEAL, server, keys, [self._entry.turn, level if last else ""])

        answers = lanes.pass_over(self._servers, self._layout, seal)
        _check(answers)
        return sum(b for b, _ in answers), sum(t for _, t in answers)

    def _on_state(self, script: Script, keys: list[str], arguments: Sequence[str | int | bytes]) -> Any:
        """A script about this epoch, by the side of the state. Raises Superseded and IndexUnusable."""
        with self._servers.round() as turn:
            turn.run(script, self._servers.state, keys, [self.epoch, *arguments])
            answers = turn.answers()
        _check(answers)
        return answers[0]


def drop_older(servers: Servers, epoch: int) -> None:
    """Remove all older epochs, also what a build left that was killed. Their keys are computed, nothing is scanned."""
    with servers.round() as turn:
        turn.ask(servers.state, "HGETALL", BUILDS_KEY)
        found = turn.answers()[0]
    for older, text in zip(map(int, found[::2]), found[1::2], strict=True):
        if older < epoch:
            _drop(servers, Layout(older, Entry.read(text).bits))


def _drop(servers: Servers, layout: Layout) -> None:
    def unlink(turn: Round, server: Server, keys: list[str], last: bool) -> None:
        turn.ask(server, "UNLINK", *keys)

    lanes.pass_over(servers, layout, unlink)
    with servers.round() as turn:
        turn.ask(servers.state, "HDEL", BUILDS_KEY, layout.epoch)  # last: until then others know what to drop
        turn.answers()


def _check_settings(servers: Servers) -> None:
    """What Redis must not do with an index."""
    for server in servers.topology().masters:
        with servers.round() as turn:
            turn.ask(server, "INFO", "memory")
            about = info(turn.answers()[0])
            turn.ask(server, "CONFIG", "GET", "set-max-intset-entries")
            limit = turn.tried()[0]  # who may not ask is trusted to have left the default
        if about.get("maxmemory", "0") != "0" and about.get("maxmemory_policy", "").startswith("allkeys"):
            # an evicted bucket of refusals would let messages pass
            raise IndexDown(f"{server.name} may evict the index: set maxmemory-policy to noeviction")
        if isinstance(limit, list) and limit and int(limit[1]) < INTSET_ENTRIES:
            raise IndexDown(
                f"{server.name} would need six times the memory: set set-max-intset-entries to {INTSET_ENTRIES}"
            )


def _fillings(layout: Layout, family: Family, fingerprints: Sequence[bytes]) -> Iterator[_Filling]:
    """The calls that add ascending fingerprints."""
    shift = 32 - layout.bits[family]
    lane, size = -1, 0
    keys: list[str] = []
    members: list[int] = []
    at, end = 0, len(fingerprints)
    while at < end:
        bucket_hash = int.from_bytes(fingerprints[at][:4])
        if lane != lane_of(bucket_hash) or size == LANE_CALL_MEMBERS_MAX:
            if keys:
                yield lane, keys, members
            lane, size = lane_of(bucket_hash), 0
            keys, members = [layout.lane(lane)], []
        most = min(end, at + LANE_CALL_MEMBERS_MAX - size)
        beyond = ((bucket_hash >> shift) + 1 << shift).to_bytes(5)
        # the last bucket has nothing beyond it
        to = most if beyond[0] else bisect_left(fingerprints, beyond[1:], at, most)
        keys.append(layout.key(family, bucket_hash))
        members.append(to - at)
        members += [number & MEMBER_MASK for (number,) in _HALF.iter_unpack(b"".join(fingerprints[at:to]))]
        size += to - at
        at = to
    if keys:
        yield lane, keys, members


def _check(answers: Sequence[Any]) -> None:
    if UNUSABLE in answers:
        raise IndexUnusable("a part of the build was lost")
    if SUPERSEDED in answers:
        raise Superseded("another publisher has taken this build up, or a newer one was faster")

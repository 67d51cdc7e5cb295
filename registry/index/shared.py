"""The shared consent index: intsets in Redis, about 128 members each, 10.4 bytes per consent.

    izinli:builds   hash: epoch -> bits of every epoch that has, or may have, keys

What readers need of it is laid down in `filters.layout`; the builds are this module's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError
from redis.retry import Retry

from filters.key import split
from filters.layout import FORMAT, INDEX_KEY, Family, bucket_prefix
from registry.index.interface import Change, IndexDown, IndexState, IndexUnusable, Plan, Superseded
from registry.limits import CONTENTION_TRIES_MAX, INDEX_WAIT_SECONDS

BUILDS: Final = "izinli:builds"
# `set-max-intset-entries` is 512: a bucket may grow fourfold before it costs six times as much
BUCKET_MEMBERS: Final = 128
CAPACITY_MIN: Final = 10_000
PIPELINE_KEYS: Final = 1000  # per command


def bits_for(members: int) -> int:
    """How many bits choose a bucket, for an index that holds `members` now and may double: ceil(log2(capacity/128))."""
    capacity = max(CAPACITY_MIN, 2 * members)
    return max(0, (-(-capacity // BUCKET_MEMBERS) - 1).bit_length())


def bucket_key(epoch: int, family: Family, bits: int, bucket_hash: int) -> str:
    """The key of the set that a fingerprint belongs to."""
    return f"{bucket_prefix(epoch, family)}{bucket_hash >> (32 - bits)}"


class RedisIndexWriter:
    """One writer of one Redis index; other processes may have theirs. No retries inside the client library.

    Transactions are optimistic: WATCH on `izinli:index`, which every update writes.
    """

    def __init__(self, url: str, key_check: bytes) -> None:
        self._key_check = key_check
        self.client: Any = redis.Redis.from_url(
            url,
            socket_timeout=INDEX_WAIT_SECONDS,
            socket_connect_timeout=INDEX_WAIT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name="izinli-registry",
        )

    def state(self) -> IndexState | None:
        with answering():
            found = self._parse(self.client.hgetall(INDEX_KEY))
        return None if found is None else found[0]

    def last_epoch(self) -> int:
        with answering():
            named = [self.client.hget(INDEX_KEY, "epoch") or b"0", *self.client.hkeys(BUILDS)]
        return max(int(epoch) if epoch.isdigit() else 0 for epoch in named)

    def contains(self, family: Family, fingerprints: Sequence[bytes]) -> list[bool]:
        with answering():
            state, bits = self._usable(self.client)
            return self._present(state.epoch, bits, [Change(family, fingerprint, True) for fingerprint in fingerprints])

    def members(self, family: Family) -> int:
        total = 0
        with answering():
            state, bits = self._usable(self.client)
            for start in range(0, 1 << bits, PIPELINE_KEYS):
                with self.client.pipeline(transaction=False) as pipe:
                    for bucket in range(start, min(start + PIPELINE_KEYS, 1 << bits)):
                        pipe.scard(f"{bucket_prefix(state.epoch, family)}{bucket}")
                    total += sum(pipe.execute())
        return total

    def update(self, plan: Plan) -> IndexState:
        def step(pipe: Any) -> IndexState:
            state, bits = self._usable(pipe)
            now_ms = _milliseconds(pipe.time())
            update = plan(state)
            count = state.count + self.growth(state.epoch, bits, update.changes)
            cursor = state.cursor if update.cursor is None else update.cursor
            heartbeat_ms = now_ms if update.beat else state.heartbeat_ms
            pipe.multi()
            queue_changes(pipe, state.epoch, bits, update.changes)
            pipe.hset(INDEX_KEY, mapping={"count": count, "cursor": cursor, "heartbeat_ms": heartbeat_ms})
            return IndexState(state.epoch, count, cursor, heartbeat_ms, state.capacity)

        return self.transaction(step)

    def build(self, epoch: int, expected: int) -> RedisBuild:
        with answering():
            memory = self.client.info("memory")
            if memory.get("maxmemory") and str(memory.get("maxmemory_policy", "")).startswith("allkeys"):
                # an evicted bucket of refusals would let messages pass
                raise IndexDown("Redis may evict the index: set maxmemory-policy to noeviction")
            self.client.hset(BUILDS, str(epoch), bits_for(expected))
        return RedisBuild(self, epoch, bits_for(expected))

    def switch(self, epoch: int, bits: int, count: int, plan: Plan) -> IndexState:
        """The last step of a build: its tail and the switch in one transaction."""

        def step(pipe: Any) -> IndexState:
            found = pipe.hget(INDEX_KEY, "epoch")
            if found is not None and int(found) >= epoch:
                raise Superseded(f"epoch {int(found)} was built in the meantime")
            now_ms = _milliseconds(pipe.time())
            update = plan(IndexState(epoch, count, 0, 0, _capacity(bits)))
            total = count + self.growth(epoch, bits, update.changes)
            fields = {"format": FORMAT, "epoch": epoch, "bits": bits, "count": total, "cursor": update.cursor or 0}
            pipe.multi()
            queue_changes(pipe, epoch, bits, update.changes)
            pipe.hset(INDEX_KEY, mapping={**fields, "heartbeat_ms": now_ms, "key_check": self._key_check})
            return IndexState(epoch, total, update.cursor or 0, now_ms, _capacity(bits))

        return self.transaction(step)

    def transaction(self, step: Any) -> IndexState:
        """Run `step(pipe)` under WATCH and execute what it queued; again when another publisher was faster."""
        for _ in range(CONTENTION_TRIES_MAX):
            with answering(), self.client.pipeline() as pipe:
                pipe.watch(INDEX_KEY)
                state: IndexState = step(pipe)
                try:
                    pipe.execute()
                except WatchError:
                    continue
                return state
        raise IndexDown("other publishers write too often")

    def growth(self, epoch: int, bits: int, changes: Sequence[Change]) -> int:
        """By how many members the changes will grow an epoch; exact as long as the transaction goes through."""
        present = self._present(epoch, bits, changes)
        return sum(change.member - was for change, was in zip(changes, present, strict=True))

    def drop(self, epoch: int, bits: int) -> None:
        """Remove an epoch's keys; their names are computed, nothing is scanned."""
        names = [f"izinli:{epoch}:{letter}:{bucket}" for letter in "bt" for bucket in range(1 << bits)]
        with answering():
            for start in range(0, len(names), PIPELINE_KEYS):
                self.client.unlink(*names[start : start + PIPELINE_KEYS])
            self.client.hdel(BUILDS, str(epoch))

    def drop_older(self, epoch: int) -> None:
        """Remove all older epochs, also what a build left that was killed."""
        with answering():
            builds = self.client.hgetall(BUILDS)
        for other, bits in builds.items():
            if int(other) < epoch:
                self.drop(int(other), int(bits))

    def close(self) -> None:
        self.client.close()

    def _present(self, epoch: int, bits: int, changes: Sequence[Change]) -> list[bool]:
        with self.client.pipeline(transaction=False) as pipe:
            for change in changes:
                bucket_hash, member = split(change.fingerprint)
                pipe.sismember(bucket_key(epoch, change.family, bits, bucket_hash), member)
            return [bool(answer) for answer in pipe.execute()]

    def _usable(self, client: Any) -> tuple[IndexState, int]:
        found = self._parse(client.hgetall(INDEX_KEY))
        if found is None:
            raise IndexUnusable("the index is empty, half-built or not ours")
        return found

    def _parse(self, fields: dict[bytes, bytes]) -> tuple[IndexState, int] | None:
        if fields.get(b"format") != str(FORMAT).encode() or fields.get(b"key_check") != self._key_check:
            return None
        try:
            numbers = [int(fields[name]) for name in (b"epoch", b"count", b"cursor", b"heartbeat_ms", b"bits")]
        except (KeyError, ValueError):
            return None
        epoch, count, cursor, heartbeat_ms, bits = numbers
        return IndexState(epoch, count, cursor, heartbeat_ms, _capacity(bits)), bits


class RedisBuild:
    """A build of one epoch."""

    def __init__(self, writer: RedisIndexWriter, epoch: int, bits: int) -> None:
        self._writer = writer
        self._epoch = epoch
        self._bits = bits
        self._count = 0

    def add(self, family: Family, fingerprints: Sequence[bytes]) -> None:
        shift, prefix = 32 - self._bits, bucket_prefix(self._epoch, family)
        with answering(), self._writer.client.pipeline(transaction=False) as pipe:
            halves = map(split, fingerprints)
            for bucket, group in groupby(halves, key=lambda half: half[0] >> shift):
                pipe.sadd(f"{prefix}{bucket}", *[member for _, member in group])
            self._count += sum(pipe.execute())

    def apply(self, changes: Sequence[Change]) -> None:
        grown = 0
        with answering(), self._writer.client.pipeline(transaction=False) as pipe:
            queue_changes(pipe, self._epoch, self._bits, changes)
            signs = _signs(changes)
            grown = sum(sign * int(answer) for sign, answer in zip(signs, pipe.execute(), strict=True))
        self._count += grown

    def switch(self, plan: Plan) -> IndexState:
        state = self._writer.switch(self._epoch, self._bits, self._count, plan)
        self._writer.drop_older(self._epoch)
        return state

    def abandon(self) -> None:
        self._writer.drop(self._epoch, self._bits)


@contextmanager
def answering() -> Iterator[None]:
    """Redis' and the network's faults become IndexDown; redis-py closes the connection on a timeout by itself."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise IndexDown(f"Redis: {type(error).__name__}: {error}") from error


def queue_changes(pipe: Any, epoch: int, bits: int, changes: Sequence[Change]) -> None:
    """One SADD or SREM per change, in order."""
    for change in changes:
        bucket_hash, member = split(change.fingerprint)
        command = pipe.sadd if change.member else pipe.srem
        command(bucket_key(epoch, change.family, bits, bucket_hash), member)


def _signs(changes: Iterable[Change]) -> list[int]:
    return [1 if change.member else -1 for change in changes]


def _capacity(bits: int) -> int:
    return BUCKET_MEMBERS << bits


def _milliseconds(time: tuple[int, int]) -> int:
    seconds, microseconds = time
    return seconds * 1000 + microseconds // 1000

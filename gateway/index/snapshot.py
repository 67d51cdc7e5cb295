"""The snapshot behind the negative pre-filter: a file that every worker of a machine maps, made from Redis alone.

    data_dir/index.bloom        the snapshot (`filters.bloom`), read-only and shared
    data_dir/index.bloom.new    one that is being written; of no meaning
    data_dir/index.bloom.lock   held by whoever is building

A snapshot is every bucket of BIREYSEL of one epoch, read lane by lane. It is kept only if at the end everything that
makes its silence mean "no" was as in the beginning: the epoch, the history of the stream, and the very same runs of all
servers, each vouched for. The number of the newest change is read first, so what came during the reading is told again
by the stream. A kill at any moment leaves the old file or the new one.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from filters.bloom import Bloom, BloomFault, BloomFull, Origin, read
from filters.index_url import IndexUrl
from filters.layout import BITS_MAX, FORMAT, INDEX_KEY, LANE_BITS, LANES, MARKER, Family, bucket_key
from gateway import limits
from gateway.index.nodes import Nodes, nodes_of
from gateway.index.server import INFO, UNREACHABLE, Server, pack, run_of
from gateway.index.wire import Wire

FILE: Final = "index.bloom"
_STATE: Final = pack(("HMGET", INDEX_KEY, "format", "key_check", "epoch", "bits_b", "history", "changes", "runs"))
_MARKER: Final = str(MARKER).encode()
_HEADROOM: Final = 1.03  # the count is estimated within a hundredth, and may grow while the buckets are read

Progress = Callable[[int, int], None]
"""`progress(done, total)` in members; the total is an estimate."""


class SnapshotFault(Exception):
    """There is no new snapshot, and the old one stands as it was; the text says why. Try again later."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot that was taken. `changes`: the number of the last change that is in it."""

    path: Path
    epoch: int
    changes: int
    members: int
    capacity: int
    octets: int
    seconds: float


class Opened(NamedTuple):
    """A snapshot that is mapped, for as long as `bloom` is referred to."""

    origin: Origin
    bloom: Bloom
    taken_at: float  # Unix time


class _State(NamedTuple):
    """What has to be the same in the beginning and in the end."""

    epoch: int
    bits: int
    history: bytes
    runs: bytes
    servers: frozenset[tuple[Wire | None, bytes]]  # the connections, and what runs at their other ends


def open_snapshot(path: Path, *, whole: bool) -> Opened:
    """Map the file. `whole`: also read it all. Raises FileNotFoundError, other OSError, BloomFault."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not found.st_size:
            raise BloomFault("the file is empty")
        mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    origin, bloom = read(memoryview(mapped), whole=whole)
    mapped.madvise(mmap.MADV_WILLNEED)  # a page that is not in memory would make the loop wait for the disk
    return Opened(origin, bloom, found.st_mtime)


async def build(url: IndexUrl, key_check: bytes, data_dir: Path, progress: Progress | None = None) -> SnapshotInfo:
    """Read the index at `url` (with its passwords) and write `data_dir/index.bloom`. Raises SnapshotFault."""
    started = time.monotonic()
    nodes = nodes_of(url, _Nobody())
    try:
        with _alone(data_dir / f"{FILE}.lock"):
            nodes.start()
            reading = _Reading(nodes, key_check)
            origin, bloom = await reading.members(progress or (lambda done, total: None))
            page, bits = bloom.pages(origin)
            _write(data_dir / FILE, page, bits)
    except (*UNREACHABLE, ValueError, TypeError) as error:
        raise SnapshotFault(f"{type(error).__name__}: {error}") from error
    except BloomFull as error:
        raise SnapshotFault(f"the index grew too fast: {error}") from error
    finally:
        await nodes.close()
    octets, seconds = len(page) + bits.nbytes, time.monotonic() - started
    return SnapshotInfo(data_dir / FILE, origin.epoch, origin.changes, bloom.count, bloom.capacity, octets, seconds)


class _Nobody:
    """Who is not interested in servers' coming and going."""

    def came(self, server: Server) -> None: ...
    def went(self, server: Server) -> None: ...


class _Reading:
    """One pass over the index."""

    def __init__(self, nodes: Nodes, key_check: bytes) -> None:
        self._nodes = nodes
        self._key_check = key_check
        self._epoch = 0
        self._bits = LANE_BITS

    async def members(self, progress: Progress) -> tuple[Origin, Bloom]:
        """All of them, as a filter with a little room; raises SnapshotFault if they might not be all."""
        await self._connected()
        before, changes = await self._state()
        self._epoch, self._bits = before.epoch, before.bits
        expected = await self._estimate()
        bloom = Bloom.empty(int(expected * _HEADROOM) + limits.FILTER_MEMBERS_MIN)
        for lane in range(LANES):
            for buckets in self._chunks(lane):
                bloom.add(_members(await self._asked("SMEMBERS", lane, buckets)))
            progress(bloom.count, max(expected, bloom.count))
        if (await self._state())[0] != before:
            raise SnapshotFault("the index was built anew, or its servers changed, while it was read")
        return Origin(before.epoch, before.history, changes, self._key_check), bloom

    async def _connected(self) -> None:
        """Wait for every server."""
        nodes = self._nodes
        async with asyncio.timeout(limits.FILTER_READ_S):
            while not self._servers() or None in self._servers() or any(one.wire is None for one in nodes.servers):
                await asyncio.sleep(limits.FILTER_POLL_S / 10)

    def _servers(self) -> set[Server | None]:
        return {self._nodes.state, *(self._nodes.of_lane or ())}

    async def _state(self) -> tuple[_State, int]:
        """And the number of the newest change."""
        servers = [await self._known(server) for server in self._nodes.servers]
        (fields,) = await self._call(self._nodes.state, _STATE, 1)
        version, key_check, *rest = fields
        if version != str(FORMAT).encode() or key_check != self._key_check or None in rest:
            raise SnapshotFault("the index is empty, half-built, of another format or of another key")
        epoch, bits, history, changes, runs = rest
        if not all(run and run in runs for _, run in servers):
            raise SnapshotFault("a server is no master, or may lack something and is not vouched for")
        if not LANE_BITS <= int(bits) <= BITS_MAX:
            raise SnapshotFault("the index is laid out in a way that is not understood")
        return _State(int(epoch), int(bits), history, runs, frozenset(servers)), int(changes)

    async def _known(self, server: Server) -> tuple[Wire | None, bytes]:
        """A connection, and what runs at its other end by now."""
        (info,) = await self._call(server, INFO, 1)
        return server.wire, run_of(info)

    def _chunks(self, lane: int) -> Iterator[range]:
        """The buckets of a lane, by their numbers, in portions for one round trip."""
        wide = 1 << (self._bits - LANE_BITS)
        for start in range(lane * wide, (lane + 1) * wide, limits.FILTER_BUCKETS_AT_ONCE):
            yield range(start, min(start + limits.FILTER_BUCKETS_AT_ONCE, (lane + 1) * wide))

    async def _estimate(self) -> int:
        """About how many members there are: exact for a small index, and of a large one counted in a sample.

        Buckets are chosen by a keyed hash, so any of them are as good as others: 4096 of some hundred members tell the
        sum within a hundredth.
        """
        counted = members = 0
        for lane in range(LANES):
            sample = next(self._chunks(lane))[: limits.FILTER_SAMPLE_BUCKETS // LANES]
            counted += len(sample)
            members += sum(max(0, int(size) - 1) for size in await self._asked("SCARD", lane, sample))  # less MARKER
        return (members << self._bits) // counted

    async def _asked(self, command: str, lane: int, buckets: range) -> list[Any]:
        """What `command` says of each of some buckets of a lane."""
        of_lane = self._nodes.of_lane
        server = self._nodes.state if of_lane is None else of_lane[lane]
        shift = 32 - self._bits
        keys = [bucket_key(self._epoch, Family.BIREYSEL, self._bits, bucket << shift) for bucket in buckets]
        return await self._call(server, b"".join(pack((command, key)) for key in keys), len(keys))

    async def _call(self, server: Server | None, data: bytes, wanted: int) -> list[Any]:
        """As `Wire.call`, with more time."""
        if server is None or server.wire is None:
            raise ConnectionError("a server was lost")
        return await server.wire.call(data, wanted, limits.FILTER_READ_S)


def _members(buckets: list[Any]) -> list[int]:
    """What stands in some buckets; raises SnapshotFault when one was lost."""
    members: list[int] = []
    for bucket in buckets:
        found = set(bucket)
        if _MARKER not in found:
            raise SnapshotFault("a part of the index was lost")
        found.remove(_MARKER)
        members += map(int, found)
    return members


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One build at a time on a machine; a killed one lets go by itself."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SnapshotFault("another process is building one") from None
        yield


def _write(path: Path, page: bytes, bits: memoryview) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(page)
        file.write(bits)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)

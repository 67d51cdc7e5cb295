"""The consent filter beside others: `python -m bench.bloom --members 10000000`.

A row each for ours, for pybloom-live as it is (same bits, its own loops) and for rbloom (Rust, its own bits and hash).
Keys are random members as 8 octets; "hit" asks for members in random order, "miss" for others, so most of the time is
spent waiting for memory, as it is in a worker. Opening is the header alone, as a worker does it; all other times are
CPU time, so that others who work on the machine count less.
"""

from __future__ import annotations

import argparse
import gc
import mmap
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import rbloom
from pybloom_live import BloomFilter
from rich.console import Console
from rich.table import Table

from bench import machine
from filters.bloom import ERROR_RATE, Bloom, Origin, read

CHUNK: Final = 10_000  # members that are added in one call, as many as some tens of buckets hold
ASKED: Final = 200_000
ORIGIN: Final = Origin(1, b"bench", 0, bytes(8))


class Subject(Protocol):
    """A filter under test."""

    def add(self, members: list[int]) -> None: ...
    def asked(self, members: list[int]) -> int:
        """How many of them may be members."""

    def write(self, path: Path) -> None: ...
    def open(self, path: Path) -> None:
        """Be what was written."""


class Ours:
    """`filters.bloom`."""

    def __init__(self, capacity: int) -> None:
        self._bloom = Bloom.empty(capacity)

    def add(self, members: list[int]) -> None:
        self._bloom.add(members)

    def asked(self, members: list[int]) -> int:
        bloom = self._bloom
        return sum(member in bloom for member in members)

    def write(self, path: Path) -> None:
        page, bits = self._bloom.pages(ORIGIN)
        with path.open("wb") as file:
            file.write(page)
            file.write(bits)

    def open(self, path: Path) -> None:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        self._bloom = read(memoryview(mapped), whole=False)[1]


class Pybloom:
    """`pybloom_live.BloomFilter`; it reads a file into memory of its own."""

    def __init__(self, capacity: int) -> None:
        self._bloom = BloomFilter(capacity, ERROR_RATE)

    def add(self, members: list[int]) -> None:
        add = self._bloom.add
        for member in members:
            add(member.to_bytes(8), skip_check=True)

    def asked(self, members: list[int]) -> int:
        bloom = self._bloom
        return sum(member.to_bytes(8) in bloom for member in members)

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            self._bloom.tofile(file)

    def open(self, path: Path) -> None:
        with path.open("rb") as file:
            self._bloom = BloomFilter.fromfile(file)


class Rbloom:
    """`rbloom.Bloom`. A member is its own hash (it is one already), spread over the 128 bits that rbloom wants."""

    def __init__(self, capacity: int) -> None:
        self._bloom: Any = rbloom.Bloom(capacity, ERROR_RATE, _spread)

    def add(self, members: list[int]) -> None:
        self._bloom.update(members)

    def asked(self, members: list[int]) -> int:
        bloom = self._bloom
        return sum(member in bloom for member in members)

    def write(self, path: Path) -> None:
        self._bloom.save(str(path))

    def open(self, path: Path) -> None:
        self._bloom = rbloom.Bloom.load(str(path), _spread)


def _spread(member: int) -> int:
    return ((member * 0x9E3779B97F4A7C15F39CC0605CEDC835) & ((1 << 128) - 1)) - (1 << 127)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one of them."""

    build_s: float
    open_ms: float
    megabytes: float
    false_positives: float
    hit_us: float
    miss_us: float


def measure(make: Callable[[int], Subject], members: int, directory: Path) -> Figures:
    """Fill to capacity, write, open again, ask."""
    gc.collect()
    subject, build_s = make(members), 0.0
    for chunk in _chunks(members):
        begun = time.process_time()
        subject.add(chunk)
        build_s += time.process_time() - begun
    path = directory / "filter"
    subject.write(path)
    begun = time.perf_counter()
    subject.open(path)
    open_ms = (time.perf_counter() - begun) * 1000
    others = _others(ASKED)
    some = _some(members, ASKED)
    subject.asked(others[: ASKED // 10])  # into memory
    begun = time.process_time()
    wrong = subject.asked(others)
    miss_us = (time.process_time() - begun) / ASKED * 1e6
    begun = time.process_time()
    found = subject.asked(some)
    hit_us = (time.process_time() - begun) / len(some) * 1e6
    if found != len(some):
        raise AssertionError(f"{len(some) - found} members were denied")
    return Figures(build_s, open_ms, path.stat().st_size / 1e6, wrong / ASKED, hit_us, miss_us)


def _chunks(members: int) -> Iterator[list[int]]:
    chance = random.Random(1)
    for start in range(0, members, CHUNK):
        yield [chance.getrandbits(63) for _ in range(min(CHUNK, members - start))]


def _others(count: int) -> list[int]:
    chance = random.Random(3)
    return [chance.getrandbits(63) for _ in range(count)]


def _some(members: int, count: int) -> list[int]:
    """Of the members, evenly, in random order."""
    step = max(1, members // count)
    found = [chunk[at] for chunk in _chunks(members) for at in range(0, len(chunk), step)]
    random.Random(4).shuffle(found)
    return found[:count]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=1_000_000)
    members = parser.parse_args().members
    subjects: dict[str, Callable[[int], Subject]] = {
        "izinli": Ours,
        "pybloom-live as it is": Pybloom,
        "rbloom": Rbloom,
    }
    table = Table("", "build s", "open ms", "MB", "false maybe", "hit µs", "miss µs", title=f"{members:,} members")
    with tempfile.TemporaryDirectory() as directory:
        for name, make in subjects.items():
            one = measure(make, members, Path(directory))
            table.add_row(
                *(name, f"{one.build_s:.1f}", f"{one.open_ms:.2f}", f"{one.megabytes:.1f}"),
                *(f"{one.false_positives:.3%}", f"{one.hit_us:.2f}", f"{one.miss_us:.2f}"),
            )
    console = Console()
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"{machine.cpu_model()}, Python at {machine.interpreter_ns()} ns, peak of memory {peak:.0f} MB")


if __name__ == "__main__":
    main()

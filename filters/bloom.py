"""The negative pre-filter: a Bloom filter of the BIREYSEL members. It can prove "certainly no consent", nothing else.

Built on `pybloom_live.BloomFilter`: its mathematics (slices of bits, one bit of each per key), its hash functions and
its format are kept, so that either reads what the other wrote. A key is the 63-bit member (`filters.key.split`) as 8
big-endian octets. Its own loops are replaced: they fetch each number of a hash from a generator, those here take all of
them at once, over the same bits. `in` costs half to two thirds of its own, `add` hardly less (`python -m bench.bloom`).

The form of a snapshot, a page of header and then the bits to the end of the file:

    offset 0      HEADER, little-endian: magic, version, epoch, changes, count, key_check, history (zeros behind it),
                  checksum of the bits, checksum of the page (BLAKE2b-128 over all of it, these 16 octets being zero)
    offset 4056   pybloom-live's own header: error rate, slices, bits per slice, capacity, count
    offset 4096   the bits, 1.8 octets per member at the error rate of 0.001

`BloomFilter.fromfile` reads what stands from offset 4056 on. The numbers a key is hashed to are in the byte order of
the machine (as in pybloom-live), so a snapshot stays on the machine that made it, like the memory it is mapped into.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct, pack
from typing import Any, Final

from bitarray import bitarray
from pybloom_live import BloomFilter

from filters.layout import MEMBER_OCTETS

ERROR_RATE: Final = 0.001  # at capacity: one absent recipient in a thousand is asked about all the same
PAGE_OCTETS: Final = 4096
CAPACITY_MAX: Final = 1 << 40
HISTORY_OCTETS_MAX: Final = 64

_MAGIC: Final = b"IZBLOOM\0"
_VERSION: Final = 1
_HEADER: Final = Struct(f"<8sQQQQ8sB{HISTORY_OCTETS_MAX}s16s")
_CHECKSUM_OCTETS: Final = 16
_FOREIGN: Final = Struct(BloomFilter.FILE_FMT)
_FOREIGN_AT: Final = PAGE_OCTETS - _FOREIGN.size


class BloomFault(Exception):
    """The octets are no whole snapshot of ours; the text says why."""


class BloomFull(Exception):
    """More members than the capacity: false positives would no longer be as rare as promised."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What of the index a snapshot holds: the members of `epoch`, but for those that only entries of the stream after
    number `changes` tell of. `history`, at most HISTORY_OCTETS_MAX octets, says whose numbers these are."""

    epoch: int
    history: bytes
    changes: int
    key_check: bytes


class Bloom:
    """A set of members that may be believed when it says no."""

    __slots__ = ("_bits", "_filter", "_numbers", "_salt", "_width")

    def __init__(self, filter_: Any) -> None:
        """Over the bits of a `pybloom_live.BloomFilter`, which are not copied."""
        self._filter = filter_
        self._bits = filter_.bitarray
        self._width = filter_.bits_per_slice
        # As `pybloom_live.pybloom.make_hashfuncs`, whose salts are hidden in a closure.
        code = "Q" if self._width >= 1 << 31 else "I" if self._width >= 1 << 15 else "H"
        hashed = filter_.hashfn
        self._salt = hashed(hashed(pack("I", 0)).digest())
        numbers = Struct(f"{filter_.num_slices}{code}")
        # More slices than one digest has numbers for: pybloom-live's own generator knows how to go on.
        self._numbers = numbers.unpack_from if numbers.size <= self._salt.digest_size else None

    @classmethod
    def empty(cls, capacity: int, error_rate: float = ERROR_RATE) -> Bloom:
        """A filter without members, for up to `capacity` of them."""
        return cls(BloomFilter(capacity, error_rate))

    @property
    def count(self) -> int:
        """Members that were added."""
        return int(self._filter.count)

    @property
    def capacity(self) -> int:
        return int(self._filter.capacity)

    def add(self, members: Iterable[int]) -> None:
        """Add members, none twice (they are not looked up, so they would count twice). Raises BloomFull."""
        width, slices = self._width, range(0, self._filter.num_bits, self._width)
        places: list[int] = []
        for member in members:
            numbers = self._hashes(member)
            places += [start + number % width for start, number in zip(slices, numbers, strict=True)]
        count = self.count + len(places) // len(slices)
        if count > self.capacity:
            raise BloomFull(f"more than {self.capacity:,} members")
        self._bits[places] = True
        self._filter.count = count

    def __contains__(self, member: int) -> bool:
        """False: it was certainly not added."""
        bits, width, start = self._bits, self._width, 0
        for number in self._hashes(member):
            if not bits[start + number % width]:
                return False
            start += width
        return True

    def _hashes(self, member: int) -> tuple[int, ...]:
        """One number for each slice."""
        key = member.to_bytes(MEMBER_OCTETS)
        if self._numbers is None:
            return tuple(self._filter.make_hashes(key))
        state = self._salt.copy()
        state.update(repr(key).encode())  # pybloom-live hashes what `str` makes of a key
        return self._numbers(state.digest())

    def pages(self, origin: Origin) -> tuple[bytes, memoryview]:
        """A snapshot: its first page, and the bits that come after it."""
        bits = memoryview(self._bits)
        one = self._filter
        head = _HEADER.pack(
            *(_MAGIC, _VERSION, origin.epoch, origin.changes, one.count, origin.key_check),
            *(len(origin.history), origin.history, _checksum(bits)),
        )
        foreign = _FOREIGN.pack(one.error_rate, one.num_slices, one.bits_per_slice, one.capacity, one.count)
        page = head.ljust(_FOREIGN_AT, b"\0") + foreign
        return _sealed(page), bits


def read(snapshot: memoryview, *, whole: bool) -> tuple[Origin, Bloom]:
    """A snapshot as it was written; the bits stay where they are. `whole`: read all of them and compare the checksum.

    Raises BloomFault.
    """
    page = bytes(snapshot[:PAGE_OCTETS])
    if len(page) < PAGE_OCTETS or not page.startswith(_MAGIC):
        raise BloomFault("not a snapshot of the index")
    if page != _sealed(page):
        raise BloomFault("the first page is damaged")
    _, version, epoch, changes, count, key_check, octets, history, checksum = _HEADER.unpack_from(page)
    if version != _VERSION:
        raise BloomFault(f"a snapshot of version {version}, not {_VERSION}")
    bits = snapshot[PAGE_OCTETS:]
    error_rate, slices, width, capacity, _ = _FOREIGN.unpack_from(page, _FOREIGN_AT)
    if not 0 < capacity <= CAPACITY_MAX or not 0 < error_rate < 1 or len(bits) != -(-slices * width // 8):
        raise BloomFault(f"{len(bits):,} octets of bits do not fit the header")
    if whole and _checksum(bits) != checksum:
        raise BloomFault("the bits are damaged")
    filter_ = BloomFilter(1)  # as `BloomFilter.fromfile`
    filter_._setup(error_rate, slices, width, capacity, count)
    filter_.bitarray = bitarray(buffer=bits, endian="little")
    return Origin(epoch, history[:octets], changes, key_check), Bloom(filter_)


def _checksum(octets: memoryview | bytes) -> bytes:
    return blake2b(octets, digest_size=_CHECKSUM_OCTETS).digest()


def _sealed(page: bytes) -> bytes:
    """The first page with its checksum, whatever stood there."""
    before, behind = page[: _HEADER.size], page[_HEADER.size + _CHECKSUM_OCTETS :]
    return before + _checksum(before + bytes(_CHECKSUM_OCTETS) + behind) + behind

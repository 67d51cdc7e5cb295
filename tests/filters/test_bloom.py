"""The negative pre-filter: never a false "no", few false "maybe", one format with pybloom-live, no damaged snapshot."""

from __future__ import annotations

import io
import random

import pytest
from pybloom_live import BloomFilter

from filters import bloom as module
from filters.bloom import ERROR_RATE, PAGE_OCTETS, Bloom, BloomFault, BloomFull, Origin, read

ORIGIN = Origin(7, b"0123456789abcdef", 4711, b"keycheck")
FOREIGN_AT = PAGE_OCTETS - 40
# One of each width of pybloom-live's hash numbers that fits a test, and of one and several salts.
SHAPES = [(100, 0.001), (5_000, 0.001), (50_000, 0.001), (5_000, 0.5), (200, 1e-9), (30_000, 1e-9)]


def members(count: int, seed: int = 1) -> list[int]:
    chance = random.Random(seed)
    return [chance.getrandbits(63) for _ in range(count)]


def snapshot(bloom: Bloom, origin: Origin = ORIGIN) -> bytearray:
    page, bits = bloom.pages(origin)
    return bytearray(page + bytes(bits))


def filled(count: int = 2000, capacity: int = 2000) -> Bloom:
    bloom = Bloom.empty(capacity)
    bloom.add(members(count))
    return bloom


@pytest.mark.parametrize(("capacity", "error_rate"), SHAPES)
def test_what_we_wrote_is_read_by_pybloom_live(capacity: int, error_rate: float) -> None:
    bloom = Bloom.empty(capacity, error_rate)
    bloom.add(members(capacity))
    theirs = BloomFilter.fromfile(io.BytesIO(snapshot(bloom)[FOREIGN_AT:]))
    assert (theirs.capacity, theirs.count, theirs.error_rate) == (capacity, capacity, error_rate)
    assert all(member.to_bytes(8) in theirs for member in members(capacity))
    asked = members(2000, seed=2)
    assert [member in bloom for member in asked] == [member.to_bytes(8) in theirs for member in asked]


@pytest.mark.parametrize(("capacity", "error_rate"), SHAPES)
def test_what_pybloom_live_wrote_is_read_by_us(capacity: int, error_rate: float) -> None:
    theirs, ours = BloomFilter(capacity, error_rate), Bloom.empty(capacity, error_rate)
    for member in members(capacity):
        theirs.add(member.to_bytes(8), skip_check=True)
    ours.add(members(capacity))
    assert bytes(ours.pages(ORIGIN)[1]) == theirs.bitarray.tobytes()
    bloom = Bloom(theirs)
    assert all(member in bloom for member in members(capacity))
    asked = members(2000, seed=2)
    assert [member in bloom for member in asked] == [member.to_bytes(8) in theirs for member in asked]


def test_false_positives_are_as_rare_as_promised_at_capacity() -> None:
    bloom = filled(20_000, 20_000)
    asked = members(100_000, seed=3)
    assert sum(member in bloom for member in asked) / len(asked) < 1.3 * ERROR_RATE  # 3 standard deviations


def test_an_empty_filter_says_no_to_everything() -> None:
    bloom = Bloom.empty(1)
    assert not any(member in bloom for member in [0, 1, (1 << 63) - 1, *members(100)])


@pytest.mark.parametrize("member", [0, 1, (1 << 63) - 1])
def test_the_ends_of_the_range_are_members_like_others(member: int) -> None:
    bloom = Bloom.empty(10)
    bloom.add([member])
    assert member in bloom


def test_more_than_the_capacity_is_refused() -> None:
    bloom = Bloom.empty(10)
    bloom.add(members(10))
    with pytest.raises(BloomFull, match="more than 10 members"):
        bloom.add(members(1, seed=2))
    assert bloom.count == 10


def test_a_snapshot_is_what_was_written() -> None:
    bloom = filled()
    origin, again = read(memoryview(snapshot(bloom)), whole=True)
    assert origin == ORIGIN
    assert (again.count, again.capacity) == (2000, 2000)
    assert all(member in again for member in members(2000))


@pytest.mark.parametrize("history", [b"", b"x", b"y" * 64])
def test_every_history_comes_back(history: bytes) -> None:
    origin = Origin(0, history, (1 << 64) - 1, bytes(8))
    assert read(memoryview(snapshot(filled(), origin)), whole=False)[0] == origin


def test_the_bits_of_a_snapshot_are_not_copied() -> None:
    octets = snapshot(filled())
    _, bloom = read(memoryview(octets), whole=False)
    octets[PAGE_OCTETS:] = bytes(len(octets) - PAGE_OCTETS)
    assert members(1)[0] not in bloom


@pytest.mark.parametrize("at", [0, 7, 8, 20, 60, 130, 150, 2000, FOREIGN_AT, FOREIGN_AT + 20, PAGE_OCTETS - 1])
def test_a_damaged_first_page_is_noticed(at: int) -> None:
    octets = snapshot(filled())
    octets[at] ^= 0x10
    with pytest.raises(BloomFault):
        read(memoryview(octets), whole=False)


def test_damaged_bits_are_noticed_by_whoever_reads_them_all() -> None:
    octets = snapshot(filled())
    octets[-100] ^= 1
    with pytest.raises(BloomFault, match="bits are damaged"):
        read(memoryview(octets), whole=True)


@pytest.mark.parametrize("length", [0, 7, 100, PAGE_OCTETS - 1, PAGE_OCTETS, PAGE_OCTETS + 100, -1])
def test_a_cut_snapshot_is_noticed(length: int) -> None:
    octets = snapshot(filled())[:length]
    with pytest.raises(BloomFault):
        read(memoryview(octets), whole=False)


def test_octets_behind_the_bits_are_noticed() -> None:
    with pytest.raises(BloomFault, match="do not fit"):
        read(memoryview(snapshot(filled()) + b"\0"), whole=False)


def test_a_snapshot_of_another_version_is_not_read() -> None:
    octets = bytes(snapshot(filled()))
    page = octets[:8] + (2).to_bytes(8, "little") + octets[16:PAGE_OCTETS]
    with pytest.raises(BloomFault, match="version 2"):
        read(memoryview(module._sealed(page) + octets[PAGE_OCTETS:]), whole=True)

"""The snapshot of a Redis index: every member is in it, or there is none, and the old file stands."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filters.bloom import BloomFault
from filters.index_url import parse
from filters.layout import LANE_BITS, Family, bucket_key
from gateway import limits
from gateway.index.snapshot import FILE, Progress, SnapshotFault, SnapshotInfo, build, open_snapshot
from tests.conftest import RedisServer, eventually
from tests.gateway.hand import CHECK, Hand, fingerprints, member

MEMBERS = fingerprints(3000)
OTHERS = fingerprints(3000, "other")

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("patient")]


@pytest.fixture
def hand(redis_server: RedisServer) -> Iterator[Hand]:
    with redis_server.client() as client:
        yield Hand(client)


def take(server: RedisServer, data_dir: Path, progress: Progress | None = None, check: bytes = CHECK) -> SnapshotInfo:
    return asyncio.run(build(parse(server.url), check, data_dir, progress))


def once(act: Callable[[], object], *, at: int = 1) -> Progress:
    """Do something in the middle of the reading, after lane `at`."""
    lanes: list[int] = []

    def progress(done: int, total: int) -> None:
        lanes.append(done)
        if len(lanes) == at:
            act()

    return progress


@pytest.mark.parametrize("bits", [LANE_BITS, LANE_BITS + 1, LANE_BITS + 7])
def test_every_member_is_in_it(hand: Hand, redis_server: RedisServer, tmp_path: Path, bits: int) -> None:
    hand.bits = bits
    hand.build(MEMBERS, history="abc")
    info = take(redis_server, tmp_path)
    origin, bloom, taken_at = open_snapshot(tmp_path / FILE, whole=True)
    assert (origin.epoch, origin.history, origin.changes, origin.key_check) == (1, b"abc", 0, CHECK)
    assert bloom.count == info.members == len(MEMBERS)
    assert all(member(one) in bloom for one in MEMBERS)
    assert sum(member(one) in bloom for one in OTHERS) < 30
    assert abs(taken_at - time.time()) < 600
    assert info.octets == (tmp_path / FILE).stat().st_size
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_sample_tells_how_large_it_has_to_be(
    hand: Hand, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bucket of each lane is counted out of eight."""
    monkeypatch.setattr(limits, "FILTER_SAMPLE_BUCKETS", 1024)
    hand.bits = LANE_BITS + 3
    hand.build(fingerprints(20_000))
    room = take(redis_server, tmp_path).capacity - limits.FILTER_MEMBERS_MIN
    assert 17_000 < room < 24_000


def test_an_empty_index_has_a_snapshot_too(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build()
    assert take(redis_server, tmp_path).members == 0


def test_progress_ends_at_the_total(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)
    seen: list[tuple[int, int]] = []
    take(redis_server, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (len(MEMBERS), len(MEMBERS))


def test_what_was_granted_meanwhile_is_left_to_the_stream(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    hand.grant(OTHERS[0])
    info = take(redis_server, tmp_path, once(lambda: hand.grant(OTHERS[1])))
    assert info.changes == 1
    assert member(OTHERS[0]) in open_snapshot(tmp_path / FILE, whole=True).bloom


def test_a_lost_bucket_means_no_snapshot(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)
    hand.client.delete(bucket_key(1, Family.BIREYSEL, LANE_BITS, 700 << 22))
    with pytest.raises(SnapshotFault, match="a part of the index was lost"):
        take(redis_server, tmp_path)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("format", 99), ("key_check", b"another!"), ("history", None), ("runs", None), ("bits_b", None)],
)
def test_an_index_that_is_not_ours_or_not_whole_means_no_snapshot(
    hand: Hand, redis_server: RedisServer, tmp_path: Path, field: str, value: object
) -> None:
    hand.build(MEMBERS)
    if value is None:
        hand.client.hdel("izinli:index", field)
    else:
        hand.state(**{field: value})
    with pytest.raises(SnapshotFault, match="empty, half-built, of another format or of another key"):
        take(redis_server, tmp_path)


@pytest.mark.parametrize("runs", ["", "0" * 40])
def test_a_server_that_is_not_vouched_for_means_no_snapshot(
    hand: Hand, redis_server: RedisServer, tmp_path: Path, runs: str
) -> None:
    hand.build(MEMBERS)
    hand.state(runs=runs)
    with pytest.raises(SnapshotFault, match="vouched"):
        take(redis_server, tmp_path)


def test_an_index_without_state_means_no_snapshot(redis_server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(SnapshotFault, match="empty"):
        take(redis_server, tmp_path)


@pytest.mark.parametrize("what", ["epoch", "history", "runs"])
def test_what_changed_while_it_was_read_means_no_snapshot(
    hand: Hand, redis_server: RedisServer, tmp_path: Path, what: str
) -> None:
    hand.build(MEMBERS)
    change = {
        "epoch": lambda: hand.state(epoch=2),
        "history": lambda: hand.state(history="another"),
        "runs": lambda: hand.state(runs=" ".join([*hand.runs(), "f" * 40])),
    }[what]
    with pytest.raises(SnapshotFault, match="while it was read"):
        take(redis_server, tmp_path, once(change, at=500))
    assert not (tmp_path / FILE).exists()


def test_a_server_that_becomes_another_one_means_no_snapshot(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The same process and connection, but a new replication id, as after a promotion; nothing else has changed."""
    hand.build(MEMBERS)

    def promote() -> None:
        hand.client.replicaof("127.0.0.1", 1)
        hand.client.replicaof("NO", "ONE")

    with pytest.raises(SnapshotFault, match="vouched"):
        take(redis_server, tmp_path, once(promote))


def test_a_server_that_dies_meanwhile_leaves_the_old_file(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    take(redis_server, tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(SnapshotFault):
        take(redis_server, tmp_path, once(redis_server.stop))
    assert (tmp_path / FILE).read_bytes() == before
    with pytest.raises(SnapshotFault):
        take(redis_server, tmp_path)


def test_a_new_file_takes_the_place_of_the_old_one_for_new_readers_alone(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    hand.build(MEMBERS)
    take(redis_server, tmp_path)
    old = open_snapshot(tmp_path / FILE, whole=True)
    hand.build(OTHERS)
    (tmp_path / f"{FILE}.new").write_bytes(b"what a killed process left")
    take(redis_server, tmp_path)
    new = open_snapshot(tmp_path / FILE, whole=True)
    assert (old.origin.epoch, new.origin.epoch) == (1, 2)
    assert all(member(one) in old.bloom for one in MEMBERS)
    assert all(member(one) in new.bloom for one in OTHERS)
    assert sorted(path.name for path in tmp_path.glob("index.*")) == [FILE, f"{FILE}.lock"]


def test_one_is_built_at_a_time(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)

    async def both() -> list[object]:
        url = parse(redis_server.url)
        return await asyncio.gather(*(build(url, CHECK, tmp_path) for _ in "12"), return_exceptions=True)

    first, second = asyncio.run(both())
    assert isinstance(first, SnapshotInfo)
    assert isinstance(second, SnapshotFault)
    assert str(second) == "another process is building one"
    take(redis_server, tmp_path)


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_file(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)
    script = (
        "import asyncio, pathlib\n"
        "from filters.index_url import parse\n"
        "from gateway.index.snapshot import build\n"
        f"while True: asyncio.run(build(parse({redis_server.url!r}), {CHECK!r}, pathlib.Path({str(tmp_path)!r})))\n"
    )
    path, chance = tmp_path / FILE, random.Random(7)
    for _ in range(6):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        try:
            eventually(path.exists, within=60, what="a first snapshot")
            time.sleep(chance.uniform(0, 0.3))
        finally:
            process.kill()
            process.wait()
        origin, bloom, _ = open_snapshot(path, whole=True)
        assert (origin.epoch, bloom.count) == (1, len(MEMBERS))
    take(redis_server, tmp_path)  # the dead one's lock is gone with it


@pytest.mark.parametrize("octets", [b"", b"x", bytes(5000), os.urandom(9000)])
def test_other_files_are_not_opened(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / FILE).write_bytes(octets)
    with pytest.raises(BloomFault):
        open_snapshot(tmp_path / FILE, whole=True)

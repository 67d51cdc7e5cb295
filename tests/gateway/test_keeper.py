"""The keeper of the snapshot: it makes one when one is due, by itself, in a whole `izinli serve` too."""

from __future__ import annotations

import asyncio
import fcntl
import math
import smtplib
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from filters.bloom import Bloom, BloomFault, Origin
from filters.index_url import parse
from filters.layout import CHANGES_KEY, INDEX_KEY
from gateway import keeper, limits
from gateway.demo.house import House
from gateway.demo.sink import Sink
from gateway.index.changes import Additions, Follower, Standing
from gateway.index.snapshot import FILE, SnapshotFault, open_snapshot
from gateway.keys import Keys, create_missing, load
from registry.limits import CHANGES_ENTRIES_MAX
from tests.conftest import RedisServer, eventually_async
from tests.gateway.hand import CHECK, KEY, Hand, fingerprints, member

MEMBERS = fingerprints(100)
WITHIN_S = 120.0


@pytest.fixture
def hand(patient: None, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    for name in ("TICK_S", "FILTER_BUILD_S_MIN", "FILTER_BUILD_REST", "FILTER_RETRY_S", "FILTER_POLL_S"):
        monkeypatch.setattr(limits, name, 0.05)
    with redis_server.client() as client:
        yield Hand(client)


@asynccontextmanager
async def keeping(server: RedisServer, data_dir: Path) -> AsyncIterator[None]:
    running = asyncio.get_running_loop().create_task(keeper._keep(parse(server.url), CHECK, data_dir))
    try:
        yield
        assert not running.done()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def has(data_dir: Path, holds: Callable[[Origin, Bloom], bool], what: str) -> None:
    def there() -> bool:
        with suppress(FileNotFoundError, BloomFault):
            origin, bloom, _ = open_snapshot(data_dir / FILE, whole=True)
            return holds(origin, bloom)
        return False

    await eventually_async(there, within=WITHIN_S, what=what)


# when one is due


@pytest.mark.parametrize(
    ("standing", "due"),
    [
        (Standing.NO_SNAPSHOT, True),
        (Standing.OTHER_INDEX, True),
        (Standing.CUT, True),
        (Standing.FULL, True),
        (Standing.LEVEL, False),
        (Standing.BEHIND, False),
        (Standing.DOWN, False),
        (Standing.UNVOUCHED, False),
    ],
)
async def test_one_is_due_when_only_that_helps(tmp_path: Path, standing: Standing, due: bool) -> None:
    follower = Follower(parse("redis://127.0.0.1:1"), tmp_path / FILE, CHECK)
    follower.standing = standing
    assert keeper.is_due(follower) is due


@pytest.mark.parametrize(
    ("count", "added", "entries", "due"),
    [
        (1000, 50_000, 1, False),
        (1000, 50_001, 1, True),
        (1_500_000, 70_000, 1, False),
        (1_500_000, 75_001, 1, True),
        (100_000_000, 100_001, 1, True),  # long before it is full
        (1000, 10_000, 10_000, False),
        (1000, 10_001, 10_001, True),  # long before the stream has forgotten
    ],
)
async def test_one_is_due_when_much_was_added(tmp_path: Path, count: int, added: int, entries: int, due: bool) -> None:
    follower = Follower(parse("redis://127.0.0.1:1"), tmp_path / FILE, CHECK)
    follower.standing = Standing.LEVEL
    follower.bloom = Bloom.empty(10)
    follower.bloom._filter.count = count
    follower.additions = Additions(Origin(1, b"h", 7, CHECK))
    follower.additions.number += entries
    follower.additions.members = dict.fromkeys(range(added), 8)
    assert keeper.is_due(follower) is due


def test_the_stream_keeps_twice_what_makes_one_due() -> None:
    assert 2 * limits.FILTER_ENTRIES_DUE <= CHANGES_ENTRIES_MAX


# over a real Redis


@pytest.mark.interop
async def test_there_is_one_soon_and_a_new_one_for_a_new_epoch(
    hand: Hand, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with keeping(redis_server, tmp_path):
        await asyncio.sleep(0.2)  # there is no index yet: it goes on trying
        hand.build(MEMBERS)
        await has(tmp_path, lambda origin, _: origin.epoch == 1, "a first snapshot")
        hand.build(MEMBERS[:50])
        await has(tmp_path, lambda origin, bloom: (origin.epoch, bloom.count) == (2, 50), "one of the new epoch")


@pytest.mark.interop
async def test_a_new_one_mends_a_cut_and_a_damaged_file(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS[:50])
    async with keeping(redis_server, tmp_path):
        await has(tmp_path, lambda _, bloom: bloom.count == 50, "a first snapshot")
    octets = bytearray((tmp_path / FILE).read_bytes())
    octets[-1000] ^= 0xFF  # of the bits, which nobody else checks
    (tmp_path / FILE).write_bytes(octets)
    async with keeping(redis_server, tmp_path):
        await has(tmp_path, lambda _, bloom: bloom.count == 50, "one in place of the damaged one")
        hand.grant(MEMBERS[60])
        hand.grant(MEMBERS[61])
        hand.trim(0)
        hand.state(changes=3)
        await has(tmp_path, lambda origin, bloom: origin.changes == 3 and member(MEMBERS[61]) in bloom, "the next")


@pytest.mark.interop
async def test_a_redis_that_is_away_ends_nothing(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    hand.build(MEMBERS)
    async with keeping(redis_server, tmp_path):
        await has(tmp_path, lambda _, bloom: bloom.count == len(MEMBERS), "a first snapshot")
        redis_server.stop()
        (tmp_path / FILE).unlink()
        await asyncio.sleep(0.2)
        redis_server.start()
        hand.build(MEMBERS)
        await has(tmp_path, lambda origin, _: origin.epoch == 2, "one of the new index")


@pytest.mark.interop
def test_one_can_be_taken_by_hand(hand: Hand, redis_server: RedisServer, tmp_path: Path) -> None:
    house = House(tmp_path / "house", [('url = "sqlite"', f'url = "{redis_server.url}"')])
    keys = keys_of(house)
    with pytest.raises(SnapshotFault):
        keeper.take(house.config, keys)
    hand.build(MEMBERS)
    seen: list[int] = []
    info = keeper.take(house.config, keys, lambda done, _: seen.append(done))
    assert (info.members, seen[-1]) == (len(MEMBERS), len(MEMBERS))
    assert info.path == house.config.data_dir / FILE


def test_the_embedded_index_has_none(tmp_path: Path) -> None:
    house = House(tmp_path)
    with pytest.raises(SnapshotFault, match="read in-process"):
        keeper.take(house.config, keys_of(house))


def keys_of(house: House) -> Keys:
    """The keys of a house, with the fingerprint key that `Hand` writes with."""
    create_missing(house.config.data_dir)
    return replace(load(house.config.data_dir), fingerprint=KEY)


# the whole


def metric(house: House, name: str) -> float:
    """NaN while a busy worker does not answer the scrape."""
    with urllib.request.urlopen(f"{house.url('gateway')}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), math.nan)


async def shows(house: House, name: str, least: float, most: float = math.inf) -> float:
    """Wait for a value between these."""
    found = [math.nan]

    async def holds() -> bool:
        found.append(await asyncio.to_thread(metric, house, name))
        return least <= found[-1] <= most

    await eventually_async(holds, within=WITHIN_S, what=f"{name} {least}")
    return found[-1]


def answer_to(house: House, recipient: str) -> int:
    """The code that RCPT is told."""
    with smtplib.SMTP("127.0.0.1", house.config.listeners[0].bind.port, timeout=30) as client:
        client.ehlo()
        client.mail("a@kampanya.example.com.tr")
        return client.rcpt(recipient)[0]


async def hears(house: House, recipient: str, code: int, *, but: int = 0) -> None:
    """Wait for this answer at RCPT; a busy machine may defer, but never say the opposite (`but`)."""

    async def holds() -> bool:
        heard = await asyncio.to_thread(answer_to, house, recipient)
        assert heard != but
        return heard == code

    await eventually_async(holds, within=WITHIN_S, what=f"{code} for {recipient}")


def consent(house: House, recipient: str) -> None:
    path = house.directory / "one.csv"
    header = "recipient,type,status,source,recipientType,consentDate\n"
    path.write_text(f"{header}{recipient},EPOSTA,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n")
    done = subprocess.run(house.command("import", "--brand", "100001", str(path)), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.interop
@pytest.mark.slow
async def test_a_served_house_filters_by_itself_and_mends_it(redis_server: RedisServer, tmp_path: Path) -> None:
    absent = 'izinli_index_filter_total{result="absent"}'
    bypassed = 'izinli_index_filter_total{result="bypassed"}'
    nobody, friend = "nobody@example.com.tr", "friend@example.com.tr"
    async with Sink() as sink:
        edits = [("127.0.0.1:2526", f"127.0.0.1:{sink.port}"), ('url = "sqlite"', f'url = "{redis_server.url}"')]
        house = House(tmp_path / "house", edits)
        try:
            await asyncio.to_thread(house.import_consents)
            for plane in ("registry", "gateway"):
                house.start(plane)
            await asyncio.gather(house.ready("registry"), house.ready("gateway"))
            await shows(house, "izinli_index_filter_level", 1)
            await hears(house, nobody, 550, but=250)
            await shows(house, absent, 1)
            await hears(house, friend, 550, but=250)
            await asyncio.to_thread(consent, house, friend)
            await hears(house, friend, 250)
            with (house.config.data_dir / f"{FILE}.lock").open("ab") as lock:  # the keeper has to wait
                await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
                with redis_server.client() as client:
                    client.hincrby(INDEX_KEY, "changes", 1)
                    client.delete(CHANGES_KEY)
                await shows(house, "izinli_index_filter_level", 0, 0)
                before = await shows(house, bypassed, 0)

                async def passed_by() -> bool:
                    await hears(house, nobody, 550, but=250)
                    return await asyncio.to_thread(metric, house, bypassed) > before

                await eventually_async(passed_by, within=WITHIN_S, what="questions past the filter")
                await hears(house, friend, 250, but=550)
            await shows(house, "izinli_index_filter_level", 1)
            await hears(house, friend, 250, but=550)
        finally:
            await asyncio.to_thread(house.close)

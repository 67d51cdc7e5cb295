"""The memory of handsets, in both its forms."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from filters.index_url import parse
from gateway import limits
from gateway.smpp.handsets import Handsets, Store
from gateway.smpp.handsets_redis import RedisStore
from gateway.smpp.handsets_sqlite import FILE, SqliteStore
from tests.conftest import RedisServer, require, running

ACCOUNT, NUMBER, OTHER = b"marka", b"+905550000001", b"+905550000002"
ONE, TWO, THREE, FOUR = range(100001, 100005)
ALL = (ONE, TWO, THREE, FOUR)
NOON = 1_795_597_200.0  # 12:00 in Turkey


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


@dataclass
class Memory:
    """What every test needs; `open` makes another worker's."""

    clock: Clock
    make: Callable[[], Store]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Handsets]:
        handsets = Handsets(self.make(), key=b"k" * 32, clock=self.clock)
        await handsets.start()
        try:
            yield handsets
        finally:
            await handsets.close()

    async def note(self, *brands: int, number: bytes = NUMBER) -> None:
        """Messages one second apart, written down."""
        async with self.open() as handsets:
            for brand in brands:
                self.clock.now += 1
                handsets.noted(handsets.digest(ACCOUNT, number), brand)

    async def last(self, number: bytes = NUMBER, account: bytes = ACCOUNT) -> list[int] | None:
        async with self.open() as handsets:
            return await handsets.brands(handsets.digest(account, number), ALL)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def memory(request: pytest.FixtureRequest, tmp_path: Path, patient: None) -> Memory:
    if request.param == "sqlite":
        return Memory(Clock(), lambda: SqliteStore(tmp_path / FILE))
    server: RedisServer = request.getfixturevalue("redis_server")
    return Memory(Clock(), lambda: RedisStore(parse(server.url)))


async def test_the_newest_first_whichever_worker_wrote_it(memory: Memory) -> None:
    await memory.note(ONE, TWO)
    await memory.note(ONE)
    assert await memory.last() == [ONE, TWO]
    assert await memory.last(OTHER) == []
    assert await memory.last(account=b"other") == []


async def test_what_is_not_written_yet_counts_already(memory: Memory) -> None:
    await memory.note(TWO, ONE)
    async with memory.open() as handsets:
        digest = handsets.digest(ACCOUNT, NUMBER)
        memory.clock.now += 1
        handsets.noted(digest, TWO)
        assert await handsets.brands(digest, ALL) == [TWO, ONE]
        handsets.poll()
        assert await handsets.brands(digest, ALL) == [TWO, ONE], "nor while it is being written"
        assert await handsets.brands(digest, (ONE,)) == [ONE], "nor is anybody named who is not asked for"


async def test_i7_only_the_last_ones_of_a_handset(memory: Memory) -> None:
    await memory.note(ONE, TWO, THREE, FOUR)
    assert await memory.last() == [FOUR, THREE, TWO]


async def test_it_forgets_after_a_week(memory: Memory) -> None:
    await memory.note(ONE)
    memory.clock.now += limits.MO_KEEP_S - 1
    assert await memory.last() == [ONE]
    memory.clock.now += 1
    assert await memory.last() == []


async def test_once_a_day_whichever_worker_asks(memory: Memory) -> None:
    async with memory.open() as handsets, memory.open() as sibling:
        digest, other = (handsets.digest(ACCOUNT, number) for number in (NUMBER, OTHER))
        assert await handsets.first(digest, ONE)
        assert not await sibling.first(digest, ONE)
        assert await sibling.first(digest, TWO)
        assert await sibling.first(other, ONE)


async def test_the_day_ends_at_midnight_in_turkey(tmp_path: Path) -> None:
    """Redis has a clock of its own, so this is SQLite's alone; both are told the same."""
    memory = Memory(Clock(), lambda: SqliteStore(tmp_path / FILE))
    async with memory.open() as handsets:
        digest = handsets.digest(ACCOUNT, NUMBER)
        assert await handsets.first(digest, ONE)
        memory.clock.now = NOON + 12 * 3600 - 1
        assert not await handsets.first(digest, ONE)
        memory.clock.now += 1
        assert await handsets.first(digest, ONE)


async def noted_and_told(memory: Memory) -> None:
    await memory.note(ONE)
    async with memory.open() as handsets:
        assert await handsets.first(handsets.digest(ACCOUNT, NUMBER), ONE)


async def test_i9_the_file_names_nobody(tmp_path: Path) -> None:
    await noted_and_told(Memory(Clock(), lambda: SqliteStore(tmp_path / FILE)))
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(files) > 4096
    assert b"5550000001" not in files


@pytest.mark.interop
async def test_i9_redis_names_nobody_and_forgets(redis_server: RedisServer, patient: None) -> None:
    await noted_and_told(Memory(Clock(), lambda: RedisStore(parse(redis_server.url))))
    keys = sorted(redis_server.cli("KEYS", "*"))
    assert [key[:12] for key in keys] == ["izinli:sent:", "izinli:told:"]
    assert not any("5550000001" in key for key in keys)
    for key in keys:
        assert int(redis_server.cli("TTL", key)) > 0


async def test_i7_the_oldest_of_too_many_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MO_ROWS_MAX", 2)
    memory = Memory(Clock(), lambda: SqliteStore(tmp_path / FILE))
    await memory.note(ONE, TWO, THREE)
    assert await memory.last() == [THREE, TWO]
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("SELECT count(*) FROM sent").fetchone() == (2,)


async def test_i7_notes_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MO_NOTES_MAX", 1)
    memory = Memory(Clock(), lambda: SqliteStore(tmp_path / FILE))
    await memory.note(ONE, TWO)
    assert await memory.last() == [ONE]


async def test_sqlite_that_cannot_be_used_tells_so_and_is_written_later(tmp_path: Path) -> None:
    home = tmp_path / "away"
    memory = Memory(Clock(), lambda: SqliteStore(home / FILE))
    async with memory.open() as handsets:
        digest = handsets.digest(ACCOUNT, NUMBER)
        assert await handsets.brands(digest, ALL) is None
        assert not await handsets.first(digest, ONE), "nobody is told who may have been told already"
        handsets.noted(digest, ONE)
        await handsets._flush()
        home.mkdir()
        assert await handsets.brands(digest, ALL) == [ONE]
    assert await memory.last() == [ONE]


@pytest.mark.interop
async def test_redis_that_is_away_tells_so_and_is_written_later(redis_server: RedisServer, patient: None) -> None:
    memory = Memory(Clock(), lambda: RedisStore(parse(redis_server.url)))
    await memory.note(TWO)
    async with memory.open() as handsets:
        digest = handsets.digest(ACCOUNT, NUMBER)
        redis_server.stop()
        assert await handsets.brands(digest, ALL) is None
        assert not await handsets.first(digest, ONE)
        handsets.noted(digest, ONE)
        await handsets._flush()
    redis_server.start()
    async with memory.open() as handsets:
        handsets.noted(digest, ONE)
    assert await memory.last() == [ONE]


@pytest.mark.interop
async def test_a_value_that_is_not_ours_cannot_be_read(redis_server: RedisServer, patient: None) -> None:
    memory = Memory(Clock(), lambda: RedisStore(parse(redis_server.url)))
    async with memory.open() as handsets:
        digest = handsets.digest(ACCOUNT, NUMBER)
        key = f"izinli:sent:{digest.hex()}"
        redis_server.cli("SET", key, "x")
        assert await handsets.brands(digest, ALL) is None
        redis_server.cli("DEL", key)
        redis_server.cli("ZADD", key, "1.5", "x")
        assert await handsets.brands(digest, ALL) is None


@pytest.mark.interop
async def test_the_rights_of_the_page_are_enough(tmp_path: Path, patient: None) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/index.md").read_text(encoding="utf-8")
    (line,) = [one for one in page.splitlines() if one.startswith("user izinli-gateway ")]
    acl = [line.replace(">…", ">not-a-secret")]
    with running(RedisServer(require("redis-server"), tmp_path, acl=acl)) as server:
        url = parse(server.url_as("izinli-gateway", "not-a-secret"))
        memory = Memory(Clock(), lambda: RedisStore(url))
        await memory.note(ONE, TWO)
        assert await memory.last() == [TWO, ONE]
        async with memory.open() as handsets:
            assert await handsets.first(handsets.digest(ACCOUNT, NUMBER), ONE)
            assert not await handsets.first(handsets.digest(ACCOUNT, NUMBER), ONE)

"""The memory of message ids, in both its forms."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from filters.index_url import parse
from gateway import limits
from gateway.smpp.ids import DIGEST_OCTETS, IdKeys, MessageIds, Swap, Unavailable, canonical
from gateway.smpp.ids_redis import RedisIds
from gateway.smpp.ids_sqlite import FILE, SqliteIds
from tests.conftest import RedisCluster, RedisServer, require, running

KEYS = IdKeys(b"k" * 32)
ONE, TWO, THREE = (KEYS.of(b"test", "smsc", ident) for ident in (b"one", b"two", b"three"))
QUEUE = KEYS.of_parts(b"queue", b"marka")
NOW = 1_795_597_200


class Clock:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


@dataclass
class Memory:
    """`open` makes another worker's."""

    clock: Clock
    make: Callable[[], MessageIds]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MessageIds]:
        ids = self.make()
        await ids.start()
        try:
            yield ids
        finally:
            await ids.close()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def memory(request: pytest.FixtureRequest, tmp_path: Path, patient: None) -> Memory:
    clock = Clock()
    if request.param == "sqlite":
        return Memory(clock, lambda: SqliteIds(tmp_path / FILE, clock))
    server: RedisServer = request.getfixturevalue("redis_server")
    return Memory(clock, lambda: RedisIds(parse(server.url)))


async def test_what_one_worker_notes_the_others_find(memory: Memory) -> None:
    binary = bytes(range(256))
    async with memory.open() as ids, memory.open() as sibling:
        await ids.note([(ONE, b"1"), (TWO, binary)])
        assert await sibling.find([TWO, THREE, ONE]) == [binary, None, b"1"]
        await sibling.note([(ONE, b"again")])
        assert await ids.find([ONE]) == [b"again"]
        await sibling.forget([ONE, THREE])
        assert await ids.find([ONE, TWO]) == [None, binary]
        await ids.note([])
        assert await ids.find([]) == []
    async with memory.open() as later:
        assert await later.find([TWO]) == [binary]


async def test_all_of_a_tick_have_their_own_answers(memory: Memory) -> None:
    keys = [KEYS.of(b"test", "smsc", b"%d" % number) for number in range(300)]
    async with memory.open() as ids:
        await asyncio.gather(*(ids.note([(key, b"%d" % number)]) for number, key in enumerate(keys)))
        found = await asyncio.gather(*(ids.find([key]) for key in keys))
        assert found == [[b"%d" % number] for number in range(300)]


async def test_only_one_swaps_what_both_have_seen(memory: Memory) -> None:
    async with memory.open() as ids, memory.open() as sibling:
        assert await ids.swap([Swap(ONE, None, b"1"), Swap(TWO, b"x", b"y")]) == [True, False]
        assert await sibling.swap([Swap(ONE, None, b"2")]) == [False]
        results = await asyncio.gather(*(one.swap([Swap(ONE, b"1", b"2")]) for one in (ids, sibling) * 10))
        assert sorted(done for (done,) in results) == [False] * 19 + [True]
        assert await sibling.find([ONE, TWO]) == [b"2", None]
        assert await sibling.swap([Swap(ONE, b"2", None)]) == [True]
        assert await ids.find([ONE]) == [None]


async def test_every_one_of_many_additions_counts(memory: Memory) -> None:
    """The way a fold uses it: read, change, try again when somebody was faster."""

    async def add(ids: MessageIds) -> None:
        while True:
            (old,) = await ids.find([ONE])
            if (await ids.swap([Swap(ONE, old, b"%d" % (int(old or b"0") + 1))]))[0]:
                return

    async with memory.open() as ids, memory.open() as sibling:
        await asyncio.gather(*(add(one) for one in (ids, sibling) * 10))
        assert await ids.find([ONE]) == [b"20"]


async def test_who_takes_what_is_due_has_it_alone_until_it_is_due_again(memory: Memory) -> None:
    async with memory.open() as ids, memory.open() as sibling:
        await ids.remind(QUEUE, ONE, NOW + 100)
        await ids.remind(QUEUE, ONE, NOW + 200)
        await ids.remind(QUEUE, TWO, NOW + 150)
        await ids.remind(QUEUE, TWO, NOW + 50)
        await ids.remind(ONE, THREE, NOW)
        assert await ids.due(QUEUE, NOW + 49, NOW + 500) == []
        assert await ids.due(QUEUE, NOW + 100, NOW + 500) == [TWO, ONE]
        assert await sibling.due(QUEUE, NOW + 499, NOW + 900) == []
        await sibling.settle(QUEUE, [TWO])
        assert await ids.due(QUEUE, NOW + 500, NOW + 900) == [ONE]


async def test_i7_so_many_are_due_at_once(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_IDS_DUE_MAX", 2)
    async with memory.open() as ids:
        for at, key in enumerate((ONE, TWO, THREE)):
            await ids.remind(QUEUE, key, NOW + at)
        assert await ids.due(QUEUE, NOW + 10, NOW + 20) == [ONE, TWO]
        assert await ids.due(QUEUE, NOW + 10, NOW + 20) == [THREE]


async def test_sqlite_forgets_in_time(tmp_path: Path) -> None:
    """Redis has a clock of its own; what it is told stands in the next test."""
    clock = Clock()
    async with Memory(clock, lambda: SqliteIds(tmp_path / FILE, clock)).open() as ids:
        await ids.note([(ONE, b"1")])
        await ids.note([(TWO, b"2")], keep_s=60)
        clock.now += 59
        assert await ids.find([ONE, TWO]) == [b"1", b"2"]
        clock.now += 1
        assert await ids.find([ONE, TWO]) == [b"1", None]
        assert await ids.swap([Swap(TWO, None, b"3")]) == [True], "what is over is not there"
        clock.now += limits.SMPP_IDS_S
        assert await ids.find([ONE]) == [None]
        await ids.note([(THREE, b"3")])
        with closing(sqlite3.connect(tmp_path / FILE)) as database:
            assert database.execute("SELECT key FROM entry").fetchall() == [(THREE,)]


@pytest.mark.interop
async def test_i9_redis_names_no_id_and_forgets(redis_server: RedisServer, patient: None) -> None:
    async with Memory(Clock(), lambda: RedisIds(parse(redis_server.url))).open() as ids:
        await ids.note([(ONE, b"1")])
        await ids.note([(TWO, b"1")], keep_s=60)
        await ids.swap([Swap(THREE, None, b"1")])
        await ids.remind(QUEUE, ONE, NOW)
    left = {key: int(redis_server.cli("TTL", key)) for key in redis_server.cli("KEYS", "*")}
    assert {key[:11] for key in left} == {"izinli:ids:", "izinli:due:"}
    assert 0 < left.pop(f"izinli:ids:{TWO.hex()}") <= 60
    assert all(limits.SMPP_IDS_S - 60 < seconds <= limits.SMPP_IDS_S for seconds in left.values())


async def test_i7_the_oldest_of_too_many_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_IDS_ROWS_MAX", 2)
    async with Memory(Clock(), lambda: SqliteIds(tmp_path / FILE)).open() as ids:
        for key in (ONE, TWO, THREE):
            await ids.note([(key, b"1")])
        assert await ids.find([ONE, TWO, THREE]) == [None, b"1", b"1"]


async def test_i7_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_IDS_WAITING_MAX", 2)
    async with Memory(Clock(), lambda: SqliteIds(tmp_path / FILE)).open() as ids:
        waiting = asyncio.ensure_future(ids.note([(ONE, b"1"), (TWO, b"1")]))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await ids.find([ONE])
        await waiting
        assert await ids.find([ONE]) == [b"1"]


async def test_sqlite_that_cannot_be_used_says_so_and_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "away"
    async with Memory(Clock(), lambda: SqliteIds(home / FILE)).open() as ids:
        with pytest.raises(Unavailable):
            await ids.note([(ONE, b"1")])
        with pytest.raises(Unavailable):
            await ids.find([ONE])
        home.mkdir()
        await ids.note([(ONE, b"1")])
        assert await ids.find([ONE]) == [b"1"]
    with pytest.raises(Unavailable):
        await ids.find([ONE])


@pytest.mark.interop
async def test_redis_that_is_away_says_so_and_comes_back(redis_server: RedisServer, patient: None) -> None:
    memory = Memory(Clock(), lambda: RedisIds(parse(redis_server.url)))
    async with memory.open() as ids:
        await ids.note([(ONE, b"1")])
        redis_server.stop()
        for asked in (ids.find([ONE]), ids.note([(ONE, b"2")]), ids.due(QUEUE, NOW, NOW)):
            with pytest.raises(Unavailable):
                await asked
    redis_server.start()
    async with memory.open() as ids:
        await ids.note([(TWO, b"2")])
        assert await ids.find([TWO]) == [b"2"]


@pytest.mark.interop
async def test_a_cluster_keeps_each_where_it_belongs(redis_cluster: RedisCluster, patient: None) -> None:
    keys = [KEYS.of(b"test", "smsc", b"%d" % number) for number in range(60)]
    memory = Memory(Clock(), lambda: RedisIds(parse(redis_cluster.url)))
    async with memory.open() as ids, memory.open() as sibling:
        await ids.note([(key, b"1") for key in keys])
        assert all(int(server.cli("DBSIZE")) > 0 for server in redis_cluster.masters())
        assert await sibling.swap([Swap(key, b"1", b"2") for key in keys]) == [True] * len(keys)
        assert await ids.swap([Swap(key, b"1", b"3") for key in keys]) == [False] * len(keys)
        assert await ids.find(keys) == [b"2"] * len(keys)
        for queue in keys[:10]:
            await ids.remind(queue, ONE, NOW)
            assert await sibling.due(queue, NOW, NOW + 1) == [ONE]


def _note_and_hang(path: Path, noted: Connection) -> None:
    async def work() -> None:
        await SqliteIds(path).note([(ONE, b"1"), (TWO, b"2")])
        noted.send(True)
        await asyncio.Event().wait()

    asyncio.run(work())


async def test_what_was_noted_outlives_a_killed_worker(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    heard, noted = context.Pipe(duplex=False)
    worker = context.Process(target=_note_and_hang, args=(tmp_path / FILE, noted))
    worker.start()
    try:
        assert await asyncio.to_thread(heard.recv)
    finally:
        worker.kill()
        await asyncio.to_thread(worker.join)
    async with Memory(Clock(), lambda: SqliteIds(tmp_path / FILE)).open() as ids:
        assert await ids.find([ONE, TWO]) == [b"1", b"2"]


@pytest.mark.interop
async def test_the_rights_of_the_page_are_enough(tmp_path: Path, patient: None) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/index.md").read_text(encoding="utf-8")
    (line,) = [one for one in page.splitlines() if one.startswith("user izinli-gateway ")]
    acl = [line.replace(">…", ">not-a-secret")]
    with running(RedisServer(require("redis-server"), tmp_path, acl=acl)) as server:
        url = parse(server.url_as("izinli-gateway", "not-a-secret"))
        async with Memory(Clock(), lambda: RedisIds(url)).open() as ids:
            await ids.note([(ONE, b"1")])
            assert await ids.swap([Swap(ONE, b"1", b"2"), Swap(TWO, None, b"3"), Swap(TWO, b"3", None)]) == [True] * 3
            assert await ids.find([ONE]) == [b"2"]
            await ids.remind(QUEUE, ONE, NOW)
            assert await ids.due(QUEUE, NOW, NOW + 1) == [ONE]
            await ids.settle(QUEUE, [ONE])
            await ids.forget([ONE])


def test_a_key_is_of_one_use_one_smsc_one_id_and_one_installation() -> None:
    keys = {
        KEYS.of(b"fold", "smsc", b"abc1"),
        KEYS.of(b"pool", "smsc", b"abc1"),
        KEYS.of(b"fold", "other", b"abc1"),
        KEYS.of(b"fold", "smsc", b"abc2"),
        IdKeys(b"x" * 32).of(b"fold", "smsc", b"abc1"),
        KEYS.of_parts(b"fold", b"smscabc1"),
    }
    assert len(keys) == 6
    assert {len(key) for key in keys} == {DIGEST_OCTETS}


@pytest.mark.parametrize(
    ("said", "meant"),
    [(b"000123", b"123"), (b"ABC-Def\0", b"abc-def"), (b" 77  ", b"77"), (b"0", b"0"), (b"000", b"0"), (b"", b"0")],
)
def test_spellings_of_one_id(said: bytes, meant: bytes) -> None:
    assert canonical(said) == meant
    assert KEYS.of(b"fold", "smsc", said) == KEYS.of(b"fold", "smsc", meant)

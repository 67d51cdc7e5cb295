"""The memory of mixed endings, in both of its forms."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from filters.index_url import parse
from gateway import limits
from gateway.config import Config, ConfigError, load
from gateway.init import init
from gateway.metrics import Metrics
from gateway.smtp.delivered import Delivered, Fate, Fates, Store
from gateway.smtp.delivered_redis import PREFIX, RedisStore
from gateway.smtp.delivered_sqlite import SqliteStore
from tests.conftest import RedisCluster, RedisSentinel, RedisServer, eventually_async, require, running
from tests.gateway.smtp.support import fate

SENDER, PATH, CONTENT = b"a@example.test", b"b@example.test", b"Subject: x\r\n\r\nbody\r\n"
OTHER = b"c@example.test"


class Clock:
    now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


Opened = Callable[[], Store]


@pytest.fixture(autouse=True)
def _patient(patient: None) -> None:
    """Redis has time to answer, on a machine that has other things to do."""


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Opens the same memory again and again, as workers do."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "delivered.sqlite", Clock())
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: RedisStore(parse(server.url))


@asynccontextmanager
async def opened(store: Store, key: bytes = b"k") -> AsyncIterator[Delivered]:
    memory = Delivered(store, Metrics(), key=key, clock=Clock())
    await memory.start()
    try:
        yield memory
    finally:
        await memory.close()


async def settle(
    memory: Delivered, taken: list[bytes], under_way: list[bytes] | None = None, content: bytes = CONTENT
) -> None:
    done = asyncio.Event()
    memory.settle(memory.message(SENDER, content), taken, under_way or [], done.set)
    async with asyncio.timeout(60):
        await done.wait()


async def unreadable(memory: Delivered) -> bool:
    heard: asyncio.Future[Fates | None] = asyncio.get_running_loop().create_future()
    memory.read(memory.message(SENDER, CONTENT), [PATH], heard.set_result)
    return await heard is None


async def test_it_holds_exactly_what_it_was_told(store: Opened) -> None:
    async with opened(store()) as memory:
        assert await fate(memory, SENDER, PATH, CONTENT) is None
        await settle(memory, [PATH, OTHER])
        assert await fate(memory, SENDER, PATH, CONTENT) is Fate.TAKEN
        assert await fate(memory, SENDER, OTHER, CONTENT) is Fate.TAKEN
        assert await fate(memory, SENDER, b"d@example.test", CONTENT) is None
        assert await fate(memory, b"other@example.test", PATH, CONTENT) is None
        assert await fate(memory, SENDER, PATH, CONTENT + b"\r\n") is None
        assert await fate(memory, SENDER + PATH[:1], PATH[1:], CONTENT) is None, "the border between the two counts"


async def test_i2_another_content_under_the_same_header_is_another_message(store: Opened) -> None:
    """An entry is found by header section and size; it is believed for its content alone."""
    other = WITH_ID.replace(b"body", b"else")
    async with opened(store()) as memory, opened(store()) as sibling:
        assert memory.message(SENDER, other).entry(PATH) == memory.message(SENDER, WITH_ID).entry(PATH)
        await settle(memory, [PATH], [OTHER], content=WITH_ID)
        assert [await fate(sibling, SENDER, path, WITH_ID) for path in (PATH, OTHER)] == [Fate.TAKEN, Fate.UNDER_WAY]
        assert [await fate(sibling, SENDER, path, other) for path in (PATH, OTHER)] == [None, None]
        assert await fate(sibling, SENDER, PATH, FIRST + WITH_ID) is Fate.TAKEN


async def test_what_others_wrote_there_tells_nothing(store: Opened) -> None:
    """Promise I4: it defers, for who can say what it was to mean."""
    for said in (b"", b"1", b"2" + b"0" * 32, b"1" + b"g" * 32):
        async with opened(store()) as memory:
            there = store()
            written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            await there.start()
            there.write([memory.message(SENDER, CONTENT).entry(PATH)], said, 60, written.set_result)
            assert await written
            assert await unreadable(memory)
            await there.close()


async def test_another_worker_sees_it_at_once(store: Opened) -> None:
    async with opened(store()) as memory, opened(store()) as sibling, opened(store(), key=b"another") as stranger:
        assert await fate(sibling, SENDER, PATH, CONTENT) is None
        await settle(memory, [PATH], [OTHER])
        assert await fate(sibling, SENDER, PATH, CONTENT) is Fate.TAKEN
        assert await fate(sibling, SENDER, OTHER, CONTENT) is Fate.UNDER_WAY
        assert await fate(stranger, SENDER, PATH, CONTENT) is None
        message = memory.message(SENDER, CONTENT)
        memory.late(message, OTHER, taken=True)
        memory.forget(message, [PATH])

        async def seen() -> bool:
            fates = [await fate(sibling, SENDER, path, CONTENT) for path in (PATH, OTHER)]
            return fates == [None, Fate.TAKEN]

        await eventually_async(seen, within=90, what="the sibling seeing the ending")
        memory.late(message, OTHER, taken=False)
        await eventually_async(lambda: _is_none(sibling, OTHER), within=90, what="the sibling seeing that it is gone")


async def _is_none(memory: Delivered, path: bytes) -> bool:
    return await fate(memory, SENDER, path, CONTENT) is None


async def test_many_at_once_are_told_apart(store: Opened) -> None:
    paths = [b"r%d@example.test" % number for number in range(2500)]
    async with opened(store()) as memory:
        await settle(memory, paths[::2])
        fates: asyncio.Future[Fates | None] = asyncio.get_running_loop().create_future()
        memory.read(memory.message(SENDER, CONTENT), paths, fates.set_result)
        assert await fates == [Fate.TAKEN, None] * 1250


async def test_it_forgets_after_the_clients_queue_would_have(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "delivered.sqlite"
    async with opened(SqliteStore(file, clock)) as memory:
        await settle(memory, [PATH], [OTHER])
        clock.now += limits.SMTP_LATE_S
        assert await fate(memory, SENDER, OTHER, CONTENT) is None
        clock.now += limits.SMTP_DELIVERED_KEEP_S - limits.SMTP_LATE_S - 1
        assert await fate(memory, SENDER, PATH, CONTENT) is Fate.TAKEN
        clock.now += 1
        assert await fate(memory, SENDER, PATH, CONTENT) is None
        await settle(memory, [OTHER])
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("SELECT count(*) FROM entry").fetchone() == (1,)


@pytest.mark.interop
async def test_redis_forgets_by_itself(redis_server: RedisServer) -> None:
    async with opened(RedisStore(parse(redis_server.url))) as memory:
        await settle(memory, [PATH], [OTHER])
        kept = sorted(int(redis_server.cli("TTL", key)) for key in redis_server.cli("KEYS", "*"))
        assert limits.SMTP_LATE_S - 60 < kept[0] <= limits.SMTP_LATE_S
        assert limits.SMTP_DELIVERED_KEEP_S - 60 < kept[1] <= limits.SMTP_DELIVERED_KEEP_S


async def test_i7_it_is_bounded(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_DELIVERED_ROWS_MAX", 2)
    monkeypatch.setattr(limits, "SMTP_DELIVERED_UNWRITTEN_MAX", 1)
    metrics = Metrics()
    memory = Delivered(store(), metrics, clock=Clock())
    await memory.start()
    await settle(memory, [OTHER, b"d@example.test"])
    assert metrics.delivered_failures == {"read": 0, "write": 0, "lost": 0}
    await settle(memory, [PATH, b"e@example.test"])
    assert metrics.delivered_failures == {"read": 0, "write": 1, "lost": 1}
    assert await fate(memory, SENDER, OTHER, CONTENT) is Fate.TAKEN, "the newest is refused, nothing older is lost"
    await memory.close()
    assert metrics.delivered_failures["lost"] == 2


async def test_i9_it_names_nobody(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "delivered.sqlite", Clock())) as memory:
        await settle(memory, [PATH])
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"example" not in files


@pytest.mark.interop
async def test_i9_redis_hears_of_nobody(redis_server: RedisServer) -> None:
    async with opened(RedisStore(parse(redis_server.url))) as memory:
        await settle(memory, [PATH])
    (key,) = redis_server.cli("KEYS", "*")
    assert key.startswith(PREFIX)
    assert len(bytes.fromhex(key.removeprefix(PREFIX))) == 16
    assert re.fullmatch("1[0-9a-f]{32}", str(redis_server.cli("GET", key)))


@pytest.mark.interop
async def test_what_cannot_be_written_is_known_here_and_written_later(redis_server: RedisServer) -> None:
    metrics = Metrics()
    memory = Delivered(RedisStore(parse(redis_server.url)), metrics, clock=Clock())
    await memory.start()
    async with opened(RedisStore(parse(redis_server.url)), key=b"") as sibling:
        redis_server.kill()

        async def is_away() -> bool:
            return await unreadable(memory)

        await eventually_async(is_away, within=60, what="Redis being missed")
        await settle(memory, [PATH], [OTHER])
        assert metrics.delivered_failures["write"] == 2
        assert metrics.delivered_failures["read"] >= 1
        redis_server.start()

        async def is_written() -> bool:
            memory.poll()
            sibling.poll()
            return not metrics.delivered_unwritten and not await unreadable(sibling)

        await eventually_async(is_written, within=60, what="the entries being written")
        assert await fate(sibling, SENDER, PATH, CONTENT) is Fate.TAKEN
        assert await fate(sibling, SENDER, OTHER, CONTENT) is Fate.UNDER_WAY
        assert metrics.delivered_failures["lost"] == 0
    await memory.close()


async def test_a_file_that_cannot_be_read_or_written_defers(tmp_path: Path) -> None:
    file, metrics = tmp_path / "delivered.sqlite", Metrics()
    memory = Delivered(SqliteStore(file, Clock()), metrics, clock=Clock())
    await settle(memory, [OTHER])
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE entry RENAME TO aside")
    assert await unreadable(memory)
    await settle(memory, [PATH])
    assert metrics.delivered_failures == {"read": 1, "write": 1, "lost": 0}
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE aside RENAME TO entry")
    assert await fate(memory, SENDER, PATH, CONTENT) is Fate.TAKEN, "known here, though not written"
    memory.poll()
    async with opened(SqliteStore(file, Clock()), key=b"") as sibling:
        assert await fate(sibling, SENDER, PATH, CONTENT) is Fate.TAKEN
    await memory.close()


@pytest.mark.interop
async def test_the_rights_of_the_page_are_enough_and_no_more(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/index.md").read_text(encoding="utf-8")
    (line,) = [one for one in page.splitlines() if one.startswith("user izinli-gateway ")]
    acl = [line.replace(">…", ">not-a-secret")]
    with running(RedisServer(require("redis-server"), tmp_path, acl=acl)) as server:
        async with opened(RedisStore(parse(server.url_as("izinli-gateway", "not-a-secret")))) as memory:
            await settle(memory, [PATH])
            assert await fate(memory, SENDER, PATH, CONTENT) is Fate.TAKEN
            memory.late(memory.message(SENDER, CONTENT), PATH, taken=False)
            await eventually_async(lambda: _is_none(memory, PATH), within=90, what="the right to forget")
        for command in (("SET", "izinli:index", "x"), ("DEL", "izinli:index")):
            assert "permissions" in str(server.cli("ACL", "DRYRUN", "izinli-gateway", *command))


@pytest.mark.interop
async def test_a_cluster_keeps_it_wherever_it_belongs(redis_cluster: RedisCluster) -> None:
    paths = [b"r%d@example.test" % number for number in range(100)]
    async with (
        opened(RedisStore(parse(redis_cluster.url))) as memory,
        opened(RedisStore(parse(redis_cluster.url))) as b,
    ):
        await settle(memory, paths)
        assert [await fate(b, SENDER, path, CONTENT) for path in paths] == [Fate.TAKEN] * 100
    assert all(int(server.cli("DBSIZE")) > 0 for server in redis_cluster.masters())


@pytest.mark.interop
async def test_the_master_that_sentinel_names_keeps_it(redis_sentinel: RedisSentinel) -> None:
    async with opened(RedisStore(parse(redis_sentinel.url))) as memory:
        await settle(memory, [PATH])
        assert await fate(memory, SENDER, PATH, CONTENT) is Fate.TAKEN
    assert redis_sentinel.master().cli("DBSIZE") == 1


# Which form.


@pytest.mark.parametrize(
    ("url", "key", "is_shared"),
    [
        ("sqlite", "", False),
        ("sqlite", 'delivered = "index"', False),
        ("redis://127.0.0.1:6379/1", "", True),
        ("redis://127.0.0.1:6379/1", 'delivered = "index"', True),
        ("redis://127.0.0.1:6379/1", 'delivered = "sqlite"', False),
    ],
)
def test_it_lies_where_the_index_lies_unless_told_otherwise(
    tmp_path: Path, url: str, key: str, is_shared: bool
) -> None:
    config = configured(tmp_path, url, key)
    assert config.delivered == (config.index.server if is_shared else None)


def test_another_form_is_a_problem_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, "sqlite", 'delivered = "redis"')
    (problem,) = caught.value.problems
    assert (problem.key, problem.line) == ("delivered", 1)


def configured(directory: Path, url: str, key: str) -> Config:
    init(directory)
    file = directory / "izinli.toml"
    text = file.read_text(encoding="utf-8").replace('url = "sqlite"', f'url = "{url}"')
    file.write_text(f"{key}\n{text}", encoding="utf-8")
    return load(file)


# How a retry is recognised.

WITH_ID = b"Message-ID: <1@example.test>\r\nSubject: x\r\n\r\nbody\r\n"
FIRST = b"Received: from x (y [192.0.2.1])\r\n\tby z; Wed, 18 Nov 2026 11:06:40 +0300\r\n"
AGAIN = b"received: from x (y [192.0.2.1])\r\n\tby z; Wed, 18 Nov 2026 11:11:41 +0300\r\nReceived-SPF: pass\r\n"


@pytest.mark.parametrize(
    ("first", "again", "same"),
    [
        (FIRST + WITH_ID, AGAIN + WITH_ID, True),
        (WITH_ID, AGAIN + WITH_ID, True),
        (FIRST + CONTENT, AGAIN + CONTENT, False),
        (FIRST + WITH_ID, AGAIN + WITH_ID.replace(b"<1@", b"<2@"), False),
        (b"X-A: 1\r\n" + FIRST + WITH_ID, b"X-A: 1\r\n" + AGAIN + WITH_ID, False),
        (FIRST + CONTENT + WITH_ID, AGAIN + CONTENT + WITH_ID, False),
        (FIRST + WITH_ID, FIRST + b"X-Received: x\r\n" + WITH_ID, False),
    ],
    ids=["trace", "none before", "no Message-ID", "another", "trace below", "Message-ID in the body", "another field"],
)
def test_trace_fields_in_front_do_not_make_another_message(first: bytes, again: bytes, same: bool) -> None:
    memory = Delivered(SqliteStore(Path(":memory:"), Clock()), Metrics())
    entries = [memory.message(SENDER, content).entry(PATH) for content in (first, again)]
    assert (entries[0] == entries[1]) is same

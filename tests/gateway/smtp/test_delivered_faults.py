"""Whether the memory of mixed endings can be read and written is known without traffic, for as long as it cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from filters.index_url import parse
from gateway import limits
from gateway.metrics import Metrics
from gateway.smtp.delivered import READ, WRITE, Delivered, Fates, Store
from gateway.smtp.delivered_redis import RedisStore
from gateway.smtp.delivered_sqlite import SqliteStore
from tests.conftest import RedisCluster, RedisServer, eventually_async
from tests.gateway.smtp.test_delivered import CONTENT, OTHER, PATH, SENDER, Clock, Opened, settle

WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def _patient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has time to answer, and each poll looks."""
    monkeypatch.setattr(limits, "SMTP_DELIVERED_PROBE_S", 1)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "delivered.sqlite", Clock())
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: RedisStore(parse(server.url))


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[tuple[Delivered, Metrics]]:
    metrics = Metrics()
    memory = Delivered(store, metrics, clock=Clock())
    await memory.start()
    try:
        yield memory, metrics
    finally:
        await memory.close()


async def becomes(memory: Delivered, metrics: Metrics, *faults: str) -> None:
    """Polled as a worker does it, the memory comes to have these faults, and says so."""

    def has() -> bool:
        memory.poll()
        shown = [what for what, n in metrics.delivered_faults.items() if n]
        return memory.faults == shown == list(faults)

    await eventually_async(has, within=WITHIN_S, what=f"faults {faults}")


async def looks(store: Store, count: int) -> set[tuple[bool, bool]]:
    """What so many looks find, one after the other."""
    found: list[tuple[bool, bool]] = []
    for number in range(count):
        store.probe(lambda can_read, can_write: found.append((can_read, can_write)))
        await eventually_async(lambda: len(found) > number, within=WITHIN_S, what="what the look found")  # noqa: B023
    return set(found)


async def test_a_look_leaves_nothing_behind(store: Opened) -> None:
    one, other = store(), store()
    async with opened(one) as (memory, metrics), opened(other):
        assert await looks(one, 3) == {(True, True)}
        await settle(memory, [PATH])
        assert await looks(other, 3) == {(True, True)}
        await becomes(memory, metrics)
        memory.forget(memory.message(SENDER, CONTENT), [PATH])
        assert await looks(one, 1) == {(True, True)}
        assert metrics.delivered_failures == {"read": 0, "write": 0, "lost": 0}
    if isinstance(other, SqliteStore):
        assert SqliteStore(other._path, Clock()).is_empty


async def test_a_table_that_is_gone_is_seen_and_seen_to_be_back(tmp_path: Path) -> None:
    file = tmp_path / "delivered.sqlite"
    async with opened(SqliteStore(file, Clock())) as (memory, metrics):
        assert memory.faults == []
        with closing(sqlite3.connect(file)) as database:
            database.execute("ALTER TABLE entry RENAME TO aside")
        await becomes(memory, metrics, READ, WRITE)
        assert metrics.delivered_failures == {"read": 0, "write": 0, "lost": 0}, "no message was there to fail"
        with closing(sqlite3.connect(file)) as database:
            database.execute("ALTER TABLE aside RENAME TO entry")
        await becomes(memory, metrics)


async def test_a_file_that_is_none_keeps_no_worker_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "delivered.sqlite"
    file.write_bytes(b"not a database, by no means" * 100)
    async with opened(SqliteStore(file, Clock())) as (memory, metrics):
        assert memory.faults == [READ, WRITE], "known before the first client comes"
        heard: list[Fates | None] = []
        memory.read(memory.message(SENDER, CONTENT), [PATH], heard.append)
        assert heard == [None], "so its message is deferred"
        file.unlink()
        await becomes(memory, metrics)
        memory.read(memory.message(SENDER, CONTENT), [PATH], heard.append)
        assert heard == [None, [None]]


async def test_another_writer_is_no_fault_until_it_lasts(tmp_path: Path) -> None:
    file = tmp_path / "delivered.sqlite"
    store = SqliteStore(file, Clock())
    async with opened(store) as (memory, metrics):
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            assert await looks(store, limits.SMTP_DELIVERED_BUSY_PROBES - 1) == {(True, True)}
            await becomes(memory, metrics, WRITE)
        await becomes(memory, metrics)


async def test_what_waits_to_be_written_is_a_fault_though_a_look_finds_none(
    store: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is full."""
    monkeypatch.setattr(limits, "SMTP_DELIVERED_ROWS_MAX", 0)
    one = store()
    async with opened(one) as (memory, metrics):
        await settle(memory, [PATH])
        assert await looks(one, 3) == {(True, True)}
        await becomes(memory, metrics, WRITE)
        assert metrics.delivered_unwritten == 1
        monkeypatch.setattr(limits, "SMTP_DELIVERED_ROWS_MAX", 10)
        await becomes(memory, metrics)
        assert metrics.delivered_failures == {"read": 0, "write": 1, "lost": 0}


@pytest.mark.interop
async def test_a_redis_that_is_away(redis_server: RedisServer) -> None:
    async with opened(RedisStore(parse(redis_server.url))) as (memory, metrics):
        await becomes(memory, metrics)
        redis_server.kill()
        await becomes(memory, metrics, READ, WRITE)
        redis_server.start()
        await becomes(memory, metrics)
    assert int(redis_server.cli("DBSIZE")) == 0


def lacking_replicas(server: RedisServer) -> None:
    server.cli("CONFIG", "SET", "min-replicas-to-write", "9")


def out_of_memory(server: RedisServer) -> None:
    server.cli("CONFIG", "SET", "maxmemory", "1")


def without_rights(server: RedisServer) -> None:
    server.cli("ACL", "SETUSER", "default", "resetkeys", "~izinli:index*")


@pytest.mark.interop
@pytest.mark.parametrize(
    ("spoil", "faults"),
    [(lacking_replicas, [WRITE]), (out_of_memory, [WRITE]), (without_rights, [READ, WRITE])],
    ids=["replicas", "memory", "rights"],
)
async def test_a_redis_that_refuses(
    redis_server: RedisServer, spoil: Callable[[RedisServer], None], faults: list[str]
) -> None:
    async with opened(RedisStore(parse(redis_server.url))) as (memory, metrics):
        await becomes(memory, metrics)
        spoil(redis_server)
        await becomes(memory, metrics, *faults)
        redis_server.cli("ACL", "SETUSER", "default", "allkeys")
        for key, value in (("min-replicas-to-write", "0"), ("maxmemory", "0")):
            redis_server.cli("CONFIG", "SET", key, value)
        await becomes(memory, metrics)


@pytest.mark.interop
async def test_one_server_of_a_cluster_is_enough_to_be_not_ready(redis_cluster: RedisCluster) -> None:
    """Each look asks each master, so that the answer does not come and go with the keys."""
    store = RedisStore(parse(redis_cluster.url))
    async with opened(store) as (memory, metrics):
        await becomes(memory, metrics)
        for number, server in enumerate(redis_cluster.masters()):
            server.cli("CONFIG", "SET", "min-replicas-to-write", "9")
            await becomes(memory, metrics, WRITE)
            assert await looks(store, 10) == {(True, False)}, f"master {number}"
            server.cli("CONFIG", "SET", "min-replicas-to-write", "0")
            await becomes(memory, metrics)


@pytest.mark.interop
async def test_what_a_message_finds_counts_at_once(redis_server: RedisServer) -> None:
    async with opened(RedisStore(parse(redis_server.url))) as (memory, metrics):
        await becomes(memory, metrics)
        lacking_replicas(redis_server)
        await settle(memory, [OTHER])
        assert memory.faults == [WRITE]
        assert metrics.delivered_failures["write"] == 1

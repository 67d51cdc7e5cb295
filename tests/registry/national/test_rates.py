"""How often one address may ask: in one process, and in several that share a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from filters.index_url import IndexUrl, parse
from registry.index.embedded import SqliteIndexWriter
from registry.index.nodes import Servers
from registry.ledger import Ledger
from registry.national.errors import NationalError
from registry.national.rates import HOUR, KEY_PREFIX, Asked, LocalCounters, Quota, Rates, RedisCounters, Turnstile
from registry.publish import Publisher
from tests.conftest import RedisServer, free_port, require, running
from tests.registry.national.support import CLIENT, IYS, PASSWORD, Served, codes, served
from tests.registry.support import KEY
from tests.registry.test_index_nodes import RIGHTS, SECRET

ADDRESS = "192.0.2.7"
TOKENS = Quota("tokens", "H084", 3, HOUR, restarts=True)
STATUS = Quota("status", "H086", 3, HOUR)


class Monotonic:
    """Seconds that pass when it is said so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counts(quota: Quota, *at: float) -> list[int]:
    """What one address has asked at each of these seconds."""
    clock = Monotonic()
    counters = LocalCounters(clock)
    found = []
    for second in at:
        clock.now = 1000.0 + second
        found.append(counters.take(Asked(quota, "x")))
    return found


def test_a_window_begins_with_its_first_request_and_ends() -> None:
    assert counts(STATUS, 0, 10, HOUR - 1, HOUR, HOUR + 1) == [1, 2, 3, 1, 2]


def test_t7_each_request_for_a_token_begins_the_hour_anew() -> None:
    assert counts(TOKENS, 0, HOUR - 60, 2 * HOUR - 120, 3 * HOUR) == [1, 2, 3, 1]


def test_i7_the_longest_unseen_address_is_forgotten_first() -> None:
    counters = LocalCounters(Monotonic(), clients_max=2)
    for address in ("a", "b", "a", "c"):
        counters.take(Asked(STATUS, address))
    assert counters.take(Asked(STATUS, "a")) == 3
    assert counters.take(Asked(STATUS, "b")) == 1


@pytest.fixture
async def bounded(sqlite_ledger: Ledger, embedded: SqliteIndexWriter) -> AsyncIterator[Served]:
    rates = Rates(per_second=0, tokens_per_hour=2, status_per_hour=2, history_per_hour=2)
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), rates) as one:
        yield one


async def test_t7_too_many_tokens_are_told_h084(bounded: Served) -> None:
    said: dict[str, Any] = {"username": CLIENT, "password": PASSWORD, "grant_type": "password"}
    answers = [await bounded.http.post("/oauth2/token", json=said) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert codes(answers[-1]) == ["H084"]
    assert answers[-1].headers["retry-after"] == str(HOUR)


async def test_too_many_status_queries_are_told_h086(bounded: Served) -> None:
    answers = [await bounded.status() for _ in range(3)]
    assert [one.status_code for one in answers] == [404, 404, 429]
    assert codes(answers[-1]) == ["H086"]
    assert (await bounded.add()).status_code == 200


async def test_too_much_in_a_second_is_told_h124(sqlite_ledger: Ledger, embedded: SqliteIndexWriter) -> None:
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), Rates(per_second=5)) as one:
        await one.token()
        answers = await asyncio.gather(*(one.ask("GET", f"/sps/{IYS}/brands") for _ in range(40)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {code for answer in refused for code in codes(answer)} == {"H124"}


async def ask(turnstile: Turnstile, quota: Quota, address: str) -> bool:
    try:
        await turnstile.charge(quota, address)
    except NationalError:
        return False
    return True


def turnstile(url: IndexUrl) -> Turnstile:
    return Turnstile(Rates(), KEY, RedisCounters(Servers(url)))


@pytest.mark.interop
async def test_registries_that_share_a_redis_count_together(tmp_path: Path) -> None:
    """With the rights that docs/index.md gives the registry."""
    users = [f"user registry on >{SECRET} {RIGHTS}"]
    with running(RedisServer(require("redis-server"), tmp_path, acl=users)) as server:
        url = parse(server.url_as("registry", SECRET))
        one, other = turnstile(url), turnstile(url)
        turns = [await ask(door, STATUS, ADDRESS) for door in (one, other, one, other, one)]
        assert turns == [True, True, True, False, False]
        assert await ask(one, STATUS, "192.0.2.8")
        assert await ask(other, TOKENS, ADDRESS)
        keys = server.cli("KEYS", f"{KEY_PREFIX}*")
        assert len(keys) == 3
        assert ADDRESS not in str(keys)
        assert all(0 < int(server.cli("TTL", key)) <= HOUR for key in keys)
        one.close()
        other.close()


async def test_without_redis_each_counts_for_itself() -> None:
    door = turnstile(parse(f"redis://127.0.0.1:{free_port()}/0"))
    assert [await ask(door, STATUS, ADDRESS) for _ in range(4)] == [True, True, True, False]
    door.close()

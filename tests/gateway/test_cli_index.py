"""`izinli index …` on a whole index, and on every kind of one that cannot be used."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import redis

from filters.layout import Family
from tests.conftest import RedisServer, require, running
from tests.gateway.command import BRAND, HEADER, config, izinli, use_index

__all__ = ["config"]  # a fixture
PEOPLE = 40


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def url(request: pytest.FixtureRequest, config: Path) -> str:
    """Each form of the index, in the configuration."""
    if request.param == "sqlite":
        return "sqlite"
    server: RedisServer = request.getfixturevalue("redis_server")
    use_index(config, server.url)
    return server.url


def load(config: Path, people: int = PEOPLE) -> None:
    lines = [f"+90555{index:07},MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n" for index in range(people)]
    consents = config.parent / "consents.csv"
    consents.write_text(HEADER + "".join(lines))
    done = izinli("import", "-c", config, *BRAND, consents)
    assert done.returncode == 0, done.stderr


def lose_one(config: Path, url: str) -> None:
    """What should never happen: a member is gone, and nobody noted it."""
    if url == "sqlite":
        with closing(sqlite3.connect(config.parent / "izinli-data/index.sqlite")) as index, index:
            index.execute("DELETE FROM member WHERE fingerprint = (SELECT min(fingerprint) FROM member)")
        return
    client = redis.Redis.from_url(url)
    key = next(key for key in client.scan_iter("izinli:*:b:*") if client.scard(key) > 1)
    member = next(one for one in client.smembers(key) if one != b"-1")
    client.srem(key, member)


def test_what_differs_is_named_and_mended(config: Path, url: str) -> None:
    load(config)
    whole = izinli("index", "verify", "-c", config)
    assert (whole.returncode, "equal" in whole.stdout) == (0, True)
    lose_one(config, url)
    broken = izinli("index", "verify", "-c", config, "--json")
    assert broken.returncode == 1
    told = json.loads(broken.stdout)
    assert (told["equal"], told["missing"], told["surplus"]) == (False, 1, 0)
    (difference,) = told["differences"]
    assert difference["family"] == Family.BIREYSEL.name
    assert difference["ledger"]["members"] == difference["index"]["members"] + 1
    assert "verify --repair" in izinli("index", "verify", "-c", config).stdout
    mended = izinli("index", "verify", "-c", config, "--repair")
    assert (mended.returncode, "mended: equal now" in mended.stdout) == (0, True)
    assert izinli("index", "verify", "-c", config).returncode == 0


def test_status_says_what_is_there(config: Path, url: str) -> None:
    load(config)
    told = json.loads(izinli("index", "status", "-c", config, "--json").stdout)
    assert (told["fault"], told["count"], told["cursor"], told["head"]) == ("", PEOPLE, PEOPLE, PEOPLE)
    assert told["memory"] > 0
    assert told["heartbeat_age_s"] < 60
    assert told["filter_file"] == "none"
    assert told["gateway"].startswith("no answer at 127.0.0.1:")
    shown = izinli("index", "status", "-c", config).stdout
    assert f"count              {PEOPLE}" in shown


@pytest.mark.interop
def test_a_snapshot_by_hand(config: Path, redis_server: RedisServer) -> None:
    use_index(config, redis_server.url)
    load(config)
    done = izinli("index", "snapshot", "-c", config, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["members"] == PEOPLE
    assert f"epoch 1, {PEOPLE} members" in izinli("index", "snapshot", "-c", config).stdout
    told = json.loads(izinli("index", "status", "-c", config, "--json").stdout)
    assert (told["filter_file"]["epoch"], told["filter_file"]["members"]) == (1, PEOPLE)


def test_the_embedded_index_needs_no_snapshot(config: Path) -> None:
    load(config)
    done = izinli("index", "snapshot", "-c", config)
    assert (done.returncode, "read in-process" in done.stderr) == (69, True), done.stderr


@pytest.mark.interop
def test_an_index_without_the_right_to_write_is_an_error_of_one_line(config: Path, tmp_path: Path) -> None:
    directory = tmp_path / "redis"
    directory.mkdir()
    rights = ["user reader on >geheim ~* -@all +info +hmget +hget +hgetall +hkeys +time +script|load +select"]
    with running(RedisServer(require("redis-server"), directory, acl=rights)) as server:
        use_index(config, server.url_as("reader", "geheim"))
        done = izinli("index", "rebuild", "-c", config)
    assert done.returncode == 69
    assert "permission" in done.stderr.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.interop
def test_a_full_redis_says_so_and_leaves_nothing_half_done(config: Path, redis_server: RedisServer) -> None:
    use_index(config, redis_server.url)
    load(config)
    client = redis_server.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    done = izinli("index", "rebuild", "-c", config)
    assert done.returncode == 69
    assert "full" in done.stderr.lower() or "oom" in done.stderr.lower()
    assert json.loads(izinli("index", "status", "-c", config, "--json").stdout)["epoch"] == 1
    client.config_set("maxmemory", 0)
    again = izinli("index", "rebuild", "-c", config, "--json")
    assert again.returncode == 0, again.stderr
    assert izinli("index", "verify", "-c", config).returncode == 0


def test_an_unknown_kind_of_index_is_a_faulty_configuration(config: Path) -> None:
    use_index(config, "memcached://127.0.0.1:11211")
    done = izinli("index", "status", "-c", config)
    assert done.returncode == 78
    assert "redis+cluster" in done.stderr
    assert "url" in done.stderr


@pytest.mark.interop
def test_an_index_that_is_away_is_unavailable(config: Path, redis_server: RedisServer) -> None:
    use_index(config, redis_server.url)
    redis_server.stop()
    done = izinli("index", "status", "-c", config)
    assert done.returncode == 69
    assert "Traceback" not in done.stderr

"""The Redis servers that other tests lean on: each form starts, breaks the way it is told to, and answers again."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.certificates import make_authority
from tests.conftest import (
    RedisCluster,
    RedisSentinel,
    RedisServer,
    RedisTls,
    accepts,
    eventually,
    require,
    running,
)

pytestmark = [pytest.mark.slow, pytest.mark.interop]

READER = "user reader on >p@ss/word ~izinli:* -@all +get +ping"
CLOSED = ("user default off", READER)


def make(kind: Callable[..., RedisServer], directory: Path, *options: str, **settings: object) -> RedisServer:
    return kind(require("redis-server"), directory, *options, **settings)


# One server.


@pytest.mark.parametrize("keep", [False, True], ids=["forgets", "keeps"])
def test_a_restart_keeps_what_was_saved_or_nothing(tmp_path: Path, keep: bool) -> None:
    with running(make(RedisServer, tmp_path, keep=keep)) as server:
        port = server.port
        assert server.cli("SET", "a", "saved") == "OK"
        server.cli("SAVE")
        server.cli("SET", "b", "lost")
        server.kill()
        assert not accepts(port)
        server.start()
        assert server.port == port
        assert server.cli("MGET", "a", "b") == (["saved", None] if keep else [None, None])


def test_an_append_only_file_is_an_option(tmp_path: Path) -> None:
    with running(make(RedisServer, tmp_path, "--appendonly", "yes", "--appendfsync", "always")) as server:
        server.cli("SET", "a", "1")
        server.kill()
        server.start()
        assert server.cli("GET", "a") == "1"


def test_options_are_given_to_the_server(tmp_path: Path) -> None:
    with running(make(RedisServer, tmp_path, "--maxmemory", "5mb", "--save", "60", "7")) as server:
        assert server.cli("CONFIG", "GET", "maxmemory") == ["maxmemory", str(5 * 2**20)]
        assert server.cli("CONFIG", "GET", "save") == ["save", "60 7"]


def test_an_option_that_it_does_not_know_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Bad directive"), running(make(RedisServer, tmp_path, "--no-such", "1")):
        pytest.fail("it started")


def test_a_port_that_was_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    server = make(RedisServer, tmp_path)
    with socket.create_server(("127.0.0.1", server.port)) as squatter, running(server):
        assert server.port != squatter.getsockname()[1]
        assert server.cli("PING") == "PONG"


def test_one_that_is_paused_does_not_answer(tmp_path: Path) -> None:
    with running(make(RedisServer, tmp_path)) as server:
        server.pause()
        assert not server.alive
        with server.client(socket_timeout=0.2) as client, pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        assert server.cli("PING") == "PONG"
        server.pause()  # `stop` has to end a paused one, too


def test_users_of_an_acl_file_may_do_what_it_says(tmp_path: Path) -> None:
    with running(make(RedisServer, tmp_path, acl=CLOSED)) as server:
        server.cli("SET", "izinli:a", "1")
        with redis.Redis.from_url(server.url_as("reader", "p@ss/word")) as reader:
            assert reader.get("izinli:a") == b"1"
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.set("izinli:a", "2")
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.get("other")
        with redis.Redis.from_url(server.url) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.get("izinli:a")


def test_a_session_that_ends_early_leaves_no_server_behind(tmp_path: Path) -> None:
    """No `stop`, an exception, the interpreter ends: the server ends too."""
    script = (
        "import sys; from pathlib import Path; from tests.redis_farm import RedisServer\n"
        "server = RedisServer(sys.argv[1], Path(sys.argv[2])); server.start(); print(server.port, flush=True); 1 / 0"
    )
    arguments = [sys.executable, "-c", script, require("redis-server"), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert "ZeroDivisionError" in done.stderr
    assert not accepts(int(done.stdout))


# TLS.


def test_tls_is_verified_and_nothing_else_is_spoken(redis_tls: RedisTls) -> None:
    with redis.Redis.from_url(redis_tls.url) as client:
        assert client.set("a", "1")
    assert redis_tls.cli("GET", "a") == "1"
    with redis.Redis.from_url(redis_tls.url_unknown) as client, pytest.raises(redis.ConnectionError, match="verify"):
        client.ping()
    with redis.Redis(port=redis_tls.port) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    redis_tls.kill()
    redis_tls.start()
    assert redis_tls.cli("GET", "a") is None


def test_tls_takes_users_too(tmp_path: Path) -> None:
    with running(
        RedisTls(require("redis-server"), tmp_path, make_authority(tmp_path / "authority"), acl=CLOSED)
    ) as server:
        server.cli("SET", "izinli:a", "1")
        with redis.Redis.from_url(server.url_as("reader", "p@ss/word")) as reader:
            assert reader.get("izinli:a") == b"1"


def test_tls_may_have_run_out(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority")
    server = RedisTls(require("redis-server"), tmp_path, authority, expired=True)
    with running(server):
        context = ssl.create_default_context(cafile=authority.ca_file)
        with (
            socket.create_connection(("127.0.0.1", server.port)) as wire,
            pytest.raises(ssl.SSLCertVerificationError, match="expired"),
        ):
            context.wrap_socket(wire, server_hostname="127.0.0.1")


# A cluster.


def test_a_cluster_shares_out_the_slots_and_replicates(redis_cluster: RedisCluster) -> None:
    masters = redis_cluster.masters()
    assert len(masters) == 3
    owners = {redis_cluster.owner(f"key:{number}") for number in range(100)}
    assert owners == set(masters)
    owner = redis_cluster.owner("a")
    owner.cli("SET", "a", "1")
    other = next(server for server in masters if server is not owner)
    with pytest.raises(redis.ResponseError, match=f"127.0.0.1:{owner.port}"):
        other.cli("GET", "a")
    replica = redis_cluster.replica_of(owner)
    assert replica not in masters
    eventually(lambda: replica.cli("DBSIZE") == 1, within=90, what="the replica having it")
    with redis.RedisCluster(host="127.0.0.1", port=other.port) as client:
        assert client.get("a") == b"1"


def test_a_cluster_survives_a_master_and_takes_it_back(redis_cluster: RedisCluster) -> None:
    owner = redis_cluster.owner("a")
    owner.cli("SET", "a", "1")
    assert owner.cli("WAIT", "1", "30000") == 1
    redis_cluster.kill(owner)
    redis_cluster.wait_ok()
    successor = redis_cluster.owner("a")
    assert successor is not owner
    assert successor.cli("GET", "a") == "1"
    owner.start()
    redis_cluster.wait_ok()
    assert redis_cluster.replica_of(successor) is owner
    # ... and back again, by hand
    assert redis_cluster.failover(successor) is owner
    assert redis_cluster.owner("a") is owner
    assert owner.cli("GET", "a") == "1"


def test_a_cluster_without_one_part_answers_for_none(tmp_path: Path) -> None:
    with running(RedisCluster(require("redis-server"), tmp_path / "cluster", replicas=0)) as cluster:
        first, second, _ = cluster.masters()
        cluster.kill(first)
        eventually(lambda: "cluster_state:fail" in second.cli("CLUSTER", "INFO"), within=60, what="CLUSTERDOWN")
        key = next(f"key:{number}" for number in range(1000) if cluster.owner(f"key:{number}") is second)
        with pytest.raises(redis.exceptions.ClusterDownError):
            second.cli("GET", key)
        first.start()
        cluster.wait_ok()
        assert second.cli("GET", key) is None


def test_a_cluster_of_users(tmp_path: Path) -> None:
    with running(RedisCluster(require("redis-server"), tmp_path / "cluster", acl=CLOSED)) as cluster:
        owner = cluster.owner("izinli:a")
        owner.cli("SET", "izinli:a", "1")
        with redis.Redis.from_url(owner.url_as("reader", "p@ss/word")) as reader:
            assert reader.get("izinli:a") == b"1"
        assert cluster.url_as("reader", "p@ss/word").startswith("redis+cluster://reader:p%40ss%2Fword@127.0.0.1:")


# A watched master.


def test_sentinels_name_another_master(redis_sentinel: RedisSentinel) -> None:
    first = redis_sentinel.master()
    first.cli("SET", "a", "1")
    assert first.cli("WAIT", "1", "30000") == 1
    assert redis_sentinel.kill_master() is first
    second = redis_sentinel.wait_failover()
    assert second is not first
    foreign = redis.Sentinel([("127.0.0.1", each.port) for each in redis_sentinel.sentinels])
    with foreign.master_for("izinli") as client:
        assert client.get("a") == b"1"
        client.set("a", "2")
    first.start()
    redis_sentinel.wait_ok()
    assert redis_sentinel.master() is second
    assert first.cli("GET", "a") == "2"
    assert redis_sentinel.failover() is first
    assert first.cli("GET", "a") == "2"


def test_sentinels_replace_a_master_that_hangs(redis_sentinel: RedisSentinel) -> None:
    first = redis_sentinel.master()
    first.pause()
    second = redis_sentinel.wait_failover()
    assert second is not first
    first.resume()
    redis_sentinel.wait_ok()
    assert redis_sentinel.master() is second


def test_sentinels_log_in(tmp_path: Path) -> None:
    with running(RedisSentinel(require("redis-server"), tmp_path / "watched", acl=CLOSED)) as watched:
        gone = watched.kill_master()
        master = watched.wait_failover()
        assert master is not gone
        with redis.Redis.from_url(master.url_as("reader", "p@ss/word")) as reader:
            assert reader.get("izinli:a") is None

"""The way to a Redis by TLS, and with a login that may do what a reader needs and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from filters.layout import INDEX_KEY
from filters.model import Reason
from gateway.index.interface import Fault
from tests.certificates import make_authority
from tests.conftest import RedisCluster, RedisSentinel, RedisServer, RedisTls, require, running
from tests.gateway.asking import ask, becomes, citizen, reader, shows
from tests.gateway.hand import Hand

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("patient")]

SECRET = "p@ss:w/%örd"
RIGHTS = "resetchannels ~izinli:* -@all +smismember +hmget +time +info"
READER = f"user reader on >{SECRET} {RIGHTS}"
CLUSTER_READER = f"{READER} +cluster|slots"


def room(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.mkdir()
    return path


async def test_tls_verified(redis_tls: RedisTls) -> None:
    one = citizen(b"a")
    with redis_tls.client() as client:
        Hand(client).build([one.fingerprint])
    index = reader(redis_tls.url)
    await index.start()
    assert await ask(index, one, citizen(b"b")) == [True, False]
    await index.close()


async def test_a_server_of_an_unknown_authority_is_not_talked_to(redis_tls: RedisTls) -> None:
    index = reader(redis_tls.url_unknown)
    await index.start()
    assert await ask(index, citizen(b"a")) == Reason.INDEX_DOWN
    assert index.status.faults == {Fault.DOWN}
    await index.close()


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority")
    with running(RedisTls(require("redis-server"), room(tmp_path), authority, expired=True)) as server:
        index = reader(server.url)
        await index.start()
        assert await ask(index, citizen(b"a")) == Reason.INDEX_DOWN
        await index.close()


async def test_a_server_that_asks_for_our_certificate(tmp_path: Path) -> None:
    """As Redis does unless it is told not to."""
    authority = make_authority(tmp_path / "authority")
    certificate, key = authority.issue("gateway.example.test")
    options = ("--tls-auth-clients", "yes")
    with running(RedisTls(require("redis-server"), room(tmp_path), authority, *options)) as server:
        ours = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        with server.client(**ours) as client:
            one = citizen(b"a")
            Hand(client).build([one.fingerprint])
        index = reader(f"{server.url}&ssl_certfile={certificate}&ssl_keyfile={key}")
        await index.start()
        assert await ask(index, one) == [True]
        await index.close()


async def test_the_rights_that_are_enough(tmp_path: Path) -> None:
    with running(RedisServer(require("redis-server"), room(tmp_path), acl=[READER, "user default off"])) as server:
        one = citizen(b"a")
        with server.client() as client:
            Hand(client).build([one.fingerprint])
        index = reader(server.url_as("reader", SECRET))
        await index.start()
        assert await ask(index, one, citizen(b"b")) == [True, False]
        index.poll()
        await becomes(index, [one], [True])
        await shows(index)
        stranger = reader(server.url_as("reader", "wrong"))
        await stranger.start()
        await shows(stranger, Fault.NO_PERMISSION)
        assert await ask(stranger, one) == Reason.INDEX_DOWN
        await stranger.close()
        await index.close()


@pytest.mark.parametrize("missing", ["+smismember", "+hmget", "+time", "+info", "~izinli:*"])
async def test_i4_each_of_the_rights_is_needed(tmp_path: Path, missing: str) -> None:
    user = READER.replace(missing, "~other:*" if missing.startswith("~") else missing.replace("+", "-"))
    with running(RedisServer(require("redis-server"), room(tmp_path), acl=[user])) as server:
        one = citizen(b"a")
        with server.client() as client:
            Hand(client).build([one.fingerprint])
        index = reader(server.url_as("reader", SECRET))
        await index.start()
        assert isinstance(await ask(index, one), Reason)
        assert Fault.NO_PERMISSION in index.status.faults
        await index.close()


async def test_the_rights_that_are_enough_in_a_cluster(tmp_path: Path) -> None:
    cluster = RedisCluster(require("redis-server"), tmp_path / "cluster", replicas=0, acl=[CLUSTER_READER])
    with running(cluster), redis.RedisCluster(host="127.0.0.1", port=cluster.servers[0].port) as client:
        one = citizen(b"a")
        Hand(client).build([one.fingerprint])
        runs = [server.info("replication")["master_replid"] for server in cluster.masters()]
        cluster.owner(INDEX_KEY).cli("HSET", INDEX_KEY, "runs", " ".join(runs))
        index = reader(cluster.url_as("reader", SECRET))
        await index.start()
        await becomes(index, [one, citizen(b"b")], [True, False])
        await shows(index)
        await index.close()


async def test_the_rights_that_are_enough_behind_sentinel(tmp_path: Path) -> None:
    watched = RedisSentinel(require("redis-server"), tmp_path / "sentinel", acl=[READER])
    with running(watched):
        for sentinel in watched.sentinels:
            sentinel.cli("ACL", "SETUSER", "asker", "on", ">sentinel-secret", "+sentinel|get-master-addr-by-name")
        one = citizen(b"a")
        with watched.master().client() as client:
            Hand(client).build([one.fingerprint])
        url = watched.url_as("reader", SECRET)
        index = reader(url, sentinel=("asker", "sentinel-secret"))
        await index.start()
        await becomes(index, [one, citizen(b"b")], [True, False])
        await shows(index)
        await index.close()

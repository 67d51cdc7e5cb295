"""The Redis form of the index on real servers that fail: restarts, Sentinel, Cluster, TLS and users with few rights."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from filters.key import split
from filters.layout import CHANGES_KEY, INDEX_KEY, LANES, Family, bucket_key, lane_key, lane_of
from registry.index import nodes, shared
from registry.index.interface import Change, Facts, IndexDown, IndexUnusable
from registry.index.nodes import slot_of
from registry.index.rounds import Server
from registry.index.shared import RedisIndexWriter
from tests.certificates import make_authority
from tests.conftest import eventually, require
from tests.redis_farm import RedisCluster, RedisSentinel, RedisServer, RedisTls, running
from tests.registry.test_index_writers import ONE, THREE, TWO, built, facts, holds, state_of

pytestmark = pytest.mark.interop

BIREYSEL, TACIR = Family.BIREYSEL, Family.TACIR
KEY_CHECK = b"k" * 8
SECRET = "secret-of-these-tests"
KEYS = "~izinli:* ~{izinli:index}:*"
# what an operator gives the registry's user; docs/index.md says the same
RIGHTS = (
    f"{KEYS} -@all +info +client|setname +select +script|load +evalsha +hget +hmget +hgetall +hkeys"
    " +hset +hsetnx +hdel +hexists +hincrby +sadd +srem +sismember +smismember +smembers +xadd +unlink +del +time"
    " +incr +expire"  # counts requests to the API
)
CLUSTER_RIGHTS = f"{RIGHTS} +cluster|slots"
UP_S = 60.0


@contextmanager
def opened(url: str) -> Iterator[RedisIndexWriter]:
    with closing(RedisIndexWriter(url, KEY_CHECK)) as writer:
        yield writer


def again(step: Callable[[], object], what: str) -> None:
    """Until the index can be reached: what its users do."""

    def done() -> bool:
        try:
            step()
        except IndexDown:
            return False
        return True

    eventually(done, within=UP_S, what=what)


def spread(count: int) -> list[bytes]:
    """Members all over the lanes."""
    return sorted(secrets.token_bytes(12) for _ in range(count))


def in_lane_of(key: str, count: int) -> list[bytes]:
    """Members of one lane, which `key` belongs to."""
    lane = next(lane for lane in range(LANES) if lane_key(1, lane) == key)
    return sorted((lane << 22).to_bytes(4) + secrets.token_bytes(8) for _ in range(count))


def runs_of(writer: RedisIndexWriter) -> frozenset[str]:
    found = writer._found()
    assert found is not None
    return found.runs


def whole_life(writer: RedisIndexWriter) -> None:
    """Everything that the registry does with an index."""
    many = spread(3000)
    build = writer.build(1, (3000, 10), 5)
    build.add(BIREYSEL, many)
    build.announce()
    assert build.switch(5).counts == (3000, 0)
    assert writer.put(Facts(6, [Change(BIREYSEL, many[0], False), Change(TACIR, many[0], True)])) == []
    assert writer.put(facts(5, (many[0], True))) != []
    assert writer.beat(6).counts == (2999, 1)
    assert writer.lost_after() is None
    assert holds(writer, *many[:3]) == [False, True, True]
    lane = lane_of(split(many[5])[0])
    assert writer.name(BIREYSEL, many[5]) in writer.lane(BIREYSEL, lane)
    abandoned = writer.build(2, (10, 10), 6)
    abandoned.announce()
    abandoned.abandon()
    writer.build(3, (10, 10), 6).add(BIREYSEL, many[:10])
    taken_up = writer.unfinished()
    assert taken_up is not None
    taken_up.add(BIREYSEL, many[10:20])
    taken_up.announce()
    assert taken_up.switch(6).counts == (20, 0)
    assert (writer.last_epoch(), writer.memory() > 0) == (3, True)


# one server


def test_redis_faults_are_index_down(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "INDEX_WAIT_SECONDS", 0.5)
    with opened(redis_server.url) as writer:
        built(writer)
        redis_server.pause()
        with pytest.raises(IndexDown):
            writer.beat(6)
        redis_server.resume()
        again(writer.state, "an answer")
        assert state_of(writer).cursor == 5
        redis_server.stop()
        for step in (writer.state, writer.last_epoch, writer.lost_after, lambda: writer.put(facts(6, (ONE, False)))):
            with pytest.raises(IndexDown):
                step()
        redis_server.start()
        assert writer.state() is None
        with pytest.raises(IndexUnusable):
            writer.lost_after()


def test_i5_a_restart_from_an_old_copy_is_noticed_and_mended(tmp_path: Path) -> None:
    with running(RedisServer(require("redis-server"), tmp_path, keep=True)) as server, opened(server.url) as writer:
        built(writer, cursor=5)
        writer.put(facts(6, (THREE, True)))
        writer.beat(6)
        server.cli("SAVE")
        before = runs_of(writer)
        writer.put(facts(7, (ONE, False)))
        server.kill()
        with pytest.raises(IndexDown):
            writer.put(facts(8, (TWO, False)))
        server.start()
        assert holds(writer, ONE, TWO, THREE) == [True, True, True]  # what was taken away is back
        assert runs_of(writer) == before  # but no reader believes this life of the server
        assert writer.lost_after() == 6
        assert writer.put(facts(8, (ONE, False), (TWO, False))) == []
        assert runs_of(writer) == before
        writer.vouch()
        assert runs_of(writer) == {server.info("replication")["master_replid"]}
        assert writer.lost_after() is None
        assert holds(writer, ONE, TWO, THREE) == [False, False, True]
        assert (writer.beat(8).counts, state_of(writer).cursor) == ((1, 0), 8)


def test_the_history_changes_when_the_state_was_set_back(tmp_path: Path) -> None:
    """A filter that has seen numbers that are given a second time must not take them for the first."""
    with running(RedisServer(require("redis-server"), tmp_path, keep=True)) as server, opened(server.url) as writer:
        built(writer, cursor=5)
        server.cli("SAVE")
        writer.put(facts(6, (THREE, True)))
        history = server.cli("HGET", INDEX_KEY, "history")
        server.kill()
        server.start()
        assert writer.lost_after() == 5
        assert writer.put(facts(6, (THREE, True))) == []
        writer.vouch()
        assert server.cli("HGET", INDEX_KEY, "history") != history
        assert server.cli("XLEN", CHANGES_KEY) == 1


def test_a_server_that_starts_again_before_it_is_vouched_for_is_not(tmp_path: Path) -> None:
    with running(RedisServer(require("redis-server"), tmp_path, keep=True)) as server, opened(server.url) as writer:
        built(writer)
        server.cli("SAVE")
        server.kill()
        server.start()
        assert writer.lost_after() == 5
        before = runs_of(writer)
        server.kill()
        server.start()
        with pytest.raises(IndexDown):
            writer.vouch()
        assert runs_of(writer) == before
        assert writer.lost_after() == 5
        writer.vouch()
        assert writer.lost_after() is None


def test_a_build_does_not_outlive_its_server(tmp_path: Path) -> None:
    with running(RedisServer(require("redis-server"), tmp_path, keep=True)) as server, opened(server.url) as writer:
        built(writer)
        build = writer.build(2, (10, 10), 6)
        server.cli("SAVE")
        build.add(BIREYSEL, sorted([ONE, THREE]))
        build.announce()
        server.kill()
        server.start()
        with pytest.raises((IndexDown, IndexUnusable)):  # the copy does not know of the announcement
            build.switch(6)
        assert writer.unfinished() is None
        assert state_of(writer).epoch == 1
        assert built(writer, 3).epoch == 3


def test_a_replica_is_not_written_to(redis_server: RedisServer, tmp_path: Path) -> None:
    directory = tmp_path / "replica"
    directory.mkdir()
    with running(RedisServer(require("redis-server"), directory)) as replica:
        replica.cli("REPLICAOF", "127.0.0.1", redis_server.port)
        with opened(replica.url) as writer, pytest.raises(IndexDown, match="is a replica"):
            writer.state()


def test_the_wrong_kind_of_address_is_said(redis_cluster: RedisCluster, tmp_path: Path) -> None:
    node = redis_cluster.servers[0]
    with opened(node.url) as writer, pytest.raises(IndexDown, match="redis\\+cluster://"):
        writer.state()
    with (
        running(RedisServer(require("redis-server"), tmp_path)) as server,
        opened(f"redis+cluster://{server.address}") as writer,
        pytest.raises(IndexDown, match="cluster"),
    ):
        writer.state()


@pytest.mark.parametrize("version", ["6.2.14", "6.0", "unknown"])
def test_an_old_redis_is_refused(version: str) -> None:
    server = Server("redis.example.test:6379", lambda: None, clustered=False)
    with pytest.raises(IndexDown, match=f"Redis 7.0 or newer is needed; .* is {version}"):
        server._check({"redis_version": version, "role": "master"})
    server._check({"redis_version": "7.0.0", "redis_mode": "standalone", "role": "master"})


def test_slots_are_redis_own(redis_cluster: RedisCluster) -> None:
    node = redis_cluster.servers[0]
    for tag in (INDEX_KEY, "0", "7", "1023"):
        assert node.cli("CLUSTER", "KEYSLOT", f"any:{{{tag}}}:thing") == slot_of(tag)
    assert node.cli("CLUSTER", "KEYSLOT", INDEX_KEY) == node.cli("CLUSTER", "KEYSLOT", CHANGES_KEY)


# TLS and users


def test_a_user_with_few_rights_is_enough_over_tls(tmp_path: Path) -> None:
    users = [f"user registry on >{SECRET} {RIGHTS}", "user default off"]
    authority = make_authority(tmp_path / "authority")
    tls = RedisTls(require("redis-server"), tmp_path, authority, acl=users)
    with running(tls) as server, opened(server.url_as("registry", SECRET)) as writer:
        whole_life(writer)


def test_a_user_with_few_rights_is_enough_in_a_cluster(tmp_path: Path) -> None:
    users = [f"user registry on >{SECRET} {CLUSTER_RIGHTS}"]
    cluster = RedisCluster(require("redis-server"), tmp_path, replicas=0, acl=users)
    with running(cluster) as servers, opened(servers.url_as("registry", SECRET)) as writer:
        whole_life(writer)


def test_what_a_user_may_not_is_said(tmp_path: Path) -> None:
    users = [f"user registry on >{SECRET} {RIGHTS} -sadd"]
    with (
        running(RedisServer(require("redis-server"), tmp_path, acl=users)) as server,
        opened(server.url_as("registry", SECRET)) as writer,
    ):
        with pytest.raises(IndexDown, match="can't run this command"):
            writer.build(1, (10, 10), 5)
        server.cli("ACL", "SETUSER", "registry", "+sadd")
        again(lambda: built(writer, 2), "a build")


def test_a_server_that_cannot_prove_its_name_is_not_talked_to(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority")
    with ExitStack() as stack:
        server = stack.enter_context(running(RedisTls(require("redis-server"), tmp_path, authority)))
        expired_path = tmp_path / "expired"
        expired_path.mkdir()
        expired = RedisTls(require("redis-server"), expired_path, authority, expired=True)
        stack.enter_context(running(expired))
        for url in (server.url_unknown, expired.url, server.url.replace("rediss://", "redis://").partition("?")[0]):
            with opened(url) as writer, pytest.raises(IndexDown):
                writer.state()
        with opened(server.url) as writer:
            assert built(writer).epoch == 1


# Sentinel


def test_i5_sentinel_promotes_and_the_registry_follows(redis_sentinel: RedisSentinel) -> None:
    with opened(redis_sentinel.url) as writer:
        built(writer, cursor=5)
        assert writer.put(facts(6, (ONE, False))) == []
        writer.beat(6)
        old = redis_sentinel.master()
        old.cli("WAIT", 1, 30_000)
        old.kill()
        with pytest.raises(IndexDown):
            writer.put(facts(7, (TWO, False)))
        promoted = redis_sentinel.wait_failover()
        assert promoted != old
        again(writer.memory, "the promoted master")
        with pytest.raises(IndexDown):
            writer.beat(7)  # what was put to the former master may be lost
        assert writer.lost_after() == 6
        assert writer.put(facts(7, (TWO, False), (THREE, True))) == []
        writer.vouch()
        assert runs_of(writer) == {promoted.info("replication")["master_replid"]}
        assert holds(writer, ONE, TWO, THREE) == [False, False, True]
        assert (writer.beat(7).counts, writer.lost_after()) == ((1, 0), None)


def test_a_master_that_was_demoted_is_left(redis_sentinel: RedisSentinel) -> None:
    with opened(redis_sentinel.url) as writer:
        built(writer, cursor=5)
        writer.beat(5)
        promoted = redis_sentinel.failover()
        # the former master may not know it yet; the sentinels do
        again(lambda: writer.beat(6), "a beat of the new master")
        assert promoted.cli("HGET", INDEX_KEY, "cursor") == "6"
        assert writer.put(facts(6, (ONE, False))) == []
        assert promoted.cli("SISMEMBER", bucket_key(1, BIREYSEL, 10, split(ONE)[0]), split(ONE)[1]) == 0
        assert writer.lost_after() == 5
        assert writer.put(facts(6, (ONE, False))) == []
        writer.vouch()
        assert writer.lost_after() is None


def test_without_sentinels_the_index_is_down(redis_sentinel: RedisSentinel) -> None:
    with opened(redis_sentinel.url) as writer:
        redis_sentinel.sentinels[0].stop()
        assert writer.state() is None
        for one in redis_sentinel.sentinels[1:]:
            one.stop()
        assert built(writer).epoch == 1  # as long as nobody has to be asked
        with opened(redis_sentinel.url) as late, pytest.raises(IndexDown, match="no sentinel names the master"):
            late.state()
    unknown = redis_sentinel.url.rpartition("/")[0] + "/unknown"
    redis_sentinel.sentinels[0].start()
    with opened(unknown) as writer, pytest.raises(IndexDown, match="watches no unknown"):
        writer.state()


# Cluster


def test_a_cluster_has_the_lanes_on_all_its_masters(redis_cluster: RedisCluster) -> None:
    with opened(redis_cluster.url) as writer:
        whole_life(writer)
        assert len(runs_of(writer)) == 3
        assert all(int(server.cli("DBSIZE")) > LANES // 2 for server in redis_cluster.masters())


@pytest.fixture
def lagging_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Its replicas are promoted however long they have heard nothing."""
    options = ("--cluster-replica-validity-factor", "0")
    with running(RedisCluster(require("redis-server"), tmp_path / "cluster", *options)) as cluster:
        yield cluster


def cut_off(cluster: RedisCluster, master: RedisServer) -> None:
    """From now on its replica hears nothing more of it."""
    replica = cluster.replica_of(master)
    assert int(master.cli("WAIT", 1, 30_000)) == 1
    master.cli("ACL", "SETUSER", "default", "-psync", "-sync")
    master.cli("CLIENT", "KILL", "TYPE", "replica")
    eventually(lambda: replica.info("replication")["master_link_status"] == "down", within=UP_S, what="a cut link")


@pytest.mark.parametrize("with_state", [False, True], ids=["lanes", "lanes and state"])
def test_i5_what_a_promoted_replica_lacks_is_put_again(lagging_cluster: RedisCluster, *, with_state: bool) -> None:
    state_owner = lagging_cluster.owner(INDEX_KEY)
    keys = (lane_key(1, lane) for lane in range(LANES))
    key = next(key for key in keys if (lagging_cluster.owner(key) == state_owner) is with_state)
    victim = lagging_cluster.owner(key)
    one, two, three = in_lane_of(key, 3)
    with opened(lagging_cluster.url) as writer:
        built(writer, members=sorted([one, two, *spread(500)]), cursor=5)
        writer.put(facts(6, (two, False)))
        writer.beat(6)
        cut_off(lagging_cluster, victim)
        assert writer.put(facts(7, (one, False), (three, True))) == []
        history = state_owner.cli("HGET", INDEX_KEY, "history")
        writer._levelled = float("-inf")
        writer.beat(7)  # the lanes are told on the master that is about to die
        lagging_cluster.kill(victim)
        with pytest.raises(IndexDown):
            writer.put(facts(8, (two, False)))
        lagging_cluster.wait_ok()
        again(writer.memory, "all masters")
        assert holds(writer, one, two, three) == [True, False, False]  # the withdrawal is gone
        before = runs_of(writer)
        promoted = lagging_cluster.owner(key).info("replication")["master_replid"]
        assert promoted not in before
        assert writer.lost_after() == 6
        assert writer.put(facts(8, (one, False), (three, True))) == []
        writer.vouch()
        assert promoted in runs_of(writer)
        assert holds(writer, one, two, three) == [False, False, True]
        assert writer.lost_after() is None
        assert writer.beat(8).counts == (501, 0)
        now = lagging_cluster.owner(INDEX_KEY).cli("HGET", INDEX_KEY, "history")
        assert (now != history) is with_state


def test_a_replica_that_lacks_lanes_makes_the_index_unusable(lagging_cluster: RedisCluster) -> None:
    with opened(lagging_cluster.url) as writer:
        victim = next(one for one in lagging_cluster.masters() if one != lagging_cluster.owner(INDEX_KEY))
        cut_off(lagging_cluster, victim)
        built(writer)
        lagging_cluster.kill(victim)
        lagging_cluster.wait_ok()
        again(writer.memory, "all masters")
        with pytest.raises(IndexUnusable):
            writer.lost_after()
        assert built(writer, 2).counts == (2, 0)
        assert writer.beat(6).counts == (2, 0)


def test_grants_and_withdrawals_go_on_after_a_failover_without_loss(redis_cluster: RedisCluster) -> None:
    with opened(redis_cluster.url) as writer:
        built(writer, members=spread(1000), cursor=5)
        master = redis_cluster.owner(lane_key(1, lane_of(split(ONE)[0])))
        assert writer.put(facts(6, (ONE, True))) == []
        redis_cluster.failover(master)
        again(lambda: writer.put(facts(7, (ONE, False), (TWO, True))), "a put to the new master")
        assert holds(writer, ONE, TWO) == [False, True]
        assert writer.lost_after() == 5
        assert writer.put(facts(8, (ONE, False), (TWO, True))) == []
        writer.vouch()
        assert (writer.beat(8).counts, writer.lost_after()) == ((1001, 0), None)


def test_a_lane_that_moves_to_another_server_is_followed(redis_cluster: RedisCluster) -> None:
    with opened(redis_cluster.url) as writer:
        built(writer, members=sorted([ONE, TWO]))
        key = lane_key(1, lane_of(split(ONE)[0]))
        source = redis_cluster.owner(key)
        target = next(one for one in redis_cluster.masters() if one != source)
        slot = slot_of(str(lane_of(split(ONE)[0])))
        move_slot(redis_cluster, slot, source, target)
        again(lambda: writer.put(facts(6, (ONE, False))), "a put to the lane's new server")
        assert target.cli("HGET", key, "as_of") == "6"
        assert (writer.beat(7).counts, writer.lost_after()) == ((1, 0), None)


def move_slot(cluster: RedisCluster, slot: int, source: RedisServer, target: RedisServer) -> None:
    """As `redis-cli --cluster reshard` does it."""
    target_id, source_id = target.cli("CLUSTER", "MYID"), source.cli("CLUSTER", "MYID")
    target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := source.cli("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.cli("MIGRATE", "127.0.0.1", target.port, "", 0, 30_000, "KEYS", *keys)
    for server in (target, source):
        server.cli("CLUSTER", "SETSLOT", slot, "NODE", target_id)


def test_a_server_without_lanes_is_vouched_for_at_once(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was just added to a cluster; the lanes that move there bring all they have."""
    with opened(redis_server.url) as writer:
        built(writer)
        redis_server.cli("HSET", INDEX_KEY, "runs", "0" * 40)
        monkeypatch.setattr(shared.lanes, "lowest_level", lambda *_: None)
        assert writer.lost_after() is None
        assert runs_of(writer) == {redis_server.info("replication")["master_replid"]}

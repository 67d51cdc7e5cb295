"""What can happen to one Redis server under a reader: it says nothing then, and afterwards the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from filters.layout import FORMAT, INDEX_KEY
from filters.model import Reason
from gateway import limits
from gateway.index.interface import Fault
from tests.conftest import RedisServer, require, running
from tests.gateway.asking import ask, becomes, citizen, citizens, each, reader, shows
from tests.gateway.conftest import KEY
from tests.gateway.hand import Hand

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("patient")]


@pytest.fixture
def hand(redis_server: RedisServer) -> Iterator[Hand]:
    with redis_server.client() as client:
        yield Hand(client)


async def test_a_lost_bucket_is_no_absence(redis_server: RedisServer, hand: Hand) -> None:
    people = citizens(40)
    hand.build(one.fingerprint for one in people[:20])
    index = reader(redis_server.url)
    await index.start()
    hand.client.delete(hand.bucket(people[3].fingerprint), hand.bucket(people[30].fingerprint))
    answers = await each(index, people)
    expected: list[bool | Reason] = [True] * 20 + [False] * 20
    expected[3] = expected[30] = Reason.INDEX_STALE
    assert answers == expected
    assert index.status.reason is None
    assert index.status.faults == {Fault.BUCKET_LOST}
    await index.close()


async def test_an_epoch_that_was_dropped_meanwhile_is_asked_for_anew(redis_server: RedisServer, hand: Hand) -> None:
    """The reader still knows the old one: it finds no markers, and asks again under the new one."""
    people = citizens(10)
    hand.build(one.fingerprint for one in people[:5])
    index = reader(redis_server.url)
    await index.start()
    assert await ask(index, *people) == [True] * 5 + [False] * 5
    old = hand.client.keys(f"izinli:{hand.epoch}:*")
    hand.build(one.fingerprint for one in people[5:])
    hand.client.delete(*old)
    assert await ask(index, *people) == [False] * 5 + [True] * 5
    assert index.status.faults == frozenset()
    await index.close()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"format": FORMAT + 1}, Fault.OTHER_FORMAT),
        ({"format": "x"}, Fault.OTHER_FORMAT),
        ({"bits_b": 33}, Fault.OTHER_FORMAT),
        ({"key_check": b"12345678"}, Fault.OTHER_KEY),
        ({"epoch": 0}, Fault.OLDER_EPOCH),
        ({"epoch": ""}, Fault.ABSENT),
        ({"heartbeat_ms": 1}, Fault.NO_HEARTBEAT),
        ({"runs": ""}, Fault.UNVOUCHED),
        ({"runs": "0" * 40}, Fault.UNVOUCHED),
    ],
)
async def test_i4_a_state_that_is_not_believed_has_a_name(
    redis_server: RedisServer, hand: Hand, fields: dict[str, object], fault: Fault
) -> None:
    one = citizen(b"a")
    hand.build([one.fingerprint])
    index = reader(redis_server.url)
    await index.start()
    assert await ask(index, one) == [True]
    known = hand.client.hmget(INDEX_KEY, list(fields))
    hand.state(**fields)
    assert await ask(index, one) == Reason.INDEX_STALE
    assert index.status.faults == {fault}
    hand.state(**dict(zip(fields, known, strict=True)))
    assert await ask(index, one) == [True]
    assert index.status.faults == frozenset()
    await index.close()


async def test_an_emptied_server_and_another_key(redis_server: RedisServer, hand: Hand) -> None:
    one = citizen(b"a")
    hand.build([one.fingerprint])
    stranger, index = reader(redis_server.url, key=KEY[::-1]), reader(redis_server.url)
    await asyncio.gather(stranger.start(), index.start())
    assert await ask(stranger, one) == Reason.INDEX_STALE
    assert stranger.status.faults == {Fault.OTHER_KEY}
    redis_server.cli("FLUSHALL")
    assert await ask(index, one) == Reason.INDEX_STALE
    assert index.status.faults == {Fault.ABSENT}
    await asyncio.gather(stranger.close(), index.close())


async def test_i5_a_server_that_came_back_from_an_old_copy_is_not_believed_until_it_is_vouched_for(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "redis-keep"
    directory.mkdir()
    with running(RedisServer(require("redis-server"), directory, keep=True)) as server:
        gone, stays = citizen(b"gone"), citizen(b"stays")
        with server.client() as client:
            hand = Hand(client)
            hand.build([gone.fingerprint, stays.fingerprint])
            client.save()
            hand.withdraw(gone.fingerprint)
        index = reader(server.url)
        await index.start()
        assert await ask(index, gone, stays) == [False, True]
        server.kill()
        assert await ask(index, gone, stays) == Reason.INDEX_DOWN
        await shows(index, Fault.DOWN)
        server.start()
        await shows(index, Fault.UNVOUCHED)
        for _ in range(50):
            assert await ask(index, gone, stays) == Reason.INDEX_STALE
        with server.client() as client:
            hand.client = client
            hand.withdraw(gone.fingerprint)
            hand.state(runs=" ".join(hand.runs()))
        await becomes(index, [gone, stays], [False, True])
        await shows(index)
        await index.close()


async def test_a_history_of_its_own_that_changes_on_a_living_connection(tmp_path: Path) -> None:
    """A master names itself anew an hour after its last replica has left."""
    directory = tmp_path / "redis-debug"
    directory.mkdir()
    with running(RedisServer(require("redis-server"), directory, "--enable-debug-command", "yes")) as server:
        one = citizen(b"a")
        with server.client() as client:
            hand = Hand(client)
            hand.build([one.fingerprint])
            index = reader(server.url)
            await index.start()
            assert await ask(index, one) == [True]
            server.cli("DEBUG", "CHANGE-REPL-ID")
            await shows(index, Fault.UNVOUCHED)
            assert await ask(index, one) == Reason.INDEX_STALE
            hand.state(runs=" ".join(hand.runs()))
            await becomes(index, [one], [True])
            await index.close()


async def test_i5_a_replica_is_not_believed(redis_server: RedisServer, hand: Hand, tmp_path: Path) -> None:
    directory = tmp_path / "other"
    directory.mkdir()
    one = citizen(b"a")
    hand.build([one.fingerprint])
    index = reader(redis_server.url)
    await index.start()
    assert await ask(index, one) == [True]
    with running(RedisServer(require("redis-server"), directory)) as other:
        redis_server.cli("REPLICAOF", "127.0.0.1", other.port)
        await shows(index, Fault.NOT_MASTER, Fault.ABSENT)
        assert await ask(index, one) == Reason.INDEX_STALE
    await index.close()


async def test_a_server_that_still_loads_is_waited_for(tmp_path: Path) -> None:
    directory = tmp_path / "redis-loading"
    directory.mkdir()
    with running(RedisServer(require("redis-server"), directory, keep=True)) as server:
        one = citizen(b"a")
        with server.client() as client:
            hand = Hand(client)
            hand.build([one.fingerprint])
            client.mset({f"filler:{number}": b"." for number in range(200_000)})  # a minute of loading
            client.save()
        server.kill()
        server._options = ("--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024")
        server.launch()
        index = reader(server.url)
        await index.start()
        await shows(index, Fault.LOADING)
        assert await ask(index, one) == Reason.INDEX_DOWN
        server.cli("CONFIG", "SET", "key-load-delay", 0)
        server.wait_ready()
        with server.client() as client:
            hand.client = client
            hand.state(runs=" ".join(hand.runs()))
        await becomes(index, [one], [True])
        await index.close()


async def test_i3_an_answer_that_is_not_understood_ends_the_connection(redis_server: RedisServer, hand: Hand) -> None:
    odd, fine = citizen(b"odd"), citizen(b"fine")
    hand.build([fine.fingerprint])
    hand.client.set(hand.bucket(odd.fingerprint), "not a set")
    index = reader(redis_server.url)
    await index.start()
    assert await each(index, [odd, fine]) == [Reason.INDEX_DOWN, True]
    assert Fault.MALFORMED in index.status.faults or Fault.DOWN in index.status.faults
    hand.client.delete(hand.bucket(odd.fingerprint))
    hand.client.sadd(hand.bucket(odd.fingerprint), -1)
    await becomes(index, [odd, fine], [False, True])
    await index.close()


async def test_i4_a_server_that_hangs_costs_one_deadline_and_then_nothing(
    redis_server: RedisServer, hand: Hand
) -> None:
    one = citizen(b"a")
    hand.build([one.fingerprint])
    index = reader(redis_server.url)
    await index.start()
    redis_server.pause()
    assert await ask(index, one) == Reason.INDEX_DOWN
    assert index.status == index.status._replace(reason=Reason.INDEX_DOWN, faults=frozenset((Fault.DOWN,)))
    answered: list[object] = []
    index.ask([one], lambda _, answers: answered.append(answers))
    assert answered == [Reason.INDEX_DOWN], "at once, without waiting for the server"
    redis_server.resume()
    await becomes(index, [one], [True])
    await index.close()


async def test_i5_after_standing_still_it_asks_anew_who_is_who(
    redis_server: RedisServer, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that was paused with its Redis: another master may have taken over, of which neither knows."""
    one = citizen(b"a")
    hand.build([one.fingerprint])
    index = reader(redis_server.url)
    await index.start()
    index.poll()
    index.poll()
    assert await ask(index, one) == [True]
    monkeypatch.setattr(limits, "INDEX_STILL_S", 0.0)
    await asyncio.sleep(0.01)
    index.poll()
    monkeypatch.undo()
    assert await ask(index, one) == Reason.INDEX_DOWN
    await becomes(index, [one], [True])
    await index.close()


async def test_a_unix_socket(tmp_path: Path) -> None:
    directory = tmp_path / "redis-socket"
    directory.mkdir()
    path = tmp_path / "redis.sock"
    with running(RedisServer(require("redis-server"), directory, "--unixsocket", str(path))) as server:
        one = citizen(b"a")
        with server.client(db=3) as client:
            Hand(client).build([one.fingerprint])
        index = reader(f"unix://{path}?db=3")
        await index.start()
        assert await ask(index, one, citizen(b"b")) == [True, False]
        await index.close()

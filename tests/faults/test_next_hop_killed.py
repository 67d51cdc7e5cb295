"""The next hop is killed after copy k of n, in each step of the protocol: nobody gets the message twice or misses it.

n recipients are n copies, and one answer for all. The client does what a mail server does: what was answered 4xx it
sends again, with all the recipients that were not refused, until it hears 250. Copies go one after the other (a pool of
one connection, and one message per connection, so that there is a connect and a greeting after each k) and all at once.

The one step in which nobody can know is the last: the next hop has accepted, and its 250 never comes (RFC 1047; RFC
5321 §4.5.3.2.6). There the message is sent again: at least once, never less.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filters.index_url import parse
from gateway import limits
from gateway.smtp.delivered import Store
from gateway.smtp.delivered_redis import RedisStore
from tests.conftest import RedisServer, eventually_async
from tests.faults.doomed_hop import DoomedHop, Step
from tests.gateway.smtp.support import House, house

WITHIN_S = 60.0
RECIPIENTS = [f"r{number}@example.test" for number in range(5)]
CONTENT = b"Message-ID: <1@campaign.example.test>\r\nSubject: x\r\n\r\n" + b"body\r\n" * 20
ONE_BY_ONE = {"connections_max": 1, "messages_per_connection": 1}
AT_ONCE = {"connections_max": 10}
STEPS = [step for step in Step if step is not Step.REPLY]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is looked at again soon."""
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_RECONNECT_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_BACKOFF_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMTP_DOT_HELD_S", 60.0)
    monkeypatch.setattr(limits, "INDEX_DEADLINE_S", 15.0)
    monkeypatch.setattr(limits, "INDEX_CONNECT_S", 15.0)


async def send(gate: House) -> int:
    """One try of the client: the code that it hears at the final dot."""
    async with gate.client() as client:
        return (await client.send(CONTENT, *(one.encode() for one in RECIPIENTS)))[0]


async def send_until_taken(hop: DoomedHop, *gates: House) -> list[int]:
    """As a mail server does, to one gateway after the other; the next hop is started again after it was killed."""
    heard: list[int] = []

    async def taken() -> bool:
        heard.append(await send(gates[len(heard) % len(gates)]))
        if hop.killed.is_set():
            await hop.live_again()
        return heard[-1] == 250

    await eventually_async(taken, within=WITHIN_S, what="the message being taken")
    return heard


@pytest.mark.parametrize("after", range(len(RECIPIENTS) + 1))
@pytest.mark.parametrize("step", STEPS)
async def test_i2_copies_one_by_one(step: Step, after: int, tmp_path: Path) -> None:
    async with DoomedHop(step, after) as hop, house(tmp_path, hop.port, hop=ONE_BY_ONE) as gate:
        heard = await send_until_taken(hop, gate)
        assert hop.counts() == dict.fromkeys(RECIPIENTS, 1)
        assert set(heard) <= {451, 250}
        assert len(heard) > 1 or after == len(RECIPIENTS), "the accident was met"


@pytest.mark.parametrize("after", range(len(RECIPIENTS) + 1))
@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA])
async def test_i2_copies_at_once_end_together(step: Step, after: int, tmp_path: Path) -> None:
    """Nothing is accepted before DATA is granted to all, so no next hop can die between: it has none yet, or all."""
    async with DoomedHop(step, after) as hop, house(tmp_path, hop.port, hop=AT_ONCE) as gate:
        heard = await send_until_taken(hop, gate)
        assert hop.counts() == dict.fromkeys(RECIPIENTS, 1)
        assert (len(heard) == 1) is bool(after)


async def test_i2_in_the_content_of_copies_at_once(tmp_path: Path) -> None:
    async with DoomedHop(Step.CONTENT, 0) as hop, house(tmp_path, hop.port, hop=AT_ONCE) as gate:
        assert set(await send_until_taken(hop, gate)) == {451, 250}
        assert hop.counts() == dict.fromkeys(RECIPIENTS, 1)


@pytest.mark.parametrize("after", range(len(RECIPIENTS)))
async def test_an_acceptance_that_nobody_heard_of_is_sent_again(after: int, tmp_path: Path) -> None:
    async with DoomedHop(Step.REPLY, after) as hop, house(tmp_path, hop.port, hop=ONE_BY_ONE) as gate:
        await send_until_taken(hop, gate)
        unheard = hop.accepted[after]
        assert hop.counts() == {**dict.fromkeys(RECIPIENTS, 1), unheard: 2}, "of the others nobody has it twice"


@pytest.mark.interop
@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.parametrize("step", [Step.CONNECT, Step.RCPT, Step.DOT])
async def test_i2_another_gateway_takes_the_retry(
    step: Step, after: int, tmp_path: Path, redis_server: RedisServer
) -> None:
    def store() -> Store:
        return RedisStore(parse(redis_server.url))

    async with (
        DoomedHop(step, after) as hop,
        house(tmp_path, hop.port, hop=ONE_BY_ONE, store=store()) as one,
        house(tmp_path, hop.port, hop=ONE_BY_ONE, store=store()) as other,
    ):
        heard = await send_until_taken(hop, one, other)
        assert hop.counts() == dict.fromkeys(RECIPIENTS, 1)
        assert len(heard) > 1


@pytest.mark.interop
async def test_i4_without_its_memory_a_gateway_defers(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when Redis is lost between a mixed ending and the retry."""
    store = RedisStore(parse(redis_server.url))
    async with DoomedHop(Step.RCPT, 2) as hop, house(tmp_path, hop.port, hop=ONE_BY_ONE, store=store) as gate:
        await eventually_async(lambda: _readable(gate), within=WITHIN_S, what="Redis")
        monkeypatch.setattr(limits, "INDEX_DEADLINE_S", 0.25)
        redis_server.pause()
        assert await send(gate) == 451
        assert hop.accepted == []
        assert gate.metrics.delivered_failures["read"] > 0
        redis_server.resume()
        monkeypatch.setattr(limits, "INDEX_DEADLINE_S", 15.0)

        async def cut_off() -> bool:
            code = await send(gate)
            return code == 451 and hop.killed.is_set()

        await eventually_async(cut_off, within=WITHIN_S, what="a mixed ending")
        await hop.live_again()
        redis_server.kill()
        for _ in range(3):
            assert await send(gate) == 451
        assert len(hop.accepted) == 2


@pytest.mark.interop
async def test_i4_what_could_not_be_written_down_is_known_where_it_happened(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    store = RedisStore(parse(redis_server.url))
    async with DoomedHop(Step.RCPT, 2) as hop, house(tmp_path, hop.port, hop=ONE_BY_ONE, store=store) as gate:
        await eventually_async(lambda: _readable(gate), within=WITHIN_S, what="Redis")
        redis_server.cli("CONFIG", "SET", "min-replicas-to-write", "1")  # reads go on, writes are refused
        assert await send(gate) == 451
        assert hop.counts().total() == 2
        assert gate.metrics.delivered_failures["write"] > 0
        await send_until_taken(hop, gate)
        assert hop.counts() == dict.fromkeys(RECIPIENTS, 1)
        assert redis_server.cli("DBSIZE") == 0
        redis_server.cli("CONFIG", "SET", "min-replicas-to-write", "0")

        def written() -> bool:
            gate.door.delivered.poll()
            return redis_server.cli("DBSIZE") == 2

        await eventually_async(written, within=WITHIN_S, what="the entries being written")


async def _readable(gate: House) -> bool:
    """The memory of mixed endings answers."""
    heard: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    delivered = gate.door.delivered
    delivered.read(delivered.message(b"x", b"y"), [b"z"], lambda fates: heard.set_result(fates is not None))
    return await heard

"""Two accounts over one login at the SMSC: submits, answers, windows, losses, and the way out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway import limits
from gateway.config import Address
from gateway.demo.smsc import BIND_RECEIVER, BIND_TRANSCEIVER, BIND_TRANSMITTER, Smsc
from gateway.smpp.link import Link
from gateway.smpp.upstream import Smsc as UpstreamSmsc
from tests.conftest import eventually_async, free_port
from tests.gateway.smpp.pooled import OTHER_LOGIN, pooled
from tests.gateway.smpp.support import (
    DATA,
    ENQUIRE,
    LOGIN,
    RESP,
    SUBMIT,
    UNBIND,
    Client,
    notice_of,
    smsc,
)
from tests.gateway.smpp.test_upstream import Bare

ROK, SYSERR, BINDFAIL, THROTTLED = 0, 8, 0x0D, 0x58
LONG_S = 3600.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.02)


async def answers(client: Client, count: int) -> dict[int, tuple[int, bytes]]:
    """By sequence number."""
    heard = [await client.hear() for _ in range(count)]
    assert {one.command for one in heard} == {SUBMIT | RESP}
    return {one.sequence: (one.status, one.body) for one in heard}


# binds


async def test_the_binds_are_ours_and_a_client_is_answered_by_us(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, binds=3, system_type=b"SMSGW") as gate:
        await gate.stands(3)
        assert {session.bind_body for session in centre.sessions} == {b"izinli\0smscpw\0SMSGW\0\x34\0\0\0"}
        assert {session.bound_as for session in centre.sessions} == {BIND_TRANSCEIVER}
        async with gate.bound(), gate.bound(OTHER_LOGIN):
            assert len(centre.sessions) == 3
        async with gate.client(bind=None) as client:
            answer = await client.bind()
            assert (answer.status, answer.body) == (ROK, b"gate.example.te\0\x02\x10\x00\x01\x34")
        assert gate.metrics.upstream_up["smsc"] == 1


async def test_pairs(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, binds=2, bind_type="pair") as gate:
        await gate.stands(4)
        kinds = sorted(session.bound_as for session in centre.sessions)
        assert kinds == [BIND_RECEIVER] * 2 + [BIND_TRANSMITTER] * 2
        async with gate.bound() as client:
            assert (await client.say(registered=1)).status == ROK
            assert b"stat:DELIVRD" in (await client.hear()).body


async def test_a_client_that_comes_first_waits_for_the_first_bind(tmp_path: Path) -> None:
    async with Bare() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as client:
        assert (await client.converse(ENQUIRE)).status == ROK
        assert centre.connections == 1


async def test_an_smsc_that_never_was_there(tmp_path: Path) -> None:
    async with pooled(tmp_path, free_port()) as gate:
        for _ in range(2):  # while it is tried, and when that is over
            async with gate.client(bind=None) as client:
                assert (await client.bind()).status == SYSERR
                assert await client.closed()
        assert gate.metrics.upstream_up["smsc"] == 0


async def test_an_smsc_that_does_not_take_our_password(tmp_path: Path) -> None:
    async with Smsc({}) as centre, pooled(tmp_path, centre.port) as gate, gate.client(bind=None) as client:
        assert (await client.bind()).status == BINDFAIL
        assert gate.errors("smsc_refused") >= 1


async def test_the_smsc_comes_and_then_all_is_well(tmp_path: Path) -> None:
    centre = smsc()
    centre.port = free_port()
    async with pooled(tmp_path, centre.port) as gate:
        async with gate.client(bind=None) as client:
            assert (await client.bind()).status == SYSERR
        async with centre:
            await gate.stands()
            async with gate.bound() as client:
                assert (await client.say()).status == ROK


# answers


async def test_i3_each_answer_goes_to_the_one_who_asked(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate:
        centre.behaviour.holding = True
        async with gate.bound() as marka, gate.bound(OTHER_LOGIN) as banka:
            for number in range(10):
                marka.submit(b"m%d" % number, source=b"OTP")
                banka.submit(b"b%d" % number, source=b"OTP")
            await eventually_async(lambda: len(centre.held) == 20)
            ids = {one.text: one.message_id.encode() + b"\0" for one in centre.messages}
            centre.release(backwards=True)
            assert await answers(marka, 10) == {2 + at: (ROK, ids[f"m{at}"]) for at in range(10)}
            assert await answers(banka, 10) == {2 + at: (ROK, ids[f"b{at}"]) for at in range(10)}


async def test_what_is_checked_is_checked_here_too(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as client:
        assert (await client.say(b"Kampanya")).status == ROK
        assert centre.take_texts() == ["Kampanya" + notice_of()]
        long = await client.say(b"x" * 150)
        assert (long.status, long.body) == (ROK, b"1000003\0"), "the first segment goes last"
        data = await client.converse(DATA, b"\0\5\0OTP\0\1\1905550000001\0\0\0\0\x04\x24\0\7Merhaba")
        assert (data.command, data.status, data.body) == (DATA | RESP, ROK, b"1000004\0")


async def test_a_refusal_of_the_smsc_passes_as_it_is(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as client:
        centre.behaviour.statuses.append(0x401)
        centre.behaviour.nacks.append(3)
        assert [(await client.say()).status for _ in range(2)] == [3, 0x401]


async def test_submits_are_spread_over_the_binds(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, binds=4) as gate, gate.bound() as client:
        await gate.stands(4)
        centre.behaviour.holding = True
        for _ in range(40):
            client.submit(source=b"OTP")
        await eventually_async(lambda: len(centre.held) == 40)
        loads = [sum(session is one for session, _ in centre.held) for one in centre.sessions]
        assert loads == [10] * 4


async def test_a_client_of_version_3_3_gets_no_tlvs(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate, gate.client(bind=None) as client:
        answer = await client.bind(version=0x33)
        assert (answer.status, answer.body) == (ROK, b"gate.example.te\0")
        client.submit(registered=1)
        answer, receipt = [await client.hear() for _ in range(2)]
        assert receipt.body.endswith(b" err:000 text:")
        assert b"id:" + answer.body[:-1] in receipt.body


# windows


async def test_i7_a_bind_has_a_window_and_what_is_more_waits_unsent(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, binds=2, window=3) as gate, gate.bound() as client:
        await gate.stands(2)
        centre.behaviour.holding = True
        for _ in range(10):
            client.submit(source=b"OTP")
        await eventually_async(lambda: len(centre.held) == 6)
        assert (await client.converse(ENQUIRE)).status == ROK
        assert len(centre.messages) == 6
        centre.behaviour.holding = False
        centre.release()
        assert len(await answers(client, 10)) == 10


async def test_i7_what_waits_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_POOL_WAITING_MAX", 2)
    async with smsc() as centre, pooled(tmp_path, centre.port, window=1) as gate, gate.bound() as client:
        centre.behaviour.holding = True
        sequences = [client.submit(source=b"OTP") for _ in range(4)]
        heard = await client.hear()
        assert (heard.sequence, heard.status) == (sequences[3], THROTTLED)
        centre.behaviour.holding = False
        centre.release()
        assert set(await answers(client, 3)) == set(sequences[:3])


async def test_what_waits_for_too_long_is_told_to_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, window=1) as gate, gate.bound() as client:
        centre.behaviour.holding = True
        first, second = (client.submit(source=b"OTP") for _ in range(2))
        await eventually_async(lambda: len(centre.held) == 1)
        loop = asyncio.get_running_loop()
        soon = loop.time() + 0.1
        await eventually_async(lambda: loop.time() > soon)
        monkeypatch.setattr(limits, "SMPP_RESPONSE_S", 0.05)  # both have waited for longer
        assert await answers(client, 2) == {first: (SYSERR, b""), second: (THROTTLED, b"")}
        assert len(centre.messages) == 1


async def test_an_smsc_that_complains_gets_less(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, window=8) as gate, gate.bound() as client:
        centre.behaviour.statuses.append(THROTTLED)
        assert (await client.say(source=b"OTP")).status == THROTTLED
        assert gate.errors("smsc_throttled") == 1
        centre.behaviour.holding = True
        for _ in range(8):
            client.submit(source=b"OTP")
        await eventually_async(lambda: len(centre.held) == 4)
        assert (await client.converse(ENQUIRE)).status == ROK
        assert len(centre.held) == 4
        centre.behaviour.holding = False
        centre.release()
        assert len(await answers(client, 8)) == 8


# losses


async def test_i2_what_was_sent_over_a_lost_bind_is_unknown_and_never_sent_twice(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as client:
        centre.behaviour.silent = True
        sequences = [client.submit(b"%d" % at, source=b"OTP") for at in range(3)]
        await eventually_async(lambda: len(centre.messages) == 3)
        centre.cut()
        assert await answers(client, 3) == dict.fromkeys(sequences, (SYSERR, b""))
        centre.behaviour.silent = False
        await gate.stands()
        assert (await client.say(b"later", source=b"OTP")).status == ROK
        assert [one.text for one in centre.messages] == ["0", "1", "2", "later"]


async def test_one_lost_bind_is_only_its_own_messages_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", LONG_S)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", LONG_S)
    async with smsc() as centre, pooled(tmp_path, centre.port, binds=2, window=1) as gate, gate.bound() as client:
        await gate.stands(2)
        centre.behaviour.holding = True
        first, second, third = (client.submit(source=b"OTP") for _ in range(3))
        await eventually_async(lambda: len(centre.held) == 2)
        lost, kept = centre.held[0][0], centre.held[1][0]
        lost.abort()
        assert await answers(client, 1) == {first: (SYSERR, b"")}
        await gate.stands(1)
        centre.behaviour.holding = False
        centre.release()
        told = await answers(client, 2)
        assert {sequence: status for sequence, (status, _) in told.items()} == {second: ROK, third: ROK}
        assert centre.sessions == [kept]
        assert gate.metrics.upstream_up["smsc"] == 1


async def test_i4_while_the_smsc_is_away_clients_stay_bound(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as client:
        await centre.stop()
        await gate.stands(0)
        assert (await client.say()).status == SYSERR
        assert gate.judge.asked == []
        async with gate.bound(OTHER_LOGIN) as second:  # it was there: it comes back
            assert (await second.say()).status == SYSERR
            await centre.start()
            await gate.stands()
            assert (await second.say()).status == ROK
        assert (await client.say()).status == ROK


async def test_the_next_host_has_what_the_first_one_cannot_take(tmp_path: Path) -> None:
    async with smsc() as first, smsc() as second, pooled(tmp_path, first.port, second.port) as gate:
        async with gate.bound() as client:
            assert (await client.say(b"one", source=b"OTP")).status == ROK
            first.behaviour.silent = True
            unknown = client.submit(b"two", source=b"OTP")
            await eventually_async(lambda: len(first.messages) == 2)
            await first.stop()
            assert await answers(client, 1) == {unknown: (SYSERR, b"")}
            await gate.stands()
            assert (await client.say(b"three", source=b"OTP")).status == ROK
        assert [one.text for one in first.messages] == ["one", "two"]
        assert [one.text for one in second.messages] == ["three"]


async def test_what_waits_goes_on_at_another_host(tmp_path: Path) -> None:
    """Two binds, one at each host: the second was refused by the first host for a moment."""
    async with smsc() as first, smsc() as second, AsyncExitStack() as stack:
        gate = await stack.enter_async_context(pooled(tmp_path, first.port, second.port, binds=2, window=1))
        async with gate.bound() as client:
            await gate.stands(2)
            first.sessions[0].abort()
            await gate.stands(2)
            first.behaviour.bind_status = 0x0D
            first.sessions[0].abort()
            await eventually_async(lambda: len(first.sessions) == len(second.sessions) == 1)
            await gate.stands(2)
            first.behaviour.holding = second.behaviour.holding = True
            sequences = [client.submit(b"%d" % at, source=b"OTP") for at in range(3)]
            await eventually_async(lambda: len(first.held) + len(second.held) == 1)
            busy, idle = (first, second) if first.held else (second, first)
            idle.behaviour.holding = False
            await busy.stop()
            assert await answers(client, 3) == {
                sequences[0]: (SYSERR, b""),
                sequences[1]: (ROK, b"1000001\0"),
                sequences[2]: (ROK, b"1000002\0"),
            }
            assert [one.text for one in idle.messages] == ["1", "2"]


async def test_all_parts_of_a_message_go_to_one_host(tmp_path: Path) -> None:
    async with smsc() as first, smsc() as second, AsyncExitStack() as stack:
        gate = await stack.enter_async_context(pooled(tmp_path, first.port, second.port, binds=2))
        async with gate.bound() as client:
            await gate.stands(2)
            first.behaviour.bind_status = 0x0D
            first.sessions[0].abort()
            await eventually_async(lambda: len(first.sessions) == len(second.sessions) == 1)
            await gate.stands(2)
            for number in range(40):
                for part in (1, 2):
                    text = b"\5\0\3%c\2%cpart" % (number, part)
                    client.submit(text, esm=0x40, source=b"OTP", dest=b"9055500000%02d" % number)
            assert len(await answers(client, 80)) == 80
            halves = [{one.dest for one in centre.messages} for centre in (first, second)]
            assert all(halves)
            assert halves[0] & halves[1] == set()


# the way out


async def test_unbind_after_the_last_answer(tmp_path: Path) -> None:
    async with smsc() as centre:
        async with pooled(tmp_path, centre.port, binds=2) as gate, gate.bound() as client:
            await gate.stands(2)
            centre.behaviour.holding = True
            sequence = client.submit(source=b"OTP")
            await eventually_async(lambda: len(centre.held) == 1)
            draining = asyncio.create_task(gate.door.drain(30))
            await eventually_async(lambda: gate.door.draining)
            assert centre.unbound == 0
            centre.release()
            told = await client.hear()
            assert (told.sequence, told.status) == (sequence, ROK)
            assert (await client.hear()).command == UNBIND
            client.writer.close()
            await draining
        assert centre.unbound == 2
        assert centre.sessions == []


async def test_nothing_is_sent_for_a_client_that_is_gone(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, window=1) as gate, gate.bound(OTHER_LOGIN) as banka:
        centre.behaviour.holding = True
        async with gate.bound(LOGIN) as marka:
            marka.submit(b"sent", source=b"OTP")
            await eventually_async(lambda: len(centre.held) == 1)
            marka.submit(b"waits", source=b"OTP")
            assert (await marka.converse(ENQUIRE)).status == ROK
        await eventually_async(lambda: len(gate.door.sessions) == 1)
        centre.behaviour.holding = False
        centre.release()
        assert (await banka.say(b"next", source=b"OTP")).status == ROK
        assert [one.text for one in centre.messages] == ["sent", "next"]


# our own faults, and binds that do not read


async def test_i4_a_fault_of_our_own_ends_no_bind_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, faults = Link._connect, [RuntimeError("invented fault")]

    async def broken(link: Link, socket: UpstreamSmsc, host: Address) -> None:
        if faults:
            raise faults.pop()
        await connect(link, socket, host)

    monkeypatch.setattr(Link, "_connect", broken)
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate:
        await gate.stands()
        async with gate.bound() as client:
            assert (await client.say()).status == ROK
    assert [str(one) for one in heard] == ["invented fault"]


async def test_a_bind_that_does_not_read_is_passed_over(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, binds=2) as gate, gate.bound() as client:
        await gate.stands(2)
        deaf, hearing = gate.pool._senders
        deaf.pause_writing()
        centre.behaviour.holding = True
        for _ in range(4):
            client.submit(source=b"OTP")
        await eventually_async(lambda: len(centre.held) == 4)
        assert (deaf.load, hearing.load) == (0, 4)
        hearing.pause_writing()
        client.submit(source=b"OTP")
        assert (await client.converse(ENQUIRE)).status == ROK
        assert (deaf.load, hearing.load) == (0, 4), "it waits"
        deaf.resume_writing()
        await eventually_async(lambda: len(centre.held) == 5)
        assert (deaf.load, hearing.load) == (1, 4)
        hearing.resume_writing()
        centre.release()
        assert len(await answers(client, 5)) == 5

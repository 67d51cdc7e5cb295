"""The SMSC misbehaves, goes away, comes back."""

from __future__ import annotations

import asyncio
import struct

import pytest

from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.support import (
    ALERT,
    BIND_TX,
    DATA,
    DELIVER,
    ENQUIRE,
    NACK,
    QUERY,
    RESP,
    SUBMIT,
    UNBIND,
    UPSTREAM_LOGIN,
    House,
    Pdu,
    house,
    notice_of,
    pdu,
    smsc,
    submit_body,
)

ROK, SYSERR, T_APPN = 0, 8, 0x64


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.02)


class Bare:
    """An SMSC that says what a test tells it to."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[Pdu] = []
        self.writer: asyncio.StreamWriter | None = None
        self.connections = 0
        self.bind_answer = b"smsc\0"
        self.after_bind = b""

    async def __aenter__(self) -> Bare:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self.writer is not None:
            self.writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.connections += 1
        try:
            while True:
                length, command, status, sequence = struct.unpack(">IIII", await reader.readexactly(16))
                one = Pdu(command, status, sequence, await reader.readexactly(length - 16))
                if command in (1, 2, 9):
                    writer.write(pdu(command | RESP, sequence, self.bind_answer) + self.after_bind)
                else:
                    self.heard.append(one)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def say(self, *octets: bytes) -> None:
        assert self.writer is not None
        self.writer.write(b"".join(octets))

    async def submits(self, count: int) -> list[Pdu]:
        await eventually_async(lambda: len([one for one in self.heard if one.command == SUBMIT]) >= count)
        return [one for one in self.heard if one.command == SUBMIT]


async def unknown(gate: House, count: int) -> None:
    await eventually_async(lambda: gate.errors("unknown_response") == count)


# answers


async def test_i3_sequence_numbers_are_each_sides_own() -> None:
    async with Bare() as centre, house(centre.port) as gate, gate.client() as client:
        client.writer.write(pdu(SUBMIT, 0x7FFFFFFF, submit_body()) + pdu(SUBMIT, 5, submit_body(b"zwei")))
        first, second = await centre.submits(2)
        assert (first.sequence, second.sequence) == (2, 3)
        centre.say(pdu(SUBMIT | RESP, 3, b"b\0"), pdu(SUBMIT | RESP, 2, b"a\0"))
        heard = [await client.hear() for _ in range(2)]
        assert [(one.sequence, one.body) for one in heard] == [(5, b"b\0"), (0x7FFFFFFF, b"a\0")]


async def test_i2_an_answer_that_nobody_asked_for_answers_nothing() -> None:
    async with Bare() as centre, house(centre.port) as gate, gate.client() as client:
        client.submit()
        await centre.submits(1)
        centre.say(pdu(SUBMIT | RESP, 99, b"x\0"), pdu(QUERY | RESP, 2, b"x\0"), pdu(NACK, 98, status=3))
        await unknown(gate, 3)
        centre.say(pdu(SUBMIT | RESP, 2, b"a\0"))
        assert (await client.hear()).body == b"a\0"
        centre.say(pdu(SUBMIT | RESP, 2, b"a\0"))
        await unknown(gate, 4)
        assert (await client.converse(ENQUIRE)).command == ENQUIRE | RESP


@pytest.mark.parametrize("body", [b"", b"some text\0"])
async def test_a_refusal_may_have_a_body_or_none(body: bytes) -> None:
    async with Bare() as centre, house(centre.port) as gate, gate.client() as client:
        client.submit()
        await centre.submits(1)
        centre.say(pdu(SUBMIT | RESP, 2, body, status=0x401))
        answer = await client.hear()
        assert (answer.status, answer.body) == (0x401, body)


async def test_i4_an_overdue_answer_is_unknown_and_a_late_one_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RESPONSE_S", 0.05)
    async with Bare() as centre, house(centre.port) as gate, gate.client() as client:
        client.submit()
        assert (await client.hear()).status == SYSERR
        assert gate.errors("smsc_timeout") == 1
        centre.say(pdu(SUBMIT | RESP, 2, b"a\0"))
        await unknown(gate, 1)


async def test_a_bind_answer_without_a_body_is_completed() -> None:
    async with Bare() as centre, house(centre.port) as gate:
        centre.bind_answer = b""
        async with gate.client(bind=None) as client:
            assert (await client.bind()).body == b"gate.example.te\0\x02\x10\0\1\x34"
        async with gate.client(bind=None) as client:
            assert (await client.bind(version=0x33)).body == b"gate.example.te\0"


async def test_what_comes_with_the_bind_answer_is_not_lost() -> None:
    async with Bare() as centre, house(centre.port) as gate:
        centre.after_bind = pdu(DELIVER, 1, b"kept")
        async with gate.client(bind=None) as client:
            assert (await client.bind()).status == ROK
            assert (await client.hear()).body == b"kept"


# requests of the SMSC's


async def test_what_the_smsc_may_ask() -> None:
    async with Bare() as centre, house(centre.port) as gate, gate.client() as client:
        centre.say(pdu(ENQUIRE, 1), pdu(0x0B, 2), pdu(ALERT, 3, b"alert"), pdu(DATA, 4, b"data"))
        assert [(one.command, one.body) for one in [await client.hear(), await client.hear()]] == [
            (ALERT, b"alert"),
            (DATA, b"data"),
        ]
        client.writer.write(pdu(DATA | RESP, 2, b"\0"))
        await eventually_async(lambda: len(centre.heard) == 3)
        assert [(one.command, one.status, one.sequence) for one in centre.heard] == [
            (ENQUIRE | RESP, ROK, 1),
            (NACK, 3, 2),
            (DATA | RESP, ROK, 4),
        ]


async def test_a_transmitter_takes_nothing() -> None:
    async with Bare() as centre, house(centre.port) as gate, gate.client(bind=BIND_TX):
        centre.say(pdu(DELIVER, 7, b"mo"))
        await eventually_async(lambda: centre.heard == [Pdu(DELIVER | RESP, T_APPN, 7, b"")])


async def test_an_impossible_length_ends_that_connection() -> None:
    async with Bare() as centre, house(centre.port) as gate, gate.client() as client:
        client.submit()
        await centre.submits(1)
        centre.say(struct.pack(">IIII", 7, 0, 0, 0))
        assert (await client.hear()).status == SYSERR
        await eventually_async(lambda: centre.connections == 2)


async def test_a_silent_smsc_is_asked_and_then_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_ENQUIRE_LINK_S", 0.05)
    monkeypatch.setattr(limits, "SMPP_INACTIVITY_S", 0.4)
    async with Bare() as centre, house(centre.port) as gate, gate.client() as client:
        while centre.connections < 2:  # the client answers, the SMSC does not
            asked = await client.hear()
            assert asked.command == ENQUIRE
            client.writer.write(pdu(ENQUIRE | RESP, asked.sequence))
        assert gate.errors("smsc_lost") == 1
        assert {one.command for one in centre.heard} == {ENQUIRE}


# away and back


async def test_i4_outstanding_submits_of_a_lost_smsc_may_come_again() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.silent = True
        sequences = [client.submit() for _ in range(20)]
        await eventually_async(lambda: len(centre.messages) == 20)
        await centre.stop()
        heard = [await client.hear() for _ in range(20)]
        assert [one.sequence for one in heard] == sequences
        assert {one.status for one in heard} == {SYSERR}
        await eventually_async(lambda: gate.metrics.upstream_up["smsc"] == 0)
        assert (await client.say()).status == SYSERR  # still bound
        assert (await client.converse(QUERY, b"1\0\0\0\0")).status == SYSERR
        asked = len(gate.judge.asked)
        centre.behaviour.silent = False
        await centre.start()
        await eventually_async(lambda: gate.metrics.upstream_up["smsc"] == 1)
        assert (await client.say(b"wieder da")).status == ROK
        assert centre.messages[-1].text == "wieder da" + notice_of()
        assert len(gate.judge.asked) == asked + 1  # what cannot go on is not asked about


async def test_i4_a_verdict_that_finds_no_smsc_is_temporary() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.late = True
        client.submit()
        await eventually_async(lambda: len(gate.judge.waiting) == 1)
        await centre.stop()
        await eventually_async(lambda: gate.errors("smsc_lost") == 1)
        gate.judge.release()
        assert (await client.hear()).status == SYSERR


async def test_an_smsc_that_refuses_to_have_us_back_is_asked_again() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.bind_status = 0x0D
        centre.cut()
        await eventually_async(lambda: gate.errors("smsc_refused") >= 2)
        centre.behaviour.bind_status = ROK
        await eventually_async(lambda: gate.metrics.upstream_up["smsc"] == 1)
        assert (await client.say()).status == ROK


async def test_an_smsc_that_unbinds_answers_what_is_under_way_and_is_bound_again() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        client.submit()
        await eventually_async(lambda: len(centre.messages) == 1)
        centre.unbind()
        await eventually_async(lambda: (UNBIND | RESP, ROK, 1) in centre.answered)
        centre.release()
        assert (await client.hear()).status == ROK
        await eventually_async(lambda: len(centre.sessions) == 2)  # the old one is still open, the new one stands
        centre.behaviour.holding = False
        assert (await client.say()).status == ROK


async def test_i3_an_answer_of_the_client_for_a_lost_smsc_reaches_no_other() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.send(UPSTREAM_LOGIN[0], "905550000001", "3338", b"RET")
        old = await client.hear()
        centre.cut()
        await eventually_async(lambda: len(centre.sessions) == 1 and gate.metrics.upstream_up["smsc"] == 1)
        await eventually_async(lambda: gate.errors("smsc_lost") == 1)
        client.writer.write(pdu(DELIVER | RESP, old.sequence, b"\0"))
        await unknown(gate, 1)
        assert centre.answered == []


async def test_i7_a_client_that_does_not_read_holds_back_its_smsc_and_nobody_else() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client, gate.client() as other:
        session = centre.sessions[0]
        for _ in range(300):
            session.ask(ALERT, bytes(60_000))
            await asyncio.sleep(0)
        assert (await other.say()).status == ROK
        heard = [await client.hear() for _ in range(300)]
        assert {(one.command, len(one.body)) for one in heard} == {(ALERT, 60_000)}


async def test_i3_what_a_leaving_smsc_still_sends_is_for_its_next_bind() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        old = centre.sessions[0]
        centre.behaviour.holding = True
        client.submit()
        await eventually_async(lambda: len(centre.messages) == 1)
        centre.unbind()
        await eventually_async(lambda: len(centre.sessions) == 2)
        sequence = old.ask(DELIVER, b"mo")
        await eventually_async(lambda: (DELIVER | RESP, T_APPN, sequence) in centre.answered)
        centre.release()
        assert (await client.hear()).status == ROK

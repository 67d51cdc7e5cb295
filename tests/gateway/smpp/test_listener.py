"""The door over real sockets: who may come in, what is answered when, and what goes upstream."""

from __future__ import annotations

import asyncio

import pytest

from filters.model import Reason
from gateway import limits
from gateway.demo.smsc import Smsc
from tests.conftest import eventually_async, free_port
from tests.gateway.smpp.support import (
    BIND_RX,
    BIND_TRX,
    BIND_TX,
    BLOCKED,
    CANCEL,
    CANONICAL,
    DEFERRED,
    ENQUIRE,
    NACK,
    NUMBER,
    QUERY,
    RESP,
    SUBMIT,
    UNBIND,
    UPSTREAM_LOGIN,
    bind_body,
    house,
    notice_of,
    pdu,
    smsc,
    submit_body,
    tlv,
)

ROK, SYSERR, ALYBND, BINDFAIL, INVPASWD, SUBMITFAIL, THROTTLED = 0, 8, 5, 0x0D, 0x0E, 0x45, 0x58


def texts(centre: Smsc) -> list[str]:
    return [one.text for one in centre.messages]


# who may come in


async def test_a_client_outside_allow_is_not_talked_to() -> None:
    async with house(free_port(), allow="192.0.2.0/24") as gate, gate.client(bind=None) as client:
        assert await client.closed()
        assert gate.errors("not_allowed") == 1


async def test_i7_connections_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_SESSIONS_MAX", 1)
    async with smsc() as centre, house(centre.port) as gate, gate.client():
        async with gate.client(bind=None) as second:
            assert await second.closed()
        assert gate.errors("too_many_sessions") == 1


@pytest.mark.parametrize(
    "login", [{"password": "wrong"}, {"system_id": "nobody"}, {"system_id": "nobody", "password": ""}, {"password": ""}]
)
async def test_a_wrong_name_and_a_wrong_password_are_told_the_same(login: dict[str, str]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        assert (await client.bind(**login)).status == INVPASWD
        assert await client.closed()
        assert gate.errors("bad_password") == 1
        assert centre.sessions == []


async def test_i7_binds_of_an_account_have_a_bound() -> None:
    async with smsc() as centre, house(centre.port, binds_max=1) as gate:
        async with gate.client(), gate.client(bind=None) as second:
            assert (await second.bind()).status == ALYBND
        await eventually_async(lambda: not gate.door.sessions)
        async with gate.client():
            pass


async def test_a_password_longer_than_the_specification_has_it() -> None:
    long = "otuz karakterlik bir parola 123"
    async with smsc() as centre, house(centre.port, password=long.encode()) as gate, gate.client(bind=None) as client:
        assert (await client.bind(password=long)).status == ROK
        async with gate.client(bind=None) as other:
            assert (await other.bind(password=long[:8])).status == INVPASWD


@pytest.mark.parametrize(
    ("version", "body"), [(0x33, b"smsc\0"), (0x34, b"smsc\0\x02\x10\0\1\x34"), (0x50, b"smsc\0\x02\x10\0\1\x34")]
)
async def test_a_client_of_version_3_3_gets_no_tlvs(version: int, body: bytes) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        answer = await client.bind(version=version)
        assert (answer.status, answer.body) == (ROK, body)
        assert centre.sessions[0].bind_body.endswith(b"ESME\0" + bytes((version, 0, 0, 0)))
        assert (await client.say()).status == ROK


async def test_an_outbind_of_a_client_is_refused_and_the_session_stays() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        answer = await client.converse(0x0B, b"marka\0sifre123\0")
        assert (answer.command, answer.status) == (NACK, 3)
        assert (await client.bind()).status == ROK
        assert gate.errors("bad_command") == 1


async def test_a_malformed_bind_is_refused() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        assert (await client.converse(BIND_TX, b"no end")).status == BINDFAIL
        assert await client.closed()


# the mirror


@pytest.mark.parametrize("command", [BIND_TX, BIND_RX, BIND_TRX])
@pytest.mark.parametrize("version", [0x33, 0x34, 0x50])
async def test_each_bind_has_its_own_at_the_smsc(command: int, version: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        answer = await client.bind(command, version=version)
        assert (answer.command, answer.status) == (command | RESP, ROK)
        assert answer.body.startswith(b"smsc\0")
        (session,) = centre.sessions
        assert session.bound_as == command
        assert session.bind_body == bind_body(*UPSTREAM_LOGIN, version=version)
    await eventually_async(lambda: centre.unbound == 1)


@pytest.mark.parametrize(("said", "heard"), [(0x05, 0x05), (0x0E, BINDFAIL), (0x0F, BINDFAIL), (0x58, 0x58)])
async def test_the_smscs_answer_to_a_bind_is_passed_on(said: int, heard: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=None) as client:
        centre.behaviour.bind_status = said
        assert (await client.bind()).status == heard
        assert await client.closed()
        assert gate.errors("smsc_refused") == 1
    assert not gate.door.links


async def test_i4_a_bind_while_the_smsc_is_away_may_come_again() -> None:
    async with house(free_port()) as gate, gate.client(bind=None) as client:
        assert (await client.bind()).status == SYSERR
        assert await client.closed()
        assert gate.metrics.upstream_up["smsc"] == 0


async def test_the_next_host_is_tried() -> None:
    async with smsc() as centre, house(free_port(), centre.port) as gate, gate.client() as client:
        assert (await client.say()).status == ROK
        assert gate.metrics.upstream_up["smsc"] == 1


async def test_a_client_that_leaves_during_its_bind_leaves_nothing_behind() -> None:
    async with smsc() as centre, house(centre.port) as gate:
        async with gate.client(bind=None) as client:
            client.ask(BIND_TRX, bind_body())
        await eventually_async(lambda: not gate.door.sessions and not gate.door.links)
        assert [len(esme.binds) for esme in gate.door._esmes.values()] == [0]
        await eventually_async(lambda: not centre.sessions)


async def test_unbind_is_answered_and_mirrored() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.converse(UNBIND)).command == UNBIND | RESP
        assert await client.closed()
        await eventually_async(lambda: centre.unbound == 1)
        await eventually_async(lambda: not gate.door.links)


async def test_enquire_link_is_ours_to_answer() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.silent = True
        assert (await client.converse(ENQUIRE)).command == ENQUIRE | RESP


# one submit


async def test_i2_the_answer_is_the_smscs_own() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.say(b"Merhaba")
        assert (answer.command, answer.status) == (SUBMIT | RESP, ROK)
        assert answer.body == centre.messages[0].message_id.encode() + b"\0"
        assert texts(centre) == ["Merhaba" + notice_of()]
        centre.behaviour.statuses.extend([0x14, 0x58, 0x0B, 0x401])
        assert [(await client.say()).status for _ in range(4)] == [0x14, 0x58, 0x0B, 0x401]


async def test_i2_nothing_is_said_before_the_smsc_has() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        client.submit()
        await eventually_async(lambda: len(centre.messages) == 1)
        assert (await client.converse(ENQUIRE)).command == ENQUIRE | RESP  # nothing else came before it
        centre.release()
        assert (await client.hear()).command == SUBMIT | RESP


async def test_i2_a_generic_nack_is_never_a_yes() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.nacks.extend([0x03, 0x00])
        assert [(await client.say()).status for _ in range(2)] == [0x03, SYSERR]


@pytest.mark.parametrize(("verdict", "status"), [(BLOCKED, SUBMITFAIL), (DEFERRED, THROTTLED)])
async def test_i1_without_a_yes_nothing_goes_upstream(verdict: tuple[object, object], status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = verdict  # type: ignore[assignment]
        answer = await client.say()
        assert (answer.status, answer.body) == (status, b"")
        assert (await client.say(dest=b"905550000002")).status == ROK
        assert [one.dest for one in centre.messages] == ["905550000002"]


async def test_i3_the_address_asked_about_is_the_address_sent_to() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for dest, ton in ((b"905550000001", 1), (b"05550000002", 0), (b"5550000003", 2), (b"+905550000004", 1)):
            assert (await client.say(dest=dest, ton=ton)).status == ROK
        assert gate.judge.asked == [b"+90555000000%d" % n for n in (1, 2, 3, 4)]
        assert [one.dest for one in centre.messages] == ["905550000001", "05550000002", "5550000003", "+905550000004"]
        assert [one.text for one in centre.messages] == [
            "Merhaba" + notice_of(b"+90555000000%d" % n) for n in (1, 2, 3, 4)
        ]


@pytest.mark.parametrize(("dest", "ton"), [(NUMBER, 3), (NUMBER, 5), (b"12", 1), (b"5550000001", 1), (b"", 0)])
async def test_what_is_no_number_has_no_consent(dest: bytes, ton: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        if gate.judge.asked == [] and dest == b"5550000001":
            gate.judge.verdicts[b"+5550000001"] = BLOCKED  # another country's
        assert (await client.say(dest=dest, ton=ton)).status == SUBMITFAIL
        assert centre.messages == []


@pytest.mark.parametrize("source", [b"STRANGER", b"ELSEWHERE", b""])
async def test_a_source_without_a_stream_here_is_refused(source: bytes) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.say(source=source)).status == SUBMITFAIL
        assert gate.judge.refused == [Reason.NO_STREAM]
        assert centre.messages == []


@pytest.mark.parametrize(
    "fields",
    [{"coding": 4}, {"service_type": b"USSD"}, {"default_id": 1}, {"coding": 0xF2}],
)
async def test_i1_what_takes_no_notice_is_refused(fields: dict[str, object]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.say(**fields)).status == SUBMITFAIL
        assert gate.judge.refused == [Reason.UNFIT]
        assert centre.messages == []


async def test_a_watched_stream_passes_what_takes_no_notice_untouched() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        body = submit_body(b"\1\2\3", source=b"WATCH", coding=4)
        assert (await client.converse(SUBMIT, body)).status == ROK
        assert (await client.say(source=b"WATCH", dest=b"12")).status == ROK
        assert [one.body for one in centre.messages] == [body, submit_body(b"Merhaba", source=b"WATCH", dest=b"12")]


@pytest.mark.parametrize(
    "fields",
    [
        {"text": b"Kod 123456"},
        {"text": b"a" * 160, "registered": 1, "replace": 1, "schedule": b"261125033000032+"},
        {"text": b"\6\5\4\x0b\x84\x0b\x84\1\2", "esm": 0x40, "coding": 4},
        {"text": b"\5\0\3\7\2\1x", "esm": 0x40},
        {"text": b"", "tlvs": tlv(0x0424, b"a" * 3000) + tlv(0x1400, b"1") + tlv(0x1400, b"2")},
        {"text": b"x", "tlvs": b"\xff\xff"},
    ],
)
async def test_i6_informational_messages_are_the_same_octets(fields: dict[str, object]) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        seen: list[bytes] = []
        centre.submitted = lambda session, sequence, body: (  # type: ignore[method-assign]
            seen.append(body),
            session.write(pdu(SUBMIT | RESP, sequence, b"1\0")),
        )
        body = submit_body(source=b"OTP", **fields)  # type: ignore[arg-type]
        assert (await client.converse(SUBMIT, body)).status == ROK
        assert seen == [body]


async def test_a_declaration_counts_where_it_may() -> None:
    declared = tlv(0x1501, b"informational")
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert (await client.say(source=b"EITHER", tlvs=declared)).status == ROK
        assert (await client.say(source=b"EITHER", tlvs=tlv(0x1501, b"informationaI"))).status == SUBMITFAIL
        assert (await client.say(source=b"EITHER")).status == SUBMITFAIL
        assert (await client.say(source=b"ORNEK", tlvs=declared)).status == SUBMITFAIL
        assert [one.body for one in centre.messages] == [submit_body(source=b"EITHER", tlvs=declared)]


async def test_query_and_cancel_pass_with_their_ids() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.converse(QUERY, b"1000001\0\0\0\0")
        assert (answer.command, answer.body) == (QUERY | RESP, b"1000001\0\0\2\0")
        answer = await client.converse(CANCEL, b"\x001000001\0\0\0\0\0\0\0")
        assert (answer.command, answer.status) == (CANCEL | RESP, ROK)
        assert centre.asked == [(QUERY, b"1000001\0\0\0\0"), (CANCEL, b"\x001000001\0\0\0\0\0\0\0")]


async def test_i4_our_own_fault_is_temporary_and_stays_with_its_submit() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.broken = True
        assert (await client.say()).status == THROTTLED
        gate.judge.broken = False
        assert (await client.say()).status == ROK
        assert gate.errors("internal") == 1
        assert len(centre.messages) == 1


# several at once


async def test_i3_a_hundred_outstanding_answered_in_any_order() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        numbers = {client.submit(dest=b"9055500%05d" % n): f"9055500{n:05}" for n in range(100)}
        await eventually_async(lambda: len(centre.messages) == 100)
        centre.release(backwards=True)
        heard = [await client.hear() for _ in numbers]
        ids = {one.dest: one.message_id for one in centre.messages}
        assert {one.sequence: one.body[:-1].decode() for one in heard} == {n: ids[dest] for n, dest in numbers.items()}


async def test_i3_verdicts_in_any_order() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        gate.judge.late = True
        for n in (2, 4, 6):
            gate.judge.verdicts[b"+90555000000%d" % n] = BLOCKED
        sequences = [client.submit(dest=b"90555000000%d" % n) for n in range(8)]
        await eventually_async(lambda: len(gate.judge.waiting) == 8)
        gate.judge.release(backwards=True)
        heard = {one.sequence: one.status for one in [await client.hear() for _ in range(8)]}
        assert [heard[n] for n in sequences] == [SUBMITFAIL if n in (2, 4, 6) else ROK for n in range(8)]
        assert sorted(one.dest for one in centre.messages) == [f"90555000000{n}" for n in (0, 1, 3, 5, 7)]


async def test_i7_beyond_the_window_nothing_is_read() -> None:
    async with smsc() as centre, house(centre.port, window=10) as gate, gate.client() as client:
        centre.behaviour.holding = True
        for n in range(50):
            client.submit(dest=b"9055500%05d" % n)
        await eventually_async(lambda: len(centre.messages) == 10)
        await eventually_async(lambda: gate.errors("window") > 0)
        assert len(gate.judge.asked) == 10
        heard = 0
        while heard < 50:
            centre.release()
            heard += len([await client.hear() for _ in range(min(10, 50 - heard))])
            await eventually_async(lambda: len(centre.messages) == min(50, heard + 10))  # noqa: B023
        assert [one.dest for one in centre.messages] == [f"9055500{n:05}" for n in range(50)]


async def test_one_octet_at_a_time() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        for octet in pdu(SUBMIT, 5, submit_body()) + pdu(ENQUIRE, 6):
            client.writer.write(bytes((octet,)))
            await asyncio.sleep(0)
        assert {(await client.hear()).sequence for _ in range(2)} == {5, 6}
        assert texts(centre) == ["Merhaba" + notice_of()]


async def test_nothing_is_sent_for_a_client_that_is_gone() -> None:
    async with smsc() as centre, house(centre.port) as gate:
        gate.judge.late = True
        async with gate.client() as client:
            client.submit()
            await eventually_async(lambda: len(gate.judge.waiting) == 1)
        await eventually_async(lambda: not gate.door.sessions)
        gate.judge.release()
        await eventually_async(lambda: not gate.door.links)
        assert centre.messages == []


# what the SMSC sends


@pytest.mark.parametrize("command", [BIND_RX, BIND_TRX])
async def test_messages_of_citizens_reach_the_client_and_its_answer_the_smsc(command: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client(bind=command) as client:
        sequences = [centre.send(UPSTREAM_LOGIN[0], "905550000001", "3338", text) for text in (b"RET", b"DUR")]
        heard = [await client.hear() for _ in range(2)]
        assert [one.body[-3:] for one in heard] == [b"RET", b"DUR"]
        client.writer.write(pdu(heard[1].command | RESP, heard[1].sequence, b"\0", status=0x64))
        client.writer.write(pdu(heard[0].command | RESP, heard[0].sequence, b"\0"))
        await eventually_async(lambda: len(centre.answered) == 2)
        assert centre.answered == [(0x80000005, 0x64, sequences[1]), (0x80000005, ROK, sequences[0])]


async def test_a_receipt_comes_back_with_the_id_the_client_was_told() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        answer = await client.say(registered=1)
        receipt = await client.hear()
        assert b"id:" + answer.body[:-1] in receipt.body
        assert tlv(0x1E, answer.body) in receipt.body
        assert gate.errors("unknown_response") == 0


async def test_a_generic_nack_of_the_client_turns_the_message_back() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        sequence = centre.send(UPSTREAM_LOGIN[0], "905550000001", "3338", b"Merhaba")
        asked = await client.hear()
        client.writer.write(pdu(NACK, asked.sequence, status=3) + pdu(NACK, 4711, status=3))
        await eventually_async(lambda: len(centre.answered) == 1 and gate.errors("unknown_response") == 1)
        assert centre.answered == [(0x80000005, 3, sequence)]
        assert (await client.say()).status == ROK


# leaving


async def test_draining_answers_what_is_under_way_and_takes_nothing_new() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        client.submit()
        await eventually_async(lambda: len(centre.messages) == 1)
        draining = asyncio.get_running_loop().create_task(gate.door.drain(10))
        await asyncio.sleep(0)  # the task begins
        assert (await client.say()).status == SYSERR
        centre.release()
        assert (await client.hear()).status == ROK
        unbind = await client.hear()
        assert unbind.command == UNBIND
        client.writer.write(pdu(UNBIND | RESP, unbind.sequence))
        assert await client.closed()
        await draining
        assert centre.unbound == 1
        async with gate.client(bind=None) as late:
            assert await late.closed()


async def test_draining_does_not_wait_for_ever() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.silent = True
        client.submit()
        await eventually_async(lambda: len(centre.messages) == 1)
        await gate.door.drain(0.05)
        assert await client.closed()
        await eventually_async(lambda: not gate.door.sessions and not gate.door.links)


async def test_sessions_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port) as gate:
        async with gate.client():
            assert gate.metrics.sessions["smpp"] == 1
        await eventually_async(lambda: gate.metrics.sessions["smpp"] == 0)


async def test_a_silent_client_is_asked_and_then_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMPP_ENQUIRE_LINK_S", 0.05)
    monkeypatch.setattr(limits, "SMPP_INACTIVITY_S", 0.5)
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        assert (await client.hear()).command == ENQUIRE
        assert await client.closed()
        assert gate.errors("timeout") == 1

"""The door over real sockets: who may come in, what is offered, and what our own faults look like from outside."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filters.model import Reason
from gateway import limits
from tests.conftest import eventually_async, free_port
from tests.gateway.smtp.hop import HANG, Hop
from tests.gateway.smtp.support import BLOCKED, DEFERRED, house

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"


async def test_a_client_outside_allow_is_refused_at_connect(tmp_path: Path) -> None:
    async with house(tmp_path, free_port(), allow="192.0.2.0/24") as gate, gate.client(ehlo=False) as client:
        code, text = await client.hear()
        assert (code, text[:6]) == (554, b"5.7.1 ")
        assert await client.closed()
        assert gate.metrics.protocol_errors[("smtp", "not_allowed")] == 1


async def test_i7_connections_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SESSIONS_MAX", 1)
    async with house(tmp_path, free_port()) as gate, gate.client(), gate.client(ehlo=False) as second:
        code, text = await second.hear()
        assert (code, text[:6]) == (421, b"4.3.2 ")
        assert await second.closed()


@pytest.mark.parametrize(
    ("keywords", "announced"),
    [
        ([b"PIPELINING", b"SIZE 1000000", b"8BITMIME", b"SMTPUTF8", b"DSN"], {b"8BITMIME", b"SMTPUTF8", b"DSN"}),
        ([b"SIZE 1000000", b"8BITMIME"], {b"8BITMIME"}),
        ([b"SIZE 1000000"], set()),
    ],
)
async def test_what_is_announced_is_what_the_next_hop_can_take(
    tmp_path: Path, keywords: list[bytes], announced: set[bytes]
) -> None:
    async with Hop(keywords=keywords) as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        said = set((await client.say(b"EHLO again"))[1].split(b"\n")[1:])
        ours = {b"PIPELINING", b"ENHANCEDSTATUSCODES", b"SIZE %d" % (1_000_000 - limits.SMTP_GROWTH)}
        assert said == announced | ours


async def test_what_is_announced_while_no_next_hop_was_ever_seen(tmp_path: Path) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        said = (await client.say(b"EHLO again"))[1].split(b"\n")[1:]
        assert [word.split()[0] for word in said] == [b"PIPELINING", b"SIZE", b"8BITMIME", b"ENHANCEDSTATUSCODES"]


async def test_what_was_announced_last_is_announced_while_the_next_hop_is_away(tmp_path: Path) -> None:
    hop = Hop()
    await hop.start()
    async with house(tmp_path, hop.port) as gate:
        await hop.stop()
        async with gate.client() as client:
            assert b"DSN" in (await client.say(b"EHLO again"))[1]


async def test_a_sender_without_a_stream_is_refused_at_mail_and_written_down(tmp_path: Path) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        code, text = await client.say(b"MAIL FROM:<a@elsewhere.example.test>")
        assert code == 550
        assert text.startswith(b"5.7.1 no_stream: ")
        assert text.endswith(b" id=id1")
        assert gate.judge.refused == [Reason.NO_STREAM]
        assert await client.converse(b"RCPT TO:<b@example.test>", b"MAIL FROM:<a@campaign.example.test>") == [503, 250]


async def test_verdicts_at_rcpt(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.verdicts = {b"no@example.test": BLOCKED, b"late@example.test": DEFERRED}
        await client.say(b"MAIL FROM:<a@campaign.example.test>")
        assert await client.say(b"RCPT TO:<YES@Example.test>") == (250, b"2.1.5 ok")
        code, text = await client.say(b"RCPT TO:<No@example.test>")
        assert (code, text.split(b":")[0], text[-7:]) == (550, b"5.7.1 no_consent", b" id=id2")
        code, text = await client.say(b"RCPT TO:<late@example.test>")
        assert (code, text.split(b":")[0], text[-7:]) == (451, b"4.4.3 index_down", b" id=id3")
        code, text = await client.say(b"RCPT TO:<a%b@example.test>")
        assert (code, text.split(b":")[0]) == (550, b"5.7.1 bad_address")
        assert gate.judge.asked == [b"yes@example.test", b"no@example.test", b"late@example.test", None]
        assert await client.converse(b"DATA", TEXT + b".") == [354, 250]
        assert [received.rcpt for received in hop.received] == [(b"RCPT TO:<YES@Example.test>",)], "spelling kept"


async def test_i3_pipelined_recipients_are_one_batch_and_one_write(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.late = True
        gate.judge.verdicts = {b"r1@example.test": BLOCKED, b"r3@example.test": DEFERRED}
        recipients = b"".join(b"RCPT TO:<r%d@example.test>\r\n" % number for number in range(5))
        client.writer.write(b"MAIL FROM:<a@campaign.example.test>\r\n" + recipients + b"DATA\r\n")
        await eventually_async(lambda: len(gate.judge.waiting) == 5, what="all verdicts asked together")
        gate.judge.waiting.reverse()
        gate.judge.release()
        assert [(await client.hear())[0] for _ in range(7)] == [250, 250, 550, 250, 451, 250, 354]
        gate.judge.late = False
        assert (await client.say(TEXT + b"."))[0] == 250
        assert sorted(received.rcpt[0] for received in hop.received) == [
            b"RCPT TO:<r%d@example.test>" % number for number in (0, 2, 4)
        ]


async def test_one_recipient_named_twice_gets_one_copy(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(TEXT, b"b@example.test", b"b@example.test"))[0] == 250
        gate.judge.late = True
        twice = b"RCPT TO:<c@example.test>\r\n" * 2
        client.writer.write(b"MAIL FROM:<a@campaign.example.test>\r\n" + twice + b"DATA\r\n")
        await eventually_async(lambda: len(gate.judge.waiting) == 1, what="verdict asked")
        gate.judge.release()
        assert [(await client.hear())[0] for _ in range(4)] == [250, 250, 250, 354]
        gate.judge.late = False
        assert (await client.say(TEXT + b"."))[0] == 250
        assert len(hop.received) == 2


async def test_i4_our_own_fault_is_temporary_and_stays_with_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client, gate.client() as other:
        await client.say(b"MAIL FROM:<a@campaign.example.test>")
        gate.judge.broken = True
        assert (await client.say(b"RCPT TO:<b@example.test>"))[0] == 421
        gate.judge.broken = False
        assert (await other.send(TEXT, b"b@example.test"))[0] == 250
        monkeypatch.setattr(gate.door, "notice", lambda _brand: 1 / 0)
        assert (await other.send(TEXT, b"b@example.test")) == (451, b"4.3.0 local error, try again later")
        monkeypatch.undo()
        assert (await other.send(TEXT, b"b@example.test"))[0] == 250
        assert gate.metrics.protocol_errors[("smtp", "internal")] == 2


async def test_protocol_errors_are_counted(tmp_path: Path) -> None:
    async with house(tmp_path, free_port()) as gate:
        async with gate.client() as client:
            client.writer.write(b"NOOP\n")
            assert (await client.hear())[0] == 500
            assert await client.closed()
        assert gate.metrics.protocol_errors[("smtp", "bare_lf")] == 1


async def test_silence_ends_with_421(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_COMMAND_S", 0.05)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        assert await client.hear() == (421, b"4.4.2 idle for too long")
        assert await client.closed()


async def test_i2_a_client_that_vanishes_before_the_dot_sends_nothing(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate:
        async with gate.client() as client:
            await client.say(b"MAIL FROM:<a@campaign.example.test>")
            await client.converse(b"RCPT TO:<b@example.test>", b"DATA")
            client.writer.write(TEXT)
            await eventually_async(lambda: gate.door.transit == len(TEXT), what="content arrived")
            client.writer.transport.abort()
            await eventually_async(lambda: not gate.door.sessions, what="session gone")
        assert gate.metrics.protocol_errors[("smtp", "disconnect_in_data")] == 1
        assert gate.door.transit == 0
        assert b"DATA" not in hop.commands


async def test_a_client_that_half_closes_hears_its_answers(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.late = True
        client.writer.write(b"MAIL FROM:<a@campaign.example.test>\r\nRCPT TO:<b@example.test>\r\n")
        client.writer.write_eof()
        await eventually_async(lambda: len(gate.judge.waiting) == 1, what="verdict asked")
        gate.judge.release()
        assert [(await client.hear())[0] for _ in range(2)] == [250, 250]
        assert await client.closed()


async def test_i7_content_in_memory_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_TRANSIT_OCTETS_MAX", 1000)
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client, gate.client() as other:
        for one in (client, other):
            await one.say(b"MAIL FROM:<a@campaign.example.test>")
            await one.say(b"RCPT TO:<b@example.test>")
        await client.say(b"DATA")
        client.writer.write(b"Subject: x\r\n\r\n" + b"x\r\n" * 300)
        await eventually_async(lambda: gate.door.transit > 900, what="content arrived")
        client.writer.write(b"x\r\n" * 100)
        await eventually_async(lambda: gate.door.transit > 1000, what="too much content arrived")
        assert (await other.say(b"DATA")) == (452, b"4.3.1 too many messages in transit, try again later")
        assert (await client.say(b"."))[0] == 452
        assert gate.door.transit == 0
        assert hop.received == []
        assert (await other.converse(b"DATA", TEXT + b".")) == [354, 250]


async def test_commands_far_ahead_of_their_answers_are_left_in_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMTP_PIPELINE_OCTETS_MAX", 1000)
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.late = True
        client.writer.write(b"MAIL FROM:<a@campaign.example.test>\r\nRCPT TO:<b@example.test>\r\n")
        client.writer.write(b"NOOP\r\n" * 200_000)
        (connection,) = gate.door.sessions
        await eventually_async(lambda: connection.paused, within=90, what="reading stopped")
        assert 1000 < connection.session.held < 600_000, "one read more than the bound, of 1,200,000"
        gate.judge.release()
        for _ in range(200_002):
            assert (await client.hear())[0] == 250


async def test_draining(tmp_path: Path) -> None:
    async with Hop(always={"DOT": HANG}) as hop, house(tmp_path, hop.port) as gate:
        async with gate.client() as idle, gate.client() as busy:
            sent = asyncio.ensure_future(busy.send(TEXT, b"b@example.test"))
            await eventually_async(lambda: b"DATA" in hop.commands, what="message under way")
            drained = asyncio.ensure_future(gate.door.drain(10))
            assert (await idle.hear())[0] == 421
            async with gate.client(ehlo=False) as late:
                assert (await late.hear())[0] == 421
            assert not sent.done()
            assert not drained.done()
            next(iter(hop.open)).transport.write(b"250 2.0.0 queued\r\n")
            assert (await sent)[0] == 250
            assert (await busy.hear())[0] == 421
            await drained
        assert not gate.door.sessions

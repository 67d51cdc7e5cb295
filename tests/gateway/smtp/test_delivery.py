"""A transaction after its final dot: every way it can end, and what the client, the next hop and a retry see of it."""

from __future__ import annotations

import gc
import socket
import struct
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from filters.model import Reason
from gateway import limits
from gateway.smtp.delivery import Transaction
from gateway.smtp.parties import Recipient
from tests.conftest import eventually_async, free_port
from tests.gateway.smtp.hop import HANG, HANG_UP, Hop
from tests.gateway.smtp.support import BLOCKED, DEFERRED, house

TEXT = (
    b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n.dot and body\r\n"
)
RECEIPT = b"a@receipts.example.test"


def names(hop: Hop) -> list[bytes]:
    return sorted(received.rcpt[0][9:].partition(b"@")[0] for received in hop.received)


async def test_i2_the_next_hops_answer_is_the_answer(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        hop.script["DOT"] = [b"250 2.0.0 Ok: queued as 4X\r\n", b"554 5.7.9 spam\r\n", b"450 4.2.1 greylisted\r\n"]
        assert await client.send(TEXT, b"b@example.test") == (250, b"2.0.0 Ok: queued as 4X id=id1")
        assert await client.send(TEXT, b"b@example.test") == (554, b"5.7.9 spam id=id2")
        assert await client.send(TEXT, b"b@example.test") == (450, b"4.2.1 greylisted id=id3")
        hop.script["RCPT"] = [b"550 5.1.1 unknown user\r\n"]
        assert await client.send(TEXT, b"b@example.test") == (550, b"5.1.1 unknown user id=id4")


async def test_what_is_answered_is_freed_without_a_look_for_cycles(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(TEXT, b"b@example.test"))[0] == 250
        gc.collect()
        gc.disable()
        try:
            assert (await client.send(TEXT, b"b@example.test", b"c@example.test"))[0] == 250
            await eventually_async(_nothing_left, within=90, what="the transaction's end")
        finally:
            gc.enable()


async def _nothing_left() -> bool:
    return not any(isinstance(one, (Transaction, Recipient)) for one in gc.get_objects())


async def test_i2_no_250_without_the_next_hops(tmp_path: Path) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        assert (await client.send(TEXT, b"b@example.test"))[0] == 451
    async with Hop(always={"DOT": HANG_UP}) as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        code, text = await client.send(TEXT, b"b@example.test")
        assert (code, text[:6]) == (451, b"4.4.2 ")


async def test_a_commercial_message_carries_the_notice_and_the_recipients_own_link(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        text = TEXT.replace(b"\r\n.", b"\r\n..") + "Şimdi\r\n".encode()
        assert (await client.send(text, b"ayse@example.test", b"veli@example.test"))[0] == 250
        assert names(hop) == [b"ayse", b"veli"]
        for received in hop.received:
            name = received.rcpt[0][9:].partition(b"@")[0]
            message = message_from_bytes(received.wire.replace(b"\r\n..", b"\r\n."), EmailMessage, policy=policy.SMTP)
            link = "https://ret.example.test/r/" + name.decode()
            assert message["List-Unsubscribe"] == f"<{link}>"
            assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            body = message.get_content()
            assert body.startswith(".dot and body")
            assert "Örnek Market Ticaret A.Ş." in body
            assert "0123456789000015" in body
            assert link in body
            assert received.wire.count(b"/r/") == 2, "nobody else's link"


async def test_i6_an_informational_message_is_the_same_octets_below_one_header(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(b"Subject: x\r\n\r\n..dot\r\n", b"b@example.test", sender=RECEIPT))[0] == 250
        (received,) = hop.received
        header, _, rest = received.wire.partition(b"Subject: ")
        assert rest == b"x\r\n\r\n..dot\r\n"
        assert header.startswith(b"Received: from client.example.test ([127.0.0.1])\r\n\tby gate.example.test (izinli)")
        assert b"with ESMTP id id1;" in header
        assert gate.judge.asked_again == [b"b@example.test"]


async def test_i6_the_trace_header_can_be_switched_off(tmp_path: Path) -> None:
    content = b"Subject: x\r\n\r\n..dot\r\n"
    async with Hop() as hop, house(tmp_path, hop.port, trace_header=False) as gate, gate.client() as client:
        await client.send(content, b"b@example.test", sender=RECEIPT)
        assert hop.received[0].wire == content


async def test_i1_i5_the_index_is_asked_again_after_the_message_came(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.at_the_dot = {b"gone@example.test": BLOCKED, b"dark@example.test": DEFERRED}
        code, text = await client.send(TEXT, b"gone@example.test")
        assert (code, text[:17]) == (550, b"5.7.1 no_consent:")
        code, text = await client.send(TEXT, b"dark@example.test")
        assert (code, text[:17]) == (451, b"4.4.3 index_down:")
        assert await client.send(TEXT, b"stay@example.test", b"gone@example.test") == (
            451,
            b"4.7.1 consent changed in transit, try again",
        )
        gate.judge.at_the_dot[b"stay@example.test"] = BLOCKED
        assert (await client.send(TEXT, b"stay@example.test", b"gone@example.test"))[0] == 550
        assert (await client.send(TEXT, b"gone@example.test", b"dark@example.test"))[0] == 451
        assert hop.received == []
        assert gate.judge.asked_again[:2] == [b"gone@example.test", b"dark@example.test"]


async def test_a_message_that_cannot_carry_the_notice_is_refused(tmp_path: Path) -> None:
    encrypted = b"Content-Type: multipart/encrypted; boundary=x\r\n\r\n--x\r\n\r\n--x--\r\n"
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        code, text = await client.send(encrypted, b"b@example.test")
        assert (code, text[:12]) == (550, b"5.6.0 unfit:")
        assert gate.judge.refused == [Reason.UNFIT]
        assert hop.received == []
        assert (await client.send(encrypted, b"b@example.test", sender=b"a@watched.example.test"))[0] == 250
        assert hop.received[0].wire.endswith(encrypted), "observed: as it came"


async def test_loops_end(tmp_path: Path) -> None:
    hops = b"Received: by x\r\n" * limits.SMTP_HOPS_MAX
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(hops + TEXT, b"b@example.test"))[0] == 250
        assert (await client.send(b"Received: by y\r\n" + hops + TEXT, b"b@example.test")) == (
            554,
            b"5.4.6 too many hops",
        )


async def test_parameters_go_along(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        await client.say(b"MAIL FROM:<a@receipts.example.test> BODY=8BITMIME ret=HDRS ENVID=Qq+2B SIZE=9")
        await client.say(b"RCPT TO:<b@example.test> notify=Success ORCPT=rfc822;B@Example.test")
        await client.say(b"RCPT TO:<c@example.test>")
        assert await client.converse(b"DATA", b"\r\n\xc3\xa7\r\n.") == [354, 250]
        mails = [received.mail.partition(b" SIZE=")[2].partition(b" ")[2] for received in hop.received]
        assert mails == [b"BODY=8BITMIME ret=HDRS ENVID=Qq+2B"] * 2
        assert sorted(received.rcpt[0] for received in hop.received) == [
            b"RCPT TO:<b@example.test> notify=Success ORCPT=rfc822;B@Example.test",
            b"RCPT TO:<c@example.test>",
        ]
        sizes = [int(received.mail.partition(b" SIZE=")[2].split()[0]) for received in hop.received]
        assert sizes == [len(received.wire) for received in hop.received]


async def test_a_null_sender_passes_without_being_judged(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.verdicts = {b"b@example.test": BLOCKED}
        bounce = b"Subject: Undelivered Mail\r\n\r\nsorry\r\n"
        assert (await client.send(bounce, b"b@example.test", sender=b""))[0] == 250
        (received,) = hop.received
        assert received.mail.startswith(b"MAIL FROM:<>")
        assert received.wire.endswith(b"\r\n" + bounce)


# Several recipients, one reply.


async def test_a_temporary_refusal_of_one_is_that_of_all_and_the_retry_sends_only_the_rest(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        hop.script["DOT"] = [b"250 2.0.0 ok\r\n", b"452 4.2.2 full\r\n", b"250 2.0.0 ok\r\n"]
        recipients = [b"a@example.test", b"b@example.test", b"c@example.test"]
        code, text = await client.send(TEXT, *recipients)
        taken = names(hop)
        assert len(taken) == 2
        (full,) = {b"a", b"b", b"c"}.difference(taken)
        copy_id = b"id%d" % (b"abc".index(full) + 1)
        assert (code, text) == (452, b"4.2.2 full id=" + copy_id), "that of the copy whose answer this is"
        assert (await client.send(TEXT, *recipients))[0] == 250
        assert names(hop) == [b"a", b"b", b"c"], "nothing twice"
        assert (await client.send(TEXT.replace(b"body", b"news"), *recipients))[0] == 250
        assert len(hop.received) == 6, "another content is another message"


async def test_the_memory_is_shared_and_survives_a_restart(tmp_path: Path) -> None:
    async with Hop() as hop:
        hop.script["DOT"] = [b"250 2.0.0 ok\r\n", HANG_UP]
        async with house(tmp_path, hop.port) as gate, gate.client() as client, house(tmp_path, hop.port) as sibling:
            async with sibling.client() as other:
                assert (await other.send(TEXT, b"warm@example.test", b"up@example.test"))[0] == 451
            hop.script.clear()
            before = len(hop.received)
            assert (await client.send(TEXT, b"warm@example.test"))[0] + (await client.send(TEXT, b"up@example.test"))[
                0
            ] == 500
            assert len(hop.received) == before + 1
        async with house(tmp_path, hop.port) as gate, gate.client() as client:
            assert (await client.send(TEXT, b"up@example.test"))[0] == 250


async def test_a_permanent_refusal_of_some_is_told_to_the_sender(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        hop.script["RCPT"] = [b"550 5.1.1 unknown user\r\n"]
        assert (await client.send(TEXT, b"x@example.test", b"y@example.test"))[0] == 250
        assert len(hop.received) == 2
        notice = next(received for received in hop.received if received.mail.startswith(b"MAIL FROM:<>"))
        assert notice.rcpt == (b"RCPT TO:<a@campaign.example.test>",)
        message = message_from_bytes(notice.wire, EmailMessage, policy=policy.SMTP)
        assert message.get_content_type() == "multipart/report"
        status = list(message.iter_parts())[1].get_payload()[1]
        assert status["Status"] == "5.1.1"
        delivered = next(received for received in hop.received if received is not notice)
        assert status["Final-Recipient"].partition("; ")[2].encode() not in delivered.rcpt[0]


async def test_a_notification_that_cannot_be_handed_over_makes_the_whole_temporary(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        hop.script["RCPT"] = [b"250 ok\r\n", b"550 5.1.1 unknown user\r\n", b"450 4.2.1 not now\r\n"]
        code, text = await client.send(TEXT, b"x@example.test", b"y@example.test")
        assert (code, text[:6]) == (451, b"4.4.1 ")
        assert len(hop.received) == 1
        hop.script["RCPT"] = [b"550 5.1.1 unknown user\r\n"]
        assert (await client.send(TEXT, b"x@example.test", b"y@example.test"))[0] == 250
        assert [received.mail.startswith(b"MAIL FROM:<>") for received in hop.received] == [False, True]


@pytest.mark.parametrize(("sender", "notify"), [(b"", b""), (RECEIPT, b" NOTIFY=NEVER")])
async def test_who_wants_no_notification_gets_none(tmp_path: Path, sender: bytes, notify: bytes) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        hop.script["RCPT"] = [b"550 5.1.1 unknown user\r\n"]
        await client.say(b"MAIL FROM:<%b>" % sender)
        await client.converse(b"RCPT TO:<x@example.test>" + notify, b"RCPT TO:<y@example.test>" + notify)
        assert await client.converse(b"DATA", TEXT.replace(b"\r\n.", b"\r\n..") + b".") == [354, 250]
        assert len(hop.received) == 1


async def test_all_refused_is_refused(tmp_path: Path) -> None:
    async with (
        Hop(always={"DOT": b"554 5.7.9 spam\r\n"}) as hop,
        house(tmp_path, hop.port) as gate,
        gate.client() as client,
    ):
        assert (await client.send(TEXT, b"x@example.test", b"y@example.test"))[0] == 554


async def test_many_recipients_go_a_few_at_a_time(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        recipients = [b"r%03d@example.test" % number for number in range(300)]
        assert (await client.send(TEXT, *recipients))[0] == 250
        assert names(hop) == [recipient.partition(b"@")[0] for recipient in recipients]
        assert hop.connections <= 2 * limits.SMTP_COPIES_AT_ONCE


async def test_many_recipients_of_a_next_hop_that_is_away(tmp_path: Path) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        assert (await client.send(TEXT, *(b"r%d@example.test" % number for number in range(999))))[0] == 451


async def test_time_is_bounded_for_the_whole_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_DELIVERY_S", 0.2)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_COPIES_AT_ONCE", 1)
    async with (
        Hop(script={"DOT": [b"250 ok\r\n", HANG]}) as hop,
        house(tmp_path, hop.port) as gate,
        gate.client() as client,
    ):
        recipients = [b"a@example.test", b"b@example.test", b"c@example.test"]
        assert (await client.send(TEXT, *recipients))[0] == 451
        assert names(hop) == [b"a"]
        code, text = await client.send(TEXT, *recipients)
        assert (code, text[:39]) == (451, b"4.4.2 an earlier try for this recipient")
        hop.hang_up()

        async def all_taken() -> bool:
            return (await client.send(TEXT, *recipients))[0] == 250

        await eventually_async(all_taken, within=90, what="the end of the copy that was under way")
        assert names(hop) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_i2_a_client_that_vanishes_after_the_dot_changes_nothing_and_gets_nothing_twice(
    tmp_path: Path, how: str
) -> None:
    async with Hop(script={"DOT": [HANG]}) as hop, house(tmp_path, hop.port) as gate:
        async with gate.client() as client:
            await client.converse(b"MAIL FROM:<a@campaign.example.test>", b"RCPT TO:<b@example.test>", b"DATA")
            client.writer.write(TEXT.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            await eventually_async(lambda: b"DATA" in hop.commands, what="message under way")
            if how == "reset":
                linger = client.writer.get_extra_info("socket")
                linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
            (session,) = gate.door.sessions
            await eventually_async(lambda: session.gone, what="client gone")
        next(iter(hop.open)).transport.write(b"250 2.0.0 queued\r\n")
        await eventually_async(lambda: gate.door.transit == 0, what="transaction over")
        async with gate.client() as again:
            content = TEXT.replace(b"\r\n.", b"\r\n..")
            assert await again.send(content, b"b@example.test") == (250, b"2.0.0 delivered before id=id2")
        assert hop.commands.count(b"DATA") == 1


async def test_i2_own_output_that_could_smuggle_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        monkeypatch.setattr(gate.judge, "link", lambda _question: b"https://x/" + b"y" * 400)
        monkeypatch.setattr("filters.mail.MailPlan.render", lambda *_: [b"Subject: x\r\n\r\na\n.\r\nMAIL\r\n"])
        assert (await client.send(TEXT, b"b@example.test"))[0] == 451
        assert b"DATA" not in hop.commands


async def test_two_links_in_one_line_are_given_the_room_they_need(tmp_path: Path) -> None:
    """Room is kept for the longest link of this message's recipients, not for the longest there can be."""
    row = b"<p>" + b"x" * 300 + b"<a href={{izinli_link}}>ret</a> <a href={{izinli_link}}>reject</a></p>\r\n"
    content = b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + row
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(content, b"a@example.test", b"b@example.test"))[0] == 250
        for received, name in zip(sorted(hop.received, key=lambda one: one.rcpt), names(hop), strict=True):
            assert received.wire.count(b"https://ret.example.test/r/" + name) == 3, "the header field, and both places"

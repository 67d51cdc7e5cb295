"""Postfix in front of the door and Postfix behind it: real queues, real retries, real bounces."""

from __future__ import annotations

import asyncio
import difflib
import re
import smtplib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway.demo.sink import Captured, Sink, Stage
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import BLOCKED, DEFERRED, House, house
from tests.interop.letters import ALL, ASCII, HTML, TURKISH, letter
from tests.interop.postfix import Postfix

pytestmark = pytest.mark.interop

CAMPAIGN = "a@campaign.example.test"
RECEIPTS = "a@receipts.example.test"
PLAIN = letter("plain", "8bit", "utf-8")


@dataclass
class Chain:
    """postfix → gate → whatever stands behind it."""

    postfix: Postfix
    gate: House

    async def send(self, sender: str, recipients: list[str], content: bytes, *options: str, rcpt: str = "") -> None:
        """Hand a message to Postfix, which accepts it whatever becomes of it."""
        await asyncio.to_thread(_inject, self.postfix.port, sender, recipients, content, options, rcpt)

    async def settled(self) -> None:
        await eventually_async(lambda: not self.postfix.queued(), within=90, what="an empty queue")

    async def logged(self, pattern: str) -> None:
        await eventually_async(
            lambda: re.search(pattern, self.postfix.log()) is not None, within=90, what=f"{pattern!r} in the log"
        )


def _inject(port: int, sender: str, to: list[str], content: bytes, options: tuple[str, ...], rcpt: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo("app.example.test")
        utf8 = not (sender + "".join(to)).isascii()
        client.command_encoding = "utf-8" if utf8 else "ascii"
        parameters = " ".join(["", "BODY=8BITMIME", *(["SMTPUTF8"] if utf8 else []), *options])
        assert client.docmd("MAIL", f"FROM:<{sender}>{parameters}")[0] == 250
        for recipient in to:
            assert client.docmd("RCPT", f"TO:<{recipient}> {rcpt}".rstrip())[0] == 250
        assert client.data(content)[0] == 250


@asynccontextmanager
async def chained(directory: Path, *ports: int, **settings: str) -> AsyncIterator[Chain]:
    async with house(directory, *ports) as gate:
        with Postfix(relay_to=gate.port, **settings) as postfix:
            yield Chain(postfix, gate)


def number(content: bytes) -> int:
    found = re.search(rb"Message-ID: <([0-9]+)@", content)
    assert found is not None
    return int(found[1])


def below(captured: Captured | bytes) -> bytes:
    """The message as it was injected: without the trace fields of the gateway, of Postfix and the link fields."""
    content = captured.content if isinstance(captured, Captured) else captured
    return content[content.index(b"From: =?utf-8") :]


async def test_every_encoding_and_charset_arrives_with_the_notice_and_otherwise_as_it_was(tmp_path: Path) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        letters = [letter(*kind, number=index) for index, kind in enumerate(ALL)]
        for content in letters:
            await chain.send(CAMPAIGN, ["ayse@example.test"], content)
        await eventually_async(lambda: len(sink.messages) == len(ALL), within=60, what="all letters")
        for captured in sink.messages:
            index = number(captured.content)
            _compare(captured, letters[index], *ALL[index])
        assert sorted(number(captured.content) for captured in sink.messages) == list(range(len(ALL)))


def _compare(captured: Captured, sent: bytes, shape: str, encoding: str, charset: str) -> None:
    message = message_from_bytes(captured.content, EmailMessage, policy=policy.default)
    link = "https://ret.example.test/r/ayse"
    assert message["List-Unsubscribe"] == f"<{link}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    text = ASCII if encoding == "7bit" else TURKISH
    title = "Ornek Market Ticaret A.S." if encoding == "7bit" else "Örnek Market Ticaret A.Ş."
    for part in message.iter_parts() if shape == "alternative" else [message]:
        body = part.get_content().replace("\r\n", "\n")
        before, ending = (text, "") if part.get_content_subtype() == "plain" else HTML.format(text).split("</body>")
        assert part.get_content_charset() == charset
        assert body.startswith(before.replace("\r\n", "\n"))
        assert body.rstrip().endswith(ending.rstrip())
        assert "0123456789000015" in body
        assert link in body
        if part.get_content_subtype() == "plain":
            assert title in body
    # Octets: nothing that was sent is missing or changed; base64 re-encodes behind the point of insertion.
    got = below(captured)
    if encoding == "base64":
        assert got.startswith(sent[: sent.index(b"base64")])
        return
    before, after = got.split(b"\r\n"), sent.split(b"\r\n")
    changes = [
        code
        for code in difflib.SequenceMatcher(None, after, before, autojunk=False).get_opcodes()
        if code[0] != "equal"
    ]
    for kind, i1, i2, j1, j2 in changes:
        original, changed = b"\r\n".join(after[i1:i2]), b"\r\n".join(before[j1:j2])
        assert kind == "insert" or _is_insertion(original, changed), (original, changed)


def _is_insertion(original: bytes, changed: bytes) -> bool:
    """`changed` is `original` with one stretch of octets put in."""
    prefix = next((i for i, (a, b) in enumerate(zip(original, changed, strict=False)) if a != b), len(original))
    return changed.endswith(original[prefix:])


async def test_a_recipient_without_consent_is_bounced_and_the_others_get_theirs(tmp_path: Path) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        chain.gate.judge.verdicts = {b"no@example.test": BLOCKED}
        await chain.send(CAMPAIGN, ["ayse@example.test", "no@example.test", "veli@example.test"], PLAIN)
        await chain.settled()
        copies = {captured.rcpt_to: captured for captured in sink.messages if captured.mail_from}
        assert set(copies) == {("ayse@example.test",), ("veli@example.test",)}
        for (recipient,), captured in copies.items():
            assert (
                captured.content.count(b"/r/" + recipient.split("@")[0].encode()) == captured.content.count(b"/r/") == 2
            )
        await chain.logged(
            r"to=<no@example.test>, .*dsn=5\.7\.1, status=bounced \(host .* said: 550 5\.7\.1 no_consent: .*id=id\d"
        )
        (bounce,) = (captured for captured in sink.messages if not captured.mail_from)
        assert bounce.rcpt_to == (CAMPAIGN,), "Postfix's own notice passed, null sender and all"


async def test_i6_an_informational_message_is_the_same_octets(tmp_path: Path) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        letters = [letter(*kind, number=index) for index, kind in enumerate(ALL)]
        for content in letters:
            await chain.send(RECEIPTS, ["ayse@example.test"], content)
        await eventually_async(lambda: len(sink.messages) == len(ALL), within=60, what="all letters")
        for captured in sink.messages:
            assert below(captured) == letters[number(captured.content)]
            trace = [line for line in captured.content.split(b"\r\n") if line.startswith(b"Received:")]
            assert len(trace) == 2, "ours and Postfix's"
            assert trace[0].startswith(b"Received: from mta.example.test ([127.0.0.1])")


async def test_a_sender_without_a_stream_is_bounced(tmp_path: Path) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        await chain.send("a@elsewhere.example.test", ["ayse@example.test"], PLAIN)
        await chain.logged(r"status=bounced \(.*550 5\.7\.1 no_stream")
        await chain.settled()
        assert [captured.mail_from for captured in sink.messages] == [""]


async def test_i4_undecidable_stays_in_the_queue_until_it_can_be_decided(tmp_path: Path) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        chain.gate.judge.verdicts = {b"ayse@example.test": DEFERRED}
        await chain.send(CAMPAIGN, ["ayse@example.test", "veli@example.test"], PLAIN)
        await chain.logged(r"dsn=4\.4\.3, status=deferred \(.*451 4\.4\.3 index_down")
        await eventually_async(lambda: len(sink.messages) == 1, what="the other recipient")
        chain.gate.judge.verdicts.clear()
        await chain.settled()
        assert Counter(captured.rcpt_to for captured in sink.messages) == {
            ("ayse@example.test",): 1,
            ("veli@example.test",): 1,
        }


async def test_i2_a_next_hop_that_comes_back_gets_everything_once(tmp_path: Path) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        await chain.send(CAMPAIGN, ["r0@example.test"], letter("plain", "8bit", "utf-8", number=0))
        await chain.settled()
        await sink.stop()
        for index in range(1, 20):
            await chain.send(CAMPAIGN, [f"r{index}@example.test"], letter("plain", "8bit", "utf-8", number=index))
        await chain.logged(r"dsn=4\.4\.[12], status=deferred")
        assert len(chain.postfix.queued()) == 19
        await sink.start()
        await chain.settled()
        assert Counter(number(captured.content) for captured in sink.messages) == dict.fromkeys(range(20), 1)


async def test_nothing_twice_when_some_copies_were_refused_for_now(tmp_path: Path) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        sink.recipients["veli@example.test"] = "450 4.2.1 greylisted"
        recipients = ["ayse@example.test", "veli@example.test", "can@example.test"]
        await chain.send(CAMPAIGN, recipients, PLAIN)
        await chain.logged(r"status=deferred \(.*450 4\.2\.1 greylisted")
        sink.recipients.clear()
        await chain.settled()
        assert Counter(captured.rcpt_to for captured in sink.messages) == {(one,): 1 for one in recipients}


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END])
async def test_a_permanent_refusal_of_the_next_hop_is_bounced_by_whoever_has_the_message(
    tmp_path: Path, stage: Stage
) -> None:
    async with Sink() as sink, chained(tmp_path, sink.port) as chain:
        sink.answers[stage] = "554 5.7.9 not wanted"
        await chain.send(CAMPAIGN, ["ayse@example.test"], PLAIN)
        await chain.logged(r"dsn=5\.7\.9, status=bounced \(.*554 5\.7\.9 not wanted id=")
        sink.answers.clear()


async def test_parameters_reach_a_second_postfix(tmp_path: Path) -> None:
    # What the second Postfix takes stays in its queue, where its envelope can be read.
    with Postfix(smtpd_recipient_restrictions="static:hold", relay_to=9) as behind:
        async with chained(tmp_path, behind.port) as chain:
            await chain.send(
                RECEIPTS,
                ["ayse@example.test"],
                PLAIN,
                "RET=HDRS",
                "ENVID=Camp+2B7",
                rcpt="NOTIFY=DELAY,FAILURE ORCPT=rfc822;Ayse+40x@old.example.test",
            )
            await chain.settled()
            (queue_id,) = behind.queued()
            envelope = behind.envelope(queue_id)
            assert "sender: a@receipts.example.test" in envelope
            assert "recipient: ayse@example.test" in envelope
            # Postfix prints them decoded: RET=HDRS is 2, NOTIFY=FAILURE,DELAY is 4 + 8.
            for record in (
                "envelope_id=Camp+7",
                "ret_flags=2",
                "notify_flags=12",
                "dsn_orig_rcpt=rfc822;Ayse@x@old.example.test",
                "encoding=8bit",
            ):
                assert f"named_attribute: {record}\n" in envelope


async def test_a_null_sender_and_international_mail_pass(tmp_path: Path) -> None:
    with Postfix(smtpd_recipient_restrictions="static:hold", relay_to=9) as behind:
        async with chained(tmp_path, behind.port) as chain:
            await chain.send("", ["ayse@example.test"], b"Subject: bounce\r\n\r\nsorry\r\n")
            await chain.send("çağrı@receipts.example.test", ["ayşe@örnek.test"], PLAIN)
            await chain.settled()
            await eventually_async(lambda: len(behind.queued()) == 2, what="both messages")
            envelopes = "".join(behind.envelope(queue_id) for queue_id in behind.queued())
            assert re.search(r"^sender: $", envelopes, re.MULTILINE)
            assert re.search(r"^sender: çağrı@receipts\.example\.test$", envelopes, re.MULTILINE)
            assert re.search(r"^recipient: ayşe@(örnek|xn--rnek-5qa)\.test$", envelopes, re.MULTILINE)


async def test_international_mail_is_bounced_where_the_next_hop_cannot_take_it(tmp_path: Path) -> None:
    hop = Hop(keywords=[b"PIPELINING", b"8BITMIME"])
    async with hop, chained(tmp_path, hop.port) as chain:
        await chain.send(RECEIPTS, ["ayşe@example.test"], PLAIN)
        await chain.logged(r"status=bounced \(SMTPUTF8 is required, but was not offered by host")
        assert hop.received == [] or all(received.mail.startswith(b"MAIL FROM:<>") for received in hop.received)


async def test_postfix_as_a_proxy_filter_client(tmp_path: Path) -> None:
    """`smtpd_proxy_filter` sends its own client's commands as they came, whatever we announce."""
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(Sink())
        gate = await stack.enter_async_context(house(tmp_path, sink.port))
        front = stack.enter_context(Postfix(relay_to=9, smtpd_proxy_filter=f"127.0.0.1:{gate.port}"))
        chain = Chain(front, gate)
        gate.judge.verdicts = {b"no@example.test": BLOCKED}
        await chain.send(CAMPAIGN, ["ayse@example.test"], PLAIN, "RET=FULL", rcpt="NOTIFY=NEVER")
        with pytest.raises(AssertionError):
            await chain.send(CAMPAIGN, ["no@example.test"], PLAIN)
        assert [captured.rcpt_to for captured in sink.messages] == [("ayse@example.test",)]
        assert front.queued() == []

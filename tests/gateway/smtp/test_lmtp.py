"""LMTP: its greeting, and an answer for each accepted RCPT after the final dot, whatever happened to the message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.config import ConfigError, load
from gateway.init import init
from gateway.smtp import replies
from gateway.smtp.delivered import Fate
from gateway.smtp.events import Data, Mail, Message, Offer, Rcpt
from gateway.smtp.lmtp import LmtpSession
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import HANG, Hop
from tests.gateway.smtp.support import BLOCKED, DEFERRED, Client, House, fate, house

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"


@asynccontextmanager
async def greeted(gate: House) -> AsyncIterator[Client]:
    async with gate.client(ehlo=False) as client:
        assert await client.hear() == (220, b"gate.example.test LMTP izinli")
        assert (await client.say(b"LHLO client.example.test"))[0] == 250
        yield client


async def send(client: Client, *recipients: bytes, content: bytes = TEXT) -> list[tuple[int, bytes]]:
    """A transaction; what its final dot is answered, one for each recipient."""
    first = await client.send(content, *recipients)
    return [first, *[await client.hear() for _ in recipients[1:]]]


async def test_the_greeting_is_lhlo_and_nothing_else(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate, gate.client(ehlo=False) as client:
        await client.hear()
        assert await client.converse(b"EHLO c", b"HELO c", b"MAIL FROM:<>", b"LHLO") == [500, 500, 503, 501]
        code, text = await client.say(b"lhlo client.example.test")
        assert code == 250
        assert {b"PIPELINING", b"ENHANCEDSTATUSCODES", b"8BITMIME"} <= set(text.split(b"\n"))
        assert (await client.say(b"HELP"))[1].split()[1] == b"LHLO"


async def test_i2_each_recipient_has_the_next_hops_own_answer(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate, greeted(gate) as client:
        hop.script["DOT"] = [b"554 5.7.9 spam\r\n"]
        assert (await send(client, b"b@example.test"))[0][0] == 554
        gate.judge.verdicts = {b"no@example.test": BLOCKED}
        assert (await client.say(b"MAIL FROM:<a@campaign.example.test>"))[0] == 250
        codes = await client.converse(b"RCPT TO:<b@example.test>", b"RCPT TO:<no@example.test>", b"RCPT TO:<c@x.test>")
        assert codes == [250, 550, 250]
        assert (await client.say(b"DATA"))[0] == 354
        first, second = await client.say(TEXT + b"."), await client.hear()
        assert first[0] == second[0] == 250
        assert first[1].partition(b" id=")[2] != second[1].partition(b" id=")[2]
        recipients = sorted(received.rcpt[0] for received in hop.received)
        assert recipients == [b"RCPT TO:<b@example.test>", b"RCPT TO:<c@x.test>"]
        assert await client.converse(b"NOOP", b"QUIT") == [250, 221]


async def test_i2_mixed_endings_are_told_to_each_and_nobody_is_notified(tmp_path: Path) -> None:
    refusals = {b"2@x.test": b"550 5.1.1 unknown\r\n", b"3@x.test": b"450 4.2.1 greylisted\r\n"}
    async with (
        HopByRecipient(refusals) as hop,
        house(tmp_path, hop.port, protocol="lmtp") as gate,
        greeted(gate) as client,
    ):
        answers = await send(client, b"1@x.test", b"2@x.test", b"3@x.test", b"4@x.test")
        assert [code for code, _ in answers] == [250, 550, 450, 250]
        assert answers[1][1].startswith(b"5.1.1 unknown id=")
        assert sorted(received.rcpt for received in hop.received) == [
            (b"RCPT TO:<1@x.test>",),
            (b"RCPT TO:<4@x.test>",),
        ], "two copies, and no report"
        known = await fate(gate.door.delivered, b"a@campaign.example.test", b"1@x.test", TEXT)
        assert known is None, "the client knows"


async def test_who_is_named_twice_gets_one_copy_and_two_answers(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate, greeted(gate) as client:
        answers = await send(client, b"b@example.test", b"c@example.test", b"b@example.test")
        assert [code for code, _ in answers] == [250, 250, 250]
        assert answers[0] == answers[2]
        assert len(hop.received) == 2
        assert (await client.say(b"NOOP"))[0] == 250


async def test_i5_a_withdrawal_before_the_dot_is_told_to_its_recipient_alone(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate, greeted(gate) as client:
        gate.judge.at_the_dot = {b"1@x.test": BLOCKED, b"3@x.test": DEFERRED}
        answers = await send(client, b"1@x.test", b"2@x.test", b"3@x.test")
        assert [code for code, _ in answers] == [550, 250, 451]
        assert answers[0][1].startswith(b"5.7.1 no_consent: ")
        assert answers[2][1].startswith(b"4.4.3 index_down: ")
        assert [received.rcpt[0] for received in hop.received] == [b"RCPT TO:<2@x.test>"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"Subject: x\r\n\r\nbare\nline feed\r\n", 550),
        (b"Received: from x\r\n" * (limits.SMTP_HOPS_MAX + 1) + TEXT, 554),
        (TEXT + (b"x" * 70 + b"\r\n") * 200, 552),
    ],
    ids=["bare_lf", "loop", "too_large"],
)
async def test_a_message_that_nobody_gets_is_refused_for_each(tmp_path: Path, content: bytes, code: int) -> None:
    async with (
        Hop() as hop,
        house(tmp_path, hop.port, protocol="lmtp", size_max=10_000) as gate,
        greeted(gate) as client,
    ):
        answers = await send(client, b"b@example.test", b"c@example.test", content=content)
        assert [one for one, _ in answers] == [code, code]
        assert (await client.say(b"NOOP"))[0] == 250
        assert hop.received == []


async def test_i4_our_own_fault_is_temporary_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate, greeted(gate) as client:
        monkeypatch.setattr(gate.door, "notice", _broken)
        answers = await send(client, b"b@example.test", b"c@example.test")
        assert [code for code, _ in answers] == [451, 451]
        assert (await client.say(b"NOOP"))[0] == 250


async def test_data_without_an_accepted_recipient_is_503(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate, greeted(gate) as client:
        gate.judge.verdicts = {b"no@example.test": BLOCKED}
        commands = (b"MAIL FROM:<a@campaign.example.test>", b"RCPT TO:<no@example.test>", b"DATA")
        assert await client.converse(*commands) == [250, 550, 503]


async def test_what_was_taken_for_a_client_that_left_is_remembered(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate:
        hop.script["DOT"] = [HANG]
        async with greeted(gate) as client:
            client.writer.write(b"MAIL FROM:<a@campaign.example.test>\r\nRCPT TO:<1@x.test>\r\nRCPT TO:<2@x.test>\r\n")
            client.writer.write(b"DATA\r\n")
            assert [(await client.hear())[0] for _ in range(4)] == [250, 250, 250, 354]
            client.writer.write(TEXT + b".\r\n")
            await eventually_async(lambda: len(hop.received) == 1, within=90)
        await eventually_async(lambda: all(one.gone for one in gate.door.sessions), within=90)
        hop.hang_up()
        taken = hop.received[0].rcpt[0][9:17]

        async def remembered() -> bool:
            return await fate(gate.door.delivered, b"a@campaign.example.test", taken, TEXT) is Fate.TAKEN

        await eventually_async(remembered, within=90, what="a memory")


async def test_the_trace_field_says_how_it_came(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, protocol="lmtp") as gate, greeted(gate) as client:
        await send(client, b"b@example.test")
        assert b"(izinli) with LMTP id " in hop.received[0].wire


def test_never_on_port_25(tmp_path: Path) -> None:
    init(tmp_path)
    file = tmp_path / "izinli.toml"
    text = file.read_text().replace(
        'protocol = "smtp"\nbind = "127.0.0.1:2525"', 'protocol = "lmtp"\nbind = "[::1]:25"'
    )
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert ["RFC 2033" in str(problem) for problem in caught.value.problems] == [True]
    file.write_text(text.replace("[::1]:25", "[::1]:2524"))
    assert load(file).listeners[0].protocol == "lmtp"


# without sockets

CHUNK = st.sampled_from(
    [
        *(b"LHLO c\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@x.test>\r\n", b"RCPT TO:<b@x.test>\r\n", b"DATA\r\n"),
        *(b"body\r\n", b".\r\n", b"RSET\r\n", b"bare\n", b"x" * 1200 + b"\r\n", b"EHLO c\r\n", b"NOOP\r\n"),
    ]
)


@given(st.lists(CHUNK, max_size=30), st.integers(1, 50))
def test_each_accepted_recipient_has_one_answer_however_it_is_cut(chunks: list[bytes], step: int) -> None:
    octets = b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\n" + b"".join(chunks)
    whole, cut = talk([octets]), talk([octets[at : at + step] for at in range(0, len(octets), step)])
    for said, messages in (whole, cut):
        assert said.count(b"250 2.0.0 of ") == sum(messages)
    # What came behind a refused DATA is looked at when DATA is refused: only there it matters what is here by then.
    if b"input after a refused DATA" not in whole[0] + cut[0]:
        assert cut == whole


def talk(pieces: list[bytes]) -> tuple[bytes, list[int]]:
    """What is said, and how many recipients each complete message had."""
    session = LmtpSession(b"gate.example.test", lambda: Offer([], 1000))
    session.greet(0.0)
    said, accepted, messages = b"", 0, []
    for piece in pieces:
        session.receive(piece, 0.0)
        while (event := session.next_event()) is not None:
            match event:
                case Mail():
                    accepted = 0
                    session.answer(replies.SENDER_OK)
                case Rcpt():
                    accepted += 1
                    session.answer(replies.RECIPIENT_OK)
                case Data():
                    session.answer(replies.START_DATA)
                case Message():
                    messages.append(accepted)
                    session.answer(replies.Each(b"".join(b"250 2.0.0 of %d\r\n" % one for one in range(accepted))))
        said += session.output()
    return said, messages


class HopByRecipient(Hop):
    """A next hop that refuses some recipients at their RCPT."""

    def __init__(self, refusals: dict[bytes, bytes]) -> None:
        super().__init__()
        self._refusals = refusals

    def answer(self, step: str, *, secure: bool = False) -> bytes:
        refusal = self._refusals.get(self.commands[-1][9:].partition(b">")[0]) if step == "RCPT" else None
        return refusal or super().answer(step, secure=secure)


def _broken(*_: object) -> Callable[[], None]:
    raise RuntimeError("invented fault")

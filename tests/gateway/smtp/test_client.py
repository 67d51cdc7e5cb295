"""Messages to a next hop, without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import limits
from gateway.smtp.client import Broken, Conversation, Done, Event, Extensions, Stage, envelope
from gateway.smtp.replies import Reply

EVERYTHING = Extensions(pipelining=True, eight_bit_mime=True, smtputf8=True, dsn=True, size=0)
NOTHING = Extensions()


@dataclass
class Letter:
    sender: bytes = b"a@example.test"
    sender_parameters: dict[bytes, bytes] = field(default_factory=dict)
    path: bytes = b"b@example.test"
    parameters: dict[bytes, bytes] = field(default_factory=dict)
    content: bytes = b"Subject: x\r\n\r\n.dot\r\n"
    dotted: bool = True
    held: bool = False


def greeted(*keywords: bytes) -> Conversation:
    return Conversation(Extensions.of(dict.fromkeys(keywords, b"")))


def began(*keywords: bytes) -> Conversation:
    """A message is under way: its envelope is on the wire."""
    conversation = greeted(*keywords)
    conversation.begin(Letter())
    conversation.output()
    return conversation


ENVELOPE = b"MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n"
WIRE = b"Subject: x\r\n\r\n..dot\r\n.\r\n"


def test_one_flight_where_pipelining_is_offered() -> None:
    conversation = greeted(b"PIPELINING")
    assert conversation.begin(Letter()) is None
    assert conversation.output() == ENVELOPE
    assert conversation.receive(b"250 ok\r\n250 ok\r\n") == []
    assert conversation.output() == b""
    assert conversation.receive(b"354 go\r\n") == []
    assert conversation.dot_sent
    assert conversation.output() == WIRE
    assert conversation.receive(b"250 2.0.0 queued\r\n") == [Done(Reply(250, b"2.0.0 queued"))]
    assert conversation.stage is Stage.IDLE


def test_one_by_one_where_it_is_not() -> None:
    conversation = greeted()
    conversation.begin(Letter())
    for command in ENVELOPE.splitlines(keepends=True):
        assert conversation.output() == command
        conversation.receive(b"354 go\r\n" if command == b"DATA\r\n" else b"250 ok\r\n")
    assert conversation.output() == WIRE


@pytest.mark.parametrize("refused", [0, 1])
def test_a_refused_recipient_of_a_flight_that_was_granted_data_gets_a_lone_dot(refused: int) -> None:
    conversation = began(b"PIPELINING")
    said = [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
    said[refused] = b"550 5.1.1 unknown\r\n"
    conversation.receive(b"".join(said))
    assert not conversation.dot_sent
    assert conversation.output() == b".\r\n"
    assert conversation.receive(b"250 accepted all the same\r\n") == [Done(Reply(550, b"5.1.1 unknown"))]
    conversation.begin(Letter())
    assert conversation.output() == ENVELOPE


def test_a_transaction_left_open_is_reset_with_the_next() -> None:
    conversation = began(b"PIPELINING")
    events = conversation.receive(b"250 ok\r\n451 4.7.1 greylisted\r\n503 no recipients\r\n")
    assert events == [Done(Reply(451, b"4.7.1 greylisted"))]
    conversation.begin(Letter())
    assert conversation.output() == b"RSET\r\n" + ENVELOPE
    assert conversation.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n") == []
    assert conversation.output() == WIRE


def test_a_refused_command_without_pipelining_ends_the_message() -> None:
    conversation = greeted()
    conversation.begin(Letter())
    conversation.output()
    assert conversation.receive(b"552 5.2.2 full\r\n") == [Done(Reply(552, b"5.2.2 full"))]
    conversation.begin(Letter())
    assert conversation.output() == b"RSET\r\n"


@pytest.mark.parametrize("said", [b"250 ok\r\n250 ok\r\n250 queued\r\n", b"354 go\r\n", b"250 ok\r\n334 x\r\n"])
def test_i2_an_answer_out_of_place_is_never_taken_for_success(said: bytes) -> None:
    conversation = began(b"PIPELINING")
    assert conversation.receive(said) == [Broken("malformed_reply")]
    assert conversation.output() == b""


def test_i4_a_refused_reset_says_nothing_of_the_message() -> None:
    conversation = began(b"PIPELINING")
    conversation.receive(b"550 no\r\n503 no\r\n503 no\r\n")
    conversation.begin(Letter())
    conversation.output()
    assert conversation.receive(b"550 no reset here\r\n") == [Broken("malformed_reply")]


@pytest.mark.parametrize(
    ("said", "events"),
    [
        (b"421 bye\r\n", [Broken("closing")]),
        (b"250 ok\r\n421 bye\r\n", [Broken("closing")]),
        (b"nonsense\r\n", [Broken("malformed_reply")]),
        (b"250-a\r\n251 b\r\n", [Broken("malformed_reply")]),
        (b"250-" + b"x" * (limits.SMTP_REPLY_LINE_OCTETS_MAX + 100), [Broken("long_reply")]),
        (b"250-x\r\n" * (limits.SMTP_REPLY_LINES_MAX + 1), [Broken("long_reply")]),
    ],
)
def test_a_conversation_that_cannot_go_on(said: bytes, events: list[Event]) -> None:
    conversation = began(b"PIPELINING")
    assert conversation.receive(said) == events
    assert conversation.stage is Stage.OVER
    assert conversation.receive(b"250 ok\r\n") == []


def test_unsolicited_words_end_it() -> None:
    assert greeted().receive(b"250 ok\r\n") == [Broken("unsolicited")]
    conversation = began(b"PIPELINING")
    conversation.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    conversation.output()
    events = conversation.receive(b"250 queued\r\n421 idle for too long\r\n")
    assert events == [Done(Reply(250, b"queued")), Broken("closing")]


@pytest.mark.parametrize(
    "said", [b"250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n", b"250 ok\r\n250 ok\r\n354 go\r\nnonsense\r\n"]
)
def test_i2_an_answer_to_content_that_was_not_sent_yet_is_none(said: bytes) -> None:
    conversation = began(b"PIPELINING")
    (event,) = conversation.receive(said)
    assert isinstance(event, Broken)
    assert conversation.output() == b"", "the content stays here"
    assert not conversation.dot_sent


def test_i2_replies_run_ahead_of_commands_that_go_one_by_one() -> None:
    conversation = began()
    assert conversation.receive(b"250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n") == [Broken("unsolicited")]
    assert conversation.output() == b""


def test_a_next_hop_cannot_speak_to_our_client() -> None:
    conversation = began(b"PIPELINING")
    conversation.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    conversation.output()
    events = conversation.receive(b"250-one\r250 two\0\x1b[2J\r\n250 \xc3\xa7\r\n")
    assert events == [Done(Reply(250, b"one?250 two??[2J ??"))]


@pytest.mark.parametrize("code", [200, 354, 399, 599])
@pytest.mark.parametrize("at", range(3))
def test_i4_a_code_that_grants_nothing_is_never_success(at: int, code: int) -> None:
    """What is neither asked for nor a refusal ends the conversation; no message is taken for delivered."""
    conversation = began(b"PIPELINING")
    said = [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
    said[at] = b"%d what\r\n" % code
    events = conversation.receive(b"".join(said))
    assert all(isinstance(event, Broken) or event.reply.code == 599 for event in events)


def test_extensions() -> None:
    offered = {b"PIPELINING": b"", b"8BITMIME": b"", b"SMTPUTF8": b"", b"DSN": b"", b"SIZE": b"1000"}
    assert Extensions.of(offered) == Extensions(True, True, True, True, 1000)
    assert Extensions.of({b"SIZE": b""}).size == 0
    assert Extensions.of({b"SIZE": b"x"}).size == 0
    assert Extensions.of({b"AUTH": b"PLAIN"}) == NOTHING


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [(None, None, None), (None, 0, None), (0, 0, 0), (0, 7, 7), (None, 7, 7), (9, 7, 7)],
)
def test_what_several_hosts_can_take(one: int | None, other: int | None, both: int | None) -> None:
    assert EVERYTHING._replace(size=one).common(NOTHING._replace(size=other)) == NOTHING._replace(size=both)
    assert EVERYTHING._replace(size=other).common(EVERYTHING._replace(size=one)) == EVERYTHING._replace(size=both)


DSN = {b"RET": b"RET=HDRS", b"ENVID": b"ENVID=Ab+2B"}


@pytest.mark.parametrize(
    ("letter", "offered", "expected"),
    [
        (Letter(), NOTHING, [b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.test>\r\n"]),
        (Letter(sender=b""), NOTHING, [b"MAIL FROM:<>\r\n", b"RCPT TO:<b@example.test>\r\n"]),
        (
            Letter(sender_parameters={**DSN, b"SIZE": b"SIZE=7"}, parameters={b"NOTIFY": b"NOTIFY=never"}),
            EVERYTHING,
            [
                b"MAIL FROM:<a@example.test> SIZE=20 RET=HDRS ENVID=Ab+2B\r\n",
                b"RCPT TO:<b@example.test> NOTIFY=never\r\n",
            ],
        ),
        (
            Letter(sender_parameters=DSN, parameters={b"NOTIFY": b"NOTIFY=never"}),
            NOTHING,
            [b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.test>\r\n"],
        ),
        (
            Letter(sender_parameters={b"BODY": b"BODY=8BITMIME", b"SMTPUTF8": b"SMTPUTF8"}),
            EVERYTHING,
            [b"MAIL FROM:<a@example.test> SIZE=20 BODY=8BITMIME SMTPUTF8\r\n", b"RCPT TO:<b@example.test>\r\n"],
        ),
        (
            Letter(sender_parameters={b"BODY": b"BODY=8BITMIME", b"SMTPUTF8": b"SMTPUTF8"}),
            NOTHING,
            [b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.test>\r\n"],
        ),
    ],
)
def test_envelope(letter: Letter, offered: Extensions, expected: list[bytes]) -> None:
    assert envelope(letter, offered) == expected


@pytest.mark.parametrize(
    ("letter", "offered", "code", "enhanced"),
    [
        (Letter(), Extensions(size=19), 552, b"5.3.4 "),
        (Letter(sender_parameters={b"BODY": b"BODY=8BITMIME"}, content=b"\r\n\xc3\xa7\r\n"), NOTHING, 554, b"5.6.3 "),
        (Letter(sender_parameters={b"SMTPUTF8": b"SMTPUTF8"}, path=b"\xc3\xa7@x.test"), NOTHING, 550, b"5.6.7 "),
        (
            Letter(sender_parameters={b"SMTPUTF8": b"SMTPUTF8"}, content=b"Subject: \xc3\xa7\r\n\r\n"),
            NOTHING,
            550,
            b"5.6.7 ",
        ),
    ],
)
def test_what_this_next_hop_cannot_take(letter: Letter, offered: Extensions, code: int, enhanced: bytes) -> None:
    refusal = envelope(letter, offered)
    assert isinstance(refusal, Reply)
    assert refusal.code == code
    assert refusal.text.startswith(enhanced)


REPLIES = st.sampled_from(
    [b"250 ok\r\n", b"250-ok\r\n250 ok\r\n", b"354 go\r\n", b"421 bye\r\n", b"550 no\r\n", b"250 x", b"9"]
)


@settings(max_examples=300, deadline=None)
@given(noise=st.one_of(st.binary(max_size=300), st.lists(REPLIES, max_size=8).map(b"".join)), cut=st.integers(0, 300))
@pytest.mark.parametrize("keywords", [(), (b"PIPELINING",)])
def test_noise_never_raises_and_is_framing_independent(keywords: tuple[bytes, ...], noise: bytes, cut: int) -> None:
    whole, pieces = began(*keywords), began(*keywords)
    assert whole.receive(noise) == pieces.receive(noise[:cut]) + pieces.receive(noise[cut:])
    assert whole.output() == pieces.output()

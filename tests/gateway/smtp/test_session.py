"""Conversations with a session, without a socket: what is said, and what it hears and hands on."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import limits
from gateway.smtp import replies
from gateway.smtp.events import Data, Event, Fault, Mail, Message, Offer, Rcpt, State
from gateway.smtp.session import Session

SIZE_MAX = 100_000


@dataclass
class Promise:
    reply: bytes = b""


@dataclass
class Owner:
    """Stands in for the door: says yes, keeps the messages, and answers recipients at once or when told to."""

    late: bool = False
    session: Session = field(init=False)
    events: list[Event] = field(default_factory=list)
    said: bytes = b""
    promises: list[Promise] = field(default_factory=list)
    rcpt_reply: bytes = replies.RECIPIENT_OK
    data_reply: bytes = replies.START_DATA
    now: float = 0.0

    def __post_init__(self) -> None:
        self.session = Session(b"gate.example.test", lambda: Offer([b"PIPELINING", b"SIZE %d" % SIZE_MAX], SIZE_MAX))
        self.session.greet(self.now)
        self.pump()

    def pump(self) -> None:
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
            match event:
                case Mail():
                    self.session.answer(replies.SENDER_OK)
                case Rcpt() if self.late:
                    promise = Promise()
                    self.promises.append(promise)
                    self.session.promise(promise)
                case Rcpt():
                    self.session.answer(self.rcpt_reply)
                case Data():
                    self.session.answer(self.data_reply)
                case Message():
                    self.session.answer(replies.OK)
        self.said += self.session.output()

    def hear(self, data: bytes) -> bytes:
        """What is said to `data`."""
        before = len(self.said)
        self.session.receive(data, self.now)
        self.pump()
        return self.said[before:]

    def keep(self, *verdicts: bytes) -> bytes:
        """Fulfil the promises."""
        before = len(self.said)
        for promise, reply in zip(self.promises, verdicts, strict=True):
            promise.reply = reply
            self.session.fulfil(promise, self.now)
        self.promises.clear()
        self.pump()
        return self.said[before:]

    @property
    def messages(self) -> list[bytes]:
        return [event.content for event in self.events if isinstance(event, Message)]

    @property
    def faults(self) -> list[str]:
        return [event.kind for event in self.events if isinstance(event, Fault)]


def codes(said: bytes) -> list[int]:
    return [int(line[:3]) for line in said.splitlines() if line[3:4] == b" "]


def opened(**options: object) -> Owner:
    """A session that has said EHLO and has an accepted recipient."""
    owner = Owner()
    owner.hear(b"EHLO client.example.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n")
    return owner


def test_a_whole_conversation() -> None:
    owner = Owner()
    assert owner.said == b"220 gate.example.test ESMTP izinli\r\n"
    assert owner.hear(b"EHLO client.example.test\r\n") == (
        b"250-gate.example.test\r\n250-PIPELINING\r\n250 SIZE 100000\r\n"
    )
    assert owner.hear(b"MAIL FROM:<a@example.test> SIZE=12\r\n") == b"250 2.1.0 ok\r\n"
    assert owner.hear(b"RCPT TO:<b@example.test>\r\n") == b"250 2.1.5 ok\r\n"
    assert codes(owner.hear(b"DATA\r\n")) == [354]
    assert owner.hear(b"Subject: x\r\n\r\n..dot\r\n.\r\n") == b"250 2.0.0 ok\r\n"
    assert codes(owner.hear(b"QUIT\r\n")) == [221]
    assert owner.session.state is State.CLOSED
    assert owner.events == [
        Mail(b"a@example.test", {b"SIZE": b"SIZE=12"}),
        Rcpt(b"b@example.test", {}),
        Data(),
        Message(b"Subject: x\r\n\r\n.dot\r\n", True),
    ]


def test_pipelined_recipients_are_asked_together_and_answered_in_order() -> None:
    owner = Owner(late=True)
    owner.hear(b"EHLO c\r\n")
    assert (
        owner.hear(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT bad\r\nRCPT TO:<c@x.test>\r\nDATA\r\n") == b""
    )
    assert [type(event) for event in owner.events] == [Mail, Rcpt, Rcpt]
    said = owner.keep(b"550 5.7.1 no\r\n", b"250 2.1.5 yes\r\n")
    assert codes(said) == [250, 550, 501, 250, 354]
    assert [type(event) for event in owner.events] == [Mail, Rcpt, Rcpt, Data]


def test_data_is_refused_when_every_promise_was_a_refusal() -> None:
    owner = Owner(late=True)
    owner.hear(b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
    assert codes(owner.keep(b"550 5.7.1 no\r\n"))[-2:] == [550, 554]
    assert owner.session.state is State.RCPT


@pytest.mark.parametrize(
    ("heard", "code"),
    [
        (b"MAIL FROM:<a@x.test>", 503),
        (b"RCPT TO:<a@x.test>", 503),
        (b"DATA", 503),
        (b"RSET", 250),
        (b"NOOP anything", 250),
        (b"VRFY somebody", 252),
        (b"HELP", 214),
        (b"EHLO", 501),
        (b"HELO \xc3\xa7", 501),
        (b"ETRN x", 502),
        (b"STARTTLS", 502),
        (b"AUTH PLAIN AAAA", 502),
        (b"", 500),
        (b"GET / HTTP/1.1", 500),
    ],
)
def test_before_ehlo(heard: bytes, code: int) -> None:
    owner = Owner()
    assert codes(owner.hear(heard + b"\r\n")) == [code]
    assert owner.session.state is State.GREETED


@pytest.mark.parametrize(
    ("heard", "replied"),
    [
        ([b"MAIL FROM:<a@x.test>", b"MAIL FROM:<a@x.test>"], [250, 503]),
        ([b"MAIL FROM:<a@x.test>", b"DATA"], [250, 503]),
        ([b"RCPT TO:<a@x.test>"], [503]),
        ([b"MAIL FROM:<>", b"RSET", b"RCPT TO:<a@x.test>"], [250, 250, 503]),
        ([b"MAIL FROM:<>", b"RCPT TO:<a@x.test>", b"EHLO again", b"DATA"], [250, 250, 250, 503]),
        ([b"MAIL FROM:<>", b"RCPT TO:<a@x.test>", b"DATA now"], [250, 250, 501]),
        ([b"mail from:<>", b"rcpt to:<Postmaster>"], [250, 250]),
        ([b"MAIL FROM:<a@x.test> SIZE=100001"], [552]),
        ([b"MAIL FROM:<a@x.test> SIZE=100000"], [250]),
        ([b"MAIL FROM:<\xc3\xa7@x.test>"], [553]),
        ([b"MAIL FROM:<\xc3\xa7@x.test> SMTPUTF8", b"RCPT TO:<\xc4\xb1@x.test>"], [250, 250]),
        ([b"MAIL FROM:<c@x.test>", b"RCPT TO:<\xc4\xb1@x.test>"], [250, 553]),
    ],
)
def test_order_of_commands(heard: list[bytes], replied: list[int]) -> None:
    owner = Owner()
    owner.hear(b"EHLO c\r\n")
    assert codes(b"".join(owner.hear(line + b"\r\n") for line in heard)) == replied


def test_helo_takes_no_extension_lines() -> None:
    owner = Owner()
    assert owner.hear(b"HELO c\r\n") == b"250 gate.example.test\r\n"
    assert not owner.session.esmtp


def test_recipients_have_a_bound() -> None:
    owner = Owner()
    owner.hear(b"EHLO c\r\nMAIL FROM:<>\r\n")
    for number in range(limits.SMTP_RECIPIENTS_MAX):
        owner.hear(b"RCPT TO:<u%d@x.test>\r\n" % number)
    assert codes(owner.hear(b"RCPT TO:<one.more@x.test>\r\n")) == [452]
    assert len(owner.events) == 1 + limits.SMTP_RECIPIENTS_MAX


def test_a_refused_data_command_is_not_followed_by_content() -> None:
    """The body of a client that does not wait for 354 would be read as commands."""
    owner = Owner(rcpt_reply=b"550 5.7.1 no\r\n")
    owner.hear(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\n")
    said = owner.hear(b"DATA\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<b@x.test>\r\n")
    assert codes(said) == [554, 421]
    assert owner.faults == ["pipelining"]
    assert len(owner.events) == 3


def test_many_errors_end_the_session() -> None:
    owner = Owner()
    said = b"".join(owner.hear(b"WHAT\r\n") for _ in range(limits.SMTP_ERRORS_MAX))
    assert codes(said) == [500] * limits.SMTP_ERRORS_MAX + [421]
    assert owner.faults == ["bad_commands"]
    assert owner.hear(b"NOOP\r\n") == b""


def test_a_stray_bdat_ends_the_session_before_its_payload_is_read() -> None:
    owner = opened()
    assert codes(owner.hear(b"BDAT 30 LAST\r\nMAIL FROM:<x@x.test>\r\nNOOP\r\n")) == [502]
    assert owner.session.state is State.CLOSED


# Line ends. The forms are those of the public smuggling tests: each would be an end of data for some server.
SMUGGLED = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@x.test>\r\nDATA\r\nSubject: two\r\n\r\nx"
FALSE_ENDS = {
    "lflf": b"\n.\n",
    "crcr": b"\r.\r",
    "crlf": b"\r.\n",
    "lfcr": b"\n.\r",
    "lfcrlf": b"\n.\r\n",
    "crlflf": b"\r\n.\n",
    "crcrlf": b"\r.\r\n",
    "crlfcr": b"\r\n.\r",
    "nullbefore": b"\r\n\0.\r\n",
    "nullafter": b"\r\n.\0\r\n",
}


@pytest.mark.parametrize("form", FALSE_ENDS)
def test_i2_only_crlf_dot_crlf_ends_a_message_and_a_bare_line_end_refuses_it(form: str) -> None:
    owner = opened()
    said = owner.hear(b"DATA\r\nSubject: one\r\n\r\nfirst" + FALSE_ENDS[form] + SMUGGLED + b"\r\n.\r\n")
    assert codes(said) == [354, 550]
    assert b"550 5.6.11 " in said
    assert owner.messages == []
    assert owner.faults == [{"null": "nul"}.get(form[:4], owner.faults[0])]
    assert codes(owner.hear(b"NOOP\r\n")) == [250], "the session goes on behind the real end"


def test_pipelining_form_of_smuggling_is_two_messages_of_the_same_client() -> None:
    """CRLF.CRLF is the end, wherever it stands: the commands behind it are the client's own."""
    owner = opened()
    owner.hear(b"DATA\r\nSubject: one\r\n\r\nfirst\r\n.\r\n" + SMUGGLED + b"\r\n.\r\n")
    assert owner.messages == [b"Subject: one\r\n\r\nfirst\r\n", b"Subject: two\r\n\r\nx\r\n"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [(b"NOOP\n", "bare_lf"), (b"NO\rOP\r\n", "bare_cr"), (b"\n", "bare_lf"), (b"NOOP\r\r\n", "bare_cr")],
)
def test_bare_line_ends_in_a_command_close(line: bytes, kind: str) -> None:
    owner = opened()
    assert owner.hear(line + b"NOOP\r\n") == b"500 5.5.2 lines end in CR LF\r\n"
    assert owner.faults == [kind]
    assert owner.session.state is State.CLOSED


def test_long_command_lines_close() -> None:
    owner = Owner()
    assert codes(owner.hear(b"NOOP " + b"x" * (limits.SMTP_LINE_OCTETS_MAX - 7) + b"\r\n")) == [250]
    assert codes(owner.hear(b"NOOP " + b"x" * limits.SMTP_LINE_OCTETS_MAX)) == [500]
    assert owner.faults == ["long_line"]


@pytest.mark.parametrize(("length", "code"), [(998, 250), (999, 550)])
def test_content_lines_have_a_bound(length: int, code: int) -> None:
    owner = opened()
    assert codes(owner.hear(b"DATA\r\n" + b"x" * length + b"\r\n.\r\n")) == [354, code]


def test_an_oversized_content_is_read_to_its_end_in_bounded_memory() -> None:
    owner = opened()
    owner.hear(b"DATA\r\n")
    held = []
    for _ in range(100):
        owner.hear(b"x" * 98 + b"\r\n" + b"y" * 9_900)
        held.append(owner.session.held)
    assert max(held) <= SIZE_MAX + limits.SMTP_SIZE_SLACK + 10_000
    assert owner.hear(b"\r\n") == b""
    assert codes(owner.hear(b".\r\n")) == [552]
    assert codes(owner.hear(b"NOOP\r\n")) == [250]


def test_an_oversized_content_has_no_false_end_at_a_border() -> None:
    """What is kept of a content being thrown away begins with `.CRLF` here; it is no end."""
    owner = opened()
    owner.hear(b"DATA\r\n" + b"x" * (SIZE_MAX + limits.SMTP_SIZE_SLACK + 1))
    assert owner.hear(b"abc.\r\nd") == b""
    assert owner.hear(b"e\r\n") == b""
    assert codes(owner.hear(b".\r\n")) == [552]


def test_an_empty_message() -> None:
    owner = opened()
    assert codes(owner.hear(b"DATA\r\n.\r\n")) == [354, 250]
    assert owner.messages == [b""]


def test_draining_closes_at_the_next_command_boundary() -> None:
    owner = opened()
    owner.hear(b"DATA\r\nSubject: x\r\n")
    owner.session.drain()
    assert owner.hear(b"\r\nbody\r\n") == b"", "content under way is let in"
    assert codes(owner.hear(b".\r\n")) == [250, 421]
    assert owner.session.state is State.CLOSED


def test_draining_waits_for_verdicts() -> None:
    owner = Owner(late=True)
    owner.hear(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\n")
    owner.session.drain()
    owner.pump()
    assert codes(owner.keep(b"250 2.1.5 ok\r\n")) == [250, 250, 250, 421]


def test_deadlines() -> None:
    owner = Owner()
    assert owner.session.deadline == limits.SMTP_COMMAND_S
    owner.now = 100.0
    owner.hear(b"EHLO ")
    assert owner.session.deadline == limits.SMTP_COMMAND_S, "half a command buys no time"
    owner.hear(b"c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\n")
    assert owner.session.deadline == 100.0 + limits.SMTP_COMMAND_S
    owner.hear(b"DATA\r\n")
    assert owner.session.deadline == 100.0 + limits.SMTP_DATA_BLOCK_S
    owner.now = 200.0
    owner.hear(b"x")
    assert owner.session.deadline == 100.0 + limits.SMTP_DATA_BLOCK_S, "an octet is no block"
    owner.hear(b"x" * limits.SMTP_BLOCK_OCTETS_MIN)
    assert owner.session.deadline == 200.0 + limits.SMTP_DATA_BLOCK_S


COMMANDS = st.sampled_from(
    [
        b"EHLO c\r\n",
        b"MAIL FROM:<a@x.test>\r\n",
        b"MAIL FROM:<a@x.test> BODY=8BITMIME RET=HDRS\r\n",
        b"RCPT TO:<b@x.test>\r\n",
        b"RCPT TO:<c@x.test> NOTIFY=NEVER\r\n",
        b"RCPT TO:<broken\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"JUNK\r\n",
    ]
)
CONTENTS = st.sampled_from([b"x\r\n", b"..\r\n", b".", b"\r\n", b"\n", b"\r", b"\0", b"y" * 50, b"\r\n..\r\n", b".\r"])
MESSAGES = st.lists(CONTENTS, max_size=8).map(
    lambda pieces: b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n" + b"".join(pieces) + b"\r\n.\r\n"
)


@settings(max_examples=300, deadline=None)
@given(
    stream=st.lists(COMMANDS | MESSAGES, max_size=12).map(lambda parts: b"EHLO c\r\n" + b"".join(parts)),
    cuts=st.lists(st.integers(0, 400), max_size=30),
    octets=st.booleans(),
)
def test_framing_independence(stream: bytes, cuts: list[int], octets: bool) -> None:
    """One segment, any segments, one octet each: the same replies and the same events."""
    whole, pieces = Owner(), Owner()
    whole.hear(stream)
    borders = range(len(stream)) if octets else sorted({cut % (len(stream) + 1) for cut in cuts})
    for start, end in zip([0, *borders], [*borders, len(stream)], strict=True):
        pieces.hear(stream[start:end])
    assert pieces.said == whole.said
    assert pieces.events == whole.events


@settings(max_examples=300, deadline=None)
@given(
    prefix=st.sampled_from(
        [b"", b"EHLO c\r\n", b"EHLO c\r\nMAIL FROM:<>\r\n", b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"]
    ),
    noise=st.binary(max_size=200),
)
def test_i4_noise_in_any_state_never_raises(prefix: bytes, noise: bytes) -> None:
    owner = Owner()
    owner.hear(prefix)
    owner.hear(noise)
    owner.hear(b"\r\n.\r\nRSET\r\n")
    assert all(200 <= code < 600 for code in codes(owner.said))

"""Three grants heard in one step are three grants heard one by one: both ways say and mean the same, whatever comes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.smtp import client
from gateway.smtp.client import Broken, Conversation, Event, Extensions, Stage
from gateway.smtp.grammar import NO_PARAMETERS, Parameters
from gateway.smtp.replies import Reply

NOTHING = re.compile(rb"(?!)")
GRANTS = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go on\r\n"
REPLIES = [
    *(GRANTS, b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"354 go on\r\n", b"251 will forward\r\n", b"200 \r\n"),
    *(b"450 later\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n", b"150 hm\r\n", b"354\r\n", b"250 \xff\r\n", b"250 ok\n"),
    *(b"250 " + b"x" * 501 + b"\r\n", b"2", b"\r\n", b"354 go on\r\n250 early\r\n", b"999 \r\n"),
]
SAID = st.lists(st.one_of(st.sampled_from(REPLIES), st.binary(max_size=6)), max_size=8).map(b"".join)


@dataclass
class Copy:
    held: bool = False
    sender: bytes = b"a@b.test"
    path: bytes = b"c@d.test"
    sender_parameters: Parameters = field(default_factory=dict)
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)
    content: bytes = b"Subject: x\r\n\r\n.x\r\n"
    dotted: bool = True


def heard(reads: list[bytes], *, pipelining: bool, held: bool) -> list[tuple[list[Event], bytes, Stage, bool]]:
    """What it amounts to and what is said, read by read; a message begins whenever one can."""
    conversation = Conversation(Extensions(pipelining=pipelining))
    seen: list[tuple[list[Event], bytes, Stage, bool]] = []
    for read in reads:
        if conversation.stage is Stage.IDLE:
            assert not isinstance(conversation.begin(Copy(held)), Reply)
            conversation.output()
        events = conversation.receive(read)
        seen.append((events, bytes(conversation.output()), conversation.stage, conversation.dot_sent))
        if any(isinstance(event, Broken) for event in events):
            break
    return seen


@given(st.lists(SAID, max_size=6), st.booleans(), st.booleans())
@example([GRANTS, b"250 taken\r\n", GRANTS, b"550 no\r\n"], True, False)
@example([b"550 no\r\n" + GRANTS[14:], b"250 ok\r\n", b"250 reset\r\n" + GRANTS], True, False)
@example([b"250 ok\r\n250 ok\r\n250 354 \r\n"], True, False)
@example([GRANTS + b"250 early\r\n"], True, False)
@example([GRANTS], False, False)
@example([b"25", GRANTS], True, True)
def test_i2_both_ways_mean_the_same(reads: list[bytes], pipelining: bool, held: bool) -> None:
    short = heard(reads, pipelining=pipelining, held=held)
    with patch.object(client, "_GRANTED", NOTHING):
        long = heard(reads, pipelining=pipelining, held=held)
    assert short == long

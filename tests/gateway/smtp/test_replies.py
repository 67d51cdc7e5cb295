"""The table of answers is total, its lines are lines, and a next hop's words are clean when they are passed on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.model import Outcome, Reason
from gateway.smtp import replies
from gateway.smtp.replies import Reply

ID = b"01234567-89abcdef"


@pytest.mark.parametrize(("outcome", "reason"), list(itertools.product(Outcome, Reason)))
def test_i4_every_verdict_has_an_answer_of_its_class(outcome: Outcome, reason: Reason) -> None:
    line = replies.verdict(outcome, reason, ID)
    assert line.isascii()
    assert line.endswith(b"\r\n")
    assert len(line) <= replies.LINE_OCTETS_MAX
    assert line.count(b"\r") == line.count(b"\n") == 1
    if outcome is Outcome.PASS:
        assert line.startswith(b"250 2.")
    else:
        assert b"id=" + ID in line
    if outcome is Outcome.DEFER or (outcome is Outcome.BLOCK and reason not in replies.BLOCKS):
        assert line.startswith(b"451 4."), "what cannot be decided is temporary"


def test_the_tables_together_name_every_reason_that_is_no_pass() -> None:
    passes = {Reason.CONSENT, Reason.TACIR_EXEMPT, Reason.INFORMATIONAL}
    assert set(replies.BLOCKS) | set(replies.DEFERS) == set(Reason) - passes
    assert not set(replies.BLOCKS) & set(replies.DEFERS)


@pytest.mark.parametrize("reason", replies.BLOCKS)
def test_refusals_say_their_reason_by_name(reason: Reason) -> None:
    line = replies.verdict(Outcome.BLOCK, reason, ID)
    assert line.startswith(b"550 5.")
    assert str(reason).encode() in line


def test_enhanced_codes_agree_with_basic_codes() -> None:
    """RFC 3463 §2: the class is that of the reply; RFC 5248 pairs 4.5.3 with 452 here, as RFC 5321 has it."""
    lines = [value for name, value in vars(replies).items() if name.isupper() and isinstance(value, bytes)]
    lines += replies.CONTENT_FAULTS.values()
    for line in lines:
        if line.endswith(b"\r\n") and not line.startswith(b"354"):
            code, enhanced, _ = line.split(b" ", 2)
            assert code[:1] == enhanced[:1], line


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Reply(250, b"2.0.0 Ok: queued as 4X"), b"250 2.0.0 Ok: queued as 4X id=%b\r\n" % ID),
        (Reply(250, b"Ok"), b"250 2.0.0 Ok id=%b\r\n" % ID),
        (Reply(550, b"5.1.1 unknown user"), b"550 5.1.1 unknown user id=%b\r\n" % ID),
        (Reply(452, b""), b"452 4.0.0  id=%b\r\n" % ID),
        (Reply(421, b"4.3.2 closing"), b"451 4.3.2 closing id=%b\r\n" % ID),
        (Reply(354, b"go on"), b"451 4.0.0 go on id=%b\r\n" % ID),
        (Reply(250, b"5.0.0 odd"), b"250 2.0.0 5.0.0 odd id=%b\r\n" % ID),
    ],
)
def test_passed_on(reply: Reply, line: bytes) -> None:
    assert replies.passed_on(reply, ID) == line


@given(code=st.integers(200, 599), text=st.binary(max_size=700))
def test_what_is_passed_on_is_one_bounded_line_of_the_same_or_a_temporary_class(code: int, text: bytes) -> None:
    line = replies.passed_on(Reply(code, replies.sanitised(text)), ID)
    assert len(line) <= replies.LINE_OCTETS_MAX
    assert line[:-2].decode("ascii").isprintable()
    assert line.endswith(b"\r\n")
    assert int(line[:3]) // 100 in ({code // 100} if code // 100 in (2, 4, 5) else {4})


def test_lines() -> None:
    assert replies.lines(250, [b"a"]) == b"250 a\r\n"
    assert replies.lines(250, [b"a", b"b"]) == b"250-a\r\n250 b\r\n"

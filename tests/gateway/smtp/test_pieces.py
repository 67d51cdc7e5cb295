"""A large copy in blocks is the same octets as in one piece, whichever way it is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import dots
from gateway import limits
from gateway.smtp.client import Broken, Conversation, Done, Extensions
from gateway.smtp.pieces import Pieces
from tests.gateway.smtp.pool import Letter

LINES = st.lists(st.sampled_from([b".", b"..", b".x", b"x.", b"", b"abc", b"\xc3\xa7"]), max_size=8).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)
BIG = (b"." * 70 + b"\r\n") * 10_000


@given(LINES, st.lists(st.integers(0, 60), max_size=4), st.integers(1, 7))
def test_i2_however_it_is_cut_each_line_is_stuffed_once(content: bytes, cuts: list[int], block: int) -> None:
    at = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    views = [memoryview(content)[start:end] for start, end in pairwise(at)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SMTP_WRITE_OCTETS", block)
        pieces = Pieces(views)
        assert len(pieces) == len(content)
        assert pieces.isascii() == content.isascii()
        assert b"".join(pieces.blocks(dotted=True)) == dots.stuff(content)
        assert b"".join(pieces.blocks(dotted=False)) == content
        assert pieces.head() == content.partition(b"\r\n\r\n")[0]


def granted(letter: Letter) -> Conversation:
    """A conversation that was told to send the content."""
    conversation = Conversation(Extensions(pipelining=True))
    assert conversation.begin(letter) is None
    conversation.output()
    assert conversation.receive(b"250 ok\r\n250 ok\r\n354 go on\r\n") == []
    return conversation


@pytest.mark.parametrize("dotted", [True, False])
@pytest.mark.parametrize("held", [True, False])
def test_i2_pieces_that_are_not_many_octets_go_out_at_once(dotted: bool, held: bool) -> None:
    """As if they had been joined, with the dot unless it is held."""
    content = b"Subject: x\r\n\r\n" + (b".a\r\n" if dotted else b"a.\r\n") * 5000
    letter = Letter(dotted=dotted, held=held)
    letter.content = Pieces([content[:17], memoryview(content)[17:9000], content[9000:]])  # type: ignore[assignment]
    conversation = granted(letter)
    sent = conversation.output()
    assert sent == (dots.stuff(content) if dotted else content) + (b"" if held else b".\r\n")
    assert not conversation.has_more
    assert conversation.dot_sent is not held
    conversation.release()
    assert conversation.output() == (b".\r\n" if held else b"")


def test_i7_a_large_content_is_given_out_in_blocks_and_the_dot_last() -> None:
    conversation = granted(Letter(content=BIG, dotted=True))
    sent = []
    while block := conversation.output():
        assert not conversation.dot_sent or block == b".\r\n"
        assert len(block) < 2 * limits.SMTP_WRITE_OCTETS
        sent.append(bytes(block))
    assert b"".join(sent) == dots.stuff(BIG) + b".\r\n"
    assert conversation.dot_sent
    (done,) = conversation.receive(b"250 2.0.0 queued\r\n")
    assert isinstance(done, Done)


def test_a_refusal_in_the_middle_of_the_content_is_the_answer_and_the_end() -> None:
    conversation = granted(Letter(content=BIG))
    conversation.output()
    done, broken = conversation.receive(b"552 5.3.4 too big\r\n")
    assert isinstance(done, Done)
    assert done.reply.code == 552
    assert broken == Broken("closing")
    assert conversation.output() == b""


def test_i2_a_grant_in_the_middle_of_the_content_is_no_success() -> None:
    conversation = granted(Letter(content=BIG))
    conversation.output()
    assert conversation.receive(b"250 2.0.0 queued\r\n") == [Broken("unsolicited")]
    assert not conversation.dot_sent
    assert conversation.output() == b""

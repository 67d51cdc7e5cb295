"""Replies out of octets: what is understood, what ends it, and that the cuts between octets mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import limits
from gateway.smtp.replies import Reply
from gateway.smtp.reply_parser import Heard, ReplyParser


def test_lines_are_gathered_to_replies() -> None:
    parser = ReplyParser()
    assert parser.feed(b"250-one\r\n250-\r\n250 two\r\n354\r\n55") == [
        Heard(250, [b"one", b"", b"two"]),
        Heard(354, [b""]),
    ]
    assert parser.holds
    assert parser.feed(b"0 no\n") == [Heard(550, [b"no"])]
    assert not parser.holds
    assert Heard(250, [b"one", b"two"]).reply() == Reply(250, b"one two")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"nonsense\r\n", "malformed_reply"),
        (b"\r\n", "malformed_reply"),
        (b"150 no\r\n", "malformed_reply"),
        (b"650 no\r\n", "malformed_reply"),
        (b"2500\r\n", "malformed_reply"),
        (b"250-a\r\n251 b\r\n", "malformed_reply"),
        (b"\x16\x03\x01\x02\x00\r\n", "malformed_reply"),
        (b"250 " + b"x" * limits.SMTP_REPLY_LINE_OCTETS_MAX, "long_reply"),
        (b"250 " + b"x" * limits.SMTP_REPLY_LINE_OCTETS_MAX + b"\r\n", "long_reply"),
        (b"250-x\r\n" * limits.SMTP_REPLY_LINES_MAX, "long_reply"),
    ],
)
def test_what_ends_it(said: bytes, fault: str) -> None:
    parser = ReplyParser()
    assert parser.feed(said) == []
    assert parser.fault == fault
    assert parser.feed(b"250 ok\r\n") == []
    assert not parser._input


def test_i7_ten_megabytes_without_an_end_are_not_kept() -> None:
    parser = ReplyParser()
    for _ in range(160):
        parser.feed(b"220" + b"x" * 65536)
        assert len(parser._input) <= limits.SMTP_REPLY_LINE_OCTETS_MAX
    assert parser.fault == "long_reply"


def test_what_is_kept_of_a_reply_is_printable_ascii() -> None:
    assert ReplyParser().feed(b"250 a\0b\x1b[2J\xc3\xa7\r\n") == [Heard(250, [b"a?b?[2J??"])]


PIECES = st.sampled_from(
    [
        *(b"250 ok\r\n", b"250-a\r\n", b"250 b\n", b"550-x\r\n", b"\r", b"\n", b"354", b" go", b"-", b"\0", b"220 "),
        *(b"x" * 700, b"x" * (limits.SMTP_REPLY_LINE_OCTETS_MAX - 4), b"250-y\r\n" * 40),
    ]
)


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=12), data=st.data())
def test_cuts_mean_nothing(pieces: list[bytes], data: st.DataObject) -> None:
    octets = b"".join(pieces)
    whole, cut = ReplyParser(), ReplyParser()
    expected = whole.feed(octets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    heard: list[Heard] = []
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        heard += cut.feed(octets[start:end])
    assert (heard, cut.fault) == (expected, whole.fault)

"""Dot transparency and the end of data, however the octets fall into pieces: no payload ends where another one says."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from filters.dots import END_LENGTH, find_end, line_fault, stuff, unstuff

STEADY = settings(derandomize=True, deadline=None, max_examples=150)
PIECES = [
    b"",
    b".",
    b"..",
    b"\r\n",
    b"\r\n.",
    b"\r\n..",
    b"\r",
    b"\n",
    b"\n.\n",
    b"\r\n.\r\n",
    b"x",
    b"\0",
    b"\xc5\x9f",
]
OCTETS = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join) | st.binary(max_size=40)
LINES = st.lists(st.sampled_from([b"", b".", b"..", b". ", b".x", b"x", b"x.", b"\xc5\x9f"]), max_size=8)
MESSAGES = LINES.map(lambda lines: b"".join(line + b"\r\n" for line in lines))
CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def in_pieces(wire: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    while wire:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(wire[:size])
        wire = wire[size:]
    return pieces


@STEADY
@given(OCTETS)
def test_i6_what_is_stuffed_comes_back_the_same_whatever_it_is(data: bytes) -> None:
    assert unstuff(stuff(data)) == data


@STEADY
@given(OCTETS)
def test_what_is_stuffed_has_no_end_in_it(data: bytes) -> None:
    """Nor together with the CRLF before it, nor with any other form of line end that a reader may take for one."""
    assert find_end(stuff(data), 0) == -1
    assert b"\r\n.\r\n" not in b"\r\n" + stuff(data)
    assert re.search(rb"(?:\A|\r\n)\.(?!\.)", stuff(data)) is None


@STEADY
@given(OCTETS)
def test_unstuffing_drops_one_dot_of_each_line_and_nothing_else(data: bytes) -> None:
    assert unstuff(data) == b"\r\n".join(line.removeprefix(b".") for line in data.split(b"\r\n"))
    assert stuff(data) == b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))


@STEADY
@given(MESSAGES, OCTETS, OCTETS, CUTS)
def test_i3_the_end_is_where_the_sender_put_it_however_it_arrives(
    message: bytes, before: bytes, behind: bytes, sizes: list[int]
) -> None:
    """`before`: what stood in the buffer before the payload; `behind`: pipelined commands, or a second message."""
    wire = stuff(message) + b".\r\n" + behind
    start = len(before)
    expected = start + len(stuff(message))
    assert find_end(before + wire, start) == expected
    buffer, since = bytearray(before), start
    for piece in in_pieces(wire, sizes):
        buffer += piece
        found = find_end(buffer, start, since)
        assert (found == expected) == (len(buffer) >= expected + END_LENGTH)
        if found >= 0:
            break
        since = len(buffer)
    assert unstuff(bytes(buffer[start:found])) == message


@STEADY
@given(OCTETS, CUTS)
def test_pieces_find_what_the_whole_finds(wire: bytes, sizes: list[int]) -> None:
    buffer, since, found = bytearray(), 0, -1
    for piece in in_pieces(wire, sizes):
        buffer += piece
        found = find_end(buffer, 0, since)
        if found >= 0:
            break
        since = len(buffer)
    assert found == find_end(wire, 0)


@STEADY
@given(OCTETS, st.integers(0, 12))
def test_a_fault_is_a_line_that_is_there(body: bytes, limit: int) -> None:
    """Against the plain definition: CR and LF only as a pair, no NUL, no line longer than the limit."""
    if re.search(rb"(?<!\r)\n", body):
        expected = "bare_lf"
    elif re.search(rb"\r(?!\n)", body):
        expected = "bare_cr"
    elif b"\0" in body:
        expected = "nul"
    else:
        expected = "long_line" if any(len(line) > limit for line in body.split(b"\r\n")) else ""
    assert (line_fault(body, limit) or "") == expected


@STEADY
@given(MESSAGES)
def test_a_clean_message_stays_clean_on_the_wire(message: bytes) -> None:
    assert line_fault(message) is None
    assert line_fault(stuff(message)) is None

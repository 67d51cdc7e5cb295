"""End of data, line faults, dot transparency."""

from __future__ import annotations

import pytest

from filters.dots import END_LENGTH, LINE_MAX, find_end, line_fault, stuff, unstuff

SMUGGLED = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\n\n.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\r\n.\r",
]


@pytest.mark.parametrize("ending", SMUGGLED)
def test_nothing_but_crlf_dot_crlf_ends_the_data(ending: bytes) -> None:
    assert find_end(b"Subject: x\r\n\r\ntext" + ending + b"MAIL FROM:<a@example.test>\r\n", 0) == -1


@pytest.mark.parametrize("ending", SMUGGLED)
def test_what_others_take_for_an_end_is_a_fault(ending: bytes) -> None:
    assert line_fault(b"text" + ending + b"text\r\n") in {"bare_lf", "bare_cr", "nul"}


def test_the_payload_keeps_its_last_line_end_and_the_next_command_follows() -> None:
    buffer = b"DATA\r\na\r\nb\r\n.\r\nQUIT\r\n"
    end = find_end(buffer, 6)
    assert buffer[6:end] == b"a\r\nb\r\n"
    assert buffer[end + END_LENGTH :] == b"QUIT\r\n"


def test_a_dot_right_after_data_ends_an_empty_payload() -> None:
    assert find_end(b".\r\n", 0) == 0
    assert find_end(b"DATA\r\n.\r\n", 6) == 6
    assert find_end(b".\r", 0) == -1


def test_a_line_end_before_the_payload_is_not_part_of_it() -> None:
    """`start` is behind the CRLF of DATA; a look back beyond it would end a payload that another one left a dot for."""
    assert find_end(b"x\r\n.\r\n", 4) == -1


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_an_end_that_arrives_in_pieces_is_found_when_it_is_complete(kind: type[bytes | bytearray], size: int) -> None:
    whole = b"DATA\r\n..\r\n.x\r\nlast\r\n.\r\nRSET\r\n"
    expected = whole.index(b"\r\n.\r\n") + 2
    buffer, since = kind(whole[:6]), 6
    for at in range(6, len(whole), size):
        buffer += whole[at : at + size]
        found = find_end(buffer, 6, since)
        assert (found == expected) == (len(buffer) >= expected + END_LENGTH)
        if found >= 0:
            return
        since = len(buffer)
    pytest.fail("the end was not found")


def test_line_fault_is_silent_on_a_clean_payload() -> None:
    assert line_fault(b"") is None
    assert line_fault(b"\r\n\r\n") is None
    assert line_fault(b"Subject: \xc5\x9fimdi\r\n\r\n..\r\nno end") is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"a\nb\r\n", "bare_lf"),
        (b"a\r\n\n", "bare_lf"),
        (b"\na\r\n", "bare_lf"),
        (b"a\rb\r\n", "bare_cr"),
        (b"a\r\r\nb\r\n", "bare_cr"),
        (b"a\r\nb\r", "bare_cr"),
        (b"a\n\rb\r\n", "bare_lf"),
        (b"a\0b\r\n", "nul"),
        (b"x" * (LINE_MAX + 1) + b"\r\n", "long_line"),
        (b"a\r\n" + b"x" * (LINE_MAX + 1), "long_line"),
        (b"a\r\n" * 999 + b"x" * (LINE_MAX + 1) + b"\r\nb\r\n", "long_line"),
    ],
)
def test_line_fault_names_the_fault(body: bytes, fault: str) -> None:
    assert line_fault(body) == fault


def test_the_longest_line_allowed_is_no_fault() -> None:
    line = b"x" * LINE_MAX + b"\r\n"
    assert line_fault(line * 3) is None
    assert line_fault(b"\r\n" + line + line[:-2]) is None
    assert line_fault(b"x" * 2040 + b"\r\n", 2040) is None
    assert line_fault(b"x" * 2041 + b"\r\n", 2040) == "long_line"


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (b"", b""),
        (b".", b".."),
        (b".first\r\n", b"..first\r\n"),
        (b"a\r\n.\r\n..\r\nb.\r\n", b"a\r\n..\r\n...\r\nb.\r\n"),
        (b"\r\n.\r\n.", b"\r\n..\r\n.."),
        (b"no dots\r\n", b"no dots\r\n"),
    ],
)
def test_dot_transparency_both_ways(message: bytes, payload: bytes) -> None:
    assert stuff(message) == payload
    assert unstuff(payload) == message


def test_a_stray_dot_of_a_sender_that_does_not_stuff_is_dropped_as_the_standard_says() -> None:
    assert unstuff(b".a\r\n.b\r\n") == b"a\r\nb\r\n"


def test_a_message_without_leading_dots_is_not_copied() -> None:
    message = b"a.b\r\nc\r\n"
    assert stuff(message) is message
    assert unstuff(message) is message

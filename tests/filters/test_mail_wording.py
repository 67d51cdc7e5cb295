"""The notice in octets: what a notice may be, its lines, its forms."""

from __future__ import annotations

import binascii
from html import unescape

import pytest

from filters.mail import LINK_MAX, Notice
from filters.wording import notice_segments, quoted_link
from tests.filters.mailtree import NOTICE

HTML = '<a href="{link}">ret</a>'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("no link", HTML),
        ("{link}", "no link"),
        ("a\r\n{link}", HTML),
        ("a\0{link}", HTML),
        ("a\t{link}", HTML),
        ("a\x85{link}", HTML),
        ("a\u2028{link}", HTML),
        ("{link}", HTML + "\x1b"),
        ("x" * 999 + "\n{link}", HTML),
        ("ş" * 500 + "\n{link}", HTML),
        ("x" * (999 - LINK_MAX) + "{link}", HTML),
        ("{link}{link}{link}", HTML),
        ("{link}", HTML + "x" * 999),
    ],
)
def test_what_no_mail_server_would_pass_is_no_notice(text: str, html: str) -> None:
    with pytest.raises(ValueError, match="notice"):
        Notice(text, html)


def test_the_longest_lines_that_fit() -> None:
    Notice("x" * (998 - LINK_MAX) + "{link}", HTML)
    Notice("{link}", f'<p style="margin: 0"> {"kelime " * 500} <a href="{{link}}">{{link}}</a></p>')


def test_html_is_ascii_in_short_lines() -> None:
    notice = Notice("{link}", "<p>\n\n" + "Şen’in ışığı " * 40 + HTML + "\n</p>\n")
    before, after = notice_segments(notice, True, "ascii", False, False)
    assert before.isascii()
    assert max(map(len, (before + after).split(b"\r\n"))) <= 120
    assert b"\r\n\r\n" not in before + after
    assert "Şen’in ışığı " * 2 in unescape(before.replace(b"\r\n", b" ").decode())


@pytest.mark.parametrize("markup", [False, True])
def test_quoted_printable_decodes_to_the_same_and_leaves_the_link_a_line(markup: bool) -> None:
    as_it_is = notice_segments(NOTICE, markup, "utf-8", False, False)
    quoted = notice_segments(NOTICE, markup, "utf-8", False, True)
    assert binascii.a2b_qp(b"LINK".join(quoted)) == b"LINK".join(as_it_is)
    for length in (1, 75, 76, 300):
        lines = quoted_link(b"h" * length).join(quoted).split(b"\r\n")
        assert max(map(len, lines)) <= 76
        assert not any(line.endswith((b" ", b"\t")) for line in lines)


def test_links_at_the_ends_and_next_to_each_other() -> None:
    notice = Notice("{link}{link}\n {link}\n{link} x", HTML)
    quoted = notice_segments(notice, False, "ascii", False, True)
    assert binascii.a2b_qp(b"L".join(quoted)) == b"LL\r\n L\r\nL x"
    assert b"L".join(notice_segments(notice, False, "ascii", True, False)) == b"LL\r\n  L\r\nL x"


def test_a_line_of_one_dot_is_none_in_quoted_printable() -> None:
    assert notice_segments(Notice(".\n{link}", HTML), False, "ascii", False, True)[0] == b"=2E\r\n"

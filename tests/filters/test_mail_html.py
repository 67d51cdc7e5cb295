"""Where a block goes into HTML."""

from __future__ import annotations

import pytest

from filters.html import TAIL, Point, comment_around, point

OUTLOOK = b"<!--[if mso]><table></body></html><![endif]-->"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<body>x", b"</body></html>"),
        (b"<body>x", b"</BODY></HTML>"),
        (b"<body>x", b"</body\r\n ></html>"),
        (b"<body>x", b"</body/>"),
        (b"<body>x", b"</body"),
        (b"<html>x", b"</html>"),
        (b"<p>x", b""),
        (b"", b""),
        (b"</body>x", b"</body>"),
        (b"</html>x", b"</body>"),
        (b"x", b"</body></html></html>"),
        (b"x", b"</body>" + OUTLOOK),
        (OUTLOOK + b"x", b"</body>"),
        (b"x" + OUTLOOK, b"</html>" + OUTLOOK * 3),
        (b"x" + OUTLOOK * 2, b""),
        (b"<!--[if !mso]><!--> x ", b"</body><!--<![endif]-->"),
        (b"x", b"</body><!-- a <!-- </body> -->"),
        (b"--> x", b"</body>"),
        (b"x</bodyguard>", b"</html>"),
        (b"x</bodyguard></bodywork>", b""),
        (b"x < /body>", b""),
        (b"x", b"<!-- never closed </body>"),
        (b"x --> <p>", b"<!-- never closed"),
        (b"<!-- --> x", b"<!-- never <!-- closed <!--"),
        (b"<!--> x", b"</body><!-- <!-- </body> -->"),
        (b"x", b"</body>" + b" " * (2 * TAIL)),
        (b"x", b"</body>" + OUTLOOK * TAIL),
        (b"x", b"</html>" + b"<!--" + b"</body>" * TAIL + b"-->"),
        (OUTLOOK * TAIL + b"x", b"</body>"),
    ],
)
def test_before_the_last_end_tag_a_reader_would_see(before: bytes, after: bytes) -> None:
    at, token = point(before + after)
    assert at == len(before)
    assert after.lower().startswith(token)
    assert bool(token) == bool(after)


def test_a_tag_across_the_border_of_the_tail_is_found() -> None:
    for behind in range(TAIL - 10, TAIL + 10):
        text = b"x</body>" + b"y" * behind
        assert point(text) == Point(1, b"</body")


def test_comment_around() -> None:
    text = b"a<!--b-->c<!--d"
    assert [comment_around(text, text.index(letter)) for letter in (b"a", b"b", b"c", b"d")] == [-1, 1, -1, 10]


def test_a_megabyte_of_end_tags_in_one_comment() -> None:
    """Linear: looking for the comment from each tag would take minutes."""
    assert point(b"x<!--" + b"</body>" * 150_000).at == 1
    assert point(b"x<!--" + b"</body>" * 150_000 + b"-->").at == 1_050_008

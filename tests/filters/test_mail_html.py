"""Where a block goes into HTML."""

from __future__ import annotations

import pytest

from filters.html import TAIL, Point, comment_around, hidden, point

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
        # Scripts, style sheets and other raw text.
        (b"x", b"</body><script>document.write('</body>')</script></html>"),
        (b"x", b"</body><SCRIPT type='a'>if (a < b) w('</body></html>')</Script ></html>"),
        (b"<script>'</body>'</script>x", b""),
        (b"<style>a:after{content:'</body>'}</style>x", b"</html>"),
        (b"<textarea></body></textarea>x", b"</body>"),
        (b"<title></body></title>x", b""),
        (b"<scripted></body>x", b"</body>"),
        (b"x", b"<style>"),
        # Attributes.
        (b'<p title="</body>">x', b""),
        (b"<p title='a</body><b>c</b>'>x", b"</html>"),
        (b"x", b'</body><img alt="</body>"></html>'),
        (b"<p title=it's>x", b"</body><p title=it's></html>"),
        (b"x", b'<a href="never closed'),
        (b"a > b x", b"</body> > </html>"),
        # What some programs put behind the end.
        (b"x", b'</body><img src="https://marka.example.test/o.gif" width=1></html>'),
        (b"x", b"</body><![endif]></html>\r\n<!-- 12 ms --><?php ?><!DOCTYPE a>"),
        (b"x < y", b"</body> 1 < 2 </html>"),
        (b"x < y <", b""),
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


def test_what_no_reader_sees_is_hidden() -> None:
    text = b"0<!--1-->2<title>3</TITLE>4<script>'5'</script>6<a href='7'>8<!--[if mso]><style>9</style><![endif]-->"
    assert [digit for digit in range(10) if hidden(text, text.index(b"%d" % digit))] == [1, 3, 5, 9]


@pytest.mark.parametrize(
    "piece",
    [
        b"<a ", b"<!--", b"<!", b"</", b"<script ", b"<script>", b'<a b="', b"<a b='\"", b"</body >\">", b"</body",
        b"<style></style ", b"</title><title", b"</body>'<script>", b"-->", b"<!-->", b"<?", b"<", b"=\"",
    ],
)  # fmt: skip
def test_a_megabyte_of_anything_is_read_in_one_pass(piece: bytes) -> None:
    """Linear: taking up each of them anew would take hours."""
    text = b"x" + piece * (1_000_000 // len(piece))
    for odd in (text, text + b"'\"></body>", b"<p title='</body>'>" + text, text + b"--></script></body> > "):
        assert 0 <= point(odd).at <= len(odd)


def test_a_megabyte_of_end_tags_in_one_comment() -> None:
    """Linear: looking for the comment from each tag would take minutes."""
    assert point(b"x<!--" + b"</body>" * 150_000).at == 1
    assert point(b"x<!--" + b"</body>" * 150_000 + b"-->").at == 1_050_008

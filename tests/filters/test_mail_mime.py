"""The walk: which parts are found, which are left alone, what is ambiguous, where the bounds are."""

from __future__ import annotations

from contextlib import suppress

import pytest

from filters.mail import Unfit, plan
from filters.mime import DEPTH_MAX, PARTS_MAX, PLACES_MAX, top_entity
from tests.filters.mailtree import LINK, NOTICE, grown, message, multipart, part, render, single

PLAIN = part(b"metin", "Content-Type: text/plain")
HTML = part(b"<p>metin</p>", "Content-Type: text/html")
IMAGE = part(b"iVBORw0KGgo=", "Content-Type: image/png", "Content-Transfer-Encoding: base64")
FILE = part(b"ek", "Content-Type: text/plain", "Content-Disposition: attachment; filename=ek.txt")


def changed(entity: bytes) -> list[str]:
    """The types of the parts that got the link, in their order."""
    received = message(entity)
    parts = grown(received, render(received))
    assert all(LINK in each.added for each in parts)
    return [each.type.removeprefix("text/").partition(" ")[0] for each in parts]


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        (PLAIN, "plain"),
        (HTML, "html"),
        (part(b"no type"), "plain"),
        (part(b"x", "Content-Type: TEXT/Plain ; Charset=UTF-8"), "plain"),
        (part(b"x", "Content-Type:\r\n text/html;\r\n\tcharset=utf-8"), "html"),
        (part(b"x", "Content-Type: text/html (a; comment)"), "html"),
        (part(b"x", 'Content-Type: text/html (an "open quote); x="(no \\" comment)"; charset=utf-8'), "html"),
        (part(b"x", "Content-Type: text/html; charset=utf-8 (never closed; charset=utf-16"), "html"),
        (part(b"x", "Content-Type: text/html", "Content-Disposition: (a) inline (; filename=a)"), "html"),
        (part(b"x", "Content-Type: text/plain", "Content-Disposition: INLINE"), "plain"),
        (multipart("alternative", "b", PLAIN, HTML), "plain html"),
        (multipart("ALTERNATIVE", "b", PLAIN, HTML), "plain html"),
        (multipart("alternative", "b", PLAIN, part(b"x", "Content-Type: text/x-amp-html"), HTML), "plain html"),
        (multipart("alternative", "b", HTML, part(b"x", "Content-Type: text/calendar")), "html"),
        (multipart("alternative", "b", PLAIN, multipart("related", "c", HTML, IMAGE)), "plain html"),
        (multipart("alternative", "b", PLAIN, multipart("mixed", "c", HTML, IMAGE, HTML)), "plain html"),
        (multipart("mixed", "b", multipart("alternative", "c", PLAIN, HTML), FILE), "plain html"),
        (
            multipart("mixed", "b", multipart("related", "c", multipart("alternative", "d", PLAIN, HTML), IMAGE)),
            "plain html",
        ),
        (multipart("alternative", "b", PLAIN, part(b"<p>", 'Content-Type: text/html; name="a.html"')), "plain html"),
        (multipart("alternative", "b", PLAIN, part(b"x", "Content-Disposition: inline; filename=a")), "plain plain"),
        (multipart("alternative", "b", FILE, HTML), "html"),
        (multipart("mixed", "b", IMAGE, HTML, PLAIN), "html"),
        (multipart("mixed", "b", FILE, HTML), "html"),
        (multipart("mixed", "b", part(b"x", 'Content-Type: text/plain; name="a.txt"'), HTML), "html"),
        (multipart("mixed", "b", part(b"x", "Content-Type: text/plain; name*=utf-8''a.txt"), HTML), "html"),
        (multipart("mixed", "b", part(b"x", "Content-Type: text/plain; name*0=a; name*1=.txt"), HTML), "html"),
        (multipart("mixed", "b", part(b"x", "Content-Disposition: inline; filename=a"), HTML), "html"),
        (multipart("mixed", "b", part(b"x", "Content-Disposition: unheard-of"), HTML), "html"),
        (multipart("mixed", "b", part(PLAIN, "Content-Type: message/rfc822"), HTML), "html"),
        (multipart("mixed", "b", multipart("digest", "c", part(PLAIN)), HTML), "html"),
        (multipart("mixed", "b", multipart("report", "c", PLAIN), HTML), "html"),
        (multipart("mixed", "b", multipart("signed", "c", PLAIN, FILE), HTML), "html"),
        (multipart("mixed", "b", multipart("encrypted", "c", PLAIN, FILE), HTML), "html"),
        (multipart("unheard-of", "b", IMAGE, PLAIN, HTML), "plain"),
        (multipart("related", "b", HTML, IMAGE, PLAIN), "html"),
        (
            multipart(
                'related; start="<r>"', "b", IMAGE, part(b"x", "Content-Type: text/html", "Content-ID: <r>"), PLAIN
            ),
            "html",
        ),
        (multipart('related; start="<gone>"', "b", PLAIN, IMAGE), "plain"),
    ],
)
def test_the_parts_a_reader_is_shown_get_the_notice_and_no_others(entity: bytes, expected: str) -> None:
    assert " ".join(changed(entity)) == expected


class TestDelimiters:
    def test_preamble_and_epilogue_stay(self) -> None:
        received = message(multipart("mixed", "b", PLAIN, preamble=b"For old programs\r\n")) + b"\r\nepilogue --b\r\n"
        assert [each.type for each in grown(received, render(received))] == ["text/plain"]

    @pytest.mark.parametrize("closed", [True, False])
    def test_a_missing_last_delimiter_is_tolerated(self, closed: bool) -> None:
        assert changed(multipart("alternative", "b", PLAIN, HTML, closed=closed)) == ["plain", "html"]

    def test_an_inner_multipart_without_end_is_ended_by_the_outer_one(self) -> None:
        inner = multipart("alternative", "in", PLAIN, HTML, closed=False).removesuffix(b"\r\n")
        assert changed(multipart("mixed", "out", inner, FILE)) == ["plain", "html"]

    @pytest.mark.parametrize(
        ("outer", "inner"), [("b", "b1"), ("b1", "b"), ("=_b", "=_b-"), ("b--x", "b"), ("b", "b--x")]
    )
    def test_a_boundary_that_begins_like_the_other(self, outer: str, inner: str) -> None:
        assert changed(multipart("mixed", outer, multipart("alternative", inner, PLAIN, HTML), FILE)) == [
            "plain",
            "html",
        ]

    def test_blanks_behind_a_delimiter_are_no_part_of_it(self) -> None:
        entity = multipart("alternative", "b", PLAIN, HTML).replace(b"--b\r\n", b"--b \t\r\n")
        assert changed(entity) == ["plain", "html"]

    def test_a_line_that_only_begins_like_a_delimiter_is_text(self) -> None:
        assert changed(multipart("alternative", "b", part(b"--bb\r\n --b\r\n--b x\r\n\r\n-- b"), HTML)) == [
            "plain",
            "html",
        ]

    def test_lines_behind_the_last_delimiter_are_epilogue(self) -> None:
        assert changed(multipart("alternative", "b", PLAIN) + b"\r\n--b\r\n" + HTML + b"\r\n--b--") == ["plain"]

    @pytest.mark.parametrize("boundary", ['"b c"', "b", '"b\\"c"', '"=_(b)"', "=_b==", "'b'", '"b:/?"', '"b "'])
    def test_boundaries_in_all_spellings(self, boundary: str) -> None:
        bare = boundary.strip('"').replace("\\", "").rstrip()
        entity = multipart("alternative", bare, PLAIN, HTML)
        received = message(entity.replace(f'boundary="{bare}"'.encode(), f"boundary={boundary}".encode()))
        copy = render(received)
        assert copy.count(LINK) == 3

    def test_an_empty_text_part_takes_the_notice(self) -> None:
        assert changed(multipart("mixed", "b", part(b""), FILE)) == ["plain"]
        assert changed(multipart("mixed", "b", b"Content-Type: text/plain", FILE)) == ["plain"]
        assert changed(multipart("mixed", "b", b"", FILE)) == ["plain"]

    def test_delimiters_in_a_row_have_nothing_between_them(self) -> None:
        assert changed(multipart("mixed", "b", PLAIN, preamble=b"--b\r\n")) == ["plain"]

    def test_a_delimiter_at_the_very_end_opens_nothing(self) -> None:
        received = message(multipart("mixed", "b", IMAGE, closed=False)).removesuffix(b"\r\n") + b"--b"
        with_text = received.replace(b"image/png", b"text/html").replace(b"base64", b"7bit")
        assert render(received).count(b"multipart/mixed") == 2  # wrapped
        assert render(with_text).count(LINK) == 2


@pytest.mark.parametrize(
    ("entity", "why"),
    [
        (part(b"x", "Content-Type: text/plain", "Content-Type: text/html"), "two different content-type"),
        (part(b"x", "Content-Transfer-Encoding: 7bit", "content-transfer-encoding: base64"), "two different"),
        (part(b"x", "Content-Type: text/plain; charset=utf-8; charset=utf-16"), "given twice"),
        (part(b"x", "Content-Type : text/html"), "blank before"),
        (part(b"x", "Content-Type: multipart/mixed"), "no usable boundary"),
        (part(b"x", 'Content-Type: multipart/mixed; boundary=""'), "no usable boundary"),
        (part(b"x", "Content-Type: multipart/mixed; boundary*0=a; boundary*1=b"), "RFC 2231"),
        (part(b"x", "Content-Type: text/plain; charset*=us-ascii'en'utf-16"), "RFC 2231"),
        (part(b"x", "Content-Type: text/plain; charset*0=utf; charset*1=-16"), "RFC 2231"),
        (multipart("mixed", "--", PLAIN), "no usable boundary"),
        (multipart("mixed", "b", b"no header section"), "broken off"),
        (multipart("mixed", "b", b"Content-Type: text/html\r\nno field\r\n\r\nx"), "broken off"),
    ],
)
def test_what_readers_could_understand_differently_is_refused(entity: bytes, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        plan(message(entity), NOTICE)


def test_the_same_field_twice_is_not_ambiguous() -> None:
    assert changed(part(b"x", "Content-Type: text/html", "Content-Type: text/html")) == ["html"]


def test_a_type_nobody_can_read_is_wrapped() -> None:
    assert b"multipart/mixed" in render(single(b"x\r\n", "Content-Type: text"))


def test_comments_mean_nothing_wherever_they_stand() -> None:
    """The standard library does not know this, so that it is looked at here."""
    received = single(
        b"eA==\r\n",
        "Content-Type: (a (nested \\) one)) text/html(; name=a); charset (b) = utf-8 (; charset=utf-16)",
        "Content-Transfer-Encoding: (a) BASE64 ()",
        "Content-Disposition: () inline (; filename=a)",
    )
    top = top_entity(received)
    assert (top.type, top.encoding, top.attached, top.named) == (b"text/html", b"base64", False, False)
    assert top.parameters == {b"charset": b"utf-8"}


@pytest.mark.parametrize("piece", [b"(", b")", b'"', b"\\", b'(\\"', b'"\\"', b"; a=(", b'; a="', b'";(', b"a(b)"])
def test_a_megabyte_of_a_field_is_read_in_one_pass(piece: bytes) -> None:
    """Linear: it would take minutes if each quote or comment were tried from its own beginning."""
    value = piece * (1_000_000 // len(piece))
    for field in (b"text/html; b=", b"text/html; (", b'text/html; b="', b'text/html; b="\\'):
        with suppress(Unfit):
            assert b"multipart/mixed" not in render(single(b"<p>x", "Content-Type: " + (field + value).decode()))


class TestBounds:
    def nested(self, depth: int) -> bytes:
        entity = PLAIN
        for level in range(depth):
            entity = multipart("mixed", f"level-{level}-", entity)
        return message(entity)

    def test_depth(self) -> None:
        assert render(self.nested(DEPTH_MAX)).count(LINK) == 2
        with pytest.raises(Unfit, match="deeper"):
            plan(self.nested(DEPTH_MAX + 1), NOTICE)

    def test_parts(self) -> None:
        def many(count: int) -> bytes:
            return message(multipart("mixed", "b", *[IMAGE] * (count - 1), PLAIN))

        assert render(many(PARTS_MAX)).count(LINK) == 2
        with pytest.raises(Unfit, match="parts"):
            plan(many(PARTS_MAX + 1), NOTICE)

    def test_parts_behind_the_text_are_not_even_looked_at(self) -> None:
        assert changed(multipart("mixed", "b", PLAIN, *[IMAGE] * (2 * PARTS_MAX))) == ["plain"]

    def test_places(self) -> None:
        assert len(changed(multipart("alternative", "b", *[PLAIN] * PLACES_MAX))) == PLACES_MAX
        with pytest.raises(Unfit, match="text parts"):
            plan(message(multipart("alternative", "b", *[PLAIN] * (PLACES_MAX + 1))), NOTICE)

    def test_a_hundred_thousand_half_delimiters_take_no_longer_than_their_octets(self) -> None:
        """Linear: it would take minutes if each of them were looked for from the start."""
        received = message(multipart("mixed", "b", part(b"\r\n--b x" * 100_000, "Content-Type: image/png"), PLAIN))
        assert render(received).count(LINK) == 2

    def test_a_header_section_of_a_megabyte(self) -> None:
        received = (
            b"X: a\r\n" * 20_000 + b"Content-Type: text/html" + b"; a=b\r\n" * 1 + b" ;" * 400_000 + b"\r\n\r\n<p>x"
        )
        assert render(received).count(LINK) == 2


def test_an_entity_is_a_range_of_the_message() -> None:
    received = single(
        b"body\r\n", 'Content-Type: text/html; Charset="UTF-8"; x="a\\"b"', "Content-Transfer-Encoding: 8BIT (why not)"
    )
    top = top_entity(received)
    assert received[top.body : top.end] == b"body\r\n"
    assert (top.type, top.encoding, top.attached) == (b"text/html", b"8bit", False)
    assert top.parameters == {b"charset": b"UTF-8", b"x": b'a"b'}

"""The notice in one part: every transfer encoding, placeholders, long lines."""

from __future__ import annotations

import base64
import binascii
import quopri

import pytest

from filters.mail import LINK_MAX, PLACEHOLDER, Notice, Unfit, plan
from filters.splice import PLACEHOLDERS_MAX
from tests.filters.mailtree import LINK, NOTICE, Grown, grown, message, multipart, part, render, single

TURKISH = "Merhaba değerli müşterimiz, şimdi İstanbul'da ışıl ışıl\r\n"
HTML = "<html><body><p>Değerli müşterimiz</p>{}</body></html>\r\n"


def only(received: bytes, link: bytes = LINK) -> Grown:
    (change,) = grown(received, render(received, link=link))
    return change


def plain(body: bytes, encoding: str = "7bit", charset: str = "utf-8", more: str = "") -> bytes:
    return single(body, f"Content-Type: text/plain; charset={charset}{more}", f"Content-Transfer-Encoding: {encoding}")


def html(body: bytes, encoding: str = "8bit", charset: str = "utf-8") -> bytes:
    return single(body, f"Content-Type: text/html; charset={charset}", f"Content-Transfer-Encoding: {encoding}")


def quoted(text: bytes) -> bytes:
    return quopri.encodestring(text.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def in_lines(text: bytes, width: int) -> bytes:
    encoded = base64.b64encode(text)
    return b"".join(encoded[at : at + width] + b"\r\n" for at in range(0, len(encoded), width))


def longest_line(octets: bytes) -> int:
    return max(map(len, octets.split(b"\r\n")))


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-9", "windows-1254"])
@pytest.mark.parametrize("encoding", ["8bit", "binary", "quoted-printable", "base64"])
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_turkish_letters_arrive_in_each_encoding_and_charset(kind: str, encoding: str, charset: str) -> None:
    text = (TURKISH if kind == "plain" else HTML.format("")).encode(charset)
    body = {"quoted-printable": quoted, "base64": lambda octets: in_lines(octets, 76)}.get(encoding, bytes)(text)
    received = single(body, f"Content-Type: text/{kind}; charset={charset}", f"Content-Transfer-Encoding: {encoding}")
    change = only(received)
    assert change.before == text
    added = change.added.decode(charset)
    assert LINK.decode() in added
    if kind == "plain":
        assert "\r\nÖrnek Pazarlama A.Ş. " in added
        assert "\r\nReddetmek için: " in added
    else:
        assert "&#214;rnek" in added
        assert added.isascii()
        assert change.after.endswith(b"</div>\r\n</body></html>\r\n")


@pytest.mark.parametrize("charset", ["us-ascii", "iso-8859-1", "x-unheard-of", ""])
@pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64"])
def test_where_the_letters_are_lacking_their_look_alikes_stand(charset: str, encoding: str) -> None:
    body = in_lines(b"metin\r\n", 76) if encoding == "base64" else b"metin\r\n"
    received = plain(body, encoding, charset or "''")
    assert b"\r\nOrnek Pazarlama A.S. * Istanbul\r\n" in only(received).added


def test_a_7bit_part_gets_ascii_whatever_its_charset() -> None:
    assert render(plain(b"metin\r\n", "7bit", "utf-8")).isascii()
    assert render(single(b"metin\r\n", "Content-Type: text/plain; charset=utf-8")).isascii()
    assert render(html(b"<p>metin</p>", "7bit")).isascii()


@pytest.mark.parametrize("encoding", ["8bit", "binary"])
def test_a_message_without_8_bit_octets_stays_so(encoding: str) -> None:
    """It may have come with BODY=7BIT, and go on so."""
    assert render(plain(b"metin\r\n", encoding)).isascii()
    other = "Content-Type: text/plain; charset=utf-8"
    mixed = message(
        multipart(
            "mixed",
            "b",
            part(b"metin\r\n", other, f"Content-Transfer-Encoding: {encoding}"),
            part("ş".encode(), other, "Content-Disposition: attachment", "Content-Transfer-Encoding: 8bit"),
        )
    )
    assert "Örnek".encode() in render(mixed)


@pytest.mark.parametrize(
    "charset", ["utf-16", "UTF-16LE", "utf-32", "utf-7", "iso-2022-jp", "hz-gb-2312", "ibm037", "cp1026"]
)
def test_a_charset_without_ascii_is_refused(charset: str) -> None:
    with pytest.raises(Unfit, match="contain ASCII"):
        plan(plain(b"bQBlAA==\r\n", "base64", charset), NOTICE)


@pytest.mark.parametrize("encoding", ["x-uuencode", "8-bit", "quoted", "utf-8"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(Unfit, match="transfer encoding"):
        plan(plain(b"x", encoding), NOTICE)


class TestPlainText:
    @pytest.mark.parametrize(
        ("body", "before"),
        [
            (b"metin\r\n", b"\r\n"),
            (b"metin", b"\r\n\r\n"),
            (b"metin\r\n\r\n", b"\r\n"),
            (b"metin ", b"\r\n\r\n"),
            (b"", b""),
        ],
    )
    def test_an_empty_line_stands_before_it(self, body: bytes, before: bytes) -> None:
        received = message(multipart("mixed", "b", part(body, "Content-Type: text/plain")))
        (change,) = grown(received, render(received))
        assert change.after.startswith(body + before + b"--\r\nOrnek")
        assert change.after.endswith(b"From bizden\r\n" if body.endswith(b"\r\n") else b"From bizden")

    def test_lines_have_no_blanks_at_their_end(self) -> None:
        """`-- ` would make a signature of the notice, which readers grey out or cut off."""
        assert b" \r\n" not in only(plain(b"metin\r\n")).added

    def test_format_flowed(self) -> None:
        change = only(plain(b"uzun \r\nsatir \r\n", more="; Format=Flowed; delsp=yes"))
        assert change.added.startswith(b"\r\n--\r\nOrnek")
        assert change.added.endswith(b"\r\n From bizden\r\n")

    def test_pgp_in_the_text_stays_whole(self) -> None:
        armor = b"-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\n{{izinli_link}}\r\n-----END PGP SIGNATURE-----\r\n"
        change = only(plain(armor))
        assert change.after.startswith(armor + b"\r\n--\r\n")


class TestHtml:
    def test_before_the_end_of_the_body_on_lines_of_its_own(self) -> None:
        change = only(html(b"<BODY>metin</Body\r\n></HTML>\r\n"))
        assert change.after.startswith(b'<BODY>metin\r\n<div style="color:#555">')
        assert change.after.endswith(b"</div>\r\n</Body\r\n></HTML>\r\n")

    def test_without_end_tags_at_the_end(self) -> None:
        assert only(html(b"<p>metin")).after.startswith(b"<p>metin\r\n<div")
        assert only(html(b"<p>metin\r\n")).after.startswith(b"<p>metin\r\n<div")
        assert only(html(b"<p>metin\r\n")).after.endswith(b"</div>\r\n")

    def test_a_line_of_the_greatest_length_does_not_get_longer(self) -> None:
        received = html(b"<p>" + b"x" * (998 - 17) + b"</body></html>\r\n")
        assert longest_line(received) == 998
        assert longest_line(render(received, link=b"h" * LINK_MAX)) <= 998


class TestQuotedPrintable:
    @pytest.mark.parametrize(
        "body",
        [
            b"<p>metin</body></html>",
            b"<p>metin</bo=\r\ndy></html>",
            b"<p>metin<=\r\n/body></html>=\r\n",
            b"<p>metin=3C/body=3E</html>",
            b"<p>metin=3c=2fBODY=20></html>",
            b"=3C=70=3E=3C=2F=62=\r\n=4f=64=79=3E",
            b"<p>metin </body>",
            b"<p>metin=0D=0A</body>",
            b"<p>metin\r\n</body>\r\n",
            b"<p>metin=\r\n</body>\r\n",
            b"=3C!-- </body> --=3E<p></body><!-=\r\n- </body> -->",
            b"<p>metin =",
            b"<p>metin=\r\n",
            b"<p>metin ",
            b"x" * 69 + b"</body>",
            b"x" * 75 + b" ",
            b"",
        ],
    )
    def test_i6_the_decoded_text_grows_by_the_block_alone(self, body: bytes) -> None:
        change = only(html(body, "quoted-printable"))
        at = change.before.lower().rfind(b"</body")
        if b"<!--" in change.before:
            at = change.before.index(b"</body><!--")
        text = binascii.a2b_qp(body)
        assert change.before == text
        rest = text[at:] if at >= 0 else b""
        assert change.after.endswith(rest)
        block = change.after.removesuffix(rest)[len(text) - len(rest) :]
        assert block.strip().startswith(b'<div style="color:#555">')
        assert LINK in block
        assert longest_line(render(html(body, "quoted-printable")).partition(b"\r\n\r\n")[2]) <= 76

    @pytest.mark.parametrize(
        "body", [b"metin", b"metin\r\n", b"metin=\r\n", b"metin=", b"metin ", b"metin\t", b"metin=20", b"metin=0A"]
    )
    def test_plain_text_of_every_ending(self, body: bytes) -> None:
        change = only(plain(body, "quoted-printable"))
        assert change.before == binascii.a2b_qp(body)
        assert change.added.lstrip(b"\r\n").startswith("--\r\nÖrnek".encode())
        assert change.added.startswith(b"\r\n")

    @pytest.mark.parametrize("length", [10, 74, 75, 76, 77, 150, 151, LINK_MAX])
    @pytest.mark.parametrize("letters", [b"h", b"=", b"a=", b"ab="])
    def test_a_link_of_any_length_is_whole_and_its_lines_are_short(self, length: int, letters: bytes) -> None:
        link = (letters * length)[:length]
        received = html(b"<p>\r\n</body>\r\n", "quoted-printable")
        change = only(received, link)
        assert b'href="' + link + b'">' in change.added.replace(b"\r\n", b"")
        body = render(received, link=link).partition(b"\r\n\r\n")[2]
        assert longest_line(body) <= 76

    @pytest.mark.parametrize(
        "body", [b"<p>metin===3C/body>", b"<p>===7B{izinli_link}}", b"{{izinli_link}} ===7B{izinli_link}}"]
    )
    def test_an_encoding_that_decoders_read_differently_is_refused(self, body: bytes) -> None:
        with pytest.raises(Unfit, match="ambiguously"):
            plan(html(body, "quoted-printable"), NOTICE)


class TestBase64:
    @pytest.mark.parametrize("width", [4, 60, 64, 72, 74, 76, 998, 5000])
    @pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 1000])
    def test_i6_full_lines_before_the_change_stay(self, width: int, size: int) -> None:
        text = (b"abc" + b"abcdefghi\n" * 101)[:size]
        received = html(in_lines(text, width), "base64")
        copy = render(received)
        (change,) = grown(received, copy)
        assert change.after.startswith(text)
        assert LINK in change.added
        body = received.partition(b"\r\n\r\n")[2]
        full = body.rsplit(b"\r\n", 2)[0] if body.count(b"\r\n") > 4 else b""
        if width % 4 == 0:
            assert full in copy
        assert longest_line(copy.partition(b"\r\n\r\n")[2]) <= max(
            76, width if body.count(b"\r\n") > 1 and width < 999 else 0
        )
        assert copy.endswith(b"\r\n")

    def test_the_rest_is_encoded_in_lines_of_the_parts_own_length(self) -> None:
        received = html(in_lines(b"<p>metin " * 40 + b"</body>", 60), "base64")
        lines = render(received).partition(b"\r\n\r\n")[2].split(b"\r\n")
        assert {len(line) for line in lines[:-2]} == {60}

    def test_what_stands_behind_the_last_character_stays(self) -> None:
        assert render(html(b"PHA+\r\n \r\n\r\n", "base64")).endswith(b"\r\n \r\n\r\n")

    @pytest.mark.parametrize(
        "body", [b"PHA+bQ", b"PHA+bWU", b"P H\tA + \r\nb W U =\r\n", b"PHA+\r\nbWU=", b"PHA\r\n+b\r\nWU\r\n="]
    )
    def test_missing_padding_and_blanks_are_tolerated(self, body: bytes) -> None:
        text = decoded(render(html(body, "base64")))
        assert text.startswith(b"<p>m")
        assert LINK in text

    @pytest.mark.parametrize(
        "body", [b"PHA+b", b"PHA=PHA+", b"PHA+\r\n-- \r\nfooter of a list!", b"=PHA", b"PH\xc3\xa7+"]
    )
    def test_what_is_no_base64_is_refused(self, body: bytes) -> None:
        with pytest.raises(Unfit, match="base64"):
            plan(html(body, "base64"), NOTICE)

    def test_an_empty_part(self) -> None:
        assert LINK in only(plain(b"", "base64")).after
        received = message(
            multipart("mixed", "b", part(b"", "Content-Type: text/plain", "Content-Transfer-Encoding: base64"))
        )
        assert len(grown(received, render(received))) == 1


def decoded(copy: bytes) -> bytes:
    return base64.b64decode(copy.partition(b"\r\n\r\n")[2])


class TestPlaceholder:
    """The author's own place for the link: nothing else is added to that part."""

    @pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64"])
    @pytest.mark.parametrize(
        "text",
        [b"Ret: {{izinli_link}}\r\n", b"{{izinli_link}}{{izinli_link}}.", b"a {{izinli_link}}\r\n{{izinli_link}} b"],
    )
    def test_the_link_takes_its_place(self, encoding: str, text: bytes) -> None:
        body = in_lines(text, 76) if encoding == "base64" else text
        assert only(plain(body, encoding)).after == text.replace(PLACEHOLDER, LINK)

    @pytest.mark.parametrize(
        "body",
        [
            b'<a href=3D"{{izinli_link}}">ret</a>\r\n',
            b'<a href=3D"{{izi=\r\nnli_link}}">ret</a>\r\n',
            b"=7B=7b=69zinli=5Flink=7D}\r\n",
            b"x" * 60 + b"{{izinli_link}}=\r\n.\r\n",
            b"{{izinli_link}}\r\n=\r\n{{izinli_link}}",
            b"=\r\n{=\r\n{izinli_link}=\r\n}=\r\n",
        ],
    )
    def test_in_quoted_printable_spelled_and_split_in_any_way(self, body: bytes) -> None:
        received = html(body, "quoted-printable")
        for link in (LINK, b"https://ret.example/r/" + b"=" * 80):
            change = only(received, link)
            assert change.after == change.before.replace(PLACEHOLDER, link)
            assert longest_line(render(received, link=link).partition(b"\r\n\r\n")[2]) <= 76

    def test_base64_lines_before_it_stay(self) -> None:
        body = in_lines(b"x" * 100 + PLACEHOLDER + b"y" * 200, 76)
        copy = render(html(body, "base64"))
        assert body.split(b"\r\n")[0] in copy
        assert decoded(copy) == b"x" * 100 + LINK + b"y" * 200

    def test_other_parts_get_the_notice(self) -> None:
        received = message(
            multipart("alternative", "b", part(b"Ret: {{izinli_link}}"), part(b"<p>", "Content-Type: text/html"))
        )
        text, markup = grown(received, render(received))
        assert text.after == b"Ret: " + LINK
        assert b"Mersis" in markup.added

    def test_where_no_reader_sees_it_it_does_not_count(self) -> None:
        assert b"Mersis" in only(html(b"<!-- {{izinli_link}} --><p>metin")).added
        both = only(html(b"<!-- {{izinli_link}} --><p>{{izinli_link}}"))
        assert both.after == both.before.replace(PLACEHOLDER, LINK)

    @pytest.mark.parametrize("text", [b"{{ izinli_link }}", b"{{IZINLI_LINK}}", b"{izinli_link}", b"{{izinli_lin}}"])
    def test_only_the_exact_spelling_counts(self, text: bytes) -> None:
        assert b"Mersis" in only(plain(text)).added

    def test_there_is_a_limit(self) -> None:
        assert render(plain(b"{{izinli_link}}\r\n" * PLACEHOLDERS_MAX)).count(LINK) == PLACEHOLDERS_MAX + 1
        with pytest.raises(Unfit, match="placeholders"):
            plan(plain(b"{{izinli_link}}\r\n" * (PLACEHOLDERS_MAX + 1)), NOTICE)

    def test_a_line_that_would_get_too_long_is_refused(self) -> None:
        room = 998 - LINK_MAX
        fits = plain(b"metin\r\n" + b"x" * (room - 10) + PLACEHOLDER + b"y" * 10 + b"\r\nmetin\r\n")
        assert longest_line(render(fits, link=b"h" * LINK_MAX)) == 998
        with pytest.raises(Unfit, match="too long"):
            plan(fits.replace(b"yy\r\n", b"yyy\r\n"), NOTICE)
        with pytest.raises(Unfit, match="too long"):
            plan(plain(b"x" * (room // 2) + PLACEHOLDER * 3), NOTICE)

    def test_two_languages_in_a_line_of_html_fit_the_links_there_are(self) -> None:
        """Refused for ever because the longest address of the world would not fit, though it is no recipient."""
        cell = (
            '<td style="font:12px/1.5 sans-serif;color:#555;padding:8px 0 0"><a href="{0}">Ticari ileti istemem</a> '
            '<a href="{0}">Unsubscribe</a></td>'
        )
        received = single(cell.format(PLACEHOLDER.decode()).encode(), "Content-Type: text/html; charset=utf-8")
        with pytest.raises(Unfit, match="too long"):
            plan(received, NOTICE)
        made = plan(received, NOTICE, link_length=400)
        link = b"h" * 400
        copy = b"".join(made.render(link))
        assert copy.endswith(cell.format(link.decode()).encode())
        assert longest_line(copy) <= 998
        with pytest.raises(ValueError, match="401 octets in a plan for 400"):
            made.render(link + b"h")


class TestWhatEditorsMakeOfIt:
    """`href="{{izinli_link}}"` is no URL, so that editors escape the braces."""

    @pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
    @pytest.mark.parametrize("target", [b"%7B%7Bizinli_link%7D%7D", b"%7b%7bizinli_link%7d%7D"])
    def test_the_link_takes_its_place(self, encoding: str, target: bytes) -> None:
        text = b'<p>\xc5\x9e</p><a href="' + target + b'">{{izinli_link}}</a>\r\n'
        body = {"base64": in_lines(text, 76), "quoted-printable": quoted(text)}.get(encoding, text)
        change = only(html(body, encoding))
        assert change.before == text
        assert change.after == text.replace(target, LINK).replace(PLACEHOLDER, LINK)

    def test_an_equals_sign_before_it_that_should_be_escaped_is_not_joined_with_a_line_end(self) -> None:
        for body in (b"<a href={{izinli_link}}>ret</a>\r\n", b"<p>a=</body>", b"<p>a=="):
            with pytest.raises(Unfit, match="ambiguously"):
                plan(html(body, "quoted-printable"), NOTICE)

    def test_many_in_one_line_are_counted_as_long_as_they_become(self) -> None:
        room = 998 - 2 * LINK_MAX
        line = b"%7B%7Bizinli_link%7D%7D{{izinli_link}}" + b"x" * room
        assert longest_line(render(html(line + b"\r\n"), link=b"h" * LINK_MAX)) == 998
        with pytest.raises(Unfit, match="too long"):
            plan(html(line + b"x\r\n"), NOTICE)


class TestSecondPassage:
    """A message that comes through again: no second notice, and nobody gets another's link."""

    OTHER = b"https://ret.example/r/" + b"Z" * 90

    @pytest.mark.parametrize("first", [LINK, OTHER])
    @pytest.mark.parametrize("charset", ["utf-8", "iso-8859-9", "us-ascii", "x-unheard-of"])
    @pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64"])
    @pytest.mark.parametrize("kind", ["plain", "html"])
    def test_the_new_link_takes_the_old_ones_place(self, kind: str, encoding: str, charset: str, first: bytes) -> None:
        text = b"metin\r\n" if kind == "plain" else b"<html><body><p>metin</p></body></html>\r\n"
        body = {"quoted-printable": quoted, "base64": lambda octets: in_lines(octets, 76)}.get(encoding, bytes)(text)
        fields = (f"Content-Type: text/{kind}; charset={charset}", f"Content-Transfer-Encoding: {encoding}")
        once = render(single(body, *fields), link=first)
        second = self.OTHER if first == LINK else LINK
        assert render(once, link=second) == render(single(body, *fields), link=second)

    def test_also_when_it_was_wrapped(self) -> None:
        picture = single(b"iVBORw0KGgo=\r\n", "Content-Type: image/png", "Content-Transfer-Encoding: base64")
        once = render(picture)
        again = render(once, link=self.OTHER)
        assert LINK not in again
        assert again.count(b"multipart/mixed") == 1
        assert [each.after.replace(self.OTHER, LINK) for each in grown(once, again)] == [
            each.before for each in grown(once, again)
        ]

    def test_also_when_somebody_wrote_below_it(self) -> None:
        text = only(plain(b"metin\r\n", "8bit")).after + b"\r\n_____\r\nliste@example.test\r\n"
        assert only(plain(text, "8bit"), self.OTHER).after == text.replace(LINK, self.OTHER)

    def test_also_when_it_was_encoded_anew_on_the_way(self) -> None:
        text = only(html(HTML.format("").encode())).after
        for encoding, body in (("quoted-printable", quoted(text)), ("base64", in_lines(text, 64))):
            assert only(html(body, encoding), self.OTHER).after == text.replace(LINK, self.OTHER)

    def test_behind_an_armor_but_not_in_it(self) -> None:
        armor = b"-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\n%b\r\n-----END PGP SIGNATURE-----\r\n"
        inside = armor % only(plain(b"", "8bit")).after
        once = only(plain(inside, "8bit")).after
        assert once.startswith(inside)
        assert once.count(LINK) == 2
        again = only(plain(once, "8bit"), self.OTHER).after
        assert again.startswith(inside)
        assert again == inside + once[len(inside) :].replace(LINK, self.OTHER)

    def test_where_no_reader_sees_it_it_does_not_count(self) -> None:
        hidden = b"<!-- " + only(html(b"<p>")).added + b" --><p>metin"
        change = only(html(hidden), self.OTHER)
        assert change.after.startswith(hidden)
        assert self.OTHER in change.added

    def test_the_notice_of_another_brand_is_not_ours(self) -> None:
        other = plan(plain(b"metin\r\n"), Notice(text="Başka Ltd.\n{link}", html="<p>Başka Ltd. {link}</p>"))
        once = b"".join(other.render(LINK))
        assert b"Ornek Pazarlama" in only(once, self.OTHER).added

    def test_a_part_full_of_notices_is_refused(self) -> None:
        text = only(plain(b"", "8bit")).after
        assert only(plain(text * PLACEHOLDERS_MAX, "8bit"), self.OTHER).after.count(self.OTHER) == PLACEHOLDERS_MAX
        with pytest.raises(Unfit, match="notices with more than"):
            plan(plain(text * (PLACEHOLDERS_MAX + 1), "8bit"), NOTICE)

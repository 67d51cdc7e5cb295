"""The notice of a brand, in mail and SMS, and what is said of a brand of which none can be made."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from filters.link import LinkMinter
from filters.mail import LINK, LINK_MAX, Notice, plan
from filters.model import Brand, Channel, RecipientType
from filters.notice import (
    INVARIANT,
    LINK_BASE_LENGTH_MAX,
    SMS_LINK_LENGTH_MAX,
    SMS_TEMPLATE,
    ascii_fold,
    check_brand,
    check_link_base,
    mail_html,
    mail_text,
    sms_prefix,
    sms_text,
)
from filters.sms import ALPHABETS, NOTICE_LENGTH_MAX, NOTICE_PARTS_MAX, RESERVE_MAX, Alphabet, notice_pieces

BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)
URL = b"https://ret.example.test/r/Ab3dEfGh1jKlMnOpQr"
LONG_TITLE = "Örnek Gıda Tarım Hayvancılık Sanayi ve Ticaret " * 4 + "Anonim Şirketi"


class Reader(HTMLParser):
    """What a browser makes of a block: its text, its links, whether every tag is closed."""

    def __init__(self, block: str) -> None:
        super().__init__()
        self.text, self.links, self.open = "", [""][:0], [""][:0]
        self.feed(block)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class TestMail:
    def test_the_text_says_who_speaks_and_where_to_refuse(self) -> None:
        assert mail_text(replace(BRAND, contact="0850 000 00 01"), LINK).split("\n") == [
            "-" * 40,
            "Örnek Market Ticaret A.Ş.",
            "Mersis: 0123456789000015",
            "İletişim: 0850 000 00 01",
            "Ticari ileti almak istemiyorsanız:",
            "{link}",
        ]
        assert "İletişim" not in mail_text(BRAND, LINK)

    def test_the_html_says_the_same(self) -> None:
        reader = Reader(mail_html(replace(BRAND, contact="info@example.test"), "https://ret.example.test/r/x"))
        assert reader.text == (
            "Örnek Market Ticaret A.Ş. · Mersis: 0123456789000015 · info@example.test"
            "Ticari ileti almak istemiyorsanız buraya tıklayın."
        )
        assert reader.links == ["https://ret.example.test/r/x"]
        assert reader.open == []

    def test_nothing_a_brand_says_of_itself_becomes_markup(self) -> None:
        nasty = """</div>"><script>alert('x')</script>&lt;<!--"""
        reader = Reader(mail_html(Brand(1, nasty, nasty, nasty, 1, nasty), 'https://ret.example.test/?a=1&b="><i>'))
        assert reader.text.count(nasty) == 3
        assert reader.links == ['https://ret.example.test/?a=1&b="><i>']
        assert reader.open == []

    @pytest.mark.parametrize("field", ["title", "contact"])
    def test_lines_stay_under_78_characters(self, field: str) -> None:
        brand = replace(BRAND, **{field: LONG_TITLE})  # type: ignore[arg-type]
        text = mail_text(brand, LINK)
        assert max(map(len, text.split("\n"))) < 78
        assert LONG_TITLE in text.replace("\n", " ")

    def test_a_notice_is_made_of_it(self) -> None:
        notice = Notice(mail_text(BRAND, LINK), mail_html(BRAND, LINK))
        message = (
            b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            b"\xc5\x9fimdi\r\n"
        )
        copy = b"".join(plan(message, notice).render(URL))
        assert "Örnek Market Ticaret A.Ş.\r\nMersis: 0123456789000015\r\n".encode() in copy
        assert copy.endswith(URL + b"\r\n")


class TestCheckBrand:
    @pytest.mark.parametrize(
        "brand",
        [
            BRAND,
            replace(BRAND, contact="info@example.test"),
            replace(BRAND, title=LONG_TITLE),
            replace(BRAND, title="L’Örnek & Oğulları <A.Ş.> {x}"),
            replace(BRAND, name=""),  # mail says the title; SMS has its own check
        ],
    )
    def test_a_brand_that_can_speak(self, brand: Brand) -> None:
        check_brand(brand)

    @pytest.mark.parametrize("field", ["title", "mersis", "contact"])
    @pytest.mark.parametrize("control", "\0\a\t\n\r\x1b\x7f\x85\u2028\u2029")
    def test_a_control_character_is_named(self, field: str, control: str) -> None:
        brand = replace(BRAND, **{field: f"a{control}b"})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"^the {field} holds the control character U\+{ord(control):04X}$"):
            check_brand(brand)

    @pytest.mark.parametrize("field", ["title", "mersis", "contact"])
    def test_a_second_place_for_the_link_is_refused(self, field: str) -> None:
        with pytest.raises(ValueError, match=f"the {field} must not hold"):
            check_brand(replace(BRAND, **{field: "a {link}"}))  # type: ignore[arg-type]

    @pytest.mark.parametrize("field", ["title", "mersis"])
    @pytest.mark.parametrize("text", ["", "  ", "\u00a0"])
    def test_who_is_speaking_must_be_said(self, field: str, text: str) -> None:
        with pytest.raises(ValueError, match=f"the {field} is empty"):
            check_brand(replace(BRAND, **{field: text}))  # type: ignore[arg-type]

    def test_a_word_that_no_line_of_mail_can_hold(self) -> None:
        with pytest.raises(ValueError, match="998 octets"):
            check_brand(replace(BRAND, title="x" * 1000))


class TestLinkBase:
    @pytest.mark.parametrize(
        "base",
        [
            "https://ret.example.com.tr/r/",
            "http://127.0.0.1:8080/r/",
            "https://ticari-ileti.ornek-market.example.com.tr/r/",
        ],
    )
    def test_a_base_that_will_do(self, base: str) -> None:
        check_link_base(base)

    @pytest.mark.parametrize("character", "_~@$[]&'\"<> \nıＡ")
    def test_a_character_that_does_not_arrive_as_it_is_is_refused(self, character: str) -> None:
        """`_` is `§` in GSM 03.38, `&` wants escaping in HTML, `'` ends an attribute."""
        with pytest.raises(ValueError, match="a reject link cannot hold"):
            check_link_base(f"https://ret.example.test/{character}/r/")

    def test_i4_the_longest_base_fits_the_longest_address(self) -> None:
        """Else a message to one long address would be put off for ever, and nobody would know why."""
        base = "https://" + "h" * (LINK_BASE_LENGTH_MAX - 11) + "/r/"
        check_link_base(base)
        with pytest.raises(ValueError, match=f"{LINK_BASE_LENGTH_MAX} are the limit"):
            check_link_base(base + "r")
        address = b"a" * 64 + b"@" + b".".join([b"b" * 63] * 3 + [b"c" * 8])
        minter = LinkMinter({7: bytes(32)}, 7)
        link = base.encode() + minter.mint(100001, Channel.EPOSTA, RecipientType.TACIR, address)
        assert len(link) == LINK_MAX
        copy = plan(b"\r\nx\r\n", Notice(mail_text(BRAND, LINK), mail_html(BRAND, LINK))).render(link)
        assert link in b"".join(copy)
        number = base.encode() + minter.mint(100001, Channel.MESAJ, RecipientType.TACIR, b"+4915550000001")
        assert len(number) == SMS_LINK_LENGTH_MAX


class TestSms:
    def test_the_default(self) -> None:
        assert sms_text(BRAND, URL) == b" Ornek Market Mersis 0123456789000015 RET " + URL
        assert sms_prefix(BRAND).replace(b"{link}", URL) == sms_text(BRAND, URL)

    def test_a_template_of_ones_own(self) -> None:
        template = "\n{mersis} {brand}: iptal için {link} (ücretsiz)"
        assert sms_text(BRAND, URL, template) == b"\n0123456789000015 Ornek Market: iptal icin " + URL + b" (ucretsiz)"

    def test_every_octet_means_the_same_in_every_alphabet(self) -> None:
        octets = bytes(INVARIANT)
        for codec in ("ascii", "iso8859-1", "iso8859-9", "cp1254", "utf-8"):
            assert octets.decode(codec) == octets.decode("ascii")
        # GSM 03.38 default and the Turkish locking shift table differ from ASCII here and nowhere else.
        assert INVARIANT.isdisjoint(b"$@[\\]^_`{|}~\x1b")
        assert INVARIANT | set(b"$@[\\]^_`{|}~") == {*range(32, 127), 10, 13}

    @pytest.mark.parametrize("template", [SMS_TEMPLATE, " {link} {brand}", "{link}{mersis}"])
    @pytest.mark.parametrize(
        "name", ["{link}", "a {link} b", "{mersis}", "{brand}", "{", "}", "{}", "{{link}}", "{link", "x_y", "A@B", "€@"]
    )
    def test_i3_a_name_with_braces_is_refused_and_not_filled_in(self, name: str, template: str) -> None:
        brand = replace(BRAND, name=name, mersis=name)
        with pytest.raises(ValueError, match="not the same in all SMS alphabets"):
            sms_prefix(brand, template)

    @pytest.mark.parametrize("name", ["Örnek Маркет", "例", "Örnek ™✓", "😀", "a\u200bb", "a\tb", "a\0b"])
    def test_a_name_that_would_be_question_marks_names_nobody(self, name: str) -> None:
        with pytest.raises(ValueError, match="not the same in all SMS alphabets"):
            sms_prefix(replace(BRAND, name=name))

    def test_the_character_named_is_the_one_that_has_no_look_alike(self) -> None:
        with pytest.raises(ValueError, match=r"the character 'К' is"):
            sms_prefix(replace(BRAND, name="Neden? Örnek КМ"))

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("Çağrı Şöför Üzüm İğne ışık", b"Cagri Sofor Uzum Igne isik"),
            ("Café L’Örnek", b"Cafe L'Ornek"),
            ("Neden olmasın?", b"Neden olmasin?"),
            ("Örnek & Oğlu – 1984®", b"Ornek & Oglu - 1984(r)"),
        ],
    )
    def test_names_are_shown_in_the_letters_there_are(self, name: str, shown: bytes) -> None:
        assert shown in sms_prefix(replace(BRAND, name=name))
        assert ascii_fold(name).encode() == shown

    @pytest.mark.parametrize(
        ("template", "complaint"),
        [
            ("{brand}", "exactly once"),
            ("", "exactly once"),
            ("{link} {link}", "exactly once"),
            ("{{link}}", "not the same"),
            ("{marka} {link}", r"unknown field \{marka\}; known: \{brand\} \{mersis\} \{shortcode\} \{link\}"),
            ("{} {link}", r"unknown field \{\}"),
            ("{brand!r} {link}", "not the same"),
            ("{Brand} {link}", "not the same"),
            ("[RET] {link}", r"the character '\['"),
            ("RET_{link}", "the character '_'"),
        ],
    )
    def test_a_template_that_cannot_be_used(self, template: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            sms_prefix(BRAND, template)

    @pytest.mark.parametrize("name", ["", " ", "\u00a0"])
    def test_who_is_speaking_must_be_said(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"\{brand\} is empty"):
            sms_prefix(replace(BRAND, name=name))
        with pytest.raises(ValueError, match=r"\{mersis\} is empty"):
            sms_prefix(replace(BRAND, mersis=name))
        assert sms_prefix(replace(BRAND, name=name), " Ornek {mersis} {link}")

    def test_i7_the_longest_notice_fits_three_segments_in_every_alphabet(self) -> None:
        room = NOTICE_LENGTH_MAX - SMS_LINK_LENGTH_MAX - len(" Mersis 0123456789000015 RET ") - 1
        longest = replace(BRAND, name="M" * room)
        link = b"h" * SMS_LINK_LENGTH_MAX
        notice = sms_text(longest, link)
        assert sms_prefix(longest).replace(b"{link}", link) == notice
        assert len(notice) == NOTICE_LENGTH_MAX
        for alphabet in set(ALPHABETS) - {None}:
            assert isinstance(alphabet, Alphabet)
            for kind in (0x00, 0x08):
                for reserve in range(RESERVE_MAX + 1):
                    assert (
                        len(notice_pieces(alphabet, kind, alphabet.encode(notice), reserve=reserve)) <= NOTICE_PARTS_MAX
                    )
        over = replace(BRAND, name="M" * (room + 1))
        complaint = f"can have {NOTICE_LENGTH_MAX + 1} characters with its link; {NOTICE_LENGTH_MAX} are the limit"
        with pytest.raises(ValueError, match=complaint):
            sms_prefix(over)
        with pytest.raises(ValueError, match=complaint):
            sms_text(over, link)
        assert sms_prefix(over, link_length=len(URL)).replace(b"{link}", URL) == sms_text(over, URL)

    def test_a_short_code_may_be_named(self) -> None:
        brand = replace(BRAND, shortcode="3338")
        assert sms_text(brand, URL, " RET: 3338'e RET yaz veya {link}") == b" RET: 3338'e RET yaz veya " + URL
        assert sms_text(brand, URL, " {shortcode} {link}") == b" 3338 " + URL
        with pytest.raises(ValueError, match=r"\{shortcode\} is empty, so the notice would not say where to refuse"):
            sms_prefix(BRAND, " {shortcode} {link}")

    def test_the_length_is_that_of_the_letters_there_are(self) -> None:
        room = NOTICE_LENGTH_MAX - SMS_LINK_LENGTH_MAX - len(" Mersis 0123456789000015 RET ") - 1
        with pytest.raises(ValueError, match="are the limit"):
            sms_prefix(replace(BRAND, name="ß" * room))  # becomes ss

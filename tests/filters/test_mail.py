"""Plans and copies: the header section, wrapping, what is refused, what an informational message gets."""

from __future__ import annotations

import email

import pytest

from filters.mail import LINK_MAX, Notice, Unfit, plan, untouched
from filters.model import Sealed
from gateway import limits
from tests.filters.mailtree import LINK, NOTICE, grown, header_items, message, multipart, part, render, single, tree

PLAIN = b"From: a@example.test\r\nSubject: x\r\n\r\nfirst\r\n.\r\nlast\r\n"
ONE_CLICK = ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")


def lower_names(copy: bytes) -> list[str]:
    return [name.lower() for name, _ in header_items(copy)]


def test_i6_a_copy_is_the_message_with_two_fields_on_top_and_the_notice_at_the_end() -> None:
    copy = render(PLAIN)
    top = b"List-Unsubscribe: <" + LINK + b">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    assert copy.startswith(top + PLAIN + b"\r\n")
    notice = copy[len(top + PLAIN) :]
    assert notice == (
        b"\r\n--\r\nOrnek Pazarlama A.S. * Istanbul\r\nMersis: 0123456789000015\r\n"
        b"Reddetmek icin: " + LINK + b"\r\nFrom bizden\r\n"
    )


def test_i3_each_copy_holds_its_own_link_and_no_other() -> None:
    both = message(
        multipart(
            "alternative",
            "b",
            part(b"metin", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64").replace(
                b"metin", b"bWV0aW4="
            ),
            part(b"<p>metin</p>", "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable"),
        )
    )
    made = plan(both, NOTICE)
    links = [b"https://ret.example/r/%d" % number for number in range(11, 14)]
    copies = [b"".join(made.render(link)) for link in links]
    for link, copy in zip(links, copies, strict=True):
        seen = b"".join(node.content or b"" for node in tree(copy)) + copy
        assert seen.count(link) == 4  # header field, plain text, HTML decoded, HTML as it stands
        assert not any(other in seen for other in links if other != link)


def test_rendering_leaves_the_plan_as_it_was() -> None:
    made = plan(PLAIN, NOTICE)
    first = made.render(LINK, b"X-First: 1\r\n")
    made.render(b"https://ret.example/r/other", b"X-Second: 2\r\n")
    assert made.render(LINK, b"X-First: 1\r\n") == first


def test_extra_fields_come_first() -> None:
    copy = b"".join(plan(PLAIN, NOTICE).render(LINK, b"X-Trace: 1\r\n"))
    assert copy.startswith(b"X-Trace: 1\r\nList-Unsubscribe: <")


@pytest.mark.parametrize(
    "link",
    [
        b"",
        b"https://ret.example/\r\nBcc: a@example.test",
        b"https://x/?a&b",
        b'https://x/"',
        b"https://x/ y",
        b"https://x/>",
        b"https://x/\xc3\xa7",
        b"https://x/'",
        b"h" * (LINK_MAX + 1),
    ],
)
def test_a_link_that_could_break_out_of_its_place_is_our_own_fault(link: bytes) -> None:
    with pytest.raises(ValueError, match="ASCII URL"):
        plan(PLAIN, NOTICE).render(link)


@pytest.mark.parametrize("length", [1, 40, 75, 76, 77, 200, LINK_MAX])
def test_i7_a_copy_grows_by_no_more_than_the_door_keeps_free(length: int) -> None:
    for received in (
        PLAIN,
        single(b"=C5=9Fimdi", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable"),
        single(b"xZ9pbWRp\r\n", "Content-Type: text/html; charset=utf-8", "Content-Transfer-Encoding: base64"),
    ):
        made = plan(received, NOTICE)
        for link in (b"h" * length, b"=" * length, (b"h=" * length)[:length]):
            copy = b"".join(made.render(link))
            assert 0 < len(copy) - len(received) <= limits.SMTP_GROWTH


class TestUnsubscribeFields:
    def test_at_most_one_field_of_each_name_results(self) -> None:
        received = (
            b"Received: by mx\r\nLIST-Unsubscribe : <https://esp.example/u?1>,\r\n\t<mailto:out@example.test?subject=a>\r\n"
            b"From: a@example.test\r\nlist-unsubscribe-post: List-Unsubscribe=One-Click\r\n"
            b"List-Unsubscribe: <mailto:second@example.test>\r\n\r\ntext\r\n"
        )
        copy = render(received)
        names = lower_names(copy)
        assert names == ["list-unsubscribe", "list-unsubscribe-post", "received", "from"]
        parsed = email.message_from_bytes(copy)
        assert parsed["List-Unsubscribe"].split() == [f"<{LINK.decode()}>,", "<mailto:out@example.test?subject=a>"]
        assert parsed["List-Unsubscribe-Post"] == ONE_CLICK[1]
        assert b"esp.example" not in copy

    def test_a_neighbour_with_a_longer_name_stays(self) -> None:
        received = b"List-Unsubscribe-Hint: x\r\nX-List-Unsubscribe: y\r\nList-Id: <z>\r\n\r\ntext\r\n"
        assert lower_names(render(received))[2:] == ["list-unsubscribe-hint", "x-list-unsubscribe", "list-id"]

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"nonsense",
            b"mailto:a@example.test",
            b"<http://x>",
            b"<mailto:>",
            b"<mailto:\xc3\xa7@x>",
            b"<mailto:" + b"a" * 900 + b"@x>",
            b"<<mailto:a\x01@x>>",
        ],
    )
    def test_a_mailto_that_is_none_is_not_kept(self, value: bytes) -> None:
        copy = render(b"List-Unsubscribe: " + value + b"\r\nSubject: x\r\n\r\ntext\r\n")
        assert copy.startswith(b"List-Unsubscribe: <" + LINK + b">\r\nList-Unsubscribe-Post: ")
        assert lower_names(copy).count("list-unsubscribe") == 1

    def test_blanks_inside_the_brackets_mean_nothing(self) -> None:
        copy = render(b"List-Unsubscribe: <mailto:a@\r\n example.test >\r\n\r\ntext\r\n")
        assert b",\r\n <mailto:a@example.test>\r\n" in copy

    def test_fields_of_that_name_in_parts_and_text_are_not_the_messages(self) -> None:
        received = message(
            multipart(
                "mixed",
                "b",
                part(b"List-Unsubscribe: <mailto:x@x>", "Content-Type: text/plain", "List-Unsubscribe: <y>"),
            )
        )
        copy = render(received)
        assert copy.count(b"List-Unsubscribe: <y>") == 1
        assert b",\r\n <mailto" not in copy

    def test_lines_stay_below_the_limit_with_the_longest_link_and_mailto(self) -> None:
        uri = b"mailto:" + b"a" * 893
        copy = render(b"List-Unsubscribe: <" + uri + b">\r\n\r\ntext\r\n", link=b"h" * LINK_MAX)
        assert uri in copy
        assert max(map(len, copy.split(b"\r\n"))) <= 998


class TestTop:
    """Where the header section begins, and what a message without one gets."""

    def test_a_message_without_header_section_stays_all_text(self) -> None:
        received = b" folded like a continuation\r\nhello\r\n"
        copy = render(received)
        assert lower_names(copy) == ["list-unsubscribe", "list-unsubscribe-post"]
        assert (email.message_from_bytes(copy).get_payload(decode=True) or b"").startswith(received)  # type: ignore[union-attr]

    def test_an_empty_header_section(self) -> None:
        assert b"One-Click\r\n\r\ntext\r\n\r\n--\r\n" in render(b"\r\ntext\r\n")

    def test_a_header_section_without_body(self) -> None:
        copy = render(b"Subject: x\r\n")
        assert copy.count(b"\r\n\r\n") == 1
        assert b"Subject: x\r\n\r\n--\r\n" in copy
        assert copy.endswith(b"From bizden\r\n")

    def test_an_empty_message(self) -> None:
        copy = render(b"")
        assert lower_names(copy) == ["list-unsubscribe", "list-unsubscribe-post"]
        assert copy.endswith(b"From bizden\r\n")

    def test_an_empty_body(self) -> None:
        assert b"Subject: x\r\n\r\n--\r\n" in render(b"Subject: x\r\n\r\n")

    @pytest.mark.parametrize("line", [b"From a@example.test Tue Nov 24 05:00:00 2026\r\n", b">From a\r\n"])
    def test_a_mailbox_line_stays_first(self, line: bytes) -> None:
        copy = render(line + PLAIN)
        assert copy.startswith(line + b"List-Unsubscribe: <")
        assert untouched(line + PLAIN, b"X-Trace: 1\r\n") == [line, b"X-Trace: 1\r\n", PLAIN]

    def test_a_broken_header_section_is_refused(self) -> None:
        with pytest.raises(Unfit, match="broken off"):
            plan(b"Subject: x\r\nno field\r\n\r\ntext\r\n", NOTICE)


class TestUntouched:
    def test_i6_without_trace_the_very_same_object(self) -> None:
        assert untouched(PLAIN, b"")[0] is PLAIN

    @pytest.mark.parametrize("received", [PLAIN, b"\r\ntext\r\n", b"", b"Subject: x\r\n"])
    def test_i6_the_trace_field_comes_first_and_the_rest_is_the_same(self, received: bytes) -> None:
        assert b"".join(untouched(received, b"X-Trace: 1\r\n")) == b"X-Trace: 1\r\n" + received

    @pytest.mark.parametrize(
        "received", [b" begins like a folded line\r\n", b"hello\r\n", b"From nowhere\r\nhello\r\n"]
    )
    def test_i6_a_text_without_header_section_does_not_become_part_of_ours(self, received: bytes) -> None:
        parsed = email.message_from_bytes(b"".join(untouched(received, b"X-Trace: 1\r\n")))
        assert parsed.items() == [("X-Trace", "1")]
        assert parsed.get_payload(decode=True) == received


SIGNED = multipart(
    'signed; protocol="application/pgp-signature"; micalg=pgp-sha256',
    "sig",
    part(b"Merhaba \xc5\x9f\r\n", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"),
    part(b"-----BEGIN PGP SIGNATURE-----\r\n", 'Content-Type: application/pgp-signature; name="s.asc"'),
)


class TestWrapping:
    """Messages no part of which may take the notice."""

    @pytest.mark.parametrize(
        "received",
        [
            single(
                b"iVBORw0KGgo=\r\n",
                'Content-Type: image/png; name="a.png"',
                "Content-Transfer-Encoding: base64",
                "Content-Id: <1>",
            ),
            single(b"text\r\n", "Content-Type: text/plain", "Content-Disposition: attachment; filename=a.txt"),
            single(b"BEGIN:VCALENDAR\r\n", "Content-Type: text/calendar; method=REQUEST"),
            single(b"x", "Content-Type: message/rfc822").replace(b"\r\n\r\nx", b"\r\n\r\nSubject: inner\r\n\r\nx"),
            single(b"\xff\xd8", "Content-Type: image/jpeg", "Content-Transfer-Encoding: binary"),
            b"Content-Type: image/png\r\n",
            b"Content-Type: image/png",
            message(SIGNED),
            message(multipart("mixed", "b", SIGNED)),
            message(multipart("alternative", "b", part(b"<p>", "Content-Type: text/html"), SIGNED)),
            message(multipart("related", "b", part(b"x", "Content-Type: image/png"))),
            message(multipart("mixed", "b", part(b"%PDF", "Content-Type: application/pdf"), closed=False)),
        ],
    )
    def test_the_body_becomes_the_first_of_two_parts_unchanged(self, received: bytes) -> None:
        copy = render(received)
        outer = email.message_from_bytes(copy)
        assert outer.get_content_type() == "multipart/mixed"
        assert not outer.defects
        assert outer["MIME-Version"] == "1.0"
        kept, added = outer.get_payload()
        before = email.message_from_bytes(received)
        assert kept.items() == [item for item in before.items() if item[0].lower().startswith("content-")]  # type: ignore[union-attr]
        boundary = outer.get_boundary()
        _, _, body = received.partition(b"\r\n\r\n")
        assert boundary
        assert boundary.encode() not in received
        assert b"\r\n\r\n" + body + b"\r\n--" + boundary.encode() + b"\r\n" in copy
        text = added.get_payload(decode=True).decode()  # type: ignore[union-attr]
        assert "Örnek Pazarlama A.Ş. • İstanbul" in text
        assert LINK.decode() in text
        assert copy.isascii() == received.isascii()

    def test_a_signature_still_covers_the_same_octets(self) -> None:
        assert SIGNED in render(message(SIGNED))

    def test_the_outer_part_is_as_wide_as_the_inner(self) -> None:
        received = single(b"\xff\r\n", "Content-Type: image/jpeg", "Content-Transfer-Encoding: 8bit")
        assert email.message_from_bytes(render(received))["Content-Transfer-Encoding"] == "8bit"

    def test_mime_version_is_not_given_twice(self) -> None:
        assert lower_names(render(single(b"x\r\n", "Content-Type: image/png"))).count("mime-version") == 1
        assert lower_names(render(b"Content-Type: image/png\r\n\r\nx\r\n")).count("mime-version") == 1

    @pytest.mark.parametrize(
        "entity",
        [
            multipart(
                "encrypted; protocol=application/pgp-encrypted",
                "e",
                part(b"Version: 1", "Content-Type: application/pgp-encrypted"),
            ),
            part(
                b"MIAGCSqGSIb3",
                "Content-Type: application/pkcs7-mime; smime-type=enveloped-data",
                "Content-Transfer-Encoding: base64",
            ),
            part(b"MIAGCSqGSIb3", "Content-Type: Application/X-PKCS7-Mime"),
            multipart("report; report-type=delivery-status", "r", part(b"failed", "Content-Type: text/plain")),
            part(b"rest", 'Content-Type: message/partial; id="a"; number=2'),
            multipart("mixed", "m", part(b"MIAGCSqGSIb3", "Content-Type: application/pkcs7-mime; name=smime.p7m")),
            multipart(
                "alternative",
                "m",
                part(b"a", "Content-Type: text/plain"),
                part(b"M", "Content-Type: application/pkcs7-mime"),
            ),
        ],
    )
    def test_what_cannot_be_wrapped_is_refused(self, entity: bytes) -> None:
        with pytest.raises(Unfit, match="cannot carry"):
            plan(message(entity), NOTICE)


class TestPolicy:
    """What may happen to mail that nobody may change (`Sealed`)."""

    ENCRYPTED = multipart(
        "encrypted; protocol=application/pgp-encrypted",
        "e",
        part(b"Version: 1", "Content-Type: application/pgp-encrypted"),
        part(b"-----BEGIN PGP MESSAGE-----", "Content-Type: application/octet-stream"),
    )
    SMIME = part(b"MIAGCSqGSIb3", "Content-Type: application/pkcs7-mime; name=smime.p7m; smime-type=enveloped-data")
    BOTH = multipart("mixed", "m", SIGNED, ENCRYPTED)

    def copy(self, received: bytes, **policy: Sealed) -> bytes:
        return b"".join(plan(received, NOTICE, **policy).render(LINK))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("entity", "key"),
        [
            (SIGNED, "signed"),
            (multipart("mixed", "m", SIGNED), "signed"),
            (multipart("alternative", "m", part(b"a"), SIGNED), "signed"),
            (ENCRYPTED, "encrypted"),
            (SMIME, "encrypted"),
            (multipart("mixed", "m", SMIME), "encrypted"),
            (multipart("alternative", "m", part(b"a"), SMIME), "encrypted"),
            (BOTH, "encrypted"),
        ],
    )
    def test_each_has_a_key_of_its_own(self, entity: bytes, key: str) -> None:
        received = message(entity)
        other = {"signed": "encrypted", "encrypted": "signed"}[key]
        for rest in Sealed:
            with pytest.raises(Unfit, match=f"{key} mail cannot carry"):
                self.copy(received, **{key: Sealed.REFUSE, other: rest})
            top = b"List-Unsubscribe: <" + LINK + b">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            assert self.copy(received, **{key: Sealed.HEADERS, other: rest}) == top + received
            wrapped = self.copy(received, **{key: Sealed.WRAP, other: rest})
            assert email.message_from_bytes(wrapped).get_content_type() == "multipart/mixed"
            assert entity in wrapped
            assert wrapped.count(LINK) == 2

    def test_text_beside_it_takes_the_notice_whatever_the_policy(self) -> None:
        received = message(multipart("mixed", "m", part(b"metin", "Content-Type: text/plain"), self.BOTH))
        copies = {self.copy(received, signed=signed, encrypted=other) for signed in Sealed for other in Sealed}
        (copy,) = copies
        assert self.BOTH in copy
        assert [each.type for each in grown(received, copy)] == ["text/plain"]

    def test_it_is_none_of_the_business_of_other_mail(self) -> None:
        received = single(b"x\r\n", "Content-Type: image/png")
        assert self.copy(received, signed=Sealed.REFUSE, encrypted=Sealed.HEADERS) == render(received)


def test_other_header_fields_keep_their_order_and_octets() -> None:
    received = b"Subject:a\r\nX-Long: " + b"y" * 900 + b"\r\nSubject:  =?utf-8?q?=C5=9F?=\r\n two\r\n\r\ntext\r\n"
    copy = render(received)
    assert header_items(copy)[2:] == header_items(received)
    assert [each.type for each in grown(received, copy)] == ["text/plain"]


def test_two_brands_do_not_get_each_others_notice() -> None:
    other = Notice(text="Başka Ltd.\n{link}", html="<p>Başka Ltd. {link}</p>")
    assert b"Baska Ltd." in render(PLAIN, other)
    assert b"Baska Ltd." not in render(PLAIN)

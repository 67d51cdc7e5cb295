"""Messages as real programs make them: what each becomes, proven for every one of them.

`corpus/NAME.eml` are messages of invented people, byte by byte as they would arrive (CRLF, no stuffed dots);
`corpus/golden/NAME.eml` are whole copies of some of them, to be read beside the original.
"""

from __future__ import annotations

import email
import re
from email.message import Message
from pathlib import Path

import pytest

from filters.dots import line_fault
from filters.mail import PLACEHOLDER, Unfit, declare, plan
from filters.model import Sealed
from tests.filters.mailtree import LINK, NOTICE, grown, render, tree

CORPUS = Path(__file__).parent / "corpus"
OTHER = b"https://ret.example/r/Zz9Yy8Xx7Ww6Vv5Uu4"
ESCAPED = b"%7B%7Bizinli_link%7D%7D"
OWN_FIELDS = ("list-unsubscribe", "list-unsubscribe-post")

# The parts that get the notice; "wrapped" where the message becomes the first of two parts.
TAKEN = {
    "apple-mail-flowed": "plain",
    "apple-mail-html-around-pdf": "plain html",
    "bare-text": "plain",
    "base64-cut-off": "html",
    "base64-one-long-line": "html",
    "boundary-broken": "wrapped",
    "boundary-never-closed": "plain html",
    "boundary-prefix-of-another": "plain html",
    "boundary-with-blanks-and-epilogue": "plain html",
    "calendar-alone": "wrapped",
    "calendar-invitation": "plain html",
    "content-type-twice-the-same": "html",
    "content-type-with-comments": "html",
    "crlf-oddities": "plain",
    "digest": "wrapped",
    "dkim-signed": "plain",
    "empty-body": "plain",
    "empty-html-alternative": "plain html",
    "esp-amp": "plain html",
    "esp-newsletter-8bit": "plain html",
    "folded-and-odd-fields": "plain",
    "forwarded-message": "plain",
    "gmail-alternative-base64": "plain html",
    "headers-only": "plain",
    "html-with-scripts": "html",
    "list-footer-behind-signed": "plain",
    "mbox-line-first": "plain",
    "outlook-alternative-windows-1254": "plain html",
    "outlook-mixed-related-attachment": "plain html",
    "pgp-inline-encrypted": "plain",
    "pgp-inline-signed": "plain",
    "pgp-mime-signed": "wrapped",
    "php-mail-iso-8859-9": "plain",
    "phpmailer-html-base64": "html",
    "phpmailer-mixed": "plain html",
    "picture-alone": "wrapped",
    "placeholder-everywhere": "plain html",
    "placeholder-in-one-part": "plain html",
    "python-email": "plain html",
    "quoted-printable-soft-breaks": "html",
    "rfc-2231-file-name": "plain",
    "smime-signed": "wrapped",
    "uuencoded-in-text": "plain",
    "very-long-lines": "html",
}
REFUSED = {
    "base64-with-a-list-footer": "not valid base64",
    "boundary-missing": "no usable boundary",
    "content-type-twice-different": "two different content-type fields",
    "delivery-report": "multipart/report cannot carry",
    "header-broken-off": "broken off",
    "pgp-mime-encrypted": "encrypted mail cannot carry",
    "rfc-2231-boundary": "RFC 2231",
    "smime-encrypted": "encrypted mail cannot carry",
    "smime-signed-opaque": "encrypted mail cannot carry",
    "utf-16": "does not contain ASCII",
    "uuencode-as-encoding": "unknown transfer encoding",
}
# What may not change in these is a signature, or what a signature covers.
SEALED = ("smime-signed", "pgp-mime-signed", "list-footer-behind-signed")
GOLDEN = ("outlook-mixed-related-attachment", "esp-newsletter-8bit", "apple-mail-flowed", "smime-signed")


def received(name: str) -> bytes:
    return (CORPUS / f"{name}.eml").read_bytes()


def fields(message: bytes) -> list[bytes]:
    """The header section, field by field, as octets; an mbox line counts as one."""
    section = message.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n")
    return re.split(rb"\r\n(?![ \t])", section)


def texts(message: bytes) -> list[tuple[str, str]]:
    """Type and text of what is neither attached nor inside another message, as a reader is shown it."""
    found = []
    closed: set[int] = set()
    for part in email.message_from_bytes(message).walk():
        if id(part) in closed or part.get_content_type() in ("message/rfc822", "multipart/signed"):
            closed |= {id(one) for one in part.walk()}
        elif (
            part.get_content_type().startswith(("text/plain", "text/html"))
            and not part.get_filename()
            and part.get_content_disposition() != "attachment"
        ):
            found.append((part.get_content_type()[5:].partition(" ")[0], shown(part)))
    return found


def shown(part: Message) -> str:
    text = bytes(part.get_payload(decode=True) or b"")  # type: ignore[arg-type]
    charset = part.get_content_charset("utf-8")
    # The standard library takes a charset out of a comment; and one message is cut off in the middle of a letter.
    return text.decode("utf-8" if charset.startswith(("us-ascii", "utf-16")) else charset, "replace")


def test_every_message_is_in_one_table() -> None:
    assert {path.stem for path in CORPUS.glob("*.eml")} == TAKEN.keys() | REFUSED.keys()
    assert len(TAKEN) + len(REFUSED) >= 50


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_carry_the_notice_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(Unfit, match=REFUSED[name]):
        plan(received(name), NOTICE)


@pytest.mark.parametrize("name", TAKEN)
class TestTaken:
    def test_i6_the_tree_is_the_same_but_for_the_notice(self, name: str) -> None:
        """`render` proves that taking the declared edits back gives the octets that came."""
        message = received(name)
        copy = render(message)
        if TAKEN[name] == "wrapped":
            before, after = tree(message), tree(copy)
            assert (after[0].type, len(after)) == ("multipart/mixed", len(before) + 2)
            # Of a multipart without a delimiter the reader takes the last line end for one of the lines.
            contents = [[(node.content or b"").rstrip(b"\r\n") for node in nodes] for nodes in (before, after[1:-1])]
            assert contents[0] == contents[1]
            body = message.partition(b"\r\n\r\n")[2]
            assert body in copy
            return
        changes = grown(message, copy)
        assert " ".join(change.type[5:].partition(" ")[0] for change in changes) == TAKEN[name]
        for change in changes:
            if PLACEHOLDER not in change.before and ESCAPED not in change.before:
                assert change.added.count(LINK) == 1

    def test_a_reader_is_shown_the_notice_and_the_link_once_in_each_form(self, name: str) -> None:
        forms = texts(render(received(name)))
        if TAKEN[name] == "wrapped":
            forms = forms[-1:]
        saying = [(kind, text) for kind, text in forms if LINK.decode() in text]
        assert [kind for kind, _ in saying] == TAKEN[name].replace("wrapped", "plain").split()
        for kind, text in saying:
            assert text.count(LINK.decode()) == 1
            assert text.count("0123456789000015") == (0 if "placeholder-in-one" in name and kind == "html" else 1)
            assert PLACEHOLDER.decode() not in text
            assert ESCAPED.decode() not in text
            if kind == "html" and "</body>" in text and name != "html-with-scripts":
                assert text.index(LINK.decode()) < text.rindex("</body>")

    def test_header_fields_are_the_same_but_for_the_declared_ones(self, name: str) -> None:
        message = received(name)
        before, after = fields(message), fields(render(message))
        if name == "mbox-line-first":
            assert after[0] == before[0]
            del before[0], after[0]
        assert [field.partition(b":")[0].decode().lower() for field in after[:2]] == list(OWN_FIELDS)
        moved = (*OWN_FIELDS, "content-", "mime-version") if TAKEN[name] == "wrapped" else OWN_FIELDS
        left = [field for field in before if not field.lower().startswith(tuple(one.encode() for one in moved))]
        assert [
            field for field in after[2:] if not field.lower().startswith(tuple(one.encode() for one in moved))
        ] == left
        if TAKEN[name] != "wrapped":
            assert after[2:] == left
        assert sum(field.lower().startswith(b"list-unsubscribe") for field in after) == 2

    def test_copies_for_many_differ_in_the_link_alone(self, name: str) -> None:
        message = received(name)
        made = plan(message, NOTICE)
        links = [b"https://ret.example/r/%018d" % number for number in range(100)]
        copies = [made.render(link) for link in links]
        holes = [index for index, pieces in enumerate(zip(*copies, strict=True)) if len(set(map(bytes, pieces))) > 1]
        assert len(holes) == sum(len(edit.segments) - 1 for edit in declare(message, NOTICE))
        for link, pieces in zip(links, copies, strict=True):
            mine = [(node.type, (node.content or b"").replace(link, LINK)) for node in tree(b"".join(pieces))]
            assert mine == [(node.type, node.content or b"") for node in tree(render(message))]
            assert b"".join(pieces).count(link) >= 1

    def test_a_second_passage_puts_the_new_link_into_the_same_places(self, name: str) -> None:
        if PLACEHOLDER in b"".join(node.content or b"" for node in tree(received(name))):
            return  # a link alone does not say whose it is; see test_a_filled_placeholder_is_no_notice
        once = render(received(name))
        again = render(once, link=OTHER)
        assert [node._replace(boundary=None) for node in tree(again)] == [
            node._replace(boundary=None) for node in tree(render(received(name), link=OTHER))
        ]
        assert LINK not in b"".join(node.content or b"" for node in tree(again))

    def test_no_line_gets_a_fault(self, name: str) -> None:
        message = received(name)
        copy = render(message)
        assert line_fault(copy) == line_fault(message)
        assert copy.isascii() or not message.isascii()


def test_a_filled_placeholder_is_no_notice() -> None:
    once = render(received("placeholder-in-one-part"))
    (_, html) = texts(render(once, link=OTHER))
    assert OTHER.decode() in html[1]
    assert "0123456789000015" in html[1]


@pytest.mark.parametrize("name", SEALED)
def test_what_a_signature_covers_is_not_touched(name: str) -> None:
    message = received(name)
    begin = message.index(b"multipart/signed")
    boundary = re.search(rb'boundary="([^"]+)"', message[begin:])
    assert boundary
    first = message.index(b"\r\n--" + boundary[1], begin)
    last = message.index(b"--" + boundary[1] + b"--", first)
    assert message[first:last] in render(message)


@pytest.mark.parametrize("name", ["smime-encrypted", "smime-signed-opaque", "pgp-mime-encrypted"])
def test_what_is_encrypted_is_not_touched(name: str) -> None:
    message = received(name)
    body = message.partition(b"\r\n\r\n")[2]
    headers = b"".join(plan(message, NOTICE, encrypted=Sealed.HEADERS).render(LINK))
    assert headers.endswith(message)
    assert headers.count(LINK) == 1
    wrapped = b"".join(plan(message, NOTICE, encrypted=Sealed.WRAP).render(LINK))
    assert body in wrapped
    assert wrapped.count(LINK) == 2


@pytest.mark.parametrize("name", ["pgp-inline-signed", "pgp-inline-encrypted"])
def test_an_armor_in_the_text_is_not_touched(name: str) -> None:
    body = received(name).partition(b"\r\n\r\n")[2]
    assert b"\r\n\r\n" + body + b"\r\n--\r\n" in render(received(name))


@pytest.mark.parametrize("name", GOLDEN)
def test_whole_copies(name: str) -> None:
    assert render(received(name)) == (CORPUS / "golden" / f"{name}.eml").read_bytes()

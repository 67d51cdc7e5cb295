"""Promise I6 for mail: nothing but the declared edits changes, whatever the message is like.

Messages are built from a drawn structure; what must happen follows from the structure, what did happen is read by
the standard library's `email`, which shares no code with ours.
"""

from __future__ import annotations

import base64
import random
import re
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.dots import LINE_MAX, find_end, line_fault, stuff, unstuff
from filters.mail import LINK_MAX, PLACEHOLDER, Unfit, plan, untouched
from gateway import limits
from tests.filters.mailtree import LINK, NOTICE, grown, render, tree

COMMENT = re.compile(rb"<!--(?:>|->|.*?-->|.*\Z)", re.DOTALL)
TURKISH = ("utf-8", "iso-8859-9", "windows-1254")
STEADY = settings(derandomize=True, deadline=None)


@dataclass
class Leaf:
    kind: str
    charset: str
    encoding: str
    text: bytes
    raw: bytes
    attached: bool = False
    extra: tuple[str, ...] = ()

    def octets(self) -> bytes:
        fields = [f"Content-Type: {self.kind}; charset={self.charset}", f"Content-Transfer-Encoding: {self.encoding}"]
        if self.attached:
            fields.append("Content-Disposition: attachment")
        return "".join(f"{each}\r\n" for each in (*fields, *self.extra)).encode() + b"\r\n" + self.raw

    def shown(self) -> list[Leaf]:
        return [self] if self.kind in ("text/plain", "text/html") and not self.attached else []

    def leaves(self) -> list[Leaf]:
        return [self]


@dataclass
class Multi:
    kind: str
    boundary: str
    children: list[Leaf | Multi]
    preamble: bytes = b""
    epilogue: bytes = b""
    closed: bool = True
    blanks: bytes = field(default=b"")

    def octets(self) -> bytes:
        delimiter = b"--" + self.boundary.encode()
        head = f'Content-Type: multipart/{self.kind};\r\n\tboundary="{self.boundary}"\r\n\r\n'.encode()
        body = b"\r\n".join(delimiter + self.blanks + b"\r\n" + child.octets() for child in self.children)
        return head + self.preamble + body + (b"\r\n" + delimiter + b"--" + self.epilogue if self.closed else b"")

    def shown(self) -> list[Leaf]:
        if self.kind == "signed":
            return []
        if self.kind == "alternative":
            sealed = any(isinstance(child, Multi) and child.kind == "signed" for child in self.children)
            return [] if sealed else [leaf for child in self.children for leaf in child.shown()]
        if self.kind == "related":
            return self.children[0].shown()
        return next((found for child in self.children if (found := child.shown())), [])

    def leaves(self) -> list[Leaf]:
        return [leaf for child in self.children for leaf in child.leaves()]


def in_quoted_printable(text: bytes, width: int, escaping: float, seed: int) -> bytes:
    """Any legal spelling: characters escaped without need, soft breaks anywhere, hex digits in both cases."""
    chance = random.Random(seed)
    out = bytearray()
    column = 0
    for index, octet in enumerate(text):
        ends_line = text[index + 1 : index + 3] in (b"\r\n", b"")
        if text[index : index + 2] == b"\r\n" or text[max(0, index - 1) : index + 1] == b"\r\n":
            out.append(octet)
            column = 0
            continue
        must = octet == 0x3D or not 32 <= octet < 127 or (octet == 32 and ends_line)
        token = bytes((octet,))
        if must or chance.random() < escaping:
            token = (b"=%02X" if chance.random() < 0.7 else b"=%02x") % octet
        if column + len(token) > width:
            out += b"=\r\n"
            column = 0
        out += token
        column += len(token)
    return bytes(out)


PROSE = (
    "Merhaba",
    "İstanbul'da ışıl ışıl",
    " ",
    "=",
    "==",
    ".",
    "\r\n",
    "\r\n.",
    "From ",
    "-- ",
    "x" * 130,
    "{{",
    "ş",
    "é",
)
MARKUP = ("<p>", "</body>", "</BODY >", "</html>", "</Html\r\n>", "<!--", "-->", "</bodyx>", "<!-- </body> -->")
FRAGMENTS = st.sampled_from([*PROSE, *MARKUP, PLACEHOLDER.decode()])


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    kind = draw(st.sampled_from(["text/plain", "text/html", "text/html", "image/png", "text/calendar"]))
    charset = draw(st.sampled_from([*TURKISH, "us-ascii", "iso-8859-1", "x-unknown"]))
    encoding = draw(st.sampled_from(["7bit", "8bit", "quoted-printable", "base64", "BASE64", "Quoted-Printable"]))
    codec = charset if charset in TURKISH and encoding != "7bit" else "ascii"
    text = "".join(draw(st.lists(FRAGMENTS, max_size=12))).encode(codec, "replace")
    raw = text
    if encoding.lower() == "quoted-printable":
        width = draw(st.integers(3, 75))
        raw = in_quoted_printable(text, width, draw(st.sampled_from([0.0, 0.3, 1.0])), draw(st.integers(0, 99)))
        raw += draw(st.sampled_from([b"", b"=\r\n", b"\r\n"]))
    elif encoding.lower() == "base64":
        width = draw(st.sampled_from([4, 20, 60, 76, 77, 500]))
        encoded = base64.b64encode(text)
        raw = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
        raw += draw(st.sampled_from([b"", b"\r\n", b"\r\n\r\n"]))
    extra = ("X-Folded: a\r\n\tb",) if draw(st.booleans()) else ()
    return Leaf(kind, charset, encoding, text, raw, draw(st.integers(0, 9)) == 0, extra)


@st.composite
def entities(draw: st.DrawFn, boundary: str = "=_b", depth: int = 0) -> Leaf | Multi:
    if depth == 4 or draw(st.integers(0, 3)) < 2:
        return draw(leaves())
    kind = draw(st.sampled_from(["alternative", "mixed", "related", "signed", "x-unknown"]))
    inner = draw(st.sampled_from([boundary + "1", boundary + "-", boundary + "--x", boundary + " 2"]))
    count = draw(st.integers(1, 4))
    children = [draw(entities(f"{inner}{index}", depth + 1)) for index in range(count)]
    closed = draw(st.integers(0, 5)) > 0
    preamble = draw(st.sampled_from([b"", b"preamble\r\n", b"\r\n"]))
    epilogue = draw(st.sampled_from([b"", b"\r\nepilogue", b"\r\n"])) if closed else b""
    return Multi(kind, boundary, children, preamble, epilogue, closed, draw(st.sampled_from([b"", b"", b" \t"])))


HEADERS = st.lists(
    st.sampled_from(
        [
            b"From: Marka <marka@kampanya.example.com.tr>\r\n",
            b"Subject:  =?utf-8?q?=C5=9F?=\r\n\tfolded\r\n",
            b"subject:x\r\n",
            b"X-Empty:\r\n",
            b"List-Unsubscribe: <mailto:out@example.test>,\r\n <https://esp.example/u>\r\n",
            b"LIST-UNSUBSCRIBE-POST: List-Unsubscribe=One-Click\r\n",
            b"List-Id: <a.example.test>\r\n",
            b"DKIM-Signature: v=1; h=List-Unsubscribe;\r\n b=abc\r\n",
        ]
    ),
    max_size=6,
)


@st.composite
def built(draw: st.DrawFn) -> tuple[bytes, Leaf | Multi]:
    entity = draw(entities())
    return b"".join(draw(HEADERS)) + entity.octets() + draw(st.sampled_from([b"\r\n", b"", b"\r\n\r\n"])), entity


def visible(leaf: Leaf, text: bytes) -> bytes:
    return COMMENT.sub(b"", text) if leaf.kind == "text/html" else text


def crowded(leaf: Leaf) -> bool:
    """Whether a line that stays as it is has no room for the longest links in the places its author marked."""
    if leaf.encoding not in ("7bit", "8bit") or PLACEHOLDER not in visible(leaf, leaf.text):
        return False
    grown_by = LINK_MAX - len(PLACEHOLDER)
    lines = [line for line in leaf.text.split(b"\r\n") if PLACEHOLDER in line]
    return any(len(line) + line.count(PLACEHOLDER) * grown_by > LINE_MAX for line in lines)


def fits(received: bytes, entity: Leaf | Multi) -> bool:
    """False: the message is refused, as it must be if and only if a shown text is crowded."""
    if not any(map(crowded, entity.shown())):
        return True
    with pytest.raises(Unfit, match="too long for a link"):
        plan(received, NOTICE)
    return False


@STEADY
@given(built())
def test_i6_only_the_shown_texts_grow_and_only_by_the_notice(example: tuple[bytes, Leaf | Multi]) -> None:
    received, entity = example
    if not fits(received, entity):
        return
    shown = entity.shown()
    copy = render(received)  # proves that taking the edits back gives the message
    if not shown:
        before, after = tree(received), tree(copy)
        assert (after[0].type, len(after)) == ("multipart/mixed", len(before) + 2)
        # An unterminated multipart loses the line end at the very end of a message, but not before a delimiter.
        contents = [[(node.content or b"").rstrip(b"\r\n") for node in nodes] for nodes in (before, after[1:-1])]
        assert contents[0] == contents[1]
        assert LINK in (after[-1].content or b"")
        return
    changes = grown(received, copy)
    assert len(changes) == len(shown)
    for leaf, change in zip(shown, changes, strict=True):
        assert LINK in visible(leaf, change.after)
        if PLACEHOLDER in visible(leaf, change.before):
            assert change.after == change.before.replace(PLACEHOLDER, LINK)
            continue
        added = change.added
        assert added.count(LINK) == 1
        if leaf.kind == "text/plain":
            assert change.after.startswith(change.before)
            encoded = leaf.encoding.lower() in ("quoted-printable", "base64")
            wide = encoded or (leaf.encoding == "8bit" and not received.isascii())
            turkish = leaf.charset in TURKISH and wide
            charset = leaf.charset if turkish else "ascii"
            assert ("Örnek Pazarlama A.Ş." if turkish else "Ornek Pazarlama A.S.").encode(charset) in added
        else:
            assert added.isascii()


@STEADY
@given(built())
def test_i6_a_copy_has_the_lines_of_the_message_and_no_bad_ones(example: tuple[bytes, Leaf | Multi]) -> None:
    received, entity = example
    if not fits(received, entity):
        return
    for link in (LINK, b"=" * LINK_MAX):
        copy = b"".join(plan(received, NOTICE).render(link, b"X-Trace: 1\r\n"))
        assert line_fault(copy, max(998, *map(len, received.split(b"\r\n")))) is None
        assert received.endswith(b"\r\n") <= copy.endswith(b"\r\n")
        assert len(copy) - len(received) <= limits.SMTP_GROWTH


@STEADY
@given(built())
def test_i3_a_second_passage_leaves_nobody_elses_link_and_no_second_notice(example: tuple[bytes, Leaf | Multi]) -> None:
    received, entity = example
    if not fits(received, entity) or any(PLACEHOLDER in leaf.text for leaf in entity.leaves()):
        return
    other = b"https://ret.example/r/" + b"Z" * 90
    once, again = tree(render(received, link=other)), tree(render(render(received), link=other))
    assert [node._replace(boundary=None) for node in again] == [node._replace(boundary=None) for node in once]


@STEADY
@given(leaves(), st.integers(1, LINK_MAX))
def test_no_line_in_quoted_printable_gets_longer_than_76(leaf: Leaf, length: int) -> None:
    if leaf.encoding.lower() == "quoted-printable" and leaf.shown():
        body = render(leaf.octets(), link=(b"ab=" * length)[:length]).partition(b"\r\n\r\n")[2]
        assert max(map(len, body.split(b"\r\n"))) <= 76


@STEADY
@given(built())
def test_header_fields_keep_their_octets_and_order(example: tuple[bytes, Leaf | Multi]) -> None:
    received, entity = example
    if not fits(received, entity):
        return
    names = (b"list-unsubscribe:", b"list-unsubscribe-post:", b"content-", b"mime-version")
    section = received.partition(b"\r\n\r\n")[0]
    fields = [each for each in re.split(rb"\r\n(?![ \t])", section) if not each.lower().startswith(names)]
    copy = render(received)
    kept = re.split(rb"\r\n(?![ \t])", copy.partition(b"\r\n\r\n")[0])
    assert [each for each in kept if not each.lower().startswith(names)] == fields
    assert [each.partition(b":")[0].lower() for each in kept[:2]] == [b"list-unsubscribe", b"list-unsubscribe-post"]
    assert sum(each.lower().startswith(names[:2]) for each in kept) == 2


@STEADY
@given(st.binary(max_size=300))
def test_octets_of_any_kind_are_planned_or_unfit(message: bytes) -> None:
    with suppress(Unfit):
        assert render(message).count(LINK) >= 2


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message cut, doubled and overwritten at a few places."""
    message, _ = draw(built())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(message)))
        until = at + draw(st.integers(0, 12))
        filling = draw(
            st.sampled_from(
                [
                    b"",
                    b"\r\n",
                    b"\r",
                    b"\n",
                    b"=",
                    b"--=_b",
                    b"\0",
                    b";",
                    b'"',
                    b"Content-Type: ",
                    message[at:until] * 2,
                ]
            )
        )
        message = message[:at] + filling + message[until:]
    return message


@STEADY
@given(damaged())
def test_a_damaged_message_is_planned_or_unfit(message: bytes) -> None:
    try:
        copy = render(message)
    except Unfit:
        return
    assert copy.count(LINK) >= 1
    if line_fault(message, len(message)) in (None, "nul"):
        assert line_fault(copy, len(copy)) in (None, "nul")


@STEADY
@given(damaged(), st.sampled_from([b"", b"X-Trace: 1\r\n"]))
def test_i6_an_informational_message_is_the_same_octets(message: bytes, trace: bytes) -> None:
    copy = b"".join(untouched(message, trace))
    begins = copy.replace(trace, b"", 1)
    assert begins in (message, b"\r\n" + message)


LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x", b"x.", b"\xc5\x9f"]), max_size=8).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


@STEADY
@given(LINES, st.integers(1, 9))
def test_a_stuffed_message_ends_where_it_should_and_comes_back_the_same(message: bytes, size: int) -> None:
    wire = stuff(message) + b".\r\nQUIT\r\n"
    end = find_end(wire, 0)
    assert unstuff(wire[:end]) == message
    buffer, since, found = b"", 0, -1
    for at in range(0, len(wire), size):
        buffer += wire[at : at + size]
        found = find_end(buffer, 0, since)
        if found >= 0:
            break
        since = len(buffer)
    assert found == end


@STEADY
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"x", b"\0"]), max_size=12).map(b"".join))
def test_what_is_no_fault_has_no_lone_line_end(body: bytes) -> None:
    lone_lf = re.search(rb"(?<!\r)\n", body)
    lone_cr = re.search(rb"\r(?!\n)", body)
    expected = "bare_lf" if lone_lf else "bare_cr" if lone_cr else "nul" if b"\0" in body else None
    assert line_fault(body) == expected


def test_a_line_with_two_links_and_no_room_is_refused() -> None:
    line = b"x" * (LINE_MAX - 2 * LINK_MAX)
    for more in (b"", b"x"):
        leaf = Leaf("text/plain", "utf-8", "7bit", text := line + more + PLACEHOLDER * 2, text)
        assert fits(leaf.octets(), leaf) == (not more)


@pytest.mark.slow
@settings(STEADY, max_examples=400)
@given(damaged())
def test_many_damaged_messages(message: bytes) -> None:
    test_a_damaged_message_is_planned_or_unfit.hypothesis.inner_test(message)  # type: ignore[attr-defined]

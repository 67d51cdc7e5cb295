"""The notice and the unsubscribe header fields in a mail message: byte surgery, never a re-generation.

`plan` reads a message once and declares its edits; `MailPlan.render` gives one recipient's copy, in which only the link
differs. All other octets are those that were received (promise I6). The declared edits are:

* on top of the header section List-Unsubscribe with the link and List-Unsubscribe-Post (RFC 2369, RFC 8058). There may
  be one of each, so fields of that name that were there are removed; a mailto: URI in them is kept as second choice;
* header fields the caller names are removed: signatures that the change would break;
* the notice in each text part a reader may be shown (`mime.places`), in the part's own encoding and charset
  (`splice.insert`);
* where there is no such part (a picture alone, a signed message, only attachments) the body becomes the first part of
  a new multipart/mixed, its octets and Content- fields unchanged, and the notice the second; a signature stays valid.
  For signed and encrypted mail the caller may have the header fields alone instead, or a refusal.

`Unfit` is raised for what can carry no notice: reports, message/partial, text in UTF-16 or invalid base64, header
sections that readers would understand differently.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from filters.mime import Entity, Seal, Unfit, fields, opening, places, top_entity
from filters.model import Sealed
from filters.splice import PLACEHOLDER, Edit, Fill, insert
from filters.wording import LINK, LINK_MAX, LINK_OCTET, Notice, own_part, quoted_link

__all__ = ["LINK", "LINK_MAX", "PLACEHOLDER", "MailPlan", "Notice", "Unfit", "declare", "plan", "untouched"]

MAILTO_MAX: Final = 900
"""Octets of a mailto: URI that is kept, so that its line stays under the 998 of RFC 5322."""

Piece = bytes | memoryview

_SHARED_MIN: Final = 4 * 1024
"""Octets of a part of the message that are not copied any more: a plan refers to them."""

_ONE_CLICK: Final = b">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
_LINK_FORM: Final = re.compile(b"%b{1,%d}" % (LINK_OCTET, LINK_MAX))
_MAILTO: Final = re.compile(rb"mailto:[!-;=?-~]{1,%d}" % (MAILTO_MAX - 7), re.IGNORECASE)
_BRACKETED: Final = re.compile(rb"<([^<>]*+)>")


@dataclass(slots=True)  # not frozen: that would cost each message a microsecond
class MailPlan:
    """A message with holes for the link."""

    _pieces: tuple[Piece, ...]
    _extra: int  # index of the piece that takes the extra header fields
    _holes: tuple[tuple[int, Fill | None], ...]
    kept: frozenset[int]  # indices of the pieces that are whole lines of the message, as they came
    _link_length: int  # the longest link there is room for
    header_only: Seal | None = None  # why nothing but header fields is put in, so that the notice is not shown

    def render(self, link: bytes, extra_headers: bytes = b"") -> list[Piece]:
        """One recipient's copy, in pieces; not dot-stuffed.

        `link` is an absolute URL, no longer than `plan` was told, that needs no escaping in HTML (no `&`, quotes,
        blanks); ValueError otherwise, for we made it. `extra_headers` are complete fields with CRLF at the end; they
        come first.
        """
        if not _LINK_FORM.fullmatch(link):
            raise ValueError("a reject link is an ASCII URL without quotes and ampersands")
        if len(link) > self._link_length:
            raise ValueError(f"a reject link of {len(link)} octets in a plan for {self._link_length}")
        return self._filled(link, extra_headers)

    def put_on_top(self, pieces: list[Piece], fields: bytes) -> None:
        """Put complete fields with CRLF at the end above all others of a rendered copy."""
        pieces[self._extra] = fields + pieces[self._extra]

    def touched(self, pieces: list[Piece]) -> bytes:
        """The lines of a rendered copy that are not whole lines of the message: what is ours, up to the line ends.

        A line of the copy has a fault, or a dot in front, if one of these has, or one of the message.
        """
        kept = self.kept
        return b"".join([piece for index, piece in enumerate(pieces) if index not in kept])

    def _filled(self, link: bytes, extra_headers: bytes) -> list[Piece]:
        pieces = list(self._pieces)
        pieces[self._extra] = extra_headers
        for index, fill in self._holes:
            pieces[index] = link if fill is None else fill(link)
        return pieces


def plan(
    message: bytes,
    notice: Notice,
    *,
    link_length: int = LINK_MAX,
    without: Collection[bytes] = (),
    signed: Sealed = Sealed.WRAP,
    encrypted: Sealed = Sealed.REFUSE,
) -> MailPlan:
    """Where notice and links go in `message` (lines end in CRLF, dots are not stuffed). Raises nothing but Unfit.

    `link_length`: octets of the longest link to come. An author may have put several into one line, which has room for
    usual ones but not for those of the longest addresses. `without`: header fields to take away, in lower case.
    `signed`, `encrypted`: what happens to a message that is (`mime.Seal`), where no other text is shown.
    """
    edits, seal = _declare(message, notice, link_length, without, signed, encrypted)
    made = _assemble(message, edits, link_length)
    made.header_only = seal
    return made


def declare(
    message: bytes,
    notice: Notice,
    *,
    link_length: int = LINK_MAX,
    without: Collection[bytes] = (),
    signed: Sealed = Sealed.WRAP,
    encrypted: Sealed = Sealed.REFUSE,
) -> list[Edit]:
    """The edits in the order of the message, disjoint; the first is the one on top. Raises Unfit."""
    return _declare(message, notice, link_length, without, signed, encrypted)[0]


def _declare(
    message: bytes,
    notice: Notice,
    link_length: int,
    without: Collection[bytes],
    signed: Sealed,
    encrypted: Sealed,
) -> tuple[list[Edit], Seal | None]:
    """`declare`, and why the edits are in the header alone."""
    top = top_entity(message)
    found, seal = places(message, top)
    policy = Sealed.WRAP if seal is None else signed if seal is Seal.SIGNED else encrypted
    if policy is Sealed.REFUSE:
        raise Unfit(f"{seal} mail cannot carry the notice")
    if found or policy is Sealed.HEADERS:
        edits = _unsubscribe(message, top, b"")
        for part in found:
            edits += insert(message, part, notice, link_length)
    else:
        boundary = _boundary(message)
        edits = _unsubscribe(message, top, _outer_fields(top, boundary))
        edits += _wrap(message, top, notice, boundary)
    for name in without:
        if b"\n" + name in top.head:
            edits += _removed(top, name)
    if len(edits) > 2:
        edits.sort(key=lambda edit: edit.start)
    return edits, seal if policy is Sealed.HEADERS else None


def untouched(message: bytes, extra_headers: bytes) -> list[Piece]:
    """An informational message: `extra_headers` (complete fields, or nothing) on top, every other octet the same."""
    if not extra_headers:
        return [message]
    at, missing = opening(message)
    if at:
        return [message[:at], extra_headers, memoryview(message)[at:]]
    return [extra_headers, missing, message] if missing else [extra_headers, message]


def _assemble(message: bytes, edits: list[Edit], link_length: int) -> MailPlan:
    """The message cut at the edits; the extra fields of a copy come right before the first."""
    pieces: list[Piece] = []
    kept: set[int] = set()
    holes: list[tuple[int, Fill | None]] = []
    extra = -1
    position = 0
    for edit in edits:
        if edit.start > position:
            pieces += _received(message, position, edit.start, len(pieces), kept)
        if extra < 0:
            extra = len(pieces)
            pieces.append(b"")
        first, *others = edit.segments
        pieces.append(first)
        for segment in others:
            holes.append((len(pieces), edit.fill))
            pieces += (b"", segment)
        position = edit.end
    if position < len(message):
        pieces += _received(message, position, len(message), len(pieces), kept)
    return MailPlan(tuple(pieces), extra, tuple(holes), frozenset(kept), link_length)


def _received(message: bytes, start: int, end: int, index: int, kept: set[int]) -> list[Piece]:
    """`message[start:end]` between two edits: the end of a line, the whole lines (noted in `kept`), a line's beginning.

    `index` is that of the first of these pieces in the plan.
    """
    first = message.find(b"\n", start, end) + 1
    last = message.rfind(b"\n", start, end) + 1
    if first == last:
        return [message[start:end]]
    kept.add(index + 1)
    lines: Piece = memoryview(message)[first:last] if last - first >= _SHARED_MIN else message[first:last]
    return [message[start:first], lines, message[last:end]]


def _unsubscribe(message: bytes, top: Entity, more: bytes) -> list[Edit]:
    """Our two fields and `more` on top, and the removal of such fields that were there."""
    at, missing = opening(message)
    closing = _ONE_CLICK + more + missing
    if b"\nlist-unsubscribe" not in top.head:
        return [Edit(at, at, (b"List-Unsubscribe: <", closing))]
    removed = []
    mailto = b""
    offset = top.start - 1
    for field in fields(top.head, b"list-unsubscribe"):
        if field[1] in (b"list-unsubscribe", b"list-unsubscribe-post"):
            removed.append(Edit(offset + field.start(), offset + field.end(), (b"",)))
            mailto = mailto or _mailto(message[offset + field.start(2) : offset + field.end(2)])
    second = b">,\r\n <" + mailto if mailto else b""
    return [Edit(at, at, (b"List-Unsubscribe: <", second + closing)), *removed]


def _removed(top: Entity, name: bytes) -> list[Edit]:
    """The fields of this name taken away, each with its folded lines."""
    offset = top.start - 1
    found = [field for field in fields(top.head, name) if field[1] == name]
    return [Edit(offset + field.start(), offset + field.end(), (b"",)) for field in found]


def _mailto(value: bytes) -> bytes:
    """The first usable mailto: URI of a List-Unsubscribe field; blanks in the brackets mean nothing (RFC 2369 §2)."""
    for bracketed in _BRACKETED.finditer(value):
        uri = bracketed[1].translate(None, b" \t\r\n")
        if _MAILTO.fullmatch(uri):
            return uri
    return b""


def _outer_fields(top: Entity, boundary: bytes) -> bytes:
    """The Content- fields of a message that has become a multipart/mixed."""
    added = b"" if b"\nmime-version" in top.head else b"MIME-Version: 1.0\r\n"
    added += b'Content-Type: multipart/mixed; boundary="%s"\r\n' % boundary
    if top.encoding in (b"8bit", b"binary"):  # a multipart is at least as wide as its parts (RFC 2045 §6.4)
        added += b"Content-Transfer-Encoding: %s\r\n" % top.encoding
    return added


def _wrap(message: bytes, top: Entity, notice: Notice, boundary: bytes) -> list[Edit]:
    """The Content- fields moved below the first delimiter, the body after them as it is, the notice as second part."""
    offset = top.start - 1
    spans = [(offset + field.start(), offset + field.end()) for field in fields(top.head, b"content-")]
    moved = b"".join(message[start:end].removesuffix(b"\r\n") + b"\r\n" for start, end in spans)
    first, *others, last = own_part(notice)
    return [
        *(Edit(start, end, (b"",)) for start, end in spans),
        Edit(top.body, top.body, (b"%s--%s\r\n%s\r\n" % (top.gap, boundary, moved),)),
        Edit(
            top.end,
            top.end,
            (b"\r\n--%s\r\n%s" % (boundary, first), *others, b"%s\r\n--%s--\r\n" % (last, boundary)),
            quoted_link,
        ),
    ]


def _boundary(message: bytes) -> bytes:
    """A boundary that stands nowhere in the message."""
    boundary = b"izinli-" + hashlib.blake2b(message, digest_size=12).hexdigest().encode()
    while boundary in message:
        boundary = b"izinli-" + hashlib.blake2b(boundary, digest_size=12).hexdigest().encode()
    return boundary

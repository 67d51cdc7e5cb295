"""Reading a message far enough to know where its text is: header sections, content types, the walk to the text parts.

Nothing is decoded and nothing rebuilt: an entity is a range of octets of the message it stands in. What two readers
could understand differently (a broken header section, two unequal Content-Type fields) is `Unfit`, because a notice
that only some of them show is none.

RFC 5322 §2 (fields), RFC 2045 §5–6 (Content-Type, encodings), RFC 2046 §5.1 (multipart), RFC 2183 (disposition),
RFC 2387 (related).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from filters.rounds import end_of, repeated

DEPTH_MAX: Final = 20
"""Multiparts inside one another. Mail programs nest four or five deep (signed, mixed, related, alternative)."""

PARTS_MAX: Final = 1000
"""Parts looked at in one message: as many as other filters allow, far more than any text needs."""

PLACES_MAX: Final = 20
"""Text parts that get the notice. An alternative has two or three; a thousand would let a message grow by megabytes."""

REMEMBERED_MAX: Final = 256
"""Sets of Content- fields whose meaning is remembered: the parts of nearly all mail share a few dozen …"""

REMEMBERED_OCTETS_MAX: Final = 300
"""… of at most so many octets."""


class Unfit(Exception):
    """The notice cannot be put into this message; the argument says why, in words fit for an SMTP reply."""


class Entity(NamedTuple):
    """A message or body part: `message[start:body]` is its header section and empty line, `[body:end]` its body."""

    start: int
    body: int
    end: int
    gap: bytes  # what is missing between header section and body: b"" as a rule
    head: bytes  # LF and the header section in lower case: offset i there is start - 1 + i in the message
    type: bytes  # lower case, b"text/plain"; b"" when it cannot be read
    parameters: dict[bytes, bytes]  # of Content-Type, names in lower case
    encoding: bytes  # lower case, b"7bit" when not given
    attached: bool  # to be saved rather than shown: Content-Disposition attachment or unknown
    named: bool  # it has a file name, which in most places makes it an attachment too


# The header section: fields, each with its folded lines.
_SECTION: Final = repeated(rb"[!-9;-~]++[ \t]*+:[^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+(?:\r\n|\Z)")
_FIELD: Final = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)(?:\r\n)?")
# Of `Entity.head`: the fields that say what an entity is.
_MEANT: Final = re.compile(
    rb"\n(content-(?:type|transfer-encoding|disposition))([ \t]*+):([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)"
)
_TOP: Final = re.compile(rb"[!-9;-~]++[ \t]*+:|\r\n")
_ENVELOPE_LINE: Final = re.compile(rb">*From [^\r\n]*\r\n")

_TYPE: Final = re.compile(rb"\s*([^\s;,/()\"]+/[^\s;,/()\"]+)")
_PARAMETER: Final = re.compile(rb';\s*+([^\s=;"()]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;"()]*))', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_OUT_OF_COMMENT: Final = re.compile(rb'"(?:[^"\\]|\\.?)*+(?:"|\Z)|\(', re.DOTALL)
_IN_COMMENT: Final = re.compile(rb"\\.|[()]", re.DOTALL)
_DELIMITER_END: Final = re.compile(rb"(--)?+[ \t]*+(\r\n|\Z)")

_TEXT: Final = frozenset((b"text/plain", b"text/html"))
_ENCRYPTED: Final = frozenset((b"multipart/encrypted", b"application/pkcs7-mime", b"application/x-pkcs7-mime"))
_SIGNED: Final = b"multipart/signed"
# What changes its meaning inside a multipart/mixed, or has no reader to show a notice to.
_NOT_WRAPPED: Final = frozenset(
    (b"multipart/report", b"message/partial", b"message/external-body", b"message/delivery-status")
)


def opening(message: bytes) -> tuple[int, bytes]:
    """Where header fields can be put on top, and what must follow them there: b"", or CRLF before a headerless text.

    A mbox `From ` line stays first; servers treat it as such only there. Without the empty line a text that begins
    with a space would become part of our last field.
    """
    if _TOP.match(message):
        return 0, b""
    envelope = _ENVELOPE_LINE.match(message)
    if envelope and _TOP.match(message, envelope.end()):
        return envelope.end(), b""
    return 0, b"" if not message else b"\r\n"


def top_entity(message: bytes) -> Entity:
    """The message itself. Raises Unfit."""
    start, missing = opening(message)
    if missing:
        return Entity(0, 0, len(message), b"", b"\n", b"text/plain", {}, b"7bit", False, False)
    return entity(message, start, len(message))


def entity(message: bytes, start: int, end: int, default: bytes = b"text/plain") -> Entity:
    """The message or part in `message[start:end]`; `default` is its type when it names none. Raises Unfit."""
    body = end_of(_SECTION, message, start, end)
    gap = b""
    if message.startswith(b"\r\n", body, end):
        body += 2
    elif body < end:
        raise Unfit("a header section is broken off by a line that is no field")
    else:
        gap = b"\r\n" if message.endswith(b"\r\n", 0, end) or start == end else b"\r\n\r\n"
    head = b"\n" + message[start:body].lower()
    if b"\ncontent-" not in head:
        return Entity(start, body, end, gap, head, default, {}, b"7bit", False, False)
    return Entity(start, body, end, gap, head, *_content(message, start, head, default))


def fields(head: bytes, prefix: bytes) -> Iterator[re.Match[bytes]]:
    """The fields of `Entity.head` whose name begins with `prefix` (lower case); group 1 the name, group 2 the value."""
    at = head.find(b"\n" + prefix)
    while at >= 0:
        field = _FIELD.match(head, at + 1)
        if field:
            yield field
        at = head.find(b"\n" + prefix, at + 1)


def _content(
    message: bytes, start: int, head: bytes, default: bytes
) -> tuple[bytes, dict[bytes, bytes], bytes, bool, bool]:
    """What the Content- fields say: `type`, `parameters`, `encoding`, `attached` and `named` of an `Entity`."""
    values: dict[bytes, bytes] = {}
    offset = start - 1
    for field in _MEANT.finditer(head):
        name, blank = field.group(1, 2)
        begin, end = field.span(3)
        value = message[offset + begin : offset + end]
        if values.setdefault(name, value) != value:
            raise Unfit(f"two different {name.decode()} fields")
        if blank:  # RFC 5322 §4.5 allows it, many readers don't
            raise Unfit(f"a blank before the colon of {name.decode()}")
    if not values:
        return default, {}, b"7bit", False, False
    written = (
        values.get(b"content-type"),
        values.get(b"content-transfer-encoding"),
        values.get(b"content-disposition"),
    )
    if sum(map(len, values.values())) <= REMEMBERED_OCTETS_MAX:
        return _remembered_meaning(default, *written)
    return _meaning(default, *written)


def _meaning(
    default: bytes, content_type: bytes | None, transfer_encoding: bytes | None, disposition: bytes | None
) -> tuple[bytes, dict[bytes, bytes], bytes, bool, bool]:
    """`_content`, of the values of the fields."""
    kind, encoding = default, b"7bit"
    parameters: dict[bytes, bytes] = {}
    if content_type is not None:
        value = _uncommented(content_type)
        found = _TYPE.match(value)
        kind = found[1].lower() if found else b""
        parameters = _parameters(value)
        if _pieced(parameters, b"boundary") or _pieced(parameters, b"charset"):
            raise Unfit("a boundary or charset is written as RFC 2231 has it, which not all readers know")
    attached = False
    named = b"name" in parameters or _pieced(parameters, b"name")
    if transfer_encoding is not None:
        encoding = _uncommented(transfer_encoding).strip().lower() or encoding
    if disposition is not None:
        disposition = _uncommented(disposition)
        attached = disposition.partition(b";")[0].strip().lower() not in (b"", b"inline")
        file = _parameters(disposition)
        named = named or b"filename" in file or _pieced(file, b"filename")
    return kind, parameters, encoding, attached, named


_remembered_meaning = lru_cache(maxsize=REMEMBERED_MAX)(_meaning)  # the mappings in it are read, never changed


def _uncommented(value: bytes) -> bytes:
    """A field value without comments, which nest, and in which quotes mean nothing (RFC 5322 §3.2.2)."""
    if b"(" not in value:
        return value
    kept = []
    position = at = depth = 0
    while lexeme := (_IN_COMMENT if depth else _OUT_OF_COMMENT).search(value, at):
        at = lexeme.end()
        if lexeme[0] == b"(":
            if not depth:
                kept.append(value[position : lexeme.start()])
            depth += 1
        elif depth and lexeme[0] == b")":
            depth -= 1
            position = at
    return b" ".join([*kept, value[position:]] if not depth else kept)


def _parameters(value: bytes) -> dict[bytes, bytes]:
    """`; name=value` pairs, quotes and escapes removed, folding undone. The same name with two values is Unfit."""
    if b";" not in value:
        return {}
    if b"\r\n" in value:
        value = value.replace(b"\r\n", b"")
    found: dict[bytes, bytes] = {}
    for parameter in _PARAMETER.finditer(value):
        quoted = parameter[2]
        text = parameter[3] if quoted is None else _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        if found.setdefault(parameter[1].lower(), text) != text:
            raise Unfit("a parameter is given twice with different values")
    return found


def _pieced(parameters: dict[bytes, bytes], name: bytes) -> bool:
    """Whether a parameter is given in a form of RFC 2231 (`name*`, `name*0`)."""
    return any(key.startswith(name + b"*") for key in parameters)


class Seal(StrEnum):
    """Why no octet of a message's text may be changed."""

    SIGNED = "signed"
    ENCRYPTED = "encrypted"


class Places(NamedTuple):
    """Where the notice goes."""

    parts: list[Entity]  # the text parts a reader is shown, each of which must get it; none: only wrapping helps
    seal: Seal | None  # why there is none, if it is not for lack of text


def places(message: bytes, top: Entity) -> Places:
    """Raises Unfit for what can be neither entered nor wrapped, and beyond the limits."""
    if top.type in _TEXT and not top.attached and not top.named:
        return Places([top], None)
    walk = _Walk(message)
    found = walk.leaves(top, 0)
    if not found and top.type in _NOT_WRAPPED:
        raise Unfit(f"{top.type.decode()} cannot carry the notice")
    return Places(found, None if found else walk.seal)


class _Walk:
    """One descent from the top to the text, with its bounds."""

    __slots__ = ("message", "parts_seen", "places_seen", "seal")

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.parts_seen = 0
        self.places_seen = 0
        self.seal: Seal | None = None

    def leaves(self, here: Entity, depth: int, form: bool = False) -> list[Entity]:
        """The text parts in `here`; `form`: one of an alternative, which is shown whether it has a name or not."""
        if self._is_sealed(here) or here.attached:  # in this order: S/MIME has the look of a file
            return []
        if here.named and not (form and here.type in _TEXT):
            return []
        if here.type in _TEXT:
            self.places_seen += 1
            if self.places_seen > PLACES_MAX:
                raise Unfit(f"more than {PLACES_MAX} text parts")
            return [here]
        if not here.type.startswith(b"multipart/") or here.type == b"multipart/report":
            return []
        if depth >= DEPTH_MAX:
            raise Unfit(f"multiparts nested deeper than {DEPTH_MAX}")
        if here.type == b"multipart/alternative":
            return self._every_form(here, depth + 1)
        if here.type == b"multipart/related":
            root = self._root(here)
            return self.leaves(root, depth + 1) if root else []
        # multipart/mixed, and all others as such (RFC 2046 §5.1.3): the first branch that shows text.
        return next(filter(None, (self.leaves(part, depth + 1) for part in self.parts(here))), [])

    def _every_form(self, here: Entity, depth: int) -> list[Entity]:
        """The reader's program chooses, so each form must have it; a form nobody may touch takes the choice away."""
        found: list[Entity] = []
        for part in self.parts(here):
            if self._is_sealed(part):
                return []
            found += self.leaves(part, depth, form=True)
        return found

    def _is_sealed(self, here: Entity) -> bool:
        """Whether nobody may change this; remembered, encryption before a signature."""
        if here.type in _ENCRYPTED:
            self.seal = Seal.ENCRYPTED
        elif here.type == _SIGNED:
            self.seal = self.seal or Seal.SIGNED
        else:
            return False
        return True

    def _root(self, here: Entity) -> Entity | None:
        """The part a multipart/related is about: the one its `start` names, else the first (RFC 2387 §3.2)."""
        start = here.parameters.get(b"start", b"").strip().strip(b"<>").lower()
        first = None
        for part in self.parts(here):
            if not start:
                return part
            first = first or part
            if any(field[2].strip().strip(b"<>") == start for field in fields(part.head, b"content-id")):
                return part
        return first

    def parts(self, here: Entity) -> Iterator[Entity]:
        """The parts of a multipart, read one by one as the caller asks for them.

        A delimiter line is the whole line (`--abc` is none for the boundary `ab`), blanks at its end apart; the CRLF
        before it is its own. Delimiters of an outer multipart have cut `here` already. A missing last one is tolerated.
        """
        boundary = here.parameters.get(b"boundary", b"").rstrip(b" \t")
        if not boundary.strip(b"-"):  # nor one of dashes only: a ruled line in the notice would be a delimiter
            raise Unfit("a multipart names no usable boundary")
        default = b"message/rfc822" if here.type == b"multipart/digest" else b"text/plain"
        delimiter = b"\r\n--" + boundary
        found = self._delimiter(delimiter, here.body - 2, here.end)
        while found and found[1] != b"--" and found[2]:
            begin = found.end()
            found = self._delimiter(delimiter, begin - 2, here.end)
            end = found.start() - len(delimiter) if found else here.end
            if end < begin:  # two delimiter lines in a row share a CRLF; between them is nothing
                continue
            self.parts_seen += 1
            if self.parts_seen > PARTS_MAX:
                raise Unfit(f"more than {PARTS_MAX} parts")
            yield entity(self.message, begin, end, default)

    def _delimiter(self, delimiter: bytes, start: int, end: int) -> re.Match[bytes] | None:
        """The rest of the next delimiter line: group 1 `--` when it is the last, group 2 its CRLF."""
        at = self.message.find(delimiter, start, end)
        while at >= 0:
            rest = _DELIMITER_END.match(self.message, at + len(delimiter), end)
            if rest:
                return rest
            at = self.message.find(delimiter, at + 2, end)
        return None

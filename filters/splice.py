"""Putting the notice into one text part: what is inserted where, in the part's own encoding and charset.

An edit replaces a range of the message, mostly an empty one, by segments with a link between each two. Everything is
computed once per message; a recipient's copy needs only `fill(link)`.

A part that holds the placeholder `{{izinli_link}}` where a reader can see it gets the link there, at each occurrence,
and nothing else: whoever writes the placeholder writes the identity of the sender around it. A part that holds the
notice already (the message came through a second time) gets the new link in the place of the old one. Any other part
gets the whole notice: HTML before `</body>`, plain text behind an empty line at the end.

RFC 2045 §6.7 (quoted-printable), §6.8 (base64), RFC 3676 §4 (format=flowed).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from filters import html, letters
from filters.dots import LINE_MAX
from filters.mime import Entity, Unfit
from filters.wording import (
    BLOCKS_KEPT,
    CRLF,
    ENCODED_WIDTH,
    LINK_MAX,
    LINK_OCTET,
    SOFT_BREAK,
    Notice,
    framed,
    notice_segments,
    quoted_link,
)

PLACEHOLDER: Final = b"{{izinli_link}}"
"""Where the personal link goes in a message, by its author's wish."""

PLACEHOLDERS_MAX: Final = 50
"""Placeholders in one part; a bound on how much a message grows. A template has one or two per language."""

_PLACEHOLDER: Final = re.compile(rb"\{\{izinli_link\}\}|%7[Bb]%7[Bb]izinli_link%7[Dd]%7[Dd]")
"""As it is written, and as editors write it into the target of a link, where braces are not allowed (RFC 3986 §2.1)."""
_NAME: Final = b"izinli_link"
_OPENINGS: Final = (len(b"{{"), len(b"%7B%7B"))

_PGP: Final = b"-----BEGIN PGP "
_PGP_END: Final = b"-----END PGP "
_FORMER_LINK: Final = b"(https?://%b{1,%d})" % (LINK_OCTET, LINK_MAX - len(b"https://"))

# A soft line break, an escaped octet, or an equals sign that others than Python's decoder may read as it pleases them.
_QUOTED: Final = re.compile(rb"=(?:\r?\n|[0-9A-Fa-f]{2}|=|\Z)")

Fill = Callable[[bytes], bytes]
Span = tuple[int, int]


class Edit(NamedTuple):
    """`message[start:end]` becomes `segments` with `fill(link)` between each two (None: the link as it is)."""

    start: int
    end: int
    segments: tuple[bytes, ...]
    fill: Fill | None = None


def insert(message: bytes, part: Entity, notice: Notice, link_length: int = LINK_MAX) -> list[Edit]:
    """The edits that put the notice, or just the link (at most `link_length` octets), into `part`. Raises Unfit."""
    codec = letters.codec(part.parameters.get(b"charset", b"").strip().lower())
    if codec is None:
        raise Unfit("a text part is in a charset that does not contain ASCII")
    splice = _ENCODINGS.get(part.encoding)
    if splice is None:
        raise Unfit("a text part has an unknown transfer encoding")
    # A message without 8-bit octets may go where none are taken, whatever its parts call themselves (RFC 6152 §3).
    markup = part.type == b"text/html"
    if splice is _identity and not markup and (part.encoding == b"7bit" or message.isascii()):
        codec = "ascii"
    return splice(message, part, _Block(notice, part, codec, link_length, markup))


class _Block(NamedTuple):
    """The notice on its way into a part."""

    notice: Notice
    part: Entity
    codec: letters.Codec
    link_length: int
    markup: bool

    def segments(self, quoted: bool) -> tuple[bytes, ...]:
        """The encoded notice, cut at its links; CRLF between its lines, none around it."""
        if self.markup:
            return notice_segments(self.notice, True, "ascii", False, quoted)
        flowed = self.part.parameters.get(b"format", b"").lower() == b"flowed"
        return notice_segments(self.notice, False, self.codec, flowed, quoted)

    def point(self, text: bytes) -> html.Point:
        return html.point(text) if self.markup else html.Point(len(text), b"")

    def frame(self, text: bytes, at: int, closed: bool) -> tuple[bytes, bytes]:
        """The line ends before and after the notice at `text[at]`; `closed`: the end of `text` must be a line end."""
        before = b"" if at == 0 or text.endswith(b"\n", 0, at) else CRLF
        if at and not self.markup:
            before += CRLF
        after = CRLF if at < len(text) or closed or text.endswith(b"\n") else b""
        return before, after

    def places(self, text: bytes) -> list[Span]:
        """The ranges of `text` that the link replaces: placeholders a reader sees, else links of a notice in it."""
        found = _placeholders(text)
        # What a PGP signature in the text may cover is not changed; behind it there is room.
        if found and _PGP not in text and any(self.seen(text, at) for at, _ in found):
            return found
        segments = self.segments(quoted=False)
        if text.rfind(max(segments, key=len)) < 0:
            return []
        covered = text.rfind(_PGP_END) if _PGP in text else -1
        notices = list(islice(_former_notice(segments).finditer(text), PLACEHOLDERS_MAX + 1))
        if len(notices) * (len(segments) - 1) > PLACEHOLDERS_MAX:  # hidden ones too: to see where one stands takes time
            raise Unfit(f"notices with more than {PLACEHOLDERS_MAX} links in one part")
        shown = [one for one in notices if one.start() > covered and self.seen(text, one.start())]
        return [one.span(group) for one in shown for group in range(1, len(segments))]

    def seen(self, text: bytes, at: int) -> bool:
        """Whether a reader is shown what stands at `text[at]`."""
        return not self.markup or not html.hidden(text, at)


def _placeholders(text: bytes) -> list[Span]:
    """Where the author wants the link. Raises Unfit."""
    found: list[Span] = []
    at = text.rfind(_NAME)  # from behind: mostly there is none, which is known so in a third of the time
    while at >= 0:
        for opening in _OPENINGS:
            if placeholder := _PLACEHOLDER.match(text, max(0, at - opening)):
                found.append(placeholder.span())
                if len(found) > PLACEHOLDERS_MAX:
                    raise Unfit(f"more than {PLACEHOLDERS_MAX} placeholders in one part")
                break
        at = text.rfind(_NAME, 0, at)
    return found[::-1]


@lru_cache(maxsize=BLOCKS_KEPT)
def _former_notice(segments: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """A notice in a text it was put into before; a group for each link."""
    return re.compile(_FORMER_LINK.join(map(re.escape, segments)))


def _identity(message: bytes, part: Entity, block: _Block) -> list[Edit]:
    """7bit, 8bit and binary: the text is the octets."""
    text = message[part.body : part.end]
    found = block.places(text)
    if found:
        _check_room(text, found, block.link_length)
        return [Edit(part.body + start, part.body + end, (b"", b"")) for start, end in found]
    at = block.point(text).at
    before, after = block.frame(text, at, closed=not text and part.end == len(message))
    return [Edit(part.body + at, part.body + at, framed(part.gap + before, block.segments(quoted=False), after))]


def _check_room(text: bytes, found: list[Span], link_length: int) -> None:
    """Whether each line stays a line with links that long in it. Raises Unfit."""
    for at, _ in found:
        begin, stop = text.rfind(b"\n", 0, at) + 1, text.find(CRLF, at)
        stop = len(text) if stop < 0 else stop
        growth = sum(link_length - (end - start) for start, end in found if begin <= start < stop)
        if stop - begin + growth > LINE_MAX:
            raise Unfit("a line with a placeholder is too long for a link")


def _quoted_printable(message: bytes, part: Entity, block: _Block) -> list[Edit]:
    """Placed by the decoded text, spliced into the encoded one between two of its tokens."""
    begin, end = part.body, part.end
    text = binascii.a2b_qp(memoryview(message)[begin:end])
    found = block.places(text)
    if found:
        raw = message[begin:end]
        return [_quoted_link(raw, begin, *span) for span in _encoded_spans(raw, text, found)]
    # A copy of what is encoded would cost a large part more than the search for the place.
    point = block.point(text)
    at = _encoded_offset(message, begin, end, text, point)
    closed = message.endswith(CRLF, begin, end) or begin == end == len(message)
    before, after = block.frame(text, point.at, closed=closed)
    if message.endswith(b"=", begin, at) and (at < end or message.endswith(b"==", begin, end)):
        raise Unfit("a text part is encoded ambiguously")
    if at > begin and not message.endswith(CRLF, begin, at):
        if message.endswith(b"=", begin, at):
            before = CRLF + before  # completes the soft break that the text was cut off in
        elif not before or _ends_blank(message, begin, at):
            before = SOFT_BREAK + before  # blanks at the end of a line would be dropped
    segments = framed(part.gap + before, block.segments(quoted=True), after)
    return [Edit(at, at, segments, quoted_link)]


def _ends_blank(message: bytes, begin: int, at: int) -> bool:
    """Whether the line of `message[begin:at]` ends in a blank, with room for a soft break behind it."""
    line = max(begin - 1, message.rfind(b"\n", begin, at))
    return message.endswith((b" ", b"\t"), begin, at) and at - line <= ENCODED_WIDTH


def _base64(message: bytes, part: Entity, block: _Block) -> list[Edit]:
    """All full lines before the first change stay; the rest is encoded again in lines as long as the part's own."""
    raw = message[part.body : part.end]
    compact = raw.translate(None, b" \t\r\n")
    try:
        text = binascii.a2b_base64(compact + b"=" * (-len(compact) % 4), strict_mode=True)
    except binascii.Error as error:
        raise Unfit("a text part is not valid base64") from error
    found = block.places(text)
    first = found[0][0] if found else block.point(text).at
    stop = len(raw.rstrip(b" \t\r\n"))
    cut, kept = _full_lines(raw, stop, len(compact), first // 3 * 4)
    head = kept // 4 * 3
    if found:
        borders = [head, *(border for span in found for border in span), len(text)]
        segments = tuple(text[start:end] for start, end in zip(borders[::2], borders[1::2], strict=True))
    else:
        before, after = block.frame(text, first, closed=not text)
        segments = framed(text[head:first] + before, block.segments(quoted=False), after + text[first:])
    line = raw.find(CRLF)
    width = line if cut and 4 <= line <= LINE_MAX else ENCODED_WIDTH
    closing = CRLF if part.end == len(message) and not raw.endswith(CRLF) else b""
    return [Edit(part.body + cut, part.body + stop, (part.gap, closing), _Tail(segments, width - width % 4))]


_ENCODINGS: Final[dict[bytes, Callable[[bytes, Entity, _Block], list[Edit]]]] = {
    b"7bit": _identity,
    b"8bit": _identity,
    b"binary": _identity,
    b"quoted-printable": _quoted_printable,
    b"base64": _base64,
}


class _Tail:
    """The end of a base64 part: the text around the links, and the length of an encoded line."""

    __slots__ = ("segments", "width")

    def __init__(self, segments: tuple[bytes, ...], width: int) -> None:
        self.segments = segments
        self.width = width

    def __call__(self, link: bytes) -> bytes:
        encoded = binascii.b2a_base64(link.join(self.segments), newline=False)
        width = self.width
        return CRLF.join([encoded[at : at + width] for at in range(0, len(encoded), width)])


def _full_lines(raw: bytes, stop: int, total: int, keep: int) -> tuple[int, int]:
    """The last line start with at most `keep` of the `total` base64 characters before it, in whole groups of four.

    `stop` is the end of the last character. Returns the offset and the number of characters before it.
    """
    at, count = stop, total
    while at > 0:
        line = raw.rfind(b"\n", 0, at - 1) + 1
        count -= len(raw[line:at].translate(None, b" \t\r\n"))
        at = line
        if count <= keep and count % 4 == 0:
            break
    return at, count


def _quoted_link(raw: bytes, base: int, start: int, end: int) -> Edit:
    """A placeholder at `raw[start:end]` gives way to a link on a line of its own, which decoding joins again."""
    before = b"" if start == 0 or raw.endswith(CRLF, 0, start) else SOFT_BREAK
    after = b"" if end == len(raw) or raw.startswith((CRLF, SOFT_BREAK), end) else SOFT_BREAK
    return Edit(base + start, base + end, (before, after), quoted_link)


def _encoded_spans(raw: bytes, text: bytes, found: list[Span]) -> list[Span]:
    """Where in `raw` the ranges `found` of `text` are, proven by decoding what stands between them. Raises Unfit."""
    spans = _as_they_are(raw, text, found)
    if not _proven(raw, text, spans, found):
        octets = _encoded_octets(raw, [offset for start, end in found for offset in (start, end - 1)])
        spans = [(start, end) for (start, _), (_, end) in zip(octets[::2], octets[1::2], strict=True)]
        if not _proven(raw, text, spans, found):
            raise Unfit("a placeholder is encoded ambiguously")
    if any(raw.endswith(b"=", 0, start) for start, _ in spans):
        raise Unfit("a placeholder is encoded ambiguously")
    return spans


def _as_they_are(raw: bytes, text: bytes, found: list[Span]) -> list[Span]:
    """The same octets in `raw`, one range behind the other, as far as they can be found."""
    spans: list[Span] = []
    behind = 0
    for start, end in found:
        at = raw.find(text[start:end], behind)
        if at < 0:
            break
        behind = at + end - start
        spans.append((at, behind))
    return spans


def _proven(raw: bytes, text: bytes, spans: list[Span], found: list[Span]) -> bool:
    """Whether `raw` decodes to `text` also piece by piece, with `spans` for the ranges `found`."""
    behind_raw = behind_text = 0
    for (raw_start, raw_end), (start, end) in zip(spans, found, strict=False):
        if binascii.a2b_qp(raw[behind_raw:raw_start]) != text[behind_text:start]:
            return False
        behind_raw, behind_text = raw_end, end
    return len(spans) == len(found) and binascii.a2b_qp(raw[behind_raw:]) == text[behind_text:]


def _encoded_octets(raw: bytes, wanted: list[int]) -> list[Span]:
    """The ranges in quoted-printable `raw` of the decoded octets at the offsets `wanted`, which ascend."""
    found: list[Span] = []
    position = decoded = 0
    for token in _QUOTED.finditer(raw):
        ahead = token.start() - position
        while len(found) < len(wanted) and wanted[len(found)] < decoded + ahead:
            at = position + wanted[len(found)] - decoded
            found.append((at, at + 1))
        decoded += ahead
        position = token.end()
        if token[0].endswith(b"\n") or len(token[0]) == 1:
            continue
        while len(found) < len(wanted) and wanted[len(found)] == decoded:
            found.append(token.span())
        decoded += 1
    starts = (position + offset - decoded for offset in wanted[len(found) :])
    return found + [(at, at + 1) for at in starts]


def _encoded_offset(message: bytes, begin: int, end: int, text: bytes, point: html.Point) -> int:
    """Where in `message` the `point` of the decoded `text` of `message[begin:end]` is, proven by decoding the rest."""
    if not point.token:
        return end
    rest = text[point.at :]
    at = message.rfind(rest[: len(point.token)], begin, end)
    if at >= 0 and binascii.a2b_qp(message[at:end]) == rest:
        return at
    # Escaped, or split by a soft break: find the same occurrence, counted from the end.
    starts = [match.start() for match in _encoded_forms(point.token).finditer(message, begin, end)]
    behind = rest.lower().count(point.token)
    if behind > len(starts) or binascii.a2b_qp(message[starts[-behind] : end]) != rest:
        raise Unfit("a text part is encoded ambiguously")
    return starts[-behind]


@lru_cache(maxsize=16)
def _encoded_forms(token: bytes) -> re.Pattern[bytes]:
    """All quoted-printable spellings of `token`: characters in any case, escaped or not, soft breaks between."""
    characters = []
    for octet in token:
        cases = sorted({octet, *bytes((octet,)).lower(), *bytes((octet,)).upper()})
        escapes = b"|".join(b"(?i:%02X)" % case for case in cases)
        characters.append(b"(?:[%s]|=(?<!==)(?:%s))" % (b"".join(re.escape(bytes((case,))) for case in cases), escapes))
    return re.compile(rb"(?:=\r\n)*+".join(characters))

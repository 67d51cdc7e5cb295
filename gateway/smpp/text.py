"""Where the text of a submit_sm stands, and how the notice gets in.

    read(pdu, at)            the text and all that matters about it; why it is none; or what is malformed
    Notice(brand).of(…)      the notice of one recipient, in the alphabet of one message
    bodies(…)                the message with its notice: one submit_sm body, or several when it no longer fits
    part(…), last_part(…), notice_parts(…)
                             the same for a message that its sender has cut into parts

A body is what follows the header. Outside the text, its length and — where one message becomes several — the fields
that speak of one message, every octet stays as it came (promise I6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from filters import sms
from filters.model import Brand
from filters.notice import SMS_TEMPLATE, sms_prefix
from filters.sms import ALPHABETS, CONCAT_16, Alphabet, Concat
from gateway import limits
from gateway.smpp.pdu import (
    DECLARED_KIND,
    DEST_ADDR_SUBUNIT,
    DESTINATION_PORT,
    ESM_TYPE,
    ESM_UDHI,
    HEADER_OCTETS,
    MESSAGE_PAYLOAD,
    PAYLOAD_TYPE,
    SAR_MSG_REF_NUM,
    SAR_SEGMENT_SEQNUM,
    SAR_TOTAL_SEGMENTS,
    SOURCE_PORT,
    USSD_SERVICE_OP,
    SubmitSm,
    Tlv,
    tlv,
    walk_tlvs,
)
from gateway.smpp.statuses import ESME_RINVMSGLEN, ESME_RINVTLVSTREAM

SAR: Final = -1
"""A `Concat.kind` of ours beside those of `filters.sms`: the part's place stands in SAR TLVs."""

_SAR = (SAR_MSG_REF_NUM, SAR_TOTAL_SEGMENTS, SAR_SEGMENT_SEQNUM)
_NOT_TEXT = {SOURCE_PORT, DESTINATION_PORT, USSD_SERVICE_OP, PAYLOAD_TYPE}
_ESC = 0x1B
_SEPTET, _UCS2 = Alphabet.SEPTET, Alphabet.UCS2  # as in `gateway.pipeline`
_TO_A_READER = (0, 1, 2)  # dest_addr_subunit: unknown, display, device; the others are smart cards and what hangs on it
_GROWTH_MAX = 2 * sms.NOTICE_LENGTH_MAX + sms.SEGMENT_OCTETS  # octets that a notice can add to a message_payload


class Text(NamedTuple):
    """The user data of a message, as offsets into its PDU."""

    alphabet: Alphabet
    start: int  # of the user data, its header included
    body: int  # of the text
    stop: int
    payload: bool  # it stands in the TLV message_payload and not in short_message
    shifts: bytes
    concat: Concat | None  # `total_at` as an offset into the PDU


_new_tuple: Final = tuple.__new__  # as in `pdu`


class Unfit(NamedTuple):
    """Not a plain text for a reader: no notice can be put in. `why` is for whoever reads the code or a test."""

    why: str


_NO_ALPHABET = Unfit("data_coding")
_NO_HEADER = Unfit("user data header")
_AMID = Unfit("half a character")
TWICE_PLACED = Unfit("sar beside a user data header")  # forbidden (§5.2.12), and met: `without_sar`


def read(pdu: bytes, at: SubmitSm, alphabets: tuple[Alphabet | None, ...] = ALPHABETS) -> Text | Unfit | int:
    """The text of a submit_sm that was walked; a command_status when it is malformed.

    `alphabets`: what its sender means by each data_coding.
    """
    esm, text, tlvs = pdu[at.esm_class], at.text, at.tlvs
    if esm & ESM_TYPE:
        return Unfit("esm_class")
    if pdu[text - 2]:
        return Unfit("sm_default_msg_id")  # the SMSC would send a text of its own
    if pdu.startswith(b"USSD\0", HEADER_OCTETS):
        return Unfit("service_type")
    alphabet = alphabets[pdu[text - 3]]
    if alphabet is None:
        return _NO_ALPHABET
    if tlvs == len(pdu) and not esm & ESM_UDHI:
        if _ends_amid(alphabet, pdu, text, tlvs):
            return _AMID
        return _new_tuple(Text, (alphabet, text, text, tlvs, False, b"", None))
    return _read_rare(pdu, at, alphabet)


def _read_rare(pdu: bytes, at: SubmitSm, alphabet: Alphabet) -> Text | Unfit | int:
    """With TLVs or a user data header."""
    found = walk_tlvs(pdu, at.tlvs)
    if found is None:
        return ESME_RINVTLVSTREAM
    by_tag = {one.tag: one for one in found}
    if len(by_tag) < len(found):
        return Unfit("a TLV twice")
    if not _NOT_TEXT.isdisjoint(by_tag):
        return Unfit("TLV")
    subunit = by_tag.get(DEST_ADDR_SUBUNIT)
    if subunit is not None and int.from_bytes(pdu[subunit.start : subunit.stop], "big") not in _TO_A_READER:
        return Unfit("dest_addr_subunit")
    start, stop, payload = at.text, at.tlvs, MESSAGE_PAYLOAD in by_tag
    if payload:
        if stop > start:
            return ESME_RINVMSGLEN  # §4.4.1: never both
        _, start, stop = by_tag[MESSAGE_PAYLOAD]
    body, shifts, concat = start, b"", None
    if pdu[at.esm_class] & ESM_UDHI:
        header = sms.read_header(pdu[start:stop])
        if header is None or header.end == 1:
            return _NO_HEADER
        body, shifts, concat = start + header.end, header.shifts, header.concat
        if concat is not None:
            concat = replace(concat, total_at=start + concat.total_at)
    if not by_tag.keys().isdisjoint(_SAR):
        if concat is not None:
            return TWICE_PLACED
        if (concat := _sar(pdu, by_tag)) is None:
            return Unfit("sar")  # incomplete
    if concat is None and _ends_amid(alphabet, pdu, body, stop):
        return _AMID  # a part may: the notice need not stand behind it, and the message were none without it
    if concat is not None and concat.total + sms.NOTICE_PARTS_MAX > sms.TOTAL_MAX:
        return Unfit("too many parts")
    if payload and len(pdu) + _GROWTH_MAX > limits.SMPP_PDU_OCTETS_MAX:
        return Unfit("too long")
    return Text(alphabet, start, body, stop, payload, shifts, concat)


def place(pdu: bytes, at: SubmitSm) -> Concat | None:
    """The part that a message is which takes no notice, as far as it says so."""
    by_tag = {one.tag: one for one in walk_tlvs(pdu, at.tlvs) or ()}
    start, stop = at.text, at.tlvs
    if MESSAGE_PAYLOAD in by_tag:
        _, start, stop = by_tag[MESSAGE_PAYLOAD]
    found = sms.read_place(pdu[start:stop]) if pdu[at.esm_class] & ESM_UDHI else None
    return found or _sar(pdu, by_tag)


def without_sar(pdu: bytes, at: SubmitSm) -> bytes:
    """A part that says its place in its header, without the TLVs that say it again: what is read on the air stays."""
    tlvs = walk_tlvs(pdu, at.tlvs) or ()
    return pdu[: at.tlvs] + b"".join(pdu[one.start - 4 : one.stop] for one in tlvs if one.tag not in _SAR)


def _ends_amid(alphabet: Alphabet, pdu: bytes, body: int, stop: int) -> bool:
    """Half a character at the end would take its other half from the notice."""
    if alphabet is _SEPTET:
        return stop > body and pdu[stop - 1] == _ESC
    return (stop - body) % alphabet.width != 0


def _sar(pdu: bytes, by_tag: dict[int, Tlv]) -> Concat | None:
    """A part whose place stands in TLVs (§5.3.2.22–24): two octets, one, one."""
    values = [pdu[by_tag[tag].start : by_tag[tag].stop] for tag in _SAR if tag in by_tag]
    if [len(value) for value in values] != [2, 1, 1]:
        return None
    reference, total, index = (int.from_bytes(value, "big") for value in values)
    if not 1 <= index <= total:
        return None
    return Concat(SAR, reference, total, index, by_tag[SAR_TOTAL_SEGMENTS].start)


def declared_kind(pdu: bytes, at: SubmitSm) -> bytes | None:
    """What a message says of itself; None also when its TLVs cannot be read, which `read` refuses."""
    for one in walk_tlvs(pdu, at.tlvs) or ():
        if one.tag == DECLARED_KIND:
            return pdu[one.start : one.stop].rstrip(b"\0")
    return None


class Notice:
    """What a brand must say, ready but for the link, in octets that are alike in every alphabet of septets or octets.

    Raises ValueError when the brand's template is no good; a checked configuration has none such.
    """

    def __init__(self, brand: Brand) -> None:
        self._head, _, self._tail = sms_prefix(brand, brand.sms_notice or SMS_TEMPLATE).partition(b"{link}")
        self._wide_head, self._wide_tail = Alphabet.UCS2.encode(self._head), Alphabet.UCS2.encode(self._tail)

    def of(self, alphabet: Alphabet, link: bytes) -> bytes:
        """The notice of one recipient, encoded."""
        if alphabet is _UCS2:
            return self._wide_head + alphabet.encode(link) + self._wide_tail
        return self._head + link + self._tail


def bodies(
    pdu: bytes, at: SubmitSm, text: Text, notice: bytes, *, reference: Callable[[], int], reserve: int
) -> list[bytes]:
    """A whole message with its notice; `reference` is asked for one if it becomes several segments.

    A text in message_payload stays in one piece: there the SMSC cuts.
    """
    if text.payload:
        value = pdu[text.start : text.stop] + notice
        return [pdu[HEADER_OCTETS : text.start - 4] + tlv(MESSAGE_PAYLOAD, value) + pdu[text.stop :]]
    size = text.stop - text.start + len(notice)
    if not text.shifts and size + reserve * text.alphabet.width <= text.alphabet.single:
        return [
            b"%b%c%b%b%b" % (pdu[HEADER_OCTETS : at.text - 1], size, pdu[text.body : text.stop], notice, pdu[at.tlvs :])
        ]
    pieces = sms.segments(
        text.alphabet, text.shifts, pdu[text.body : text.stop], notice, reference=reference(), reserve=reserve
    )
    if len(pieces) == 1:
        return [pdu[HEADER_OCTETS : at.text - 1] + _counted(pieces[0]) + pdu[at.tlvs :]]
    first = _head(pdu, at, udhi=True, registered_delivery=pdu[at.text - 5])
    others = _head(pdu, at, udhi=True, registered_delivery=0)
    return [(first if piece is pieces[0] else others) + _counted(piece) + pdu[at.tlvs :] for piece in pieces]


def part(pdu: bytes, concat: Concat, extra: int) -> bytes:
    """A part of its sender's making, of a message that has `extra` parts more than it says."""
    at = concat.total_at
    return b"%b%c%b" % (pdu[HEADER_OCTETS:at], concat.total + extra, pdu[at + 1 :])


def notice_parts(pdu: bytes, at: SubmitSm, text: Text, notice: bytes, *, reserve: int) -> list[bytes]:
    """The parts that follow the sender's own and hold only the notice; `pdu` is any one of the sender's."""
    concat = text.concat
    assert concat is not None
    pieces = sms.notice_pieces(text.alphabet, _concat_kind(concat), notice, reserve=reserve)
    return _further(pdu, at, concat, pieces, b"")


def last_part(pdu: bytes, at: SubmitSm, text: Text, notice: bytes, *, reserve: int) -> list[bytes] | None:
    """The last of the sender's parts with the notice behind its text, and the parts that the rest of it fills.

    None: that would be as many as with the notice in parts of its own, or the part is longer than a segment, or ends
    amid a character.
    """
    concat = text.concat
    assert concat is not None
    alphabet, own = text.alphabet, pdu[text.body : text.stop]
    room = alphabet.room(_header_octets(text, concat))
    if text.payload or len(own) > room or _ends_amid(alphabet, pdu, text.body, text.stop):
        return None
    pieces = list(sms.cut(alphabet, own + notice, room, reserve))
    if len(pieces) > len(sms.notice_pieces(alphabet, _concat_kind(concat), notice, reserve=reserve)):
        return None
    patched = bytearray(pdu)
    patched[concat.total_at] += len(pieces) - 1
    user_data = bytes(patched[text.start : text.body]) + pieces[0]
    first = bytes(patched[HEADER_OCTETS : at.text - 1]) + _counted(user_data) + bytes(patched[at.tlvs :])
    return [first, *_further(pdu, at, concat, pieces[1:], text.shifts)]


def _concat_kind(concat: Concat) -> int:
    """SAR TLVs have a reference of 16 bits, and become an element of it on the air."""
    return CONCAT_16 if concat.kind == SAR else concat.kind


def _header_octets(text: Text, concat: Concat) -> int:
    """Of the part's user data header on the air, where the SMSC puts the place that stands in SAR TLVs."""
    header = text.body - text.start
    if concat.kind != SAR:
        return header
    return max(1, header) + len(sms.concat_header(CONCAT_16, 0, 1, 1)) - 1


def _further(pdu: bytes, at: SubmitSm, concat: Concat, pieces: list[bytes], shifts: bytes) -> list[bytes]:
    """Parts behind the last of the sender's own; `pdu` is any one of them."""
    total = concat.total + len(pieces)
    tail = b"".join(
        pdu[one.start - 4 : one.stop]
        for one in walk_tlvs(pdu, at.tlvs) or ()
        if one.tag != MESSAGE_PAYLOAD and one.tag not in _SAR
    )
    sar = concat.kind == SAR
    head = _head(pdu, at, udhi=not sar or bool(shifts), registered_delivery=0)
    made = []
    for index, piece in enumerate(pieces, start=concat.total + 1):
        if sar:
            place = tlv(SAR_MSG_REF_NUM, concat.reference.to_bytes(2, "big"))
            place += tlv(SAR_TOTAL_SEGMENTS, bytes((total,))) + tlv(SAR_SEGMENT_SEQNUM, bytes((index,)))
            header = bytes((len(shifts),)) + shifts if shifts else b""
            made.append(head + _counted(header + piece) + tail + place)
        else:
            header = sms.concat_header(concat.kind, concat.reference, total, index, shifts)
            made.append(head + _counted(header + piece) + tail)
    return made


def _counted(short_message: bytes) -> bytes:
    """sm_length and short_message."""
    return bytes((len(short_message),)) + short_message


def _head(pdu: bytes, at: SubmitSm, *, udhi: bool, registered_delivery: int) -> bytes:
    """The fields up to sm_length of one of several segments.

    replace_if_present_flag is cleared: each segment would replace the one before it.
    """
    head = bytearray(pdu[HEADER_OCTETS : at.text - 1])
    esm_class = at.esm_class - HEADER_OCTETS
    head[esm_class] = head[esm_class] | ESM_UDHI if udhi else head[esm_class] & ~ESM_UDHI
    head[-4] = registered_delivery
    head[-3] = 0
    return bytes(head)

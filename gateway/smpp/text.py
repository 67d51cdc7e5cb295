"""Where the text of a submit_sm stands, and how the notice gets in.

    read(pdu, at)            the text and all that matters about it; why it is none; or what is malformed
    Notice(brand).of(…)      the notice of one recipient, in the alphabet of one message
    bodies(…)                the message with its notice: one submit_sm body, or several when it no longer fits
    part(…), notice_parts(…) the same for a message that its sender has cut into parts

A body is what follows the header. Outside the text, its length and — where one message becomes several — the fields
that speak of one message, every octet stays as it came (promise I6).
"""

from __future__ import annotations

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
_TO_A_READER = (0, 1, 2)  # dest_addr_subunit: unknown, display, device; the others are smart cards and what hangs on it
_SHORT_MESSAGE_MAX = 254
_PAYLOAD_MAX = 0xFFFF


class Text(NamedTuple):
    """The user data of a message, as offsets into its PDU."""

    alphabet: Alphabet
    start: int  # of the user data, its header included
    body: int  # of the text
    stop: int
    payload: bool  # it stands in the TLV message_payload and not in short_message
    shifts: bytes
    concat: Concat | None  # `total_at` as an offset into the PDU


class Unfit(NamedTuple):
    """Not a plain text for a reader: no notice can be put in. `why` is for whoever reads the code or a test."""

    why: str


_NO_ALPHABET = Unfit("data_coding")
_NO_HEADER = Unfit("user data header")
_NO_SAR = Unfit("sar")


def read(pdu: bytes, at: SubmitSm) -> Text | Unfit | int:
    """The text of a submit_sm that was walked; a command_status when it is malformed."""
    esm, text, tlvs = pdu[at.esm_class], at.text, at.tlvs
    if esm & ESM_TYPE:
        return Unfit("esm_class")
    if pdu[text - 2]:
        return Unfit("sm_default_msg_id")  # the SMSC would send a text of its own
    if pdu.startswith(b"USSD\0", HEADER_OCTETS):
        return Unfit("service_type")
    alphabet = ALPHABETS[pdu[text - 3]]
    if alphabet is None:
        return _NO_ALPHABET
    if tlvs == len(pdu) and not esm & ESM_UDHI:
        return Text(alphabet, text, text, tlvs, False, b"", None)
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
        if header is None:
            return _NO_HEADER
        body, shifts, concat = start + header.end, header.shifts, header.concat
        if concat is not None:
            concat = concat._replace(total_at=start + concat.total_at) if _NAMED else _moved(concat, start)
    if not by_tag.keys().isdisjoint(_SAR):
        if concat is not None or (concat := _sar(pdu, by_tag)) is None:
            return _NO_SAR
    return Text(alphabet, start, body, stop, payload, shifts, concat)

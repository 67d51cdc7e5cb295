"""Message ids as an SMSC spells them: in its answer to a message, in the text of the receipt, in the receipt's TLV.

    SPELLINGS     by `message_id` of the configuration: the one form of an id, from an answer and from a receipt
    read()        what a deliver_sm or data_sm is: a receipt, of which ids, or a message, to which address
    retold()      the same delivery with the id that its client was told, in both places
    plain()       the same for a client that knows no TLVs

A receipt's text is an example of the specification (SMPP 3.4 App. B), not a rule: only `id:` is looked for. Its TLV
receipted_message_id (§5.3.2.12) is meant to be the id of the answer. SMSCs in the field answer in hexadecimal and write
decimal in the receipt, or the other way round; and those that do write the TLV in either. So the text, which is known
to have the receipt's form, goes first where the forms differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.smpp.ids import canonical
from gateway.smpp.pdu import (
    DATA_SM,
    ESM_RECEIPT,
    ESM_TYPE,
    HEADER_OCTETS,
    MESSAGE_PAYLOAD,
    RECEIPTED_MESSAGE_ID,
    SubmitSm,
    data_of_submit,
    submit_of_data,
    tlv,
    walk_submit_sm,
    walk_tlvs,
)
from gateway.smpp.statuses import ESME_RINVTLVSTREAM

ESM_NOTIFICATION: Final = 0x20
"""esm_class of an intermediate notification, in the bits of ESM_TYPE (§5.2.12)."""

_HEADER: Final = bytes(HEADER_OCTETS)
_ID: Final = re.compile(rb"(?:^|\s)id:([^\s\0]{1,64})", re.IGNORECASE)
_DECIMAL: Final = re.compile(rb"[0-9]{1,64}")
_HEX: Final = re.compile(rb"[0-9a-f]{1,64}")
_TEXT_OCTETS_MAX: Final = 254  # of short_message (§5.2.22)
_MESSAGE_ID_MAX: Final = 64

_new_tuple: Final = tuple.__new__  # as in `pdu`

Form = Callable[[bytes], bytes]


def _exact(message_id: bytes) -> bytes:
    return message_id


def _decimal(message_id: bytes) -> bytes:
    """A number; what is none keeps its letters, so that it is never taken for one."""
    bare = canonical(message_id)
    return b"%d" % int(bare) if _DECIMAL.fullmatch(bare) else bare


def _hex(message_id: bytes) -> bytes:
    bare = canonical(message_id)
    return b"%d" % int(bare, 16) if _HEX.fullmatch(bare) else b"x" + bare


class Spelling(NamedTuple):
    """Of one SMSC."""

    answer: Form
    receipt: Form
    tlv_first: bool  # whether TLV and text are spelled alike; the TLV is never cut then

    def of_receipt(self, in_tlv: bytes, in_text: bytes) -> bytes:
        """The one form; empty if the receipt names no id."""
        if in_text and not (self.tlv_first and in_tlv):
            return self.receipt(in_text)
        return self.answer(in_tlv) if in_tlv else b""


SPELLINGS: Final = {
    "same": Spelling(_exact, _exact, tlv_first=True),
    "loose": Spelling(canonical, canonical, tlv_first=True),
    "hex_in_response": Spelling(_hex, _decimal, tlv_first=False),
    "hex_in_receipt": Spelling(_decimal, _hex, tlv_first=False),
}


class Delivery(NamedTuple):
    """What an SMSC sent. `pdu` is a submit_sm or deliver_sm, also of a data_sm; `in_tlv` and `in_text` are ids."""

    command: int
    pdu: bytes
    at: SubmitSm
    is_receipt: bool
    in_tlv: bytes
    in_text: bytes

    @property
    def address(self) -> bytes:
        """Where it is sent to."""
        return self.pdu[self.at.dest : self.at.esm_class - 1]


def read(command: int, body: bytes) -> Delivery | int:
    """Of a deliver_sm or data_sm, without its header; or the command_status of what is wrong with it."""
    pdu = submit_of_data(_HEADER + body) if command == DATA_SM else _HEADER + body
    if isinstance(pdu, int):
        return pdu
    at = walk_submit_sm(pdu)  # a deliver_sm has the same fields (§4.6.1)
    if isinstance(at, int):
        return at
    tlvs = walk_tlvs(pdu, at.tlvs)
    if tlvs is None:
        return ESME_RINVTLVSTREAM
    text, in_tlv = pdu[at.text : at.tlvs], b""
    for one in tlvs:
        if one.tag == RECEIPTED_MESSAGE_ID:
            in_tlv = pdu[one.start : one.stop].partition(b"\0")[0][:_MESSAGE_ID_MAX]
        elif one.tag == MESSAGE_PAYLOAD and not text:
            text = pdu[one.start : one.stop]
    kind = pdu[at.esm_class] & ESM_TYPE
    is_receipt = kind in (ESM_RECEIPT, ESM_NOTIFICATION) or (kind != 0 and in_tlv != b"")
    found = _ID.search(text) if is_receipt else None
    return _new_tuple(Delivery, (command, pdu, at, is_receipt, in_tlv, found[1] if found else b""))


def body_of(delivery: Delivery) -> bytes:
    """As the SMSC sent it."""
    pdu = delivery.pdu
    return data_of_submit(pdu, delivery.at) if delivery.command == DATA_SM else pdu[HEADER_OCTETS:]


def retold(delivery: Delivery, message_id: bytes) -> bytes:
    """The body that the client gets who knows the message as `message_id`."""
    if message_id == delivery.in_tlv == delivery.in_text or not (delivery.in_tlv or delivery.in_text):
        return body_of(delivery)
    pdu, at = delivery.pdu, delivery.at
    out = bytearray()
    for one in walk_tlvs(pdu, at.tlvs) or ():
        value = pdu[one.start : one.stop]
        if one.tag == RECEIPTED_MESSAGE_ID:
            value = message_id + b"\0"
        elif one.tag == MESSAGE_PAYLOAD and at.tlvs == at.text:
            value = _with_id(value, delivery.in_text, message_id)
        out += tlv(one.tag, value)
    text = _with_id(pdu[at.text : at.tlvs], delivery.in_text, message_id)[:_TEXT_OCTETS_MAX]
    pdu = pdu[: at.text - 1] + bytes((len(text),)) + text + out
    return body_of(delivery._replace(pdu=pdu, at=at._replace(tlvs=at.text + len(text))))


def plain(command: int, body: bytes) -> bytes | None:
    """A delivery without TLVs, as a client of version 3.3 wants it; None: it cannot be told without them."""
    if command == DATA_SM:
        return None
    at = walk_submit_sm(pdu := _HEADER + body)
    if isinstance(at, int):
        return None
    text = pdu[at.text : at.tlvs]
    for one in walk_tlvs(pdu, at.tlvs) or ():
        if one.tag == MESSAGE_PAYLOAD and not text:
            text = pdu[one.start : one.stop]
    if len(text) > _TEXT_OCTETS_MAX:
        return None
    return pdu[HEADER_OCTETS : at.text - 1] + bytes((len(text),)) + text


def _with_id(text: bytes, old: bytes, new: bytes) -> bytes:
    found = _ID.search(text) if old else None
    return text[: found.start(1)] + new + text[found.end(1) :] if found else text

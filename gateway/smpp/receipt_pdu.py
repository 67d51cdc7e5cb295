"""What a receipt says of a message, and a receipt that says it (SMPP 3.4 §5.2.12, §5.2.28, App. B). Pure.

    said(delivery)             state, error, dates
    folded(delivery, said, …)  the same delivery about the whole of a message, under the id that its client knows
    composed(addresses, said)  one of our own making, in the form of App. B

SMSCs write receipts as they like: fields are missing, longer, in another order or case. Each is replaced where it
stands and added nowhere, all else stays as it came. Where the text and a TLV differ, the TLV is believed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from filters.address import canonical_msisdn
from gateway.smpp.pdu import (
    DATA_SM,
    ESM_RECEIPT,
    ESM_TYPE,
    HEADER_OCTETS,
    MESSAGE_PAYLOAD,
    MESSAGE_STATE,
    RECEIPTED_MESSAGE_ID,
    TON_INTERNATIONAL,
    TON_NATIONAL,
    USER_MESSAGE_REFERENCE,
    data_of_submit,
    tlv,
    walk_submit_sm,
    walk_tlvs,
)
from gateway.smpp.spelling import Delivery

NETWORK_ERROR_CODE: Final = 0x0423  # §5.3.2.31: three octets

ENROUTE, DELIVERED, EXPIRED, DELETED, UNDELIVERABLE, ACCEPTED, UNKNOWN, REJECTED = range(1, 9)
"""message_state (§5.2.28)."""
WORDS: Final = {
    ENROUTE: b"ENROUTE",
    DELIVERED: b"DELIVRD",
    EXPIRED: b"EXPIRED",
    DELETED: b"DELETED",
    UNDELIVERABLE: b"UNDELIV",
    ACCEPTED: b"ACCEPTD",
    UNKNOWN: b"UNKNOWN",
    REJECTED: b"REJECTD",
}
_BY_WORD: Final = {word[:5]: state for state, word in WORDS.items()}  # some write them out: DELIVERED
_NOT_FINAL: Final = (ENROUTE, ACCEPTED)
_SHORT_MESSAGE_MAX: Final = 254
_NETWORK_ERROR_OCTETS: Final = 3
_FIELD: Final = re.compile(rb"(?<![a-z])(id|sub|dlvrd|submit date|done date|stat|err):(\S*)", re.IGNORECASE)
_TEXT: Final = re.compile(rb"(?<![a-z])text:", re.IGNORECASE)


class Said(NamedTuple):
    """What a receipt says. Empty: nothing of it."""

    state: int
    error: bytes = b""  # err:, as it is written
    network_error: bytes = b""  # the TLV's value
    submitted: bytes = b""  # YYMMDDhhmm, some with seconds
    done: bytes = b""

    @property
    def is_final(self) -> bool:
        """No other receipt of that message follows."""
        return self.state not in _NOT_FINAL


def said(delivery: Delivery) -> Said:
    """Of a receipt or an intermediate notification; what cannot be read is UNKNOWN."""
    pdu, at = delivery.pdu, delivery.at
    tlvs = _tlvs(delivery)
    text = pdu[at.text : at.tlvs] or tlvs.get(MESSAGE_PAYLOAD, b"")
    fields = {name.lower(): value for name, value in reversed(_FIELD.findall(_TEXT.split(text, maxsplit=1)[0]))}
    state = int.from_bytes(tlvs.get(MESSAGE_STATE, b""), "big") or _BY_WORD.get(fields.get(b"stat", b"")[:5].upper(), 0)
    network_error = tlvs.get(NETWORK_ERROR_CODE, b"")
    return Said(
        state if state in WORDS else UNKNOWN,
        fields.get(b"err", b""),
        network_error if len(network_error) == _NETWORK_ERROR_OCTETS else b"",
        fields.get(b"submit date", b""),
        fields.get(b"done date", b""),
    )


def is_receipt(delivery: Delivery) -> bool:
    """Of a message that is final, and no intermediate notification (§5.2.12)."""
    return delivery.pdu[delivery.at.esm_class] & ESM_TYPE == ESM_RECEIPT


def addresses(delivery: Delivery) -> bytes:
    """Source, then destination, with their TON and NPI."""
    return delivery.pdu[delivery.at.source - 2 : delivery.at.esm_class]


def number(delivery: Delivery) -> bytes | None:
    """The handset's, canonical, if it is one."""
    pdu, at = delivery.pdu, delivery.at
    ton = pdu[at.source - 2]
    if ton > TON_NATIONAL:
        return None
    return canonical_msisdn(pdu[at.source : at.dest - 3], international=ton == TON_INTERNATIONAL)


def folded(delivery: Delivery, told: bytes, what: Said, reference: bytes, *, has_tlvs: bool) -> bytes:
    """Its body, saying `what` of the message that its client was `told` the id of.

    `reference`: the value of the client's user_message_reference, if it had one. Without `has_tlvs` there are none (a
    client of version 3.3): then what stood in message_payload is the short_message.
    """
    pdu, at = delivery.pdu, delivery.at
    tlvs = _tlvs(delivery)
    text = _with(pdu[at.text : at.tlvs], told, what)
    if MESSAGE_PAYLOAD in tlvs and not text:
        tlvs[MESSAGE_PAYLOAD] = _with(tlvs[MESSAGE_PAYLOAD], told, what)
        if not has_tlvs:
            text = tlvs[MESSAGE_PAYLOAD]
    text = text[:_SHORT_MESSAGE_MAX]
    tlvs |= _own_tlvs(told, what, reference)
    tail = b"".join(tlv(tag, value) for tag, value in tlvs.items() if value) if has_tlvs else b""
    made = b"%b%c%b%b" % (pdu[: at.text - 1], len(text), text, tail)
    if delivery.command != DATA_SM:
        return made[HEADER_OCTETS:]
    again = walk_submit_sm(made)
    assert not isinstance(again, int), "made of one that was walked"
    return data_of_submit(made, again)


def composed(source_and_dest: bytes, told: bytes, what: Said, reference: bytes) -> tuple[bytes, bytes]:
    """The body of a deliver_sm of our own, and its TLVs; `source_and_dest` as `addresses` gives them."""
    fields = _values(told, what)
    text = b"".join(b"%b:%b " % (name, value) for name, value in fields.items()) + b"text:"
    body = b"\0%b%c\0\0\0\0\0\0\0\0%c%b" % (source_and_dest, ESM_RECEIPT, len(text), text)
    return body, b"".join(tlv(tag, value) for tag, value in _own_tlvs(told, what, reference).items() if value)


def _tlvs(delivery: Delivery) -> dict[int, bytes]:
    pdu = delivery.pdu
    return {one.tag: pdu[one.start : one.stop] for one in walk_tlvs(pdu, delivery.at.tlvs) or ()}


def _own_tlvs(told: bytes, what: Said, reference: bytes) -> dict[int, bytes]:
    """Empty: not that one, also if the SMSC had it."""
    tlvs = {RECEIPTED_MESSAGE_ID: told + b"\0", MESSAGE_STATE: bytes((what.state,))}
    tlvs[NETWORK_ERROR_CODE] = what.network_error
    return tlvs | {USER_MESSAGE_REFERENCE: reference} if reference else tlvs


def _values(told: bytes, what: Said) -> dict[bytes, bytes]:
    """Of the fields of a text, in App. B's order. sub and dlvrd count what the client submitted: one message."""
    values = {
        b"id": told,
        b"sub": b"001",
        b"dlvrd": b"001" if what.state == DELIVERED else b"000",
        b"submit date": what.submitted,
        b"done date": what.done,
        b"stat": WORDS[what.state],
        b"err": what.error,
    }
    return {name: value for name, value in values.items() if value}


def _with(text: bytes, told: bytes, what: Said) -> bytes:
    """A receipt's text with other values in those fields that it has; the words behind `text:` stay."""
    values = _values(told, what)
    end = found.start() if (found := _TEXT.search(text)) else len(text)
    head = _FIELD.sub(lambda field: b"%b:%b" % (field[1], values.get(field[1].lower(), field[2])), text[:end])
    return head + text[end:]

"""SMPP 3.4 PDUs as octets: headers, field walks, TLVs. No object is made of a PDU and none is built from objects.

A walk yields where the fields stand; what is not changed is copied as it came. Nothing here raises on what a peer
sends: a malformed PDU is a command_status.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from gateway import limits
from gateway.smpp.statuses import (
    ESME_RBINDFAIL,
    ESME_RINVDESTFLAG,
    ESME_RINVDSTADR,
    ESME_RINVEXPIRY,
    ESME_RINVMSGID,
    ESME_RINVMSGLEN,
    ESME_RINVNUMDESTS,
    ESME_RINVSCHED,
    ESME_RINVSERTYP,
    ESME_RINVSRCADR,
    ESME_ROK,
)

HEADER: Final = Struct(">IIII")  # command_length, command_id, command_status, sequence_number (§3.2)
HEADER_OCTETS: Final = HEADER.size
TLV_HEADER: Final = Struct(">HH")
SEQUENCE_MAX: Final = 0x7FFFFFFF

RESPONSE: Final = 0x80000000  # the bit that makes a response of a request's command_id
GENERIC_NACK: Final = 0x80000000
BIND_RECEIVER: Final = 0x01
BIND_TRANSMITTER: Final = 0x02
QUERY_SM: Final = 0x03
SUBMIT_SM: Final = 0x04
SUBMIT_SM_RESP: Final = SUBMIT_SM | RESPONSE
DELIVER_SM: Final = 0x05
DELIVER_SM_RESP: Final = DELIVER_SM | RESPONSE
UNBIND: Final = 0x06
UNBIND_RESP: Final = UNBIND | RESPONSE
REPLACE_SM: Final = 0x07
REPLACE_SM_RESP: Final = REPLACE_SM | RESPONSE
CANCEL_SM: Final = 0x08
BIND_TRANSCEIVER: Final = 0x09
ENQUIRE_LINK: Final = 0x15
ENQUIRE_LINK_RESP: Final = ENQUIRE_LINK | RESPONSE
SUBMIT_MULTI: Final = 0x21
SUBMIT_MULTI_RESP: Final = SUBMIT_MULTI | RESPONSE
ALERT_NOTIFICATION: Final = 0x102
DATA_SM: Final = 0x103
DATA_SM_RESP: Final = DATA_SM | RESPONSE

DEST_ADDR_SUBUNIT: Final = 0x0005
PAYLOAD_TYPE: Final = 0x0019
USER_MESSAGE_REFERENCE: Final = 0x0204
SOURCE_PORT: Final = 0x020A
DESTINATION_PORT: Final = 0x020B
SAR_MSG_REF_NUM: Final = 0x020C
SAR_TOTAL_SEGMENTS: Final = 0x020E
SAR_SEGMENT_SEQNUM: Final = 0x020F
SC_INTERFACE_VERSION: Final = 0x0210
RECEIPTED_MESSAGE_ID: Final = 0x001E
MESSAGE_PAYLOAD: Final = 0x0424
MESSAGE_STATE: Final = 0x0427
USSD_SERVICE_OP: Final = 0x0501
DECLARED_KIND: Final = 0x1501  # ours, in the vendor range: “commercial” or “informational” (`filters.classify`)

TON_UNKNOWN: Final = 0
TON_INTERNATIONAL: Final = 1
TON_NATIONAL: Final = 2

ESM_RECEIPT: Final = 0x04
ESM_TYPE: Final = 0x3C  # bits 5–2: a receipt, an acknowledgement, … (§5.2.12)
ESM_UDHI: Final = 0x40

# Octets with the terminating NUL (§4.4.1); the two times are empty or seventeen.
_SERVICE_TYPE_MAX = 6
_ADDRESS_MAX = 21
_TIME_OCTETS = 17
_MESSAGE_ID_MAX = 65
_TO_ADDRESS, _TO_LIST = b"\1", b"\2"  # dest_flag (§5.2.25)
_NO_TIMES = b"\0\0"
# Wider than §4.1: clients in the field log in with passwords of thirty characters and more.
_SYSTEM_ID_MAX = 33
_PASSWORD_MAX = 129
_SYSTEM_TYPE_MAX = 33
_ADDRESS_RANGE_MAX = 41


_new_tuple: Final = tuple.__new__
"""A NamedTuple without the detour through its constructor, which is Python: once for each message."""


class SubmitSm(NamedTuple):
    """Where the fields of a submit_sm stand, as offsets into the PDU (§4.4.1).

    From the anchors everything is one step away: the TON and NPI of an address are the two octets before it and its
    NUL the last before the next field; protocol_id, priority_flag and schedule_delivery_time follow `esm_class`;
    sm_length is the octet before `text`, and before it, backwards, sm_default_msg_id, data_coding, replace_if_present,
    registered_delivery. `tlvs` is where the text ends and the optional parameters begin.
    """

    source: int
    dest: int
    esm_class: int
    text: int
    tlvs: int


def walk_submit_sm(pdu: bytes) -> SubmitSm | int:
    """The anchors of a submit_sm, or the command_status of what is wrong with it.

    The TLVs are not looked at: `walk_tlvs`, where there are any.
    """
    find = pdu.find
    if (end := find(0, HEADER_OCTETS, HEADER_OCTETS + _SERVICE_TYPE_MAX)) < 0:
        return ESME_RINVSERTYP
    source = end + 3
    if (end := find(0, source, source + _ADDRESS_MAX)) < 0:
        return ESME_RINVSRCADR
    dest = end + 3
    if (end := find(0, dest, dest + _ADDRESS_MAX)) < 0:
        return ESME_RINVDSTADR
    esm_class = end + 1
    schedule = esm_class + 3
    if pdu[schedule : schedule + 2] == _NO_TIMES:
        text = schedule + 7
    else:
        if (end := find(0, schedule, schedule + _TIME_OCTETS)) < 0 or (end > schedule and end - schedule != 16):
            return ESME_RINVSCHED
        validity = end + 1
        if (end := find(0, validity, validity + _TIME_OCTETS)) < 0 or (end > validity and end - validity != 16):
            return ESME_RINVEXPIRY
        text = end + 6
    if text > len(pdu) or (tlvs := text + pdu[text - 1]) > len(pdu):
        return ESME_RINVMSGLEN
    return _new_tuple(SubmitSm, (source, dest, esm_class, text, tlvs))


class SubmitMulti(NamedTuple):
    """Where the fields of a submit_multi stand, as offsets into the PDU (§4.5.1).

    What comes before the number of destinations, and from `tail` on, is as in a submit_sm.
    """

    source: int  # of the source address, behind its TON and NPI
    number: int  # of the octet number_of_dests
    destinations: tuple[Destination, ...]
    tail: int  # of esm_class


class Destination(NamedTuple):
    """One of a submit_multi: from its TON, or the name of a distribution list, to behind its NUL."""

    start: int
    stop: int
    is_list: bool


def walk_submit_multi(pdu: bytes) -> SubmitMulti | int:
    """The destinations of a submit_multi, or the command_status of what is wrong with them."""
    find = pdu.find
    if (end := find(0, HEADER_OCTETS, HEADER_OCTETS + _SERVICE_TYPE_MAX)) < 0:
        return ESME_RINVSERTYP
    source = end + 3
    if (end := find(0, source, source + _ADDRESS_MAX)) < 0:
        return ESME_RINVSRCADR
    number = at = end + 1
    if number >= len(pdu) or not 1 <= pdu[number] <= limits.SMPP_DESTINATIONS_MAX:
        return ESME_RINVNUMDESTS
    found = []
    for _ in range(pdu[number]):
        flag, start = pdu[at + 1 : at + 2], at + 2
        if flag not in (_TO_ADDRESS, _TO_LIST):
            return ESME_RINVDESTFLAG
        address = start + 2 if flag == _TO_ADDRESS else start
        if (end := find(0, address, address + _ADDRESS_MAX)) < 0:
            return ESME_RINVDSTADR
        found.append(Destination(start, end + 1, flag == _TO_LIST))
        at = end
    return SubmitMulti(source, number, tuple(found), at + 1)


def walk_replace_sm(pdu: bytes) -> bytes | int:
    """The source address of a replace_sm (§4.10.1), or the command_status of what is wrong before it."""
    find = pdu.find
    if (end := find(0, HEADER_OCTETS, HEADER_OCTETS + _MESSAGE_ID_MAX)) < 0:
        return ESME_RINVMSGID
    source = end + 3
    if (end := find(0, source, source + _ADDRESS_MAX)) < 0:
        return ESME_RINVSRCADR
    return pdu[source:end]


def submit_of_data(pdu: bytes) -> bytes | int:
    """A data_sm (§4.7.1) with the fields that a submit_sm has beside its own, all of them zero; or a command_status.

    The header stays that of the data_sm.
    """
    at = HEADER_OCTETS - 1
    for skipped, malformed in ((1, ESME_RINVSERTYP), (3, ESME_RINVSRCADR), (3, ESME_RINVDSTADR)):
        if (at := pdu.find(0, at + skipped)) < 0:
            return malformed
    if len(pdu) < at + 4:
        return ESME_RINVMSGLEN
    esm_class, registered_delivery, data_coding = pdu[at + 1 : at + 4]
    fields = bytes((esm_class, 0, 0, 0, 0, registered_delivery, 0, data_coding, 0, 0))
    return pdu[: at + 1] + fields + pdu[at + 4 :]


def data_of_submit(pdu: bytes, at: SubmitSm) -> bytes:
    """The body of a data_sm from a submit_sm: what was made of it by `submit_of_data` is as it was.

    A short_message goes into message_payload, of which there is none beside it.
    """
    body = pdu[HEADER_OCTETS : at.esm_class + 1] + bytes((pdu[at.text - 5], pdu[at.text - 3])) + pdu[at.tlvs :]
    return body + tlv(MESSAGE_PAYLOAD, pdu[at.text : at.tlvs]) if at.tlvs > at.text else body


class Tlv(NamedTuple):
    """An optional parameter: its tag, where its value begins, where it ends (§3.2.4.1)."""

    tag: int
    start: int
    stop: int


def walk_tlvs(pdu: bytes, at: int) -> list[Tlv] | None:
    """The optional parameters from `at` to the end of the PDU, in their order; None when they do not end with it."""
    found = []
    end = len(pdu)
    while at < end:
        if at + 4 > end:
            return None
        tag, length = TLV_HEADER.unpack_from(pdu, at)
        start = at + 4
        at = start + length
        if at > end:
            return None
        found.append(_new_tuple(Tlv, (tag, start, at)))
    return found


class Bind(NamedTuple):
    """Who logs in (§4.1). `rest` is everything from system_type on, as it came."""

    system_id: bytes
    password: bytes
    interface_version: int
    rest: bytes


def walk_bind(pdu: bytes) -> Bind | int:
    """The fields of a bind_transmitter, bind_receiver or bind_transceiver, or a command_status."""
    find = pdu.find
    if (end := find(0, HEADER_OCTETS, HEADER_OCTETS + _SYSTEM_ID_MAX)) < 0:
        return ESME_RBINDFAIL
    password = end + 1
    if (system_type := find(0, password, password + _PASSWORD_MAX) + 1) == 0:
        return ESME_RBINDFAIL
    if (version := find(0, system_type, system_type + _SYSTEM_TYPE_MAX) + 1) == 0:
        return ESME_RBINDFAIL
    if (end_of_range := find(0, version + 3, version + 3 + _ADDRESS_RANGE_MAX) + 1) == 0:
        return ESME_RBINDFAIL
    if walk_tlvs(pdu, end_of_range) is None:
        return ESME_RBINDFAIL
    return Bind(pdu[HEADER_OCTETS:end], pdu[password : system_type - 1], pdu[version], pdu[system_type:])


def bind_body(system_id: bytes, password: bytes, rest: bytes) -> bytes:
    """The body of a bind: `rest` as `walk_bind` gives it."""
    return b"%b\0%b\0%b" % (system_id, password, rest)


def pack(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """A whole PDU."""
    return HEADER.pack(HEADER_OCTETS + len(body), command, status, sequence) + body


def tlv(tag: int, value: bytes) -> bytes:
    """An optional parameter."""
    return TLV_HEADER.pack(tag, len(value)) + value


assert ESME_ROK == 0  # a walk's int is always a failure

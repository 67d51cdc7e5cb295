"""What receipts say, in the ways in which SMSCs write them, and what is written in their place."""

from __future__ import annotations

import pytest

from gateway.smpp import receipt_pdu, spelling
from gateway.smpp.receipt_pdu import Said
from gateway.smpp.spelling import Delivery
from tests.gateway.smpp.support import NUMBER, tlv

DELIVER, DATA = 0x05, 0x103
ADDRESSES = b"\1\1" + NUMBER + b"\0\5\0ORNEK\0"
WORST = Said(5, b"011", b"\3\0\x0b", b"2611251400", b"2611251435")


def delivery(text: bytes, tlvs: bytes = b"", *, esm: int = 4) -> Delivery:
    read = spelling.read(DELIVER, b"\0%b%c\0\0\0\0\0\0\0\0%c%b%b" % (ADDRESSES, esm, len(text), text, tlvs))
    assert isinstance(read, Delivery)
    return read


@pytest.mark.parametrize(
    ("text", "tlvs", "said"),
    [
        (
            b"id:77 sub:001 dlvrd:001 submit date:2611251400 done date:2611251430 stat:DELIVRD err:000 text:x",
            b"",
            Said(2, b"000", b"", b"2611251400", b"2611251430"),
        ),
        (b"id:77 done date:261125143059 stat:UNDELIVERABLE err:0b1", b"", Said(5, b"0b1", b"", b"", b"261125143059")),
        (b"id:77 Stat:rejectd Err:12 Text:stat:DELIVRD", b"", Said(8, b"12")),
        (b"id:77 stat:DELIVRD", tlv(0x427, b"\3") + tlv(0x423, b"\3\0\x29"), Said(3, b"", b"\3\0\x29")),
        (b"", tlv(0x1E, b"77\0") + tlv(0x427, b"\2"), Said(2)),
        (b"", tlv(0x424, b"id:77 stat:EXPIRED err:4"), Said(3, b"4")),
        (b"id:77 stat:SOMETHING", b"", Said(7)),
        (b"id:77", tlv(0x427, b"\x63"), Said(7)),
        (b"id:77 stat:ENROUTE", b"", Said(1)),
    ],
)
def test_what_it_says(text: bytes, tlvs: bytes, said: Said) -> None:
    assert receipt_pdu.said(delivery(text, tlvs)) == said


@pytest.mark.parametrize(("state", "final"), [(1, False), (6, False), (2, True), (7, True)])
def test_what_ends_a_message(state: int, final: bool) -> None:
    assert Said(state).is_final is final


def test_every_field_is_replaced_where_it_stands_and_none_is_added() -> None:
    read = delivery(b"x:1 STAT:DELIVRD id:77 dlvrd:001 done date:2611251430 text:id:77 stat:x", tlv(0x1401, b"v"))
    body = receipt_pdu.folded(read, b"4711", WORST, b"\0\7", has_tlvs=True)
    text = b"x:1 STAT:UNDELIV id:4711 dlvrd:000 done date:2611251435 text:id:77 stat:x"
    tlvs = tlv(0x1401, b"v") + tlv(0x1E, b"4711\0") + tlv(0x427, b"\5") + tlv(0x423, b"\3\0\x0b") + tlv(0x204, b"\0\7")
    assert body == b"\0%b\4\0\0\0\0\0\0\0\0%c%b%b" % (ADDRESSES, len(text), text, tlvs)


def test_tlvs_that_say_otherwise_are_replaced_or_go() -> None:
    read = delivery(b"", tlv(0x1E, b"77\0") + tlv(0x423, b"\3\0\1") + tlv(0x427, b"\2"))
    body = receipt_pdu.folded(read, b"4711", Said(3), b"", has_tlvs=True)
    assert body.endswith(b"\0" + tlv(0x1E, b"4711\0") + tlv(0x427, b"\3"))
    assert tlv(0x423, b"\3\0\1") not in body


def test_a_text_in_message_payload_stays_there_or_becomes_the_short_message() -> None:
    read = delivery(b"", tlv(0x424, b"id:77 stat:DELIVRD"))
    text = b"id:4711 stat:UNDELIV"
    assert tlv(0x424, text) in receipt_pdu.folded(read, b"4711", WORST, b"", has_tlvs=True)
    assert receipt_pdu.folded(read, b"4711", WORST, b"", has_tlvs=False).endswith(bytes((len(text),)) + text)


def test_one_of_our_own_reads_as_what_it_says() -> None:
    body, tlvs = receipt_pdu.composed(ADDRESSES, b"4711", WORST, b"\0\7")
    read = spelling.read(DELIVER, body + tlvs)
    assert isinstance(read, Delivery)
    assert receipt_pdu.said(read) == WORST
    assert (read.in_tlv, read.in_text) == (b"4711", b"4711")
    assert receipt_pdu.is_receipt(read)
    assert receipt_pdu.addresses(read) == ADDRESSES
    assert receipt_pdu.number(read) == b"+905550000001"
    assert tlv(0x204, b"\0\7") in tlvs


@pytest.mark.parametrize("esm", [0x08, 0x10, 0x20])
def test_what_is_no_receipt(esm: int) -> None:
    assert not receipt_pdu.is_receipt(delivery(b"id:77", tlv(0x1E, b"77\0"), esm=esm))

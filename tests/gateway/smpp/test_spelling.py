"""Ids in answers and receipts, and receipts that are told anew."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import spelling
from gateway.smpp.spelling import SPELLINGS, Delivery
from tests.gateway.smpp.support import DATA, DELIVER, submit_body, tlv

RECEIPT, NOTIFICATION, ACKNOWLEDGED = 0x04, 0x20, 0x08
TEXT = b"id:%b sub:001 dlvrd:001 submit date:2611251430 done date:2611251430 stat:DELIVRD err:000 text:id:7"


def delivery(body: bytes, command: int = DELIVER) -> Delivery:
    read = spelling.read(command, body)
    assert not isinstance(read, int)
    return read


def receipt(in_text: bytes = b"", in_tlv: bytes = b"", **fields: object) -> bytes:
    tlvs = tlv(0x1E, in_tlv + b"\0") if in_tlv else b""
    return submit_body(TEXT % in_text if in_text else b"", **({"esm": RECEIPT, "tlvs": tlvs} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message_id", "answer", "in_tlv", "in_text"),
    [
        ("same", b"1A2b", b"1A2b", b"1A2b"),
        ("same", b"1A2b", b"1A2b", b"cut"),
        ("loose", b"001A2b", b"1a2B", b""),
        ("loose", b"007", b"", b"7"),
        ("hex_in_response", b"1E8480", b"", b"2000000"),
        ("hex_in_response", b"1e8480", b"", b"0002000000"),
        ("hex_in_response", b"001e8480", b"1E8480", b"2000000"),
        ("hex_in_response", b"1e8480", b"2000000", b"2000000"),
        ("hex_in_response", b"1e8480", b"001E8480", b""),
        ("hex_in_receipt", b"2000000", b"", b"1E8480"),
        ("hex_in_receipt", b"02000000", b"2000000", b"001e8480"),
        ("hex_in_receipt", b"  10", b"", b" 0a "),
        ("hex_in_response", b"not a number", b"NOT A NUMBER", b""),
    ],
)
def test_answer_and_receipt_have_one_form(message_id: str, answer: bytes, in_tlv: bytes, in_text: bytes) -> None:
    spelled = SPELLINGS[message_id]
    assert spelled.of_receipt(in_tlv, in_text) == spelled.answer(answer) != b""


@pytest.mark.parametrize(
    ("message_id", "answer", "in_text"),
    [
        ("same", b"ab", b"AB"),
        ("same", b"7", b"07"),
        ("hex_in_response", b"10", b"10"),
        ("hex_in_receipt", b"10", b"10"),
    ],
)
def test_i3_another_id_has_another_form(message_id: str, answer: bytes, in_text: bytes) -> None:
    spelled = SPELLINGS[message_id]
    assert spelled.of_receipt(b"", in_text) != spelled.answer(answer)


@pytest.mark.parametrize("word", [b"1_0", b"+10", b"-10", b"0x10", b"\xd9\xa1"])
def test_i3_what_python_takes_for_a_number_is_none(word: bytes) -> None:
    assert SPELLINGS["hex_in_receipt"].answer(word) != SPELLINGS["hex_in_receipt"].answer(b"10")


@given(st.integers(0, 2**200))
def test_hex_and_decimal_meet(number: int) -> None:
    spelled = SPELLINGS["hex_in_response"]
    assert (
        spelled.of_receipt(b"", b"%d" % number) == spelled.answer(b"%x" % number) == spelled.answer(b"%016X" % number)
    )


@pytest.mark.parametrize("esm", [RECEIPT, NOTIFICATION, RECEIPT | 0x40])
def test_a_receipt_is_told_by_its_class(esm: int) -> None:
    found = delivery(receipt(b"12ab", esm=esm))
    assert (found.is_receipt, found.in_text, found.in_tlv) == (True, b"12ab", b"")


def test_what_only_looks_like_a_receipt_is_a_message() -> None:
    found = delivery(receipt(b"12ab", b"12ab", esm=0))
    assert not found.is_receipt
    assert found.address == b"905550000001"
    assert delivery(receipt(b"12ab", b"12ab", esm=ACKNOWLEDGED)).is_receipt
    assert not delivery(receipt(b"12ab", esm=ACKNOWLEDGED)).is_receipt


@pytest.mark.parametrize("text", [b"ID:77 stat:DELIVRD", b"sub:001 id:77", b"id:77"])
def test_the_id_stands_anywhere_in_the_text_or_the_payload(text: bytes) -> None:
    assert delivery(submit_body(text, esm=RECEIPT)).in_text == b"77"
    assert delivery(submit_body(b"", esm=RECEIPT, tlvs=tlv(0x424, text))).in_text == b"77"


@pytest.mark.parametrize(
    "text", [b"", b"nid:77", b"id: 77", b"msgid:77", b"id:" + b"7" * 65 + b" x", "id:77".encode("utf-16-be")]
)
def test_a_text_without_an_id(text: bytes) -> None:
    assert delivery(submit_body(text, esm=RECEIPT)).in_text in (b"", b"7" * 64)


def test_both_places_get_the_id_that_the_client_was_told() -> None:
    user = tlv(0x204, b"\0\7")
    found = delivery(receipt(b"2000000", b"02000000", tlvs=tlv(0x1E, b"02000000\0") + user))
    body = spelling.retold(found, b"1E8480")
    again = delivery(body)
    assert (again.in_text, again.in_tlv) == (b"1E8480", b"1E8480")
    assert body == submit_body(TEXT % b"1E8480", esm=RECEIPT, tlvs=tlv(0x1E, b"1E8480\0") + user)


def test_a_payload_and_a_data_sm_are_told_anew_as_well() -> None:
    body = submit_body(b"", esm=RECEIPT, tlvs=tlv(0x424, TEXT % b"2000000"))
    assert spelling.retold(delivery(body), b"1E8480") == submit_body(
        b"", esm=RECEIPT, tlvs=tlv(0x424, TEXT % b"1E8480")
    )
    data = b"\0\1\1905550000001\0\5\0ORNEK\0" + bytes((RECEIPT, 0, 0)) + tlv(0x1E, b"02000000\0")
    found = delivery(data, DATA)
    assert (found.is_receipt, found.in_tlv, found.address) == (True, b"02000000", b"ORNEK")
    assert spelling.retold(found, b"1E8480") == data.replace(tlv(0x1E, b"02000000\0"), tlv(0x1E, b"1E8480\0"))


def test_i6_a_receipt_with_the_right_id_is_passed_as_it_came() -> None:
    body = receipt(b"12ab", b"12ab")
    assert spelling.retold(delivery(body), b"12ab") == body
    assert spelling.retold(delivery(receipt()), b"12ab") == receipt()


def test_a_longer_id_never_makes_a_text_too_long() -> None:
    text = (b"id:7 text:" + b"x" * 254)[:254]
    again = delivery(spelling.retold(delivery(submit_body(text, esm=RECEIPT)), b"1234567890"))
    assert again.in_text == b"1234567890"
    assert again.at.tlvs - again.at.text == 254


def test_without_tlvs() -> None:
    assert spelling.plain(DELIVER, receipt(b"12ab", b"12ab")) == receipt(b"12ab")
    assert spelling.plain(DELIVER, submit_body(b"", tlvs=tlv(0x424, b"Merhaba"))) == submit_body(b"Merhaba")
    assert spelling.plain(DELIVER, submit_body(b"", tlvs=tlv(0x424, b"x" * 255))) is None
    assert spelling.plain(DATA, b"\0") is None
    assert spelling.plain(DELIVER, b"\0") is None


@given(st.binary(max_size=80), st.sampled_from([DELIVER, DATA]))
def test_nothing_raises(body: bytes, command: int) -> None:
    found = spelling.read(command, body)
    if not isinstance(found, int):
        spelling.retold(found, b"1E8480")


def test_tlvs_that_end_in_the_middle() -> None:
    assert spelling.read(DELIVER, submit_body(b"x", tlvs=struct.pack(">HH", 0x1E, 9))) == 0xC0

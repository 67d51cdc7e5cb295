"""Where the text stands, and what is left untouched when the notice gets in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.sms import CONCAT_8, CONCAT_16, Alphabet
from gateway.demo.smsc import Received, _received
from gateway.smpp import text
from gateway.smpp.pdu import SubmitSm, walk_submit_sm
from gateway.smpp.text import SAR, Notice, Text, Unfit
from tests.gateway.smpp.support import BRAND, CANONICAL, SUBMIT, link_of, notice_of, pdu, submit_body, tlv

NOTICE = Notice(BRAND)
LINK = link_of(CANONICAL)
SAR_TLVS = tlv(0x20C, b"\x12\x34") + tlv(0x20E, b"\2") + tlv(0x20F, b"\1")


def walked(body: bytes) -> tuple[bytes, SubmitSm]:
    whole = pdu(SUBMIT, 1, body)
    at = walk_submit_sm(whole)
    assert isinstance(at, SubmitSm)
    return whole, at


def found(body: bytes) -> tuple[bytes, SubmitSm, Text]:
    whole, at = walked(body)
    one = text.read(whole, at)
    assert isinstance(one, Text), one
    return whole, at, one


def with_notice(body: bytes, *, reserve: int = 5) -> list[Received]:
    """The messages an SMSC gets, read by another reader."""
    whole, at, one = found(body)
    made = text.bodies(whole, at, one, NOTICE.of(one.alphabet, LINK), reference=lambda: 0xBEEF, reserve=reserve)
    return [_received("1", "izinli", body) for body in made]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"coding": 4}, "data_coding"),
        ({"coding": 0xF6}, "data_coding"),
        ({"esm": 0x08}, "esm_class"),
        ({"default_id": 3}, "sm_default_msg_id"),
        ({"service_type": b"USSD"}, "service_type"),
        ({"tlvs": tlv(0x020A, b"\x0b\x84")}, "TLV"),
        ({"tlvs": tlv(0x020B, b"\x0b\x84")}, "TLV"),
        ({"tlvs": tlv(0x0501, b"\1")}, "TLV"),
        ({"tlvs": tlv(0x0019, b"\1")}, "TLV"),
        ({"tlvs": tlv(0x0005, b"\3")}, "dest_addr_subunit"),
        ({"tlvs": tlv(0x1400, b"1") * 2}, "a TLV twice"),
        ({"tlvs": tlv(0x20C, b"\x12\x34")}, "sar"),
        ({"tlvs": tlv(0x20C, b"\x12\x34") + tlv(0x20E, b"\2") + tlv(0x20F, b"\3")}, "sar"),
        ({"text": b"\5\0\3\7\2\1x", "esm": 0x40, "tlvs": SAR_TLVS}, "sar beside a user data header"),
        ({"text": b"\6\5\4\x0b\x84\x0b\x84x", "esm": 0x40}, "user data header"),
        ({"text": b"\x20\0\3", "esm": 0x40}, "user data header"),
        ({"text": b"\0x", "esm": 0x40}, "user data header"),
        ({"text": b"", "esm": 0x40}, "user data header"),
        ({"text": b"\5\0\3\7\xff\1x", "esm": 0x40}, "too many parts"),
        ({"text": b"", "tlvs": tlv(0x0424, bytes(65_000))}, "too long"),
        ({"text": b"abc", "coding": 8}, "half a character"),
        ({"text": b"abc\x1b"}, "half a character"),
        ({"text": b"", "coding": 8, "tlvs": tlv(0x0424, b"abc")}, "half a character"),
    ],
)
def test_what_takes_no_notice(fields: dict[str, object], why: str) -> None:
    whole, at = walked(submit_body(**fields))  # type: ignore[arg-type]
    assert text.read(whole, at) == Unfit(why)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"tlvs": b"\x14\0\0\5x"}, 0xC0),
        ({"tlvs": b"\x14"}, 0xC0),
        ({"text": b"both", "tlvs": tlv(0x0424, b"payload")}, 0x01),
    ],
)
def test_what_is_malformed(fields: dict[str, object], status: int) -> None:
    whole, at = walked(submit_body(**fields))  # type: ignore[arg-type]
    assert text.read(whole, at) == status


@pytest.mark.parametrize(
    ("coding", "encode", "esm"),
    [
        (0, lambda words: words.encode("ascii"), 0),
        (1, lambda words: words.encode("ascii"), 0),
        (3, lambda words: words.encode("latin-1"), 0),
        (8, lambda words: words.encode("utf-16-be"), 0),
        (0, lambda words: b"\3\x24\1\1" + words.encode("ascii"), 0x40),
        (0, lambda words: b"\3\x25\1\1" + words.encode("ascii"), 0x40),
    ],
)
def test_the_notice_reads_the_same_in_each_alphabet(coding: int, encode: Callable[[str], bytes], esm: int) -> None:
    got = with_notice(submit_body(encode("Cay ve seker"), coding=coding, esm=esm))
    assert "".join(one.text for one in got) == "Cay ve seker" + notice_of()


def test_i6_one_segment_differs_in_text_and_length_alone() -> None:
    tlvs = tlv(0x1400, b"1234567890123456789") + tlv(0x0204, b"\0\7")
    body = submit_body(b"Merhaba", registered=0x15, replace=1, tlvs=tlvs)
    (got,) = with_notice(body)
    notice = notice_of().encode()
    at = body.index(b"Merhaba")
    expected = body[: at - 1] + bytes((7 + len(notice),)) + b"Merhaba" + notice + body[at + 7 :]
    assert got.body == expected


@pytest.mark.parametrize("reserve", [0, 5])
def test_the_last_character_that_fits(reserve: int) -> None:
    room = 160 - len(notice_of()) - reserve
    assert len(with_notice(submit_body(b"a" * room), reserve=reserve)) == 1
    assert len(with_notice(submit_body(b"a" * (room + 1)), reserve=reserve)) == 2


def test_i6_several_segments_differ_in_what_speaks_of_one_message() -> None:
    tlvs = tlv(0x1400, b"id")
    body = submit_body(b"a" * 150, registered=1, replace=1, esm=0x80, tlvs=tlvs)
    got = with_notice(body)
    assert [one.place() for one in got] == [(0xBEEF, 2, 1), (0xBEEF, 2, 2)]
    assert "".join(one.text for one in got) == "a" * 150 + notice_of()
    assert [one.esm_class for one in got] == [0xC0, 0xC0]
    assert [one.registered_delivery for one in got] == [1, 0]  # its receipt has the id that the client was told
    assert [one.replace_if_present for one in got] == [0, 0]
    assert {one.tlvs for one in got} == {((0x1400, b"id"),)}
    assert all(len(one.user_data) - 7 <= 152 for one in got)


def test_the_shift_table_is_named_in_each_segment() -> None:
    got = with_notice(submit_body(b"\3\x24\1\1" + b"\x1bs" * 60, esm=0x40))
    assert [dict(one.elements)[0x24] for one in got] == [b"\1", b"\1"]
    assert "".join(one.text for one in got) == "ş" * 60 + notice_of()


@pytest.mark.parametrize("coding", [0, 8])
def test_a_text_in_message_payload_stays_there_in_one_piece(coding: int) -> None:
    encoding = "utf-16-be" if coding else "ascii"
    words = "a" * 300
    before, after = tlv(0x1400, b"id"), tlv(0x0204, b"\0\7")
    body = submit_body(b"", coding=coding, tlvs=before + tlv(0x0424, words.encode(encoding)) + after)
    (got,) = with_notice(body)
    assert got.text == words + notice_of()
    assert got.body.endswith(after)
    assert [tag for tag, _ in got.tlvs] == [0x1400, 0x0424, 0x0204]
    assert got.body[: body.index(before) + len(before)] == body[: body.index(before) + len(before)]


def parts_of(body: bytes) -> tuple[Text, Received, list[Received]]:
    whole, at, one = found(body)
    made = text.notice_parts(whole, at, one, NOTICE.of(one.alphabet, LINK), reserve=5)
    assert one.concat is not None
    patched = text.part(whole, one.concat, len(made))
    return one, _received("1", "izinli", patched), [_received("2", "izinli", extra) for extra in made]


@pytest.mark.parametrize(
    ("kind", "header", "reference"), [(CONCAT_8, b"\5\0\3\7\2\1", 7), (CONCAT_16, b"\6\x08\4\1\2\2\1", 0x102)]
)
@pytest.mark.parametrize("coding", [0, 8])
def test_the_notice_becomes_a_part_of_its_own(kind: int, header: bytes, reference: int, coding: int) -> None:
    words = "Merhaba".encode("utf-16-be" if coding else "ascii")
    body = submit_body(header + words, esm=0x40, coding=coding, registered=1, tlvs=tlv(0x1400, b"id"))
    one, part, extra = parts_of(body)
    assert one.concat is not None
    assert one.concat.kind == kind
    total = 2 + len(extra)
    assert part.place() == (reference, total, 1)
    assert part.body == body.replace(header, header[:-2] + bytes((total, 1)))
    assert [got.place() for got in extra] == [(reference, total, 3 + n) for n in range(len(extra))]
    assert "".join(got.text for got in extra) == notice_of()
    assert {(got.registered_delivery, got.esm_class, got.tlvs) for got in extra} == {(0, 0x40, ((0x1400, b"id"),))}


@pytest.mark.parametrize("coding", [0, 8])
def test_the_notice_becomes_a_part_with_sar_tlvs(coding: int) -> None:
    words = "Merhaba".encode("utf-16-be" if coding else "ascii")
    body = submit_body(words, coding=coding, tlvs=SAR_TLVS + tlv(0x1400, b"id"))
    one, part, extra = parts_of(body)
    assert one.concat is not None
    assert one.concat.kind == SAR
    total = 2 + len(extra)
    assert part.place() == (0x1234, total, 1)
    assert part.body == body.replace(tlv(0x20E, b"\2"), tlv(0x20E, bytes((total,))))
    assert [got.place() for got in extra] == [(0x1234, total, 3 + n) for n in range(len(extra))]
    assert "".join(got.text for got in extra) == notice_of()
    assert {got.esm_class for got in extra} == {0}
    assert [sorted(tag for tag, _ in got.tlvs) for got in extra] == [[0x20C, 0x20E, 0x20F, 0x1400]] * len(extra)


@pytest.mark.parametrize("sar", [False, True])
def test_what_spills_over_the_last_part_has_its_shift_table_too(*, sar: bool) -> None:
    """Of a notice that fills two parts; each part is decoded on its own (TS 23.040 §9.2.3.24.15)."""
    header, words = (b"" if sar else b"\0\3\7\2\2") + b"\x24\1\1", b"\x1bs" * 20
    body = submit_body(bytes((len(header),)) + header + words, esm=0x40, tlvs=tlv(0x20C, b"\0\7") * sar)
    if sar:
        body += tlv(0x20E, b"\2") + tlv(0x20F, b"\2")
    whole, at, one = found(body)
    bodies = text.last_part(whole, at, one, b"x" * 170, reserve=5)
    assert bodies is not None
    got = [_received("1", "izinli", made) for made in bodies]
    assert [part.place() for part in got] == [(7, 3, 2), (7, 3, 3)]
    assert [dict(part.elements)[0x24] for part in got] == [b"\1"] * 2
    assert "".join(part.text for part in got) == "ş" * 20 + "x" * 170


def test_a_part_in_message_payload() -> None:
    body = submit_body(b"", esm=0x40, tlvs=tlv(0x0424, b"\5\0\3\7\2\1Merhaba"))
    _, part, extra = parts_of(body)
    assert part.place() == (7, 3, 1)
    assert [(got.place(), got.text, got.tlvs) for got in extra] == [((7, 3, 3), notice_of(), ())]


@pytest.mark.parametrize("value", [b"informational", b"informational\0"])
def test_what_a_message_says_of_itself(value: bytes) -> None:
    whole, at = walked(submit_body(tlvs=tlv(0x1400, b"x") + tlv(0x1501, value)))
    assert text.declared_kind(whole, at) == b"informational"
    whole, at = walked(submit_body(tlvs=tlv(0x1400, b"x")))
    assert text.declared_kind(whole, at) is None
    whole, at = walked(submit_body(tlvs=tlv(0x1501, value) + b"\0"))
    assert text.declared_kind(whole, at) is None


@given(
    st.binary(max_size=254),
    st.sampled_from([0, 1, 3, 8, 0xF1]),
    st.sampled_from([0, 0x40, 0x80, 0xC0]),
    st.binary(max_size=40),
)
def test_no_submit_sm_raises_and_no_text_is_lost(words: bytes, coding: int, esm: int, tlvs: bytes) -> None:
    whole, at = walked(submit_body(words, coding=coding, esm=esm, tlvs=tlvs))
    text.declared_kind(whole, at)
    one = text.read(whole, at)
    if not isinstance(one, Text):
        return
    notice = NOTICE.of(one.alphabet, LINK)
    if one.concat is not None:
        text.part(whole, one.concat, 2)
        assert text.notice_parts(whole, at, one, notice, reserve=5)
        return
    made = text.bodies(whole, at, one, notice, reference=lambda: 1, reserve=5)
    pieces = [walked(body) for body in made]
    read = [text.read(pdu, at) for pdu, at in pieces]
    assert all(isinstance(one, Text) for one in read)
    joined = b"".join(pdu[r.body : r.stop] for (pdu, _), r in zip(pieces, read, strict=True))  # type: ignore[union-attr]
    assert joined == whole[one.body : one.stop] + notice


def test_a_brand_may_word_its_notice() -> None:
    worded = Notice(BRAND.__class__(1, "A", "A", "0123456789000015", 1, sms_notice=" {mersis} RET {link} A"))
    assert worded.of(Alphabet.SEPTET, b"L") == b" 0123456789000015 RET L A"
    assert worded.of(Alphabet.UCS2, b"L").decode("utf-16-be") == " 0123456789000015 RET L A"

"""What a handset reads is what was sent, and the notice: for texts in every alphabet, however they were cut.

Texts are drawn as characters and encoded by tables turned around from `gateway.demo.gsm`; the result is read by the
demonstration's SMSC, and its fields by two codecs that were not written here.
"""

from __future__ import annotations

import io
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import smpplib.consts
import smpplib.smpp
from hypothesis import given, settings
from hypothesis import strategies as st
from smpp.pdu.pdu_encoding import PDUEncoder

from filters import sms
from filters.sms import CONCAT_8, CONCAT_16, Alphabet
from gateway.demo.gsm import Elements, decode
from gateway.demo.smsc import Received, _received
from gateway.smpp import text
from gateway.smpp.pdu import SubmitSm, walk_submit_sm
from gateway.smpp.text import SAR, Notice, Text
from tests.gateway.smpp.support import BRAND, CANONICAL, SUBMIT, link_of, notice_of, pdu, submit_body, tlv

STEADY = settings(derandomize=True, deadline=None)
NOTICE = Notice(BRAND)
LINK = link_of(CANONICAL)
SINGLE, LOCKING = b"\x24\1\1", b"\x25\1\1"
KINDS = [CONCAT_8, CONCAT_16, SAR]


@dataclass(frozen=True)
class Script:
    """A way of writing: its data_coding, the shift tables it names, the characters it has."""

    coding: int
    shifts: bytes
    letters: st.SearchStrategy[str]
    encode: Callable[[str], bytes]

    @property
    def alphabet(self) -> Alphabet:
        found = sms.ALPHABETS[self.coding]
        assert found is not None
        return found


def _septets(shifts: bytes) -> Script:
    elements: Elements = tuple((shifts[at], shifts[at + 2 : at + 3]) for at in range(0, len(shifts), 3))
    table: dict[str, bytes] = {}
    for first in range(128):
        for octets in (bytes((first,)), bytes((0x1B, first))):
            if octets != b"\x1b" and octets != b"\x1b\x1b":
                table.setdefault(decode(octets, 0, elements), octets)
    letters = st.sampled_from(sorted(table)) | st.sampled_from("€{}[]aaa")
    return Script(0, shifts, letters, lambda words: b"".join(table[letter] for letter in words))


def _wide(words: str) -> bytes:
    return words.encode("utf-16-be")


CLUSTERS = ["ğ", "😀", "e\u0301", "a\u0323\u0302", "👍🏽", "👨🏽\u200d👩🏽\u200d👧🏽", "❤\ufe0f", "a"]
SCRIPTS = [
    _septets(b""),
    _septets(SINGLE),
    _septets(LOCKING),
    _septets(LOCKING + SINGLE),
    Script(1, b"", st.characters(min_codepoint=32, max_codepoint=126), lambda words: words.encode("ascii")),
    Script(3, b"", st.characters(min_codepoint=32, max_codepoint=255), lambda words: words.encode("latin-1")),
    Script(8, b"", st.sampled_from(CLUSTERS) | st.characters(exclude_categories=["Cs"]), _wide),
]


def words_of(script: Script, length: int) -> st.SearchStrategy[str]:
    """Runs of letters, so that borders fall everywhere in them."""
    run = st.tuples(script.letters, st.integers(1, 40)).map(lambda pair: pair[0] * pair[1])
    return st.lists(run, max_size=8).map(lambda runs: clipped(script, "".join(runs), length))


def clipped(script: Script, words: str, octets: int) -> str:
    """As many whole characters as so many octets hold."""
    kept, size = "", 0
    for letter in words:
        size += len(script.encode(letter))
        if size > octets:
            break
        kept += letter
    return kept


WRITTEN = st.sampled_from(SCRIPTS).flatmap(lambda script: st.tuples(st.just(script), words_of(script, 240)))
ENDS = st.sampled_from(SCRIPTS).flatmap(lambda script: st.tuples(st.just(script), words_of(script, 120)))


def walked(body: bytes) -> tuple[bytes, SubmitSm, Text]:
    whole = pdu(SUBMIT, 1, body)
    at = walk_submit_sm(whole)
    assert isinstance(at, SubmitSm)
    found = text.read(whole, at)
    assert isinstance(found, Text), found
    return whole, at, found


def on_the_air(script: Script, one: Received) -> int:
    """Octets of TP-User-Data, with the header that an SMSC makes of SAR TLVs."""
    header = one.user_data[0] + 1 if one.esm_class & 0x40 else 0
    body = len(one.user_data) - header
    if any(tag == 0x20C for tag, _ in one.tlvs):
        header = max(1, header) + 6
    if script.alphabet is not Alphabet.SEPTET:
        return header + body
    header_septets = -(-header * 8 // 7)
    return -(-(header_septets + body) * 7 // 8)


def read(script: Script, bodies: list[bytes]) -> list[Received]:
    """By place, each within a segment, none with half a character at an end."""
    got = [_received("1", "izinli", body) for body in bodies]
    assert all(on_the_air(script, one) <= 140 for one in got)
    for one, following in pairwise(got):
        assert not one.text.endswith("\u200d")
        assert following.text
        assert not unicodedata.category(following.text[0]).startswith("M") or not one.text
    return got


@STEADY
@given(WRITTEN, st.sampled_from([0, 5]))
def test_a_whole_message_reads_as_it_was_sent_and_then_the_notice(written: tuple[Script, str], reserve: int) -> None:
    script, words = written
    if unicodedata.category(words[-1:] or "a").startswith("M") or words.startswith(tuple("\u0301\u0302\u0323")):
        words = f"a{words}a"
    header = bytes((len(script.shifts),)) + script.shifts if script.shifts else b""
    body = submit_body(header + script.encode(words), coding=script.coding, esm=0x40 if header else 0, registered=0x11)
    whole, at, found = walked(body)
    notice = NOTICE.of(found.alphabet, LINK)
    made = text.bodies(whole, at, found, notice, reference=lambda: 0xBEEF, reserve=reserve)
    got = read(script, made)
    assert "".join(one.text for one in got) == words + notice_of()
    assert [one.registered_delivery for one in got] == [0x11] + [0] * (len(got) - 1)
    if len(got) > 1:
        assert [one.place() for one in got] == [(0xBEEF, len(got), n) for n in range(1, len(got) + 1)]
    for one in made:
        same_in_foreign_codecs(one)


@STEADY
@given(ENDS, st.sampled_from(KINDS), st.sampled_from([0, 5]))
def test_a_last_part_reads_as_it_was_sent_and_then_the_notice(
    written: tuple[Script, str], kind: int, reserve: int
) -> None:
    script, words = written
    body = last_part_of(script, f"a{words}a", kind)
    whole, at, found = walked(body)
    notice = NOTICE.of(found.alphabet, LINK)
    alone = text.notice_parts(whole, at, found, notice, reserve=reserve)
    together = text.last_part(whole, at, found, notice, reserve=reserve)
    assert found.concat is not None
    for made in ([text.part(whole, found.concat, len(alone)), *alone], together or []):
        got = read(script, made)
        if got:
            total = 1 + len(got)
            assert "".join(one.text for one in got) == f"a{words}a" + notice_of()
            assert [one.place() for one in got] == [(7, total, n) for n in range(2, total + 1)]
            assert [one.registered_delivery for one in got] == [1] + [0] * (len(got) - 1)
            assert all((0x204, b"\0\7") in one.tlvs for one in got), "user_message_reference"
    if together is not None:
        assert len(together) <= len(alone), "a segment less than with the notice alone"


def last_part_of(script: Script, words: str, kind: int) -> bytes:
    """The second of two."""
    reference = tlv(0x204, b"\0\7")
    if kind == SAR:
        header = bytes((len(script.shifts),)) + script.shifts if script.shifts else b""
        place = tlv(0x20C, b"\0\7") + tlv(0x20E, b"\2") + tlv(0x20F, b"\2")
        tlvs, esm = reference + place, 0x40 if header else 0
    else:
        header, tlvs, esm = sms.concat_header(kind, 7, 2, 2, script.shifts), reference, 0x40
    return submit_body(header + script.encode(words), coding=script.coding, esm=esm, registered=1, tlvs=tlvs)


ADDRESS = st.text("0123456789ABCDEFGHIJ", max_size=20)


@STEADY
@given(
    st.fixed_dictionaries(
        {
            "source_addr_ton": st.integers(0, 6),
            "source_addr": ADDRESS,
            "dest_addr_ton": st.integers(0, 6),
            "destination_addr": ADDRESS,
            "esm_class": st.sampled_from([0, 3, 0x40, 0x80]),
            "protocol_id": st.integers(0, 255),
            "priority_flag": st.integers(0, 3),
            "registered_delivery": st.integers(0, 31),
            "replace_if_present_flag": st.integers(0, 1),
            "data_coding": st.integers(0, 255),
            "short_message": st.binary(max_size=254),
        }
    )
)
def test_the_walk_finds_what_smpplib_wrote(fields: dict[str, object]) -> None:
    made = smpplib.smpp.make_pdu("submit_sm", client=_Sequence(), **fields).generate()
    at = walk_submit_sm(made)
    assert isinstance(at, SubmitSm)
    source, dest = str(fields["source_addr"]).encode(), str(fields["destination_addr"]).encode()
    assert made[at.source : at.dest - 2].partition(b"\0")[0] == source
    assert made[at.dest : at.esm_class - 1] == dest
    assert (made[at.source - 2], made[at.dest - 2]) == (fields["source_addr_ton"], fields["dest_addr_ton"])
    assert tuple(made[at.esm_class : at.esm_class + 3]) == tuple(
        fields[name] for name in ("esm_class", "protocol_id", "priority_flag")
    )
    assert tuple(made[at.text - 5 : at.text - 2]) == tuple(
        fields[name] for name in ("registered_delivery", "replace_if_present_flag", "data_coding")
    )
    assert made[at.text : at.tlvs] == fields["short_message"]
    assert at.tlvs == len(made)


class _Sequence:
    """All that smpplib wants of a client."""

    sequence = 1

    def next_sequence(self) -> int:
        return 1


def same_in_foreign_codecs(body: bytes) -> None:
    """smpplib and smpp.pdu3 read the fields that were meant."""
    whole = struct.pack(">IIII", 16 + len(body), SUBMIT, 0, 7) + body
    mine = _received("1", "izinli", body)
    other = smpplib.smpp.parse_pdu(whole, client=_Sequence(), allow_unknown_opt_params=True)
    assert (other.short_message or b"") == mine.user_data
    assert (other.source_addr.decode(), other.destination_addr.decode()) == (mine.source, mine.dest)
    assert (other.esm_class, other.data_coding) == (mine.esm_class, mine.data_coding)
    third = PDUEncoder().decode(io.BytesIO(whole)).params
    assert third["short_message"] == mine.user_data
    assert third["destination_addr"].decode() == mine.dest

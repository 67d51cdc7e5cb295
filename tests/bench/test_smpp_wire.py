"""The load generator's PDUs: rings whose counters go on rising, and the fast look at many of them at once."""

from __future__ import annotations

import pytest
from smpplib import smpp

from bench import smpp_load
from bench import smpp_wire as wire

SUBMIT_SM = wire.submit_sm("ORNEK", "905550000001", b"merhaba")


def numbers(octets: bytes | memoryview) -> list[int]:
    return [sequence for *_, sequence in wire.walk(bytearray(octets), len(octets))]


@pytest.mark.parametrize("counts", [[1] * 700, [100] * 7, [256, 1, 255, 256], [1000, 3], [255, 2, 300]])
def test_a_ring_counts_on_over_its_seam(counts: list[int]) -> None:
    ring = wire.Ring(SUBMIT_SM, wire.SEQUENCE_AT, wire.sequence_label, first=2)
    seen = [number for count in counts for number in numbers(ring.take(count))]
    assert seen == list(range(2, 2 + sum(counts)))


def test_a_ring_counts_on_into_the_higher_octets() -> None:
    ring = wire.Ring(SUBMIT_SM, wire.SEQUENCE_AT, wire.sequence_label, first=2)
    for _ in range(300):
        last = numbers(ring.take(250))[-1]
    assert last == 1 + 300 * 250 > 0xFFFF


def test_message_ids_are_all_different() -> None:
    ring = wire.Ring(wire.submit_sm_resp(), wire.BODY_AT, wire.id_label, first=1)
    octets = b"".join(bytes(ring.take(count)) for count in (200, 200, 5000))
    ids = [octets[at + wire.BODY_AT : at + ring.size] for at in range(0, len(octets), ring.size)]
    assert ids == [f"{number:016x}\0".encode() for number in range(1, 5401)]


def test_uniform_pdus_are_counted_and_a_tail_is_left() -> None:
    octets = bytearray(SUBMIT_SM * 5 + SUBMIT_SM[:30])
    assert wire.uniform(octets, len(octets), SUBMIT_SM[: wire.FIXED]) == 5


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("place", range(wire.FIXED))
def test_one_other_octet_in_any_head_is_noticed(which: int, place: int) -> None:
    octets = bytearray(SUBMIT_SM * 3)
    octets[which * len(SUBMIT_SM) + place] ^= 1
    assert wire.uniform(octets, len(octets), SUBMIT_SM[: wire.FIXED]) == 0


def test_a_single_pdu_and_a_part_of_one() -> None:
    octets = bytearray(SUBMIT_SM)
    assert wire.uniform(octets, len(octets), SUBMIT_SM[: wire.FIXED]) == 1
    assert wire.uniform(octets, len(octets) - 1, SUBMIT_SM[: wire.FIXED]) == 0


@pytest.mark.parametrize("length", [0, 15, wire.PDU_OCTETS_MAX + 1])
def test_what_is_not_smpp_is_said(length: int) -> None:
    with pytest.raises(ValueError, match=str(length)):
        list(wire.walk(bytearray(length.to_bytes(4, "big") + bytes(12)), 16))


def test_a_foreign_library_reads_our_submit_sm() -> None:
    ring = wire.Ring(SUBMIT_SM, wire.SEQUENCE_AT, wire.sequence_label, first=2)
    read = smpp.parse_pdu(bytes(ring.take(1)), need_sequence=False)
    assert (read.command, read.sequence) == ("submit_sm", 2)
    assert (read.source_addr_ton, read.source_addr) == (wire.ALPHANUMERIC, b"ORNEK")
    assert (read.dest_addr_ton, read.dest_addr_npi, read.destination_addr) == (1, 1, b"905550000001")
    assert (read.data_coding, read.short_message) == (0, b"merhaba")


@pytest.mark.parametrize("stop", [0, 1, 2, 100, 0xFFFF, 0x10000, 0x10001, 200_000])
def test_the_sum_of_sequence_numbers(stop: int) -> None:
    assert smpp_load.low_sum(stop) == sum(number & 0xFFFF for number in range(stop))

"""The load generator's PDUs: rings whose counters go on rising, and the fast look at many of them at once."""

from __future__ import annotations

import pytest
from smpplib import smpp

from bench import smpp_wire as wire

SUBMIT_SM = wire.submit_sm("ORNEK", "905550000001", b"merhaba")
HEAD = SUBMIT_SM[: wire.FIXED]
SEQUENCE = {wire.SEQUENCE_AT: wire.sequence_label}


def numbers(octets: bytes | memoryview) -> list[int]:
    return [sequence for *_, sequence in wire.walk(bytearray(octets), len(octets))]


@pytest.mark.parametrize("counts", [[1] * 700, [100] * 7, [256, 1, 255, 256], [1000, 3], [255, 2, 300]])
def test_a_ring_counts_on_over_its_seam(counts: list[int]) -> None:
    ring = wire.Ring(SUBMIT_SM, SEQUENCE, first=2)
    seen = [number for count in counts for number in numbers(ring.take(count))]
    assert seen == list(range(2, 2 + sum(counts)))


def test_a_ring_counts_on_into_the_higher_octets() -> None:
    ring = wire.Ring(SUBMIT_SM, SEQUENCE, first=2)
    for _ in range(300):
        last = numbers(ring.take(250))[-1]
    assert last == 1 + 300 * 250 > 0xFFFF


def test_message_ids_are_all_different() -> None:
    ring = wire.Ring(wire.submit_sm_resp(), {wire.BODY_AT: wire.id_label}, first=1)
    octets = b"".join(bytes(ring.take(count)) for count in (200, 200, 5000))
    ids = [octets[at + wire.BODY_AT : at + ring.size] for at in range(0, len(octets), ring.size)]
    assert ids == [f"{number:016x}\0".encode() for number in range(1, 5401)]


@pytest.mark.parametrize("first", [1, 255, 256, 257, 70_000])
def test_a_ring_of_two_labels_begins_anywhere(first: int) -> None:
    receipt = wire.receipt("ORNEK", "905550000001")
    at = receipt.index(wire.id_label(0))
    ring = wire.Ring(receipt, SEQUENCE | {at: wire.id_label}, first=first)
    octets = bytes(ring.take(300))
    assert numbers(octets) == list(range(first, first + 300))
    ids = [octets[start + at : start + at + wire.ID_OCTETS] for start in range(0, len(octets), ring.size)]
    assert ids == [wire.id_label(number) for number in range(first, first + 300)]


def test_a_run_is_counted_and_a_tail_is_left() -> None:
    octets = bytearray(b"x" * 7 + SUBMIT_SM * 5 + SUBMIT_SM[:30])
    assert wire.run(octets, 7, len(octets), HEAD) == 5


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("place", range(wire.FIXED))
def test_one_other_octet_in_any_head_ends_a_run(which: int, place: int) -> None:
    octets = bytearray(SUBMIT_SM * 4)
    octets[which * len(SUBMIT_SM) + place] ^= 1
    assert wire.run(octets, 0, len(octets), HEAD) == which


def test_a_single_pdu_and_a_part_of_one() -> None:
    octets = bytearray(SUBMIT_SM)
    assert wire.run(octets, 0, len(octets), HEAD) == 1
    assert wire.run(octets, 0, len(octets) - 1, HEAD) == 0


@pytest.mark.parametrize("counts", [[1] * 30, [3, 4, 20, 1], [100]])
def test_a_medley_counts_on_and_its_parts_have_a_reference_of_their_own(counts: list[int]) -> None:
    long = wire.parts("ORNEK", "905550000001", (b"bir", b"iki"))
    medley = wire.Medley([(SUBMIT_SM,), long, (SUBMIT_SM,), long], first=2, reference=0xFFFD, step=4)
    octets = b"".join(medley.take(count) for count in counts)
    assert numbers(octets) == list(range(2, 2 + sum(counts)))
    found = [
        octets[at + pdu.index(wire.CONCATENATION) + 3 :][:4]
        for at, length, *_ in wire.walk(bytearray(octets), len(octets))
        if wire.CONCATENATION in (pdu := octets[at : at + length])
    ]
    messages = range(len(found) // 2 + 1)
    references = [((0xFFFD + 4 * number) & 0xFFFF).to_bytes(2, "big") for number in messages for _ in range(2)]
    assert found == [reference + bytes([2, 1 + n % 2]) for n, reference in enumerate(references)][: len(found)]


def test_a_medley_does_not_cut_a_message_off() -> None:
    long = wire.parts("ORNEK", "905550000001", (b"bir", b"iki", b"uc"))
    medley = wire.Medley([(SUBMIT_SM,), long], first=2)
    assert [medley.whole(count) for count in range(10)] == [0, 1, 4, 4, 4, 5, 8, 8, 8, 9]


def test_where_registered_delivery_stands() -> None:
    for source, text in (("ORNEK", b"merhaba"), ("O", b"")):
        asking, silent = (wire.submit_sm(source, "905550000001", text, registered=registered) for registered in (1, 0))
        at = wire.registered_at(silent)
        assert asking == silent[:at] + b"\1" + silent[at + 1 :]


@pytest.mark.parametrize("length", [0, 15, wire.PDU_OCTETS_MAX + 1])
def test_what_is_not_smpp_is_said(length: int) -> None:
    with pytest.raises(ValueError, match=str(length)):
        list(wire.walk(bytearray(length.to_bytes(4, "big") + bytes(12)), 16))


def test_a_foreign_library_reads_our_submit_sm() -> None:
    ring = wire.Ring(SUBMIT_SM, SEQUENCE, first=2)
    read = smpp.parse_pdu(bytes(ring.take(1)), need_sequence=False)
    assert (read.command, read.sequence) == ("submit_sm", 2)
    assert (read.source_addr_ton, read.source_addr) == (wire.ALPHANUMERIC, b"ORNEK")
    assert (read.dest_addr_ton, read.dest_addr_npi, read.destination_addr) == (1, 1, b"905550000001")
    assert (read.data_coding, read.short_message) == (0, b"merhaba")


def test_a_foreign_library_reads_our_receipt() -> None:
    ring = wire.Ring(wire.receipt("ORNEK", "905550000001"), SEQUENCE, first=2)
    read = smpp.parse_pdu(bytes(ring.take(1)), need_sequence=False, allow_unknown_opt_params=True)
    assert (read.command, read.sequence, read.esm_class) == ("deliver_sm", 2, wire.RECEIPT)
    assert (read.source_addr, read.destination_addr) == (b"905550000001", b"ORNEK")
    assert read.short_message.startswith(b"id:0000000000000000 sub:001 ")
    assert (read.receipted_message_id, read.message_state) == (b"0" * wire.ID_OCTETS, wire.DELIVERED)


@pytest.mark.parametrize("start", [0, 2, 70_000])
@pytest.mark.parametrize("stop", [70_000, 0x20000, 200_000])
def test_the_sum_of_sequence_numbers(start: int, stop: int) -> None:
    assert wire.low_sum(start, stop) == sum(number & 0xFFFF for number in range(start, stop))

"""Octets to PDUs: any cutting of the stream gives the same."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.smpp.frames import Frame, Frames
from tests.gateway.smpp.support import pdu

PDUS = st.lists(
    st.builds(pdu, st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=40)), max_size=8
)


def read(*pieces: bytes) -> tuple[list[Frame], bool]:
    frames = Frames()
    found = []
    for piece in pieces:
        frames.receive(piece)
        while (frame := frames.next()) is not None:
            found.append(frame)
    return found, frames.broken


@given(PDUS, st.binary(max_size=30), st.lists(st.integers(0, 400), max_size=6))
def test_cutting_the_stream_elsewhere_changes_nothing(pdus: list[bytes], rest: bytes, cuts: list[int]) -> None:
    stream = b"".join(pdus) + rest
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert read(*pieces) == read(stream) == read(*(stream[n : n + 1] for n in range(len(stream))))


def test_each_pdu_comes_whole_and_in_order() -> None:
    first, second = pdu(4, 1, b"abc"), pdu(0x15, 2)
    assert read(first + second) == ([(4, 0, 1, first), (0x15, 0, 2, second)], False)


def test_a_length_no_pdu_can_have_ends_the_reading() -> None:
    for length in (0, 15, limits.SMPP_PDU_OCTETS_MAX + 1, 0xFFFFFFFF):
        frames = Frames()
        frames.receive(pdu(0x15, 1) + length.to_bytes(4, "big") + pdu(0x15, 7)[4:])
        assert frames.next() is not None
        assert frames.next() is None
        assert (frames.broken, frames.sequence) == (True, 7)


def test_the_longest_pdu_is_read_octet_by_octet_without_copying_it_each_time() -> None:
    whole = pdu(4, 1, bytes(limits.SMPP_PDU_OCTETS_MAX - 16))
    frames = Frames()
    for at in range(len(whole) - 1):
        frames.receive(whole[at : at + 1])
        assert frames.next() is None
    assert frames.held == len(whole) - 1
    frames.receive(whole[-1:])
    frame = frames.next()
    assert frame is not None
    assert frame[3] == whole
    assert frames.next() is None
    assert frames.held == 0

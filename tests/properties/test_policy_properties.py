"""The reader of policy requests: what is cut elsewhere reads the same, and nothing raises."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.policy.protocol import REQUEST, Fault, Reader, Request

KNOWN = (b"protocol_state", b"sender", b"recipient", b"sasl_username", b"client_address")
NAMES = st.sampled_from([*KNOWN, b"size", b"x"])
VALUES = st.binary(max_size=40).map(lambda value: value.replace(b"\n", b"").replace(b"\0", b""))
BLOCKS = st.dictionaries(NAMES, VALUES).map(
    lambda values: b"request=%b\n" % REQUEST + b"".join(b"%b=%b\n" % one for one in values.items()) + b"\n"
)
NOISE = st.one_of(st.binary(max_size=60), st.sampled_from([b"\n", b"=\n\n", b"request=x\n\n", b"a=b\n\n"]))
LONG = st.integers(limits.POLICY_REQUEST_OCTETS_MAX - 3, limits.POLICY_REQUEST_OCTETS_MAX + 3).map(
    lambda length: b"request=%b\nx=" % REQUEST + b"y" * (length - len(REQUEST) - 13) + b"\n\n"
)
OCTETS = st.lists(st.one_of(BLOCKS, NOISE, LONG), max_size=6).map(b"".join)


def read(*pieces: bytes) -> list[Request | Fault]:
    reader, found = Reader(), []
    for piece in pieces:
        reader.receive(piece)
        while (one := reader.next_request()) is not None:
            found.append(one)
            assert len(found) < 1000
    return found


@given(OCTETS, st.lists(st.integers(0, 3 * limits.POLICY_REQUEST_OCTETS_MAX), max_size=8))
def test_framing_independence(octets: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    pieces = [octets[start:end] for start, end in pairwise(places)]
    assert read(*pieces) == read(octets)


@given(st.one_of(OCTETS, st.binary(max_size=300)))
def test_octet_by_octet_is_the_same_and_nothing_follows_a_fault(octets: bytes) -> None:
    octets = octets[:2000]
    found = read(*(octets[at : at + 1] for at in range(len(octets))))
    assert found == read(octets)
    assert [at for at, one in enumerate(found) if isinstance(one, Fault)] in ([], [len(found) - 1])


@given(st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=5))
def test_what_was_written_is_read(blocks: list[dict[bytes, bytes]]) -> None:
    octets = b"".join(
        b"".join(b"%b=%b\n" % one for one in values.items()) + b"request=%b\n\n" % REQUEST for values in blocks
    )
    assert read(octets) == [Request(*(values.get(name, b"") for name in KNOWN)) for values in blocks]

"""The PROXY protocol's header: what is one, what is none, and what is not whole yet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import limits
from gateway.proxied import V2_SIGNATURE, Header, Malformed, read


def version_2(command: int, family: int, addresses: bytes, more: bytes = b"") -> bytes:
    length = len(addresses) + len(more)
    return V2_SIGNATURE + bytes((command, family)) + length.to_bytes(2, "big") + addresses + more


FOUR = ip_address("192.0.2.7").packed + ip_address("198.51.100.1").packed + b"\x12\x67\x00\x19"
SIX = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + b"\x12\x67\x00\x19"
MAPPED = ip_address("::ffff:192.0.2.7").packed + ip_address("::1").packed + b"\x12\x67\x00\x19"

HEADERS = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n", IPv4Address("192.0.2.7"), 4711),
    (b"PROXY TCP6 2001:db8::7 ::1 4711 25\r\n", IPv6Address("2001:db8::7"), 4711),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 65535\r\n", IPv4Address("192.0.2.7"), 0),
    (b"PROXY UNKNOWN\r\n", None, 0),
    (b"PROXY UNKNOWN whatever 1 2 3 follows\r\n", None, 0),
    (version_2(0x21, 0x11, FOUR), IPv4Address("192.0.2.7"), 4711),
    (version_2(0x21, 0x11, FOUR, b"\x04\x00\x01x"), IPv4Address("192.0.2.7"), 4711),
    (version_2(0x21, 0x21, SIX), IPv6Address("2001:db8::7"), 4711),
    (version_2(0x21, 0x21, MAPPED), IPv4Address("192.0.2.7"), 4711),
    (version_2(0x21, 0x31, bytes(216)), None, 0),
    (version_2(0x21, 0x00, b""), None, 0),
    (version_2(0x20, 0x00, b""), None, 0),
    (version_2(0x20, 0x11, FOUR), None, 0),
]


@pytest.mark.parametrize(("header", "peer", "port"), HEADERS)
def test_headers(header: bytes, peer: IPv4Address | IPv6Address | None, port: int) -> None:
    assert read(header + b"EHLO x\r\n") == Header(len(header), peer, port)
    for end in range(len(header)):
        assert read(header[:end]) is None, "not whole yet"


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO x\r\n",
        b"\r\n\r\nEHLO x",
        b"PROXY\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25 1\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 4711 25\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 4711 25\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.007 198.51.100.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.\xff 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\n" + b"x" * 100,
        version_2(0x11, 0x11, FOUR),
        version_2(0x22, 0x11, FOUR),
        version_2(0x21, 0x12, FOUR),
        version_2(0x21, 0x11, FOUR[:8]),
        version_2(0x21, 0x21, FOUR),
        version_2(0x21, 0x11, FOUR, bytes(limits.PROXY_HEADER_OCTETS_MAX)),
    ],
)
def test_what_is_none(octets: bytes) -> None:
    assert isinstance(read(octets), Malformed)


def test_i7_a_header_that_is_too_long_is_refused_before_it_is_here() -> None:
    assert isinstance(read(V2_SIGNATURE + b"\x21\x11\xff\xff"), Malformed)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.sampled_from([header for header, _, _ in HEADERS]).flatmap(
            lambda header: st.binary(max_size=40).map(lambda tail: header[: len(header) // 2] + tail)
        ),
    )
)
@settings(deadline=None)
def test_any_octets_are_a_header_none_or_not_whole(octets: bytes) -> None:
    """And what is decided stays decided, whatever follows."""
    first = read(octets)
    assert first is None or isinstance(first, Malformed) or 0 < first.octets <= len(octets)
    if first is not None:
        assert type(read(octets + b"x")) is type(first)

"""The attributes of XCLIENT and XFORWARD."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smtp.grammar import Fault
from gateway.smtp.xclient import XCLIENT, XFORWARD, address, read


def test_names_in_any_case_values_in_xtext() -> None:
    read_ = read(b"NAME=spike+2Eporcupine.org addr=168.100.189.2  PROTO=ESMTP LOGIN=a+2Bb", XCLIENT)
    assert read_ == {b"NAME": b"spike.porcupine.org", b"ADDR": b"168.100.189.2", b"PROTO": b"ESMTP", b"LOGIN": b"a+b"}


def test_what_the_host_does_not_know() -> None:
    assert read(b"NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] HELO=[unavailable]", XFORWARD) == {
        b"NAME": None,
        b"ADDR": None,
        b"HELO": None,
    }


@pytest.mark.parametrize(
    ("argument", "known"),
    [
        (b"", XCLIENT),
        (b"LOGIN=a", XFORWARD),
        (b"IDENT=a", XCLIENT),
        (b"NAME", XCLIENT),
        (b"NAME=a=b", XCLIENT),
        (b"NAME=a+2", XCLIENT),
        (b"NAME=a+0A", XCLIENT),
        (b"NAME=\xc3\xa7", XCLIENT),
        (b"NAME=+C3+A7", XCLIENT),
        (b"NAME=" + b"x" * 256, XCLIENT),
        (b"ADDR=localhost", XCLIENT),
        (b"ADDR=", XCLIENT),
        (b"ADDR=IPV6:1.2.3", XCLIENT),
    ],
)
def test_what_is_no_attribute(argument: bytes, known: tuple[bytes, ...]) -> None:
    found = read(argument, known)
    assert isinstance(found, Fault)
    assert (found.code, found.enhanced) == (501, "5.5.4")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"IPV6:2001:db8::1", "2001:db8::1"),
        (b"ipv6:::ffff:192.0.2.1", "192.0.2.1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"fe80::1%eth0", None),
        (b"192.0.2.01", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_addresses(value: bytes, expected: str | None) -> None:
    assert address(value) == (ip_address(expected) if expected else None)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_octets_raise_and_no_value_could_end_a_header_field(argument: bytes) -> None:
    found = read(b"HELO=" + argument, XFORWARD)
    if isinstance(found, dict):
        assert all(value is None or (value.isascii() and value.decode().isprintable()) for value in found.values())

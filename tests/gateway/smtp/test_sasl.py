"""PLAIN and LOGIN, line by line."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smtp.grammar import Fault
from gateway.smtp.sasl import MECHANISMS, Credentials, Exchange


def test_plain_in_one_line_and_in_two() -> None:
    line = b64encode(b"\0marka\0gizli")
    assert Exchange(b"PLAIN").begin(line) == Credentials(b"marka", b"gizli")
    exchange = Exchange(b"PLAIN")
    assert exchange.begin(b"") == b""
    assert exchange.respond(line) == Credentials(b"marka", b"gizli")
    assert Exchange(b"PLAIN").begin(b64encode(b"marka\0marka\0gizli")) == Credentials(b"marka", b"gizli")


def test_login_in_two_lines_and_in_three() -> None:
    exchange = Exchange(b"LOGIN")
    assert exchange.begin(b"") == b64encode(b"Username:")
    assert exchange.respond(b64encode(b"marka")) == b64encode(b"Password:")
    assert exchange.respond(b64encode(b"gizli")) == Credentials(b"marka", b"gizli")
    exchange = Exchange(b"LOGIN")
    assert exchange.begin(b64encode(b"marka")) == b64encode(b"Password:")
    assert exchange.respond(b"") == Credentials(b"marka", b"")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"*", 501),
        (b"=", 501),
        (b"!!!!", 501),
        (b"AAA", 501),
        ("ş".encode(), 501),
        (b64encode(b"marka"), 501),
        (b64encode(b"\0marka"), 501),
        (b64encode(b"\0marka\0gizli\0"), 501),
        (b64encode(b"other\0marka\0gizli"), 535),
    ],
)
def test_what_plain_does_not_take(response: bytes, code: int) -> None:
    step = Exchange(b"PLAIN").begin(response)
    assert isinstance(step, Fault)
    assert step.code == code


@settings(deadline=None)
@given(st.sampled_from(MECHANISMS), st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(b64encode))))
def test_an_exchange_ends_in_three_lines_and_never_raises(mechanism: bytes, lines: list[bytes]) -> None:
    exchange = Exchange(mechanism)
    step = exchange.begin(lines[0] if lines else b"")
    for count, line in enumerate(lines[1:], start=2):
        if not isinstance(step, bytes):
            break
        assert count <= 3
        step = exchange.respond(line)

"""Codes by the clock, against the vectors of RFC 6238 and the window that we give."""

from __future__ import annotations

from base64 import b32encode
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from registry.admins import totp

SECRET = b32encode(b"12345678901234567890").decode()
NOW = datetime(2026, 3, 4, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "digits"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_vectors_of_rfc_6238_appendix_b(seconds: int, digits: str) -> None:
    """Of its eight digits the last six: both are the same number, modulo a power of ten (RFC 4226 §5.3)."""
    at = datetime.fromtimestamp(seconds, UTC)
    assert totp.step_of(SECRET, digits[-6:], at) == seconds // 30
    wrong = f"{(int(digits[-6:]) + 1) % 10**6:06}"
    assert totp.step_of(SECRET, wrong, at) == 0


@pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_telephone_may_be_one_step_early_or_late(steps: int, taken: bool) -> None:
    step = totp.step_at(NOW) + steps
    assert totp.step_of(SECRET, totp.code_of(SECRET, step), NOW) == (step if taken else 0)
    assert totp.step_at(NOW + timedelta(seconds=29)) == totp.step_at(NOW), "07:00:00 begins a step"


@pytest.mark.parametrize("code", ["", "0", "٠٠٠٠٠٠", "abcdef", "1" * 64, "\ud800"])
def test_what_is_no_code_is_none(code: str) -> None:
    assert totp.step_of(SECRET, code, NOW) == 0


def test_what_an_authenticator_reads() -> None:
    secret = totp.new_secret()
    assert len(secret) == 32
    assert secret != totp.new_secret()
    parts = urlsplit(totp.uri_of(secret, "ayse", "izinli"))
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/izinli:ayse")
    said = {name: values[0] for name, values in parse_qs(parts.query).items()}
    usual = {"algorithm": "SHA1", "digits": "6", "period": "30"}  # what a reader takes where nothing is said
    assert usual | said == {"secret": secret, "issuer": "izinli", **usual}


def test_recovery_codes_are_ten_different_ones_however_they_are_typed() -> None:
    codes = totp.new_recovery_codes()
    assert len(set(codes)) == 10
    assert totp.plain(f" {codes[0].upper()} ") == totp.plain(codes[0])
    assert len(totp.plain(codes[0])) == 12

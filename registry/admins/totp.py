"""One-time passwords by the clock (RFC 6238, SHA-1, six digits, 30 seconds), and codes for who has lost the telephone.

Pure but for the chance in what is new: the time comes in, and what was used before is the store's to know.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime
from typing import Final

import pyotp

STEP_SECONDS: Final = 30
DIGITS: Final = 6
WINDOW: Final = 1  # steps before and after ours whose codes are taken (RFC 6238 §5.2): clocks of telephones differ
RECOVERY_CODES: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # without what is read as something else
_GROUPS, _IN_GROUP = 3, 4  # 59 bits of chance in a recovery code

NOBODYS: Final = "A" * 32
"""Compared with for who is unknown: it takes as long as for who is known."""


def new_secret() -> str:
    """160 bits in base32, as RFC 4226 §4 recommends."""
    return pyotp.random_base32()


def code_of(secret: str, step: int) -> str:
    """The code of a time step."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).generate_otp(step)


def step_at(now: datetime) -> int:
    """The time step that `now` lies in: T of RFC 6238 §4.2."""
    return int(now.timestamp()) // STEP_SECONDS


def step_of(secret: str, code: str, now: datetime) -> int:
    """The newest time step within the window that `code` is of; 0: none. It takes the same time for every code."""
    octets = code.encode("utf-8", "replace")
    middle, found = step_at(now), 0
    for step in range(max(1, middle - WINDOW), middle + WINDOW + 1):
        if hmac.compare_digest(code_of(secret, step).encode(), octets):
            found = step
    return found


def uri_of(secret: str, name: str, issuer: str) -> str:
    """What an authenticator takes in: otpauth://totp/…, usually as a QR code."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(name=name, issuer_name=issuer)


def new_recovery_codes() -> list[str]:
    """RECOVERY_CODES of them, as they are shown: abcd-efgh-jkmn."""
    return [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_IN_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    ]


def plain(code: str) -> str:
    """A code without what people put between its groups."""
    return code.lower().replace("-", "").replace(" ", "")

"""Secrets of others that have to be said again, so that a hash would not do: sealed with a key of this installation.

AES-256-GCM with a random nonce (NIST SP 800-38D); what a secret belongs to is authenticated with it, so a sealed value
that is moved to another row does not open.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_OCTETS: Final = 32
NONCE_OCTETS: Final = 12


class SealBroken(Exception):
    """It was sealed with another key, or for something else."""


class Seal:
    """Thread-safe. Raises ValueError for a key of another length than KEY_OCTETS."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_OCTETS:
            raise ValueError(f"a sealing key must have {KEY_OCTETS} octets, not {len(key)}")
        self._cipher = AESGCM(key)

    def close(self, secret: str, about: str) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = os.urandom(NONCE_OCTETS)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), about.encode())

    def open(self, sealed: bytes, about: str) -> str:
        """The secret. Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], about.encode()).decode()
        except (InvalidTag, ValueError):
            raise SealBroken from None

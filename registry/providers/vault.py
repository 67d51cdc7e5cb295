"""What is kept of secrets: sealed with AES-SIV (RFC 5297), or digested with a key, where only a match matters.

The key is a file of its own (keys/provider.key): a copy of the database alone gives away neither a citizen's number
nor a code that was sent. What is sealed is bound to its purpose and its place, so it cannot be moved elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_OCTETS: Final = 64
_NONCE_OCTETS: Final = 16


class Vault:
    """`key`: KEY_OCTETS octets."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_OCTETS:
            raise ValueError(f"the key of providers' secrets has {KEY_OCTETS} octets")
        self._cipher = AESSIV(key)
        self._digesting = hmac.digest(key, b"izinli provider digests", hashlib.sha256)

    def seal(self, purpose: str, place: bytes, plain: bytes) -> bytes:
        """For `open` with the same purpose and place; each time other octets."""
        nonce = secrets.token_bytes(_NONCE_OCTETS)
        return nonce + self._cipher.encrypt(plain, [purpose.encode(), place, nonce])

    def open(self, purpose: str, place: bytes, sealed: bytes) -> bytes:
        """Raises ValueError when it was sealed with another key, or for something else."""
        nonce, rest = sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:]
        try:
            return self._cipher.decrypt(rest, [purpose.encode(), place, nonce])
        except InvalidTag:
            raise ValueError("it was sealed with another key (keys/provider.key)") from None

    def digest(self, purpose: str, text: str) -> bytes:
        """32 octets that say nothing to who has not the key: also a code of six digits may be kept so."""
        return hmac.digest(self._digesting, f"{purpose}\n{text}".encode(), hashlib.sha256)

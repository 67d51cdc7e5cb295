"""Passwords as they are kept: hashes of one line, `scrypt$ln$r$p$salt$hash` (RFC 7914; salt and hash in base64).

One check costs some 50 ms of a core and 16 MiB, so that a stolen file gives away nothing soon. Whoever checks does it
in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

SCHEME: Final = "scrypt"
MEMORY_OCTETS_MAX: Final = 128 << 20
"""That a stored hash may ask for."""
SALT_OCTETS: Final = 16
PASSWORD_OCTETS_MAX: Final = 128
_LN, _R, _P = 14, 8, 1  # of new hashes: N = 2^14, as the paper proposes for a login somebody waits for
_DIGEST_OCTETS = 32


@dataclass(frozen=True, slots=True)
class Hash:
    """A stored password. N is 2 to the power of `ln`."""

    ln: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> Hash:
        """From its line. Raises ValueError."""
        words = text.split("$")
        if len(words) != 6 or words[0] != SCHEME:
            raise ValueError(f"not a hash of the form {SCHEME}$ln$r$p$salt$hash")
        if not all(word.isascii() and word.isdigit() and len(word) <= 2 for word in words[1:4]):
            raise ValueError("ln, r and p must be small numbers")
        ln, r, p = (int(word) for word in words[1:4])
        if not (10 <= ln <= 20 and 1 <= r <= 32 and 1 <= p <= 16 and _memory(ln, r, p) <= MEMORY_OCTETS_MAX):
            raise ValueError(f"ln {ln}, r {r}, p {p} ask for too little work or for too much memory")
        try:
            salt, digest = (b64decode(word, validate=True) for word in words[4:])
        except ValueError:
            raise ValueError("salt and hash must be base64") from None
        if not 8 <= len(salt) <= 64 or not 16 <= len(digest) <= 64:
            raise ValueError("salt or hash has the wrong length")
        return cls(ln, r, p, salt, digest)

    def __str__(self) -> str:
        salt, digest = (b64encode(part).decode("ascii") for part in (self.salt, self.digest))
        return f"{SCHEME}${self.ln}${self.r}${self.p}${salt}${digest}"

    def matches(self, password: bytes) -> bool:
        """The slow question."""
        return hmac.compare_digest(self.digest, _scrypt(password, self.ln, self.r, self.p, self.salt, len(self.digest)))


def make(password: bytes, salt: bytes) -> Hash:
    """The hash of a new password; `salt` is SALT_OCTETS of chance."""
    return Hash(_LN, _R, _P, salt, _scrypt(password, _LN, _R, _P, salt, _DIGEST_OCTETS))


def _scrypt(password: bytes, ln: int, r: int, p: int, salt: bytes, octets: int) -> bytes:
    memory = _memory(ln, r, p) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=1 << ln, r=r, p=p, maxmem=memory, dklen=octets)


def _memory(ln: int, r: int, p: int) -> int:
    """Octets that a check asks for (RFC 7914 §2)."""
    return 128 * r * ((1 << ln) + p)


DECOY: Final = Hash(_LN, _R, _P, bytes(SALT_OCTETS), bytes(_DIGEST_OCTETS))
"""Checked for who is unknown: it takes as long as for who is known."""

"""Passwords that are kept as hashes, and their checking without a halt of the loop.

A stored hash is one line, `scrypt$ln$r$p$salt$hash` (RFC 7914; salt and hash in base64), as `izinli password` prints
it. One check costs some 50 ms of a core and 16 MiB, so that a stolen file gives away nothing soon; it is done in a few
threads of its own, and no more than a bounded number waits for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway import limits

SCHEME: Final = "scrypt"
_LN, _R, _P = 14, 8, 1  # of new hashes: N = 2^14, as the paper proposes for a login somebody waits for
_SALT_OCTETS, _DIGEST_OCTETS = 16, 32


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
        if not (
            10 <= ln <= 20 and 1 <= r <= 32 and 1 <= p <= 16 and _memory(ln, r, p) <= limits.SCRYPT_MEMORY_OCTETS_MAX
        ):
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


def make(password: bytes) -> Hash:
    """The hash of a new password."""
    salt = secrets.token_bytes(_SALT_OCTETS)
    return Hash(_LN, _R, _P, salt, _scrypt(password, _LN, _R, _P, salt, _DIGEST_OCTETS))


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an account's password: itself, or its hash."""

    plain: bytes = b""
    hashed: Hash | None = None

    def matches(self, password: bytes) -> bool:
        """As slow for a plain one as for a hash: how an account is kept is not to be found out either."""
        if self.hashed is not None:
            return self.hashed.matches(password)
        _DECOY.matches(password)
        return hmac.compare_digest(self.plain, password) and bool(self.plain)


class Answer(Enum):
    """What became of a check."""

    RIGHT = "right"
    WRONG = "wrong"
    BUSY = "busy"  # too many wait already


class Checker:
    """Checks passwords in threads; inside a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(limits.AUTH_THREADS, "password")
        self._under_way = 0

    def check(self, stored: Stored | None, password: bytes, then: Callable[[Answer], object]) -> None:
        """Tell `then`, on the loop. `stored` is None for an unknown account, which takes as long as a known one."""
        if self._under_way >= limits.AUTH_THREADS + limits.AUTH_WAITING_MAX:
            then(Answer.BUSY)
            return
        self._under_way += 1
        future = self._pool.submit((stored or _NOBODY).matches, password)

        def hand_over(done: Future[bool]) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._told, done, then)

        future.add_done_callback(hand_over)

    def close(self) -> None:
        """Check nothing more; who still waits is not told."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _told(self, done: Future[bool], then: Callable[[Answer], object]) -> None:
        self._under_way -= 1
        if not done.cancelled():
            then(Answer.RIGHT if done.exception() is None and done.result() else Answer.WRONG)


def _scrypt(password: bytes, ln: int, r: int, p: int, salt: bytes, octets: int) -> bytes:
    memory = _memory(ln, r, p) + limits.MIB
    return hashlib.scrypt(password, salt=salt, n=1 << ln, r=r, p=p, maxmem=memory, dklen=octets)


def _memory(ln: int, r: int, p: int) -> int:
    """Octets that a check asks for (RFC 7914 §2)."""
    return 128 * r * ((1 << ln) + p)


_DECOY: Final = Hash(_LN, _R, _P, bytes(_SALT_OCTETS), bytes(_DIGEST_OCTETS))
_NOBODY: Final = Stored(hashed=_DECOY)

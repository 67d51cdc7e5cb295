"""Passwords that are kept as hashes, and their checking without a halt of the loop.

A stored hash is one line, `scrypt$ln$r$p$salt$hash` (RFC 7914; salt and hash in base64), as `izinli password` prints
it. One check costs some 50 ms of a core and 16 MiB, so that a stolen file gives away nothing soon; it is done in a few
threads of its own, and no more than a bounded number waits for them.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Final

from filters import passwords
from filters.passwords import DECOY, Hash
from gateway import limits


def make(password: bytes) -> Hash:
    """The hash of a new password."""
    return passwords.make(password, secrets.token_bytes(passwords.SALT_OCTETS))


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an account's password: itself, or its hash."""

    plain: bytes = b""
    hashed: Hash | None = None

    def matches(self, password: bytes) -> bool:
        """As slow for a plain one as for a hash: how an account is kept is not to be found out either."""
        if self.hashed is not None:
            return self.hashed.matches(password)
        DECOY.matches(password)
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


_NOBODY: Final = Stored(hashed=DECOY)

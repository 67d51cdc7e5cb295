"""(brand, channel, recipient) -> keyed fingerprint: the contract between the registry and the gateway.

96 bits of keyed BLAKE2b. Without the key the index is not a telephone book: 504 million Turkish mobile numbers can be
tried one by one, so an unkeyed hash would hide nothing (promise I9). At a billion consents a question about somebody
else's fingerprint is answered wrongly with probability 2^-65 in SQLite (all 96 bits are compared) and about 10^-17
in Redis (128 members of 63 bits in a bucket that 32 bits choose).
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

from filters.model import Channel

FINGERPRINT_BYTES = 12
KEY_BYTES = 32
MEMBER_MASK = (1 << 63) - 1  # Redis keeps sets of signed 64-bit integers as intsets; 63 bits are never negative

_HALVES = Struct(">IQ").unpack


class Fingerprinter:
    """Callable: `fingerprint(brand, channel, recipient)` -> 12 bytes; `recipient` is canonical (`filters.address`)."""

    __slots__ = ("_key", "_prefixes")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the fingerprint key must have {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._prefixes: dict[tuple[int, Channel], blake2b] = {}

    def __call__(self, brand: int, channel: Channel, recipient: bytes) -> bytes:
        prefix = self._prefixes.get((brand, channel))
        if prefix is None:
            prefix = self._prefix(brand, channel)
        state = prefix.copy()
        state.update(recipient)
        return state.digest()

    def _prefix(self, brand: int, channel: Channel) -> blake2b:
        """The hash state after the key block and the brand: the same for every recipient of a campaign."""
        state = blake2b(b"%d\0%b\0" % (brand, channel.encode()), digest_size=FINGERPRINT_BYTES, key=self._key)
        self._prefixes[brand, channel] = state
        return state

    def check_value(self) -> bytes:
        """8 bytes that stand in the index so that a reader with another key notices instead of finding nothing."""
        return self(0, Channel.ARAMA, b"key-check")[:8]


def split(fingerprint: bytes) -> tuple[int, int]:
    """12 bytes -> (32-bit bucket hash, 63-bit member): the two halves of the Redis layout."""
    bucket_hash, member = _HALVES(fingerprint)
    return bucket_hash, member & MEMBER_MASK

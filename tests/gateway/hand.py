"""A Redis index written by hand, key by key (`filters.layout`): for states in which no publisher leaves it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import Any

from filters.key import Fingerprinter
from filters.layout import (
    CHANGES_FIELD,
    CHANGES_KEY,
    FORMAT,
    INDEX_KEY,
    LANE_BITS,
    LANES,
    MARKER,
    Family,
    bucket_key,
)
from filters.model import Channel

KEY = bytes(range(32))
FINGERPRINT = Fingerprinter(KEY)
CHECK = FINGERPRINT.check_value()


class Hand:
    """`client`: a redis-py client, of one server or of a cluster. Members are given as fingerprints of 12 octets."""

    def __init__(self, client: Any, bits: int = LANE_BITS) -> None:
        self.client = client
        self.bits = bits
        self.epoch = 0
        self.changes = 0

    def build(self, fingerprints: Iterable[bytes] = (), *, history: str | None = None) -> None:
        """A new whole epoch, which is the current one at once."""
        self.epoch += 1
        with self.client.pipeline(transaction=False) as pipe:
            for lane in range(LANES):
                for bucket in range(lane << (self.bits - LANE_BITS), (lane + 1) << (self.bits - LANE_BITS)):
                    pipe.sadd(bucket_key(self.epoch, Family.BIREYSEL, self.bits, bucket << (32 - self.bits)), MARKER)
                pipe.sadd(bucket_key(self.epoch, Family.TACIR, LANE_BITS, lane << (32 - LANE_BITS)), MARKER)
            for fingerprint in fingerprints:
                pipe.sadd(self.bucket(fingerprint), member(fingerprint))
            pipe.execute()
        self.state(
            format=FORMAT,
            epoch=self.epoch,
            bits_b=self.bits,
            bits_t=LANE_BITS,
            heartbeat_ms=int(time.time() * 1000),
            key_check=CHECK,
            runs=" ".join(self.runs()),
            history=history or secrets.token_hex(8),
            changes=self.changes,
            suspended="0",
        )

    def grant(self, *fingerprints: bytes) -> None:
        """Add members, and tell of them as one change."""
        for fingerprint in fingerprints:
            self.client.sadd(self.bucket(fingerprint), member(fingerprint))
        self.changes += 1
        octets = b"".join(member(fingerprint).to_bytes(8) for fingerprint in fingerprints)
        self.client.xadd(CHANGES_KEY, {CHANGES_FIELD: octets}, id=f"{self.changes}-0")
        self.state(changes=self.changes)

    def withdraw(self, fingerprint: bytes) -> None:
        self.client.srem(self.bucket(fingerprint), member(fingerprint))

    def state(self, **fields: Any) -> None:
        self.client.hset(INDEX_KEY, mapping=fields)

    def trim(self, keep: int) -> None:
        """Forget all but the last entries of the stream."""
        self.client.xtrim(CHANGES_KEY, maxlen=keep, approximate=False)

    def bucket(self, fingerprint: bytes) -> str:
        return bucket_key(self.epoch, Family.BIREYSEL, self.bits, int.from_bytes(fingerprint[:4]))

    def runs(self) -> list[str]:
        """The replication ids of the masters."""
        found = self.client.info("replication")
        each = [found] if "master_replid" in found else list(found.values())
        return [one["master_replid"] for one in each if one["role"] == "master"]


def member(fingerprint: bytes) -> int:
    """The other half of `filters.key.split`, written down a second time on purpose."""
    return int.from_bytes(fingerprint[4:12]) % 2**63


def fingerprints(count: int, seed: str = "m") -> list[bytes]:
    """Of invented citizens; those of two seeds have nobody in common."""
    return [FINGERPRINT(100001, Channel.EPOSTA, b"%b%d@example.test" % (seed.encode(), n)) for n in range(count)]

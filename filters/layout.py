"""How the consent index is laid out: what the registry writes and the gateway reads, in both of its forms.

A fingerprint (`filters.key.split`) is a 32-bit bucket hash and a 63-bit member. The top ten bits of the bucket hash
choose one of 1024 lanes, the top `bits` of it a bucket of that lane; lanes are what a Redis Cluster spreads over its
servers and what is compared, mended and told apart in time.

Redis 7, one server, Sentinel or Cluster (intsets of 64 to 384 members, 10.4 octets per consent):

    izinli:index                hash, the state:
        format epoch bits_b bits_t heartbeat_ms key_check runs suspended   what a reader needs (`READER_FIELDS`)
        history changes                                          what a filter needs (`FOLLOWER_FIELDS`)
        cursor next count_b count_t                              the publisher's own
    {izinli:index}:changes      stream, entry `<n>-0`: field m, members of BIREYSEL that were added, 8 octets each
    izinli:<epoch>:{<lane>}     hash, the publisher's own: as_of level b t builder
    izinli:<epoch>:{<lane>}:b:<bucket>   set of integers: BIREYSEL recipients who consent, and MARKER
    izinli:<epoch>:{<lane>}:t:<bucket>   set of integers: TACIR recipients who refuse, and MARKER

`bits_b` and `bits_t` are 10 to 32: how many bits choose a bucket of the family. MARKER stands in every bucket of a
whole epoch, also in empty ones: a bucket without it was lost, and its silence means nothing. `runs` names, by their
replication ids, the masters that are known to lack nothing (`INFO replication`: master_replid; it changes whenever a
server starts or is promoted). A reader believes no other. `changes` is the number of the newest entry of the stream;
`history` changes whenever numbers may have been given twice. `suspended` names the brands that may not send
(`Suspended`); a state without it is not whole: whom it is silent about may be suspended.

SQLite (`index.sqlite`):

    meta(id = 1, format, epoch, ready, heartbeat_ms, key_check, cursor, as_of, next, count_b, count_t)
    suspended(id = 1, said)                 as the field of Redis
    member(epoch, family, fingerprint)      primary key over all three, without row ids
    build(epoch, cursor, builder, family, done, count_b, count_t)      epochs that are being built
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from filters.model import RecipientType, Status

FORMAT: Final = 2
INDEX_FILE: Final = "index.sqlite"
INDEX_KEY: Final = "izinli:index"
CHANGES_KEY: Final = "{izinli:index}:changes"
CHANGES_FIELD: Final = "m"
READER_FIELDS: Final = ("format", "epoch", "bits_b", "bits_t", "heartbeat_ms", "key_check", "runs", "suspended")
"""What a reader needs of the state, in this order."""
FOLLOWER_FIELDS: Final = ("epoch", "history", "changes", "runs")
"""What a filter needs of the state to follow the stream of changes, in this order."""

LANE_BITS: Final = 10
LANES: Final = 1 << LANE_BITS
BITS_MAX: Final = 32
MARKER: Final = -1
MEMBER_OCTETS: Final = 8  # of a member in the stream, big-endian


class Family(IntEnum):
    """Which status makes a fingerprint a member."""

    BIREYSEL = 0  # members are ONAY
    TACIR = 1  # members are RET


FAMILY_OF: Final = {RecipientType.BIREYSEL: Family.BIREYSEL, RecipientType.TACIR: Family.TACIR}
MEMBER_STATUS: Final = {RecipientType.BIREYSEL: Status.ONAY, RecipientType.TACIR: Status.RET}
LETTER: Final = {Family.BIREYSEL: "b", Family.TACIR: "t"}


class Suspended(NamedTuple):
    """The brands whose commercial messages are refused, whatever their recipients say.

    `version` grows with each suspension and each end of one: who knows a later one is not told an older one.
    """

    version: int = 0
    brands: frozenset[int] = frozenset()

    def __str__(self) -> str:
        """As it stands in the index: the version and the codes, with blanks between."""
        return " ".join(map(str, (self.version, *sorted(self.brands))))

    @classmethod
    def parse(cls, said: bytes) -> Suspended:
        """Raises ValueError."""
        version, *brands = map(int, said.split())
        return cls(version, frozenset(brands))


def lane_of(bucket_hash: int) -> int:
    """The lane of a 32-bit bucket hash."""
    return bucket_hash >> (32 - LANE_BITS)


def lane_bounds(lane: int) -> tuple[bytes, bytes]:
    """The lowest fingerprint of a lane, and what is above its highest one."""
    first, beyond = (number << (32 - LANE_BITS) for number in (lane, lane + 1))
    return first.to_bytes(4) + bytes(8), b"\xff" * 13 if lane + 1 == LANES else beyond.to_bytes(4) + bytes(8)


def lane_key(epoch: int, lane: int) -> str:
    """The key of a lane's own hash, and the beginning of its buckets' keys."""
    return f"izinli:{epoch}:{{{lane}}}"


def bucket_key(epoch: int, family: Family, bits: int, bucket_hash: int) -> str:
    """The key of the set that a fingerprint belongs to."""
    return f"izinli:{epoch}:{{{bucket_hash >> (32 - LANE_BITS)}}}:{LETTER[family]}:{bucket_hash >> (32 - bits)}"

"""How the consent index is laid out: what the registry writes and the gateway reads, in both of its forms.

Redis (intsets of about 128 members, 10.4 octets per consent):

    izinli:index               hash: format epoch bits count cursor heartbeat_ms key_check
    izinli:<epoch>:b:<bucket>  set of 63-bit integers: BIREYSEL recipients who consent
    izinli:<epoch>:t:<bucket>  set of 63-bit integers: TACIR recipients who refuse

    bucket = bucket hash >> (32 - bits), member = the other half of the fingerprint (`filters.key.split`), in decimal.
    No braces in the keys: in a cluster they would pin all of them to one slot.

SQLite (`index.sqlite`):

    meta(id = 1, format, epoch, ready, count, cursor, heartbeat_ms, key_check)
    member(epoch, family, fingerprint)      primary key over all three, without row ids
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from filters.model import RecipientType, Status

FORMAT: Final = 1
INDEX_FILE: Final = "index.sqlite"
INDEX_KEY: Final = "izinli:index"
INDEX_FIELDS: Final = ("format", "epoch", "bits", "heartbeat_ms", "key_check")
"""What a reader needs of the hash, in this order."""


class Family(IntEnum):
    """Which status makes a fingerprint a member."""

    BIREYSEL = 0  # members are ONAY
    TACIR = 1  # members are RET


FAMILY_OF: Final = {RecipientType.BIREYSEL: Family.BIREYSEL, RecipientType.TACIR: Family.TACIR}
MEMBER_STATUS: Final = {RecipientType.BIREYSEL: Status.ONAY, RecipientType.TACIR: Status.RET}
_LETTER: Final = {Family.BIREYSEL: "b", Family.TACIR: "t"}


def bucket_prefix(epoch: int, family: Family) -> str:
    """The key of a bucket in Redis, but for its number."""
    return f"izinli:{epoch}:{_LETTER[family]}:"

"""What stands beside the consent events to prove them.

Events and removals share one numbering, without gaps. A `recording` says by whom the entries up to its number were
recorded, and seals them (`registry.evidence.chain`). Of an event that retention took away `removed_event` keeps the
leaf, which holds no personal data, and `removal` says why it is gone.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, LargeBinary, Table, Text

from registry.schema import metadata

_Serial = BigInteger().with_variant(Integer(), "sqlite")
DIGEST_BYTES: Final = 32

recording = Table(
    "recording",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),  # of its last entry
    Column("actor", Text, nullable=False),  # "": recorded before actors were
    Column("digest", LargeBinary(DIGEST_BYTES), nullable=False),
)

removal = Table(
    "removal",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),
    Column("removed_at", Text, nullable=False),  # UTC, ISO 8601
    Column("rule", Text, nullable=False),
    Column("cutoff", Text, nullable=False),  # Turkey time: all of what was removed is older
    Column("events", BigInteger, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("digest", LargeBinary(DIGEST_BYTES), nullable=False),  # over the removed events' numbers and leaves
)

removed_event = Table(
    "removed_event",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary(DIGEST_BYTES), nullable=False),
    Column("removal", BigInteger, nullable=False),  # removal.seq
)

retention_look = Table(
    "retention_look",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),  # UTC, ISO 8601: when retention looked last (`registry.evidence.clock`)
    CheckConstraint("id = 1", name="retention_look_one_row"),
)

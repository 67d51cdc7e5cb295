"""What the national API keeps besides its users: batches, retailers, push registrations, agreements.

A batch holds its consents as one value, because a row for each would cost more than to record them; it is forgotten
with its results after 60 days. Passwords of push receivers are sealed (`registry.national.seal`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from registry.schema import metadata

OPEN: Final = "open"  # accepted, and nothing of it is recorded
RECORDED: Final = "recorded"  # in the ledger, but the index may not know its rejections
DONE: Final = "done"

_Serial = BigInteger().with_variant(Integer(), "sqlite")

api_batch = Table(
    "api_batch",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("request_id", Text, nullable=False, unique=True),
    Column("brand", BigInteger, nullable=False),
    Column("client", Text, nullable=False),
    Column("repeatable", Boolean, nullable=False),  # it came by /v2
    Column("created_at", BigInteger, nullable=False),  # Unix time
    Column("state", Text, nullable=False),
    Column("consents", LargeBinary, nullable=False),  # `registry.national.batch_store`
    Column("results", LargeBinary),  # likewise; None while it is open
    Column("last_seq", BigInteger),  # consent_event.seq of its last event, None without events
    Index("api_batch_state", "state", "id"),
    Index("api_batch_created", "created_at"),
    Index("api_batch_last", "last_seq"),
)

api_retailer = Table(
    "api_retailer",
    metadata,
    Column("code", BigInteger, primary_key=True, autoincrement=False),
    Column("brand", BigInteger, nullable=False),
    Column("details", Text, nullable=False),  # JSON, as it came
    Column("title", Text, nullable=False),
    Column("tckn", Text, nullable=False),
    Column("mersis", Text),
    Column("status", Text, nullable=False),  # active, passive or suspended
    Column("created_at", BigInteger, nullable=False),  # Unix time
    Index("api_retailer_brand", "brand", "code"),
)

api_retailer_access = Table(
    "api_retailer_access",
    metadata,
    Column("brand", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", Text, primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("recipient_type", Text, primary_key=True),
    Column("retailer", BigInteger, primary_key=True, autoincrement=False),
    Index("api_retailer_access_retailer", "retailer"),
    sqlite_with_rowid=False,
)

api_event_retailer = Table(
    "api_event_retailer",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),  # consent_event.seq
    Column("retailer", BigInteger, nullable=False),  # who took this consent
)

api_push = Table(
    "api_push",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("brand", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("password", LargeBinary, nullable=False),  # sealed
    Column("registered_at", BigInteger, nullable=False),  # Unix time
    Column("cursor", BigInteger, nullable=False),  # consent_event.seq of the last move that was delivered
    Column("failures", Integer, nullable=False),  # in a row
    Column("next_at", BigInteger, nullable=False),  # Unix time before which it is left alone
    Column("holder", Text, nullable=False),  # the process that delivers at present
    Column("held_until", BigInteger, nullable=False),  # Unix time
    Index("api_push_receiver", "brand", "channel", "url", unique=True),
)

api_agreement = Table(
    "api_agreement",
    metadata,
    Column("brand", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Text, primary_key=True),  # YYYY-MM-DD in Turkey
    Column("digest", Text, nullable=False),  # SHA-384 of the day's file, in hex
    Column("through", BigInteger, nullable=False),  # consent_event.seq that was looked at last
    Column("agreed", Boolean, nullable=False),
    Column("agreed_by", Text, nullable=False),  # the client
    Column("agreed_at", Text, nullable=False),  # UTC, ISO 8601
)

"""Who may use the national API, with which tokens, and what they changed with it.

Nothing here opens a door by itself: passwords are scrypt hashes, tokens SHA-256 hashes. Addresses stand in the ledger
alone; the audit names its events by their numbers.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, text

from registry.schema import metadata

ACCESS: Final = "access"
REFRESH: Final = "refresh"

_OF_CLIENTS = "event IS NULL"  # who was let in or put out: a few rows among those of all consents
_Serial = BigInteger().with_variant(Integer(), "sqlite")

api_client = Table(
    "api_client",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password", Text, nullable=False),  # `filters.passwords.Hash`
    Column("created_at", Text, nullable=False),  # UTC, ISO 8601
)

api_grant = Table(
    "api_grant",
    metadata,
    Column("client", Text, primary_key=True),
    Column("brand", BigInteger, primary_key=True, autoincrement=False),
    Column("may_write", Boolean, nullable=False),  # everybody may read
)

api_token = Table(
    "api_token",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),  # SHA-256 of the token
    Column("client", Text, nullable=False),
    Column("kind", Text, nullable=False),  # access or refresh
    Column("expires_at", BigInteger, nullable=False),  # Unix time
    Index("api_token_client", "client", "expires_at"),
)

api_audit = Table(
    "api_audit",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),  # UTC, ISO 8601
    Column("client", Text, nullable=False),  # stays when the client is removed
    Column("action", Text, nullable=False),  # what was done, in the words of `registry.national.audit`
    Column("brand", BigInteger),
    Column("event", BigInteger),  # consent_event.seq, where the change is one of the ledger's
    Column("detail", Text, nullable=False),  # no address, number or secret
    Index("api_audit_clients", "id", sqlite_where=text(_OF_CLIENTS), postgresql_where=text(_OF_CLIENTS)),
)

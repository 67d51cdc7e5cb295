"""Admins, what they log in with, their sessions, and what they did.

Nothing here opens a door by itself: passwords are scrypt hashes, TOTP secrets are sealed and recovery codes digested
with keys/provider.key, sessions are kept as SHA-256 hashes. `admin_audit` is only ever added to, and has no address of
a citizen.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from registry.schema import metadata

DIGEST_OCTETS: Final = 32
_Serial = BigInteger().with_variant(Integer(), "sqlite")

admin_user = Table(
    "admin_user",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),  # `registry.admins.store.Role`
    Column("password", Text, nullable=False),  # `filters.passwords.Hash`
    Column("secret", LargeBinary, nullable=False),  # sealed: the TOTP secret
    Column("last_step", BigInteger, nullable=False),  # the time step of the newest code that was used (RFC 6238 §5.2)
    Column("disabled", Integer, nullable=False),  # 0 or 1
    Column("created_at", Text, nullable=False),  # UTC, ISO 8601
    Column("last_login", Text),
)

admin_recovery = Table(
    "admin_recovery",
    metadata,
    Column("admin", Text, nullable=False),
    Column("digest", LargeBinary(DIGEST_OCTETS), nullable=False),  # keyed, of a code that was not used yet
    PrimaryKeyConstraint("admin", "digest"),
)

admin_session = Table(
    "admin_session",
    metadata,
    Column("digest", LargeBinary(DIGEST_OCTETS), primary_key=True),  # SHA-256 of what the cookie holds
    Column("admin", Text, nullable=False),
    Column("began_at", BigInteger, nullable=False),  # Unix time
    Column("seen_at", BigInteger, nullable=False),
    Index("admin_session_admin", "admin"),
)

admin_audit = Table(
    "admin_audit",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),  # UTC, ISO 8601
    Column("actor", Text, nullable=False),  # `registry.evidence.actors`
    Column("action", Text, nullable=False),  # `registry.admins.audit.Action`
    Column("subject", Text, nullable=False),  # an admin's name, "provider 7", "brand 100001 MESAJ"
    Column("detail", Text, nullable=False),  # for a look-up the recipient's keyed fingerprint, in hex
)

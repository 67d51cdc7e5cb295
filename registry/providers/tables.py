"""Who applied to send, what was proven of it, and what operators decided.

`provider_change` is append-only: its rows are numbered without gaps in commit order, and `provider.state` is the state
of its newest one. Of secrets stand here digests (of what was sent to prove an address) and ciphertexts
(`registry.providers.vault`: the signatory's TCKN, and what waits to be sent).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from registry.schema import metadata

DIGEST_OCTETS: Final = 32
_Serial = BigInteger().with_variant(Integer(), "sqlite")

provider = Table(
    "provider",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=False),
    Column("handle", LargeBinary(DIGEST_OCTETS), nullable=False),  # SHA-256 of what the applicant knows it by
    Column("state", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("mersis", Text, nullable=False),
    Column("tin", Text, nullable=False),
    Column("signatory", Text, nullable=False),
    Column("tckn", LargeBinary, nullable=False),  # sealed
    Column("mobile", Text, nullable=False),  # canonical
    Column("email", Text, nullable=False),  # canonical
    Column("document", LargeBinary(DIGEST_OCTETS), nullable=False),  # SHA-256 of the file in data_dir/documents
    Column("document_type", Text, nullable=False),  # pdf, png
    Column("mobile_confirmed", Integer, nullable=False),  # 0 or 1
    Column("email_confirmed", Integer, nullable=False),
    Column("iys_code", BigInteger),  # since it was approved
    Column("applied_at", BigInteger, nullable=False),  # Unix time
    Index("provider_handle", "handle", unique=True),
)

provider_brand = Table(
    "provider_brand",
    metadata,
    Column("provider", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),  # 0: the master brand
    Column("name", Text, nullable=False),
    Column("code", BigInteger),  # since its provider was approved
    PrimaryKeyConstraint("provider", "place"),
    Index("provider_brand_code", "code", unique=True),
)

provider_change = Table(
    "provider_change",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),
    Column("provider", BigInteger, nullable=False),
    Column("at", Text, nullable=False),  # UTC, ISO 8601
    Column("action", Text, nullable=False),  # `registry.providers.states.Action`
    Column("state", Text, nullable=False),  # after it
    Column("actor", Text, nullable=False),  # `registry.evidence.actors`
    Column("reason", Text, nullable=False),
    Index("provider_change_provider", "provider", "seq"),
)

provider_proof = Table(
    "provider_proof",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("provider", BigInteger, nullable=False),
    Column("way", Text, nullable=False),  # mobile, email
    Column("recipient", LargeBinary(DIGEST_OCTETS), nullable=False),  # keyed: how often one address was written to
    Column("digest", LargeBinary(DIGEST_OCTETS), nullable=False),  # keyed, of the code or the link's token
    Column("made_at", BigInteger, nullable=False),  # Unix time
    Column("expires_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),  # wrong ones
    Index("provider_proof_provider", "provider", "way", "id"),
    Index("provider_proof_recipient", "recipient", "made_at"),
    Index("provider_proof_digest", "digest"),
)

provider_outbox = Table(
    "provider_outbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("way", Text, nullable=False),
    Column("letter", LargeBinary, nullable=False),  # sealed: recipient and text
    Column("due_at", BigInteger, nullable=False),  # Unix time of the next try
    Column("expires_at", BigInteger, nullable=False),  # then nobody needs it any more
    Column("tries", Integer, nullable=False),
    Index("provider_outbox_due", "due_at"),
)

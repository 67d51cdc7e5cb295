"""Onboarding: providers, their brands, what was proven and decided of them, and what waits to be sent to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "provider",
        sa.Column("id", serial, primary_key=True, autoincrement=False),
        sa.Column("handle", sa.LargeBinary(32), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("state", "title", "mersis", "tin", "signatory")),
        sa.Column("tckn", sa.LargeBinary, nullable=False),
        sa.Column("mobile", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary(32), nullable=False),
        sa.Column("document_type", sa.Text, nullable=False),
        sa.Column("mobile_confirmed", sa.Integer, nullable=False),
        sa.Column("email_confirmed", sa.Integer, nullable=False),
        sa.Column("iys_code", sa.BigInteger),
        sa.Column("applied_at", sa.BigInteger, nullable=False),
    )
    op.create_index("provider_handle", "provider", ["handle"], unique=True)
    op.create_table(
        "provider_brand",
        sa.Column("provider", sa.BigInteger, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("code", sa.BigInteger),
        sa.PrimaryKeyConstraint("provider", "place"),
    )
    op.create_index("provider_brand_code", "provider_brand", ["code"], unique=True)
    op.create_table(
        "provider_change",
        sa.Column("seq", serial, primary_key=True, autoincrement=False),
        sa.Column("provider", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("at", "action", "state", "actor", "reason")),
    )
    op.create_index("provider_change_provider", "provider_change", ["provider", "seq"])
    _proofs(serial)


def _proofs(serial: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "provider_proof",
        sa.Column("id", serial, primary_key=True, autoincrement=True),
        sa.Column("provider", sa.BigInteger, nullable=False),
        sa.Column("way", sa.Text, nullable=False),
        sa.Column("recipient", sa.LargeBinary(32), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("provider_proof_provider", "provider_proof", ["provider", "way", "id"])
    op.create_index("provider_proof_recipient", "provider_proof", ["recipient", "made_at"])
    op.create_index("provider_proof_digest", "provider_proof", ["digest"])
    op.create_table(
        "provider_outbox",
        sa.Column("id", serial, primary_key=True, autoincrement=True),
        sa.Column("way", sa.Text, nullable=False),
        sa.Column("letter", sa.LargeBinary, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("provider_outbox_due", "provider_outbox", ["due_at"])


def downgrade() -> None:
    for table in ("provider_outbox", "provider_proof", "provider_change", "provider_brand", "provider"):
        op.drop_table(table)

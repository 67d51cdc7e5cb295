"""The ledger: events, their fold, and what is known of the index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consent_event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("brand", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("recipient_type", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("consent_date", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
    )
    op.create_index("consent_event_recipient", "consent_event", ["recipient"])
    op.create_table(
        "consent",
        sa.Column("fingerprint", sa.LargeBinary(12), nullable=False),
        sa.Column("recipient_type", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "recipient_type"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "publication",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("published_epoch", sa.BigInteger, nullable=False),
        sa.Column("key_check", sa.LargeBinary(8), nullable=False),
        sa.CheckConstraint("id = 1", name="publication_one_row"),
    )


def downgrade() -> None:
    op.drop_table("publication")
    op.drop_table("consent")
    op.drop_table("consent_event")

"""Keeping step with the national system: uploads, what it told, places, leases, tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "national_upload",
        sa.Column("seq", serial, primary_key=True, autoincrement=False),
        sa.Column("brand", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(12), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("recipient_type", "state", "due")),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("code", "request", "sub_request")),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    op.create_index("national_upload_state", "national_upload", ["brand", "state", "seq"])
    op.create_index("national_upload_key", "national_upload", ["fingerprint", "recipient_type"])
    op.create_index("national_upload_request", "national_upload", ["request"])
    op.create_table(
        "national_move",
        sa.Column("brand", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("transaction_id", sa.Text, primary_key=True),
        sa.Column("created", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("channel", "recipient", "recipient_type")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("status", "source", "consent_date")),
    )
    op.create_index("national_move_created", "national_move", ["brand", "created"])
    op.create_table(
        "national_state",
        sa.Column("brand", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "national_lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("held_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "national_token",
        sa.Column("login", sa.Text, primary_key=True),
        sa.Column("access", sa.LargeBinary, nullable=False),
        sa.Column("access_until", sa.BigInteger, nullable=False),
        sa.Column("refresh", sa.LargeBinary, nullable=False),
        sa.Column("refresh_until", sa.BigInteger, nullable=False),
        sa.Column("blocked_until", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("national_token", "national_lease", "national_state", "national_move", "national_upload"):
        op.drop_table(table)

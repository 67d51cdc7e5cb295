"""Brands that are kept in step without a restart, and the evidence that the national system took an event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "national_brand",
        sa.Column("code", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("iys_code", sa.BigInteger, nullable=False),
        sa.Column("brand_code", sa.BigInteger, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("password", sa.LargeBinary, nullable=False),
        sa.Column("push_username", sa.Text, nullable=False),
        sa.Column("push_password", sa.LargeBinary, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "national_receipt",
        sa.Column("seq", serial, primary_key=True, autoincrement=False),
        sa.Column("transaction_id", sa.Text, nullable=False),
        sa.Column("created", sa.Text, nullable=False),
        sa.Column("heard_at", sa.BigInteger, nullable=False),
    )
    # what was taken before there were receipts; its transactionId is known where the moves are still kept
    same = " AND ".join(
        f"e.{name} = m.{name}"
        for name in ("recipient", "brand", "channel", "recipient_type", "status", "source", "consent_date")
    )
    op.execute(
        "INSERT INTO national_receipt (seq, transaction_id, created, heard_at) "
        "SELECT u.seq, MIN(m.transaction_id), MIN(m.created), u.changed_at FROM national_move m "
        f"JOIN consent_event e ON {same} JOIN national_upload u ON u.seq = e.seq "
        "WHERE u.state = 'done' GROUP BY u.seq, u.changed_at"
    )
    op.execute(
        "INSERT INTO national_receipt (seq, transaction_id, created, heard_at) "
        "SELECT u.seq, '', '', u.changed_at FROM national_upload u "
        "WHERE u.state = 'done' AND NOT EXISTS (SELECT 1 FROM national_receipt r WHERE r.seq = u.seq)"
    )


def downgrade() -> None:
    for table in ("national_receipt", "national_brand"):
        op.drop_table(table)

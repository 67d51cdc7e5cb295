"""The national API: its clients, their tokens, and what they changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_client",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_table(
        "api_grant",
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("brand", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("may_write", sa.Boolean, nullable=False),
    )
    op.create_table(
        "api_token",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("api_token_client", "api_token", ["client", "expires_at"])
    op.create_table(
        "api_audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("brand", sa.BigInteger),
        sa.Column("event", sa.BigInteger),
        sa.Column("detail", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("api_audit")
    op.drop_table("api_token")
    op.drop_table("api_grant")
    op.drop_table("api_client")

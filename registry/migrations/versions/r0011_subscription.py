"""How many consents a provider may hold, and how many it does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subscription",
        sa.Column("iys_code", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("quota", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("subscription")

"""When retention looked last: what its clock is compared with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention_look",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.CheckConstraint("id = 1", name="retention_look_one_row"),
    )


def downgrade() -> None:
    op.drop_table("retention_look")

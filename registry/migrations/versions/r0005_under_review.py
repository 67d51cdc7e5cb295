"""Consents that citizens may still look at are found without a look at all others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEX = "consent_under_review"


def upgrade() -> None:
    waiting = sa.text("status = 'BEKLIYOR'")
    op.create_index(_INDEX, "consent", ["seq"], sqlite_where=waiting, postgresql_where=waiting)


def downgrade() -> None:
    op.drop_index(_INDEX, "consent")

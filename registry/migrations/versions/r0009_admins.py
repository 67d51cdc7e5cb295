"""Admins: their logins, recovery codes and sessions, and what they did; and who was let in at the API, found fast."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "admin_user",
        sa.Column("name", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("role", "password")),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("disabled", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("last_login", sa.Text),
    )
    op.create_table(
        "admin_recovery",
        sa.Column("admin", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("admin", "digest"),
    )
    op.create_table(
        "admin_session",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("admin", sa.Text, nullable=False),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.create_index("admin_session_admin", "admin_session", ["admin"])
    op.create_table(
        "admin_audit",
        sa.Column("id", serial, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("at", "actor", "action", "subject", "detail")),
    )
    clients = sa.text("event IS NULL")
    op.create_index("api_audit_clients", "api_audit", ["id"], sqlite_where=clients, postgresql_where=clients)


def downgrade() -> None:
    op.drop_index("api_audit_clients", "api_audit")
    for table in ("admin_audit", "admin_session", "admin_recovery", "admin_user"):
        op.drop_table(table)

"""The national API: batches, retailers, push registrations, agreements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _batches()
    _retailers()
    _pushes()
    op.create_table(
        "api_agreement",
        sa.Column("brand", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("through", sa.BigInteger, nullable=False),
        sa.Column("agreed", sa.Boolean, nullable=False),
        sa.Column("agreed_by", sa.Text, nullable=False),
        sa.Column("agreed_at", sa.Text, nullable=False),
    )


def _serial() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _batches() -> None:
    op.create_table(
        "api_batch",
        sa.Column("id", _serial(), primary_key=True, autoincrement=True),
        sa.Column("request_id", sa.Text, nullable=False, unique=True),
        sa.Column("brand", sa.BigInteger, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("repeatable", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("consents", sa.LargeBinary, nullable=False),
        sa.Column("results", sa.LargeBinary),
        sa.Column("last_seq", sa.BigInteger),
    )
    op.create_index("api_batch_state", "api_batch", ["state", "id"])
    op.create_index("api_batch_created", "api_batch", ["created_at"])
    op.create_index("api_batch_last", "api_batch", ["last_seq"])


def _retailers() -> None:
    op.create_table(
        "api_retailer",
        sa.Column("code", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("brand", sa.BigInteger, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("tckn", sa.Text, nullable=False),
        sa.Column("mersis", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("api_retailer_brand", "api_retailer", ["brand", "code"])
    op.create_table(
        "api_retailer_access",
        sa.Column("brand", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("recipient_type", sa.Text, primary_key=True),
        sa.Column("retailer", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_index("api_retailer_access_retailer", "api_retailer_access", ["retailer"])
    op.create_table(
        "api_event_retailer",
        sa.Column("seq", _serial(), primary_key=True, autoincrement=False),
        sa.Column("retailer", sa.BigInteger, nullable=False),
    )


def _pushes() -> None:
    op.create_table(
        "api_push",
        sa.Column("id", _serial(), primary_key=True, autoincrement=True),
        sa.Column("brand", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("password", sa.LargeBinary, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("held_until", sa.BigInteger, nullable=False),
    )
    op.create_index("api_push_receiver", "api_push", ["brand", "channel", "url"], unique=True)


def downgrade() -> None:
    for name in (
        "api_agreement",
        "api_push",
        "api_event_retailer",
        "api_retailer_access",
        "api_retailer",
        "api_batch",
    ):
        op.drop_table(name)

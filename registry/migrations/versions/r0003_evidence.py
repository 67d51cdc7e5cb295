"""The ledger as evidence: who recorded what, the chain of digests, and what retention took away.

What was recorded before is sealed as it stands now; by whom it was recorded nobody wrote down.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from registry.evidence import chain

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_EVENTS = "seq, brand, channel, recipient, recipient_type, status, source, consent_date, recorded_at, origin"
_CHUNK = 50_000


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    recording = op.create_table(
        "recording",
        sa.Column("seq", serial, primary_key=True, autoincrement=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "removal",
        sa.Column("seq", serial, primary_key=True, autoincrement=False),
        sa.Column("removed_at", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("cutoff", sa.Text, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "removed_event",
        sa.Column("seq", serial, primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.LargeBinary(32), nullable=False),
        sa.Column("removal", sa.BigInteger, nullable=False),
    )
    _seal(recording)


def _seal(recording: sa.Table) -> None:
    connection = op.get_bind()
    statement = sa.text(f"SELECT {_EVENTS} FROM consent_event WHERE seq > :seq ORDER BY seq LIMIT {_CHUNK}")
    seq, digest = 0, chain.BEGINNING
    while rows := connection.execute(statement, {"seq": seq}).all():
        links = list(chain.links(digest, "", rows))
        named = [{"seq": last, "actor": actor, "digest": sealed} for last, actor, sealed in links]
        connection.execute(sa.insert(recording), named)
        seq, _, digest = links[-1]


def downgrade() -> None:
    op.drop_table("removed_event")
    op.drop_table("removal")
    op.drop_table("recording")

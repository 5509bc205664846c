"""By which way an event came, and who stands behind it; of events stored before, the way stays unknown.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

from monitor.store.schema.types import BigId, Instant

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("site_event", sa.Column("via", sa.Text(), nullable=True))
    op.create_table(
        "event_confirmation",
        sa.Column("id", BigId, nullable=False),
        sa.Column("event_id", BigId, nullable=False),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["site_event.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_event_confirmation_event", "event_confirmation", ["event_id"])


def downgrade() -> None:
    op.drop_table("event_confirmation")
    op.drop_column("site_event", "via")

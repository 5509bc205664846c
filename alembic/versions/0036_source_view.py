"""Where a source is looked at, and when it last brought anything: for the view of sources.

Revision ID: 0036
Revises: 0035
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("source_poll", sa.Column("address", sa.Text()))
    op.add_column("source_poll", sa.Column("new_at", Instant))


def downgrade() -> None:
    op.drop_column("source_poll", "new_at")
    op.drop_column("source_poll", "address")

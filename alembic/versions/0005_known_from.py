"""Since when an event that is added later was known: a replay goes by it.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from monitor.store.schema.types import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("site_event", sa.Column("known_from", Instant(), nullable=True))


def downgrade() -> None:
    op.drop_column("site_event", "known_from")

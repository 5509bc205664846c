"""Who confirmed a notification and by which way: a message counts as confirmed by its own recipient only.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
ADDED = (("alert_event", "via"), ("notification", "confirmed_by"), ("notification", "confirmed_via"))


def upgrade() -> None:
    for table, column in ADDED:
        op.add_column(table, sa.Column(column, sa.Text(), nullable=True))


def downgrade() -> None:
    for table, column in reversed(ADDED):
        op.drop_column(table, column)

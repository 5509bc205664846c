"""By which way an observer's report came and what proved who sent it; of reports stored before it stays unknown.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
ADDED = ("via", "credential")


def upgrade() -> None:
    for column in ADDED:
        op.add_column("report", sa.Column(column, sa.Text(), nullable=True))


def downgrade() -> None:
    for column in reversed(ADDED):
        op.drop_column("report", column)

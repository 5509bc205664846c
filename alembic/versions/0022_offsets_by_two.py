"""Whether an offset counts for the two highest levels only once a second person has confirmed it.

What was declared before goes on counting as it did: the column is empty there.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("offset_entry", sa.Column("needs_second", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("offset_entry", "needs_second")

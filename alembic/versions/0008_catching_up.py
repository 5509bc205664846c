"""Whether a site was evaluated while readings that had waited were being read.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("site_state", sa.Column("catching_up", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("site_state", "catching_up")

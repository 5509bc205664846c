"""CRPS and PIT of each scored forecast, and what it was up against when it was issued.

Scores of before stay without them.

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("forecast_score", sa.Column("crps", sa.Double(), nullable=True))
    op.add_column("forecast_score", sa.Column("pit", sa.Double(), nullable=True))
    op.add_column("forecast_score", sa.Column("situation", sa.String(16), nullable=True))


def downgrade() -> None:
    for name in ("situation", "pit", "crps"):
        op.drop_column("forecast_score", name)

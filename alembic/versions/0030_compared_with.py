"""What each anomaly score was compared with, in words.

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("anomaly", sa.Column("compared_with", sa.Text()))


def downgrade() -> None:
    op.drop_column("anomaly", "compared_with")

"""How far the present of a forecast lay from what calibration saw, and what a kinematic one stood in for.

Empty for what was issued before: nobody asked then.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("forecast", sa.Column("novelty", sa.Double(), nullable=True))
    op.add_column("forecast", sa.Column("replaces", sa.String(64), nullable=True))


def downgrade() -> None:
    for name in ("replaces", "novelty"):
        op.drop_column("forecast", name)

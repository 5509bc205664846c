"""The window that the velocity of a stage was fitted over.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("movement", sa.Column("velocity_window_s", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("movement", "velocity_window_s")

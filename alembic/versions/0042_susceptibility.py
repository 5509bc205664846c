"""The susceptibility of the ground of a footprint, and the map that it was read from.

Revision ID: 0042
Revises: 0041
"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scene_footprint", sa.Column("susceptibility", sa.Double()))
    op.add_column("scene_footprint", sa.Column("susceptibility_map", sa.String(64)))


def downgrade() -> None:
    op.drop_column("scene_footprint", "susceptibility_map")
    op.drop_column("scene_footprint", "susceptibility")

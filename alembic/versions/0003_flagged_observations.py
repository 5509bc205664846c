"""An index of the readings that bear a flag: flags that follow from a site file are judged again at every load.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_observation_flagged", "observation", ["series_id"], unique=False,
        sqlite_where=sa.text("flags <> ''"), postgresql_where=sa.text("flags <> ''"),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_observation_flagged", table_name="observation")

"""The method by which a season was found, and the season of the day where readings come that often.

Revision ID: 0031
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("season") as table:
        table.add_column(sa.Column("method", sa.String(8), nullable=False, server_default=""))
        table.add_column(sa.Column("day_strength", sa.Double()))
        table.add_column(sa.Column("day_range", sa.Double()))
        table.add_column(sa.Column("day_parts", sa.Text(), nullable=False, server_default="[]"))
    op.execute("UPDATE season SET method = 'STL' WHERE reason = ''")


def downgrade() -> None:
    with op.batch_alter_table("season") as table:
        for name in ("day_parts", "day_range", "day_strength", "method"):
            table.drop_column(name)

"""How often the other side could not deliver what it had taken.

Revision ID: 0040
Revises: 0039
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("notification", sa.Column("undelivered", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("notification", "undelivered")

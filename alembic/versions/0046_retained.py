"""Whether the broker had kept a message of the quarantine: when it was sent nobody knows.

Revision ID: 0046
Revises: 0045
"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rejected_message", sa.Column("retained", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE rejected_message SET retained = (1 = 1) WHERE code = 'retained'")


def downgrade() -> None:
    op.drop_column("rejected_message", "retained")

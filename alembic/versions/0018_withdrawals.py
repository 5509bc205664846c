"""What was taken back: events, confirmations, first signatures; and wrong passwords at the command line are counted.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

from monitor.store.schema.types import Instant

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
WITHDRAWN = ("site_event", "event_confirmation", "first_signature")


def upgrade() -> None:
    for table in WITHDRAWN:
        op.add_column(table, sa.Column("withdrawn_at", Instant, nullable=True))
        op.add_column(table, sa.Column("withdrawn_by", sa.Text(), nullable=True))
    op.create_table(
        "password_guess",
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("os_user", sa.String(128), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("user_name", "os_user"),
    )


def downgrade() -> None:
    op.drop_table("password_guess")
    for table in WITHDRAWN:
        op.drop_column(table, "withdrawn_by")
        op.drop_column(table, "withdrawn_at")

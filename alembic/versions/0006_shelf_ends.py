"""Until when an alert is shelved: its event's `data_time` held that, and hid which datum the alert rests on.

Events of before keep what they were written with; they are read as they were meant.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("alert_event", sa.Column("until_at", Instant, nullable=True))


def downgrade() -> None:
    op.execute("UPDATE alert_event SET data_time = until_at WHERE until_at IS NOT NULL")
    op.drop_column("alert_event", "until_at")

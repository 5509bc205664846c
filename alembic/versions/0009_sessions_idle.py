"""Sessions know when their person was last there; those open are of the moment, people log in again.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


def upgrade() -> None:
    op.execute("DELETE FROM web_session")
    with op.batch_alter_table("web_session") as batch:
        batch.add_column(sa.Column("seen_at", Instant, nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("web_session") as batch:
        batch.drop_column("seen_at")

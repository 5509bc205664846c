"""Secrets of second factors are sealed, so longer; some wait for their first code; codes for a lost telephone.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("second_factor") as table:
        table.alter_column("secret", existing_type=sa.String(64), type_=sa.Text(), existing_nullable=False)
        table.add_column(sa.Column("pending_since", Instant, nullable=True))
    op.create_table(
        "recovery_code",
        sa.Column("code_sha256", sa.String(64), nullable=False),
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("used_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("code_sha256"),
    )
    op.create_index("ix_recovery_code_user", "recovery_code", ["user_name"])


def downgrade() -> None:
    op.drop_table("recovery_code")
    op.execute("DELETE FROM second_factor")  # what is sealed, or waits for its first code, the version before cannot read
    with op.batch_alter_table("second_factor") as table:
        table.drop_column("pending_since")
        table.alter_column("secret", existing_type=sa.Text(), type_=sa.String(64), existing_nullable=False)

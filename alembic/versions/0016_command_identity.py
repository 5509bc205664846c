"""Which user of the operating system an account is at a command, and first signatures of acts that take two people.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("user_account", sa.Column("os_user", sa.String(64), nullable=True))
    op.create_index("ix_user_account_os_user", "user_account", ["os_user"], unique=True)
    op.create_table(
        "first_signature",
        sa.Column("id", BigId, nullable=False),
        sa.Column("act", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signed_at", Instant, nullable=False),
        sa.Column("used_at", Instant, nullable=True),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_first_signature_act", "first_signature", ["act", "subject"])


def downgrade() -> None:
    op.drop_table("first_signature")
    op.drop_index("ix_user_account_os_user", table_name="user_account")
    op.drop_column("user_account", "os_user")

"""What becomes of a message after it was sent: receipts, replies, devices that take push, sirens, tests of channels.

Revision ID: 0034
Revises: 0033
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("notification", sa.Column("provider_id", sa.Text()))
    op.add_column("notification", sa.Column("provider_said", sa.Text()))
    op.add_column("notification", sa.Column("received_at", Instant))
    op.create_index("ix_notification_provider", "notification", ["provider_id"])
    op.create_table(
        "reply_code",
        sa.Column("notification_id", BigId, primary_key=True, autoincrement=False),
        sa.Column("alert_id", BigId, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("address", "person", "language", "code")),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.Column("used_at", Instant),
    )
    op.create_index("ix_reply_code_address", "reply_code", ["address", "code"])
    op.create_table(
        "reply",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("way", sa.String(16), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False, unique=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("alert_id", BigId),
        sa.Column("person", sa.Text()),
    )
    op.create_index("ix_reply_sender", "reply", ["sender", "at"])
    op.create_table(
        "push_subscription",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("endpoint_sha256", sa.String(64), nullable=False, unique=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("endpoint", "p256dh", "auth", "device")),
        sa.Column("added_at", Instant, nullable=False),
        sa.Column("sent_at", Instant),
        sa.Column("ended_at", Instant),
        sa.Column("ended_why", sa.Text()),
    )
    op.create_index("ix_push_subscription_user", "push_subscription", ["user_name"])
    op.create_table(
        "siren_order",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("sequence", BigId, nullable=False),
        sa.Column("notification_id", BigId),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("wanted", sa.String(8), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("level_name", sa.Text(), nullable=False),
        sa.Column("exercise", sa.Boolean(), nullable=False),
        sa.Column("ordered_at", Instant, nullable=False),
        sa.Column("sent_at", Instant, nullable=False),
        sa.Column("valid_until", Instant, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("confirmed_at", Instant),
        sa.Column("confirmed_by", sa.Text()),
        sa.Column("said", sa.Text()),
        sa.UniqueConstraint("topic", "sequence", name="uq_siren_order"),
    )
    op.create_table(
        "channel_test",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text()),
        sa.Column("received_at", Instant),
    )
    op.create_index("ix_channel_test_channel", "channel_test", ["channel", "at"])


def downgrade() -> None:
    for name in ("channel_test", "siren_order", "push_subscription", "reply", "reply_code"):
        op.drop_table(name)
    op.drop_index("ix_notification_provider", "notification")
    for name in ("received_at", "provider_said", "provider_id"):
        op.drop_column("notification", name)

"""Tables of replies by telephone, devices that receive push messages, and orders to sirens."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint

from monitor.api.store import BigId, Instant, metadata, translatable_text

reply_code = Table(
    "reply_code",
    metadata,
    Column("notification_id", BigId, primary_key=True, autoincrement=False),
    Column("alert_id", BigId, nullable=False),
    Column("address", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=True),
    Index("ix_reply_code_address", "address", "code"),
    comment="codes with which recipients acknowledge an alert by reply, each valid from one telephone number",
)

reply = Table(
    "reply",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("way", String(16), nullable=False),
    Column("sender", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("provider_id", Text, nullable=False, unique=True),
    Column("outcome", String(16), nullable=False),
    Column("alert_id", BigId, nullable=True),
    Column("person", Text, nullable=True),
    Index("ix_reply_sender", "sender", "at"),
    Index("ix_reply_alert", "alert_id"),
    comment="replies from telephones, and their outcomes",
)

push_subscription = Table(
    "push_subscription",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("user_name", String(64), nullable=False),
    Column("endpoint_sha256", String(64), nullable=False, unique=True),
    Column("endpoint", Text, nullable=False),
    Column("p256dh", Text, nullable=False),
    Column("auth", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("sent_at", Instant, nullable=True),
    Column("ended_at", Instant, nullable=True),
    *translatable_text("ended_why", nullable=True),
    Index("ix_push_subscription_user", "user_name"),
    comment="browsers that receive messages for people; in no view and no published copy",
)

siren_order = Table(
    "siren_order",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("sequence", BigId, nullable=False),
    Column("notification_id", BigId, nullable=True),
    Column("site", String(64), nullable=False),
    Column("wanted", String(8), nullable=False, comment="on, off, test"),
    Column("level", Integer, nullable=False),
    Column("level_name", Text, nullable=False),
    Column("exercise", Boolean, nullable=False),
    Column("ordered_at", Instant, nullable=False),
    Column("sent_at", Instant, nullable=False),
    Column("valid_until", Instant, nullable=False),
    Column("times", Integer, nullable=False),
    Column("confirmed_at", Instant, nullable=True),
    Column("confirmed_by", Text, nullable=True),
    Column("said", Text, nullable=True),
    UniqueConstraint("topic", "sequence", name="uq_siren_order"),
    Index("ix_siren_order_site", "site", "ordered_at"),
    comment="orders to sirens and signs, and their confirmations",
)

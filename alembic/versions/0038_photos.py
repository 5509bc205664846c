"""Photos of the field, of an alert or of a report.

Revision ID: 0038
Revises: 0037
"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "photo",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("alert_id", BigId, sa.ForeignKey("alert.id")),
        sa.Column("report_id", BigId),
        sa.Column("added_at", Instant, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("via", sa.Text()),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("taken", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Double()),
        sa.Column("longitude", sa.Double()),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("picture", sa.LargeBinary(), nullable=False),
        sa.Column("small", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_photo_site", "photo", ["site", "added_at"])
    op.create_index("ix_photo_alert", "photo", ["alert_id"])


def downgrade() -> None:
    op.drop_table("photo")

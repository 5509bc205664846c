"""Who is on duty: plans of teams, what people changed of them, hand-overs.

Revision ID: 0035
Revises: 0034
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _of_team() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("site", sa.String(64), nullable=False), sa.Column("team", sa.String(64), nullable=False)


def upgrade() -> None:
    op.create_table(
        "duty_rota",
        sa.Column("id", BigId, primary_key=True),
        *_of_team(),
        sa.Column("valid_from", Instant, nullable=False),
        sa.Column("begins", sa.String(10), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("zone", "plan", "by", "reason")),
        sa.Column("added_at", Instant, nullable=False),
    )
    op.create_index("ix_duty_rota_team", "duty_rota", ["site", "team"])
    op.create_table(
        "duty_override",
        sa.Column("id", BigId, primary_key=True),
        *_of_team(),
        *(sa.Column(name, Instant, nullable=False) for name in ("from_at", "to_at")),
        sa.Column("person_out", sa.Text()),
        sa.Column("person_in", sa.Text()),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("by", "reason")),
        sa.Column("added_at", Instant, nullable=False),
        sa.Column("withdrawn_at", Instant),
        sa.Column("withdrawn_by", sa.Text()),
    )
    op.create_index("ix_duty_override_team", "duty_override", ["site", "team", "to_at"])
    op.create_table(
        "duty_turn",
        sa.Column("site", sa.String(64), primary_key=True),
        sa.Column("team", sa.String(64), primary_key=True),
        sa.Column("from_at", Instant, primary_key=True),
        sa.Column("to_at", Instant, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("person", sa.Text()),
        sa.Column("second_person", sa.Text()),
    )
    op.create_table(
        "duty_handover",
        sa.Column("id", BigId, primary_key=True),
        *_of_team(),
        sa.Column("since_at", Instant),
        sa.Column("at", Instant, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("outgoing", "notes", "open_items")),
        sa.Column("signed_at", Instant),
        sa.Column("incoming", sa.Text()),
        sa.Column("remark", sa.Text()),
        sa.Column("withdrawn_at", Instant),
        sa.Column("withdrawn_by", sa.Text()),
    )
    op.create_index("ix_duty_handover_team", "duty_handover", ["site", "team", "at"])


def downgrade() -> None:
    for name in ("duty_handover", "duty_turn", "duty_override", "duty_rota"):
        op.drop_table(name)

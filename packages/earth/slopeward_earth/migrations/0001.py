"""Create the tables of satellite points: anomalies, forecasts, rates and the squares of the map.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "earth_issue",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("point_set_id", BigId, nullable=False),
        sa.Column("delivery_id", BigId, nullable=False),
        sa.Column("known_at", Instant, nullable=False, comment="values that came in later were not read"),
        sa.Column("issued_at", Instant, nullable=False),
        sa.Column("ended_at", Instant, nullable=True, comment="empty while it is written"),
        sa.Column("last_point_id", BigId, nullable=False),
        sa.Column("newest_at", Instant, nullable=True),
        sa.Column("step_s", sa.Double(), nullable=False),
        sa.Column("jump_mm", sa.Double(), nullable=True),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("withheld", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="why nothing was forecast; empty = it was"),
        sa.Column("reason_id", sa.Text(), nullable=True),
        sa.Column("reason_values", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["point_set_id"],
            ["point_set.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("point_set_id", "delivery_id", name="uq_earth_issue"),
        comment="forecasts of a set of points after a delivery; which of them still stands, each row of earth_forecast says",
    )
    op.create_index("ix_earth_issue_site", "earth_issue", ["site", "id"], unique=False)
    op.create_table(
        "earth_look",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("point_set_id", BigId, nullable=False),
        sa.Column("delivery_id", BigId, nullable=False),
        sa.Column("known_at", Instant, nullable=False, comment="values that came in later were not looked at"),
        sa.Column("looked_at", Instant, nullable=False),
        sa.Column("last_point_id", BigId, nullable=False),
        sa.Column("after_point_id", BigId, nullable=False, comment="points up to this one were looked at before"),
        sa.Column("from_at", Instant, nullable=True, comment="acquisitions in (from_at, newest_at] were new"),
        sa.Column("newest_at", Instant, nullable=True, comment="acquisitions in (from_at, newest_at] were new"),
        sa.Column("acquisitions", sa.Integer(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("withheld", sa.Integer(), nullable=False),
        sa.Column("alarms", sa.Integer(), nullable=False),
        sa.Column("happenings", sa.Integer(), nullable=False),
        sa.Column("going_on", sa.Integer(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("budget", sa.Double(), nullable=False),
        sa.Column("jump_mm", sa.Double(), nullable=True),
        sa.Column("thresholds", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="why nothing was looked at; empty = it was"),
        sa.Column("reason_id", sa.Text(), nullable=True),
        sa.Column("reason_values", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["point_set_id"],
            ["point_set.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("point_set_id", "delivery_id", name="uq_earth_look"),
        comment="a look of the detectors at the newest acquisitions of a set; append only",
    )
    op.create_index("ix_earth_look_site", "earth_look", ["site", "id"], unique=False)
    op.create_table(
        "earth_map",
        sa.Column("point_set_id", BigId, autoincrement=False, nullable=False),
        sa.Column("delivery_id", BigId, nullable=False),
        sa.Column("known_at", Instant, nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("from_at", Instant, nullable=True),
        sa.Column("newest_at", Instant, nullable=True),
        sa.Column("squash", sa.Double(), nullable=False, comment="height of a square by its width, in degrees"),
        sa.Column("coarsest", sa.Integer(), nullable=True, comment="levels of squares; empty = none are needed"),
        sa.Column("finest", sa.Integer(), nullable=True, comment="levels of squares; empty = none are needed"),
        sa.ForeignKeyConstraint(
            ["point_set_id"],
            ["point_set.id"],
        ),
        sa.PrimaryKeyConstraint("point_set_id"),
        comment="what the map draws of a set: made after a delivery, in the place of what stood there",
    )
    op.create_table(
        "earth_forecast",
        sa.Column("point_id", BigId, autoincrement=False, nullable=False),
        sa.Column("earth_issue_id", BigId, nullable=False),
        sa.Column("value_mm", sa.Double(), nullable=True),
        sa.Column("middle_1_mm", sa.Double(), nullable=True, comment="by number of the horizon; empty = withheld"),
        sa.Column("middle_2_mm", sa.Double(), nullable=True, comment="by number of the horizon; empty = withheld"),
        sa.Column("middle_3_mm", sa.Double(), nullable=True, comment="by number of the horizon; empty = withheld"),
        sa.Column("half_1_mm", sa.Double(), nullable=True, comment="to either end of the interval of 80 %"),
        sa.Column("half_2_mm", sa.Double(), nullable=True, comment="to either end of the interval of 80 %"),
        sa.Column("half_3_mm", sa.Double(), nullable=True, comment="to either end of the interval of 80 %"),
        sa.Column(
            "on_line",
            sa.Integer(),
            nullable=False,
            comment="at which horizons the point follows the trend in place of the rule of the set: 1, 2, 4 added up",
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=False,
            comment="why there is none at one horizon or more; empty = all are there",
        ),
        sa.Column("reason_id", sa.Text(), nullable=True),
        sa.Column("reason_values", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["point_id"],
            ["point.id"],
        ),
        sa.ForeignKeyConstraint(
            ["earth_issue_id"],
            ["earth_issue.id"],
        ),
        sa.PrimaryKeyConstraint("point_id"),
        comment="the newest forecast of a point, one row; an older issue is made again from the readings",
    )
    op.create_table(
        "earth_happening",
        sa.Column("id", BigId, nullable=False),
        sa.Column("earth_look_id", BigId, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("common", sa.Boolean(), nullable=False),
        sa.Column("first_at", Instant, nullable=False),
        sa.Column("last_at", Instant, nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("judged", sa.Integer(), nullable=False),
        sa.Column("size_mm", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True, comment="the largest, in thresholds"),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("radius_m", sa.Double(), nullable=True),
        sa.Column("station", sa.Text(), nullable=True),
        sa.Column("distance_m", sa.Double(), nullable=True),
        sa.Column("compared_with", sa.Text(), nullable=False),
        sa.Column("compared_with_id", sa.Text(), nullable=True),
        sa.Column("compared_with_values", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["earth_look_id"],
            ["earth_look.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("earth_look_id", "number", name="uq_earth_happening"),
        comment="one cause: points that alarm together, or what most points of the set did the same way",
    )
    op.create_table(
        "earth_issue_horizon",
        sa.Column("earth_issue_id", BigId, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("target_at", Instant, nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("level_rows", sa.Integer(), nullable=False),
        sa.Column("slope_rows", sa.Integer(), nullable=False),
        sa.Column("damping", sa.Double(), nullable=False),
        sa.Column("forecasts", sa.Integer(), nullable=False),
        sa.Column("inside", sa.Double(), nullable=True),
        sa.Column("error_mm", sa.Double(), nullable=True),
        sa.Column("persistence_mm", sa.Double(), nullable=True),
        sa.Column("trend_mm", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False, comment="why the horizon is withheld; empty = it is not"),
        sa.Column("reason_id", sa.Text(), nullable=True),
        sa.Column("reason_values", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["earth_issue_id"],
            ["earth_issue.id"],
        ),
        sa.PrimaryKeyConstraint("earth_issue_id", "number"),
        comment="the rule of an issue at one horizon, and what it did on dates that were held out",
    )
    op.create_table(
        "earth_rate",
        sa.Column("point_id", BigId, autoincrement=False, nullable=False),
        sa.Column("rate_mm_per_year", sa.Double(), nullable=True, comment="empty = too few acquisitions"),
        sa.Column("error_mm_per_year", sa.Double(), nullable=True, comment="empty = too few acquisitions"),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("from_at", Instant, nullable=True),
        sa.Column("newest_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["point_id"],
            ["point.id"],
        ),
        sa.PrimaryKeyConstraint("point_id"),
        comment="mean velocity of a point over its whole record, as the newest delivery that was gone through left it",
    )
    op.create_table(
        "earth_square",
        sa.Column("delivery_id", BigId, nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("rated", sa.Integer(), nullable=False),
        sa.Column("median_mm_per_year", sa.Double(), nullable=True),
        sa.Column("least_mm_per_year", sa.Double(), nullable=True),
        sa.Column("most_mm_per_year", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["point_delivery.id"],
        ),
        sa.PrimaryKeyConstraint("delivery_id", "level", "y", "x"),
        comment="points of one square together: 360 degrees of longitude by 2 ** level",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "earth_anomaly",
        sa.Column("earth_happening_id", BigId, nullable=False),
        sa.Column("point_id", BigId, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("part", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("size_mm", sa.Double(), nullable=False),
        sa.Column("compared_with", sa.Text(), nullable=False),
        sa.Column("compared_with_id", sa.Text(), nullable=True),
        sa.Column("compared_with_values", sa.Text(), nullable=True),
        sa.CheckConstraint("score > -1e300 AND score < 1e300", name="ck_earth_anomaly_score_finite"),
        sa.ForeignKeyConstraint(
            ["earth_happening_id"],
            ["earth_happening.id"],
        ),
        sa.PrimaryKeyConstraint("earth_happening_id", "point_id", "at"),
        comment="where an alarm of a point begins; the strongest of a look",
    )
    op.create_index("ix_earth_anomaly_point", "earth_anomaly", ["point_id"], unique=False)

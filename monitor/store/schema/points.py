"""Satellite (InSAR) points: sets, values, deliveries, detected anomalies, forecasts and map squares."""

from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from monitor.store.schema.metadata import metadata
from monitor.store.schema.types import BigId, Instant, Json, finite, translatable_text

# The points of a set share their dates and number thousands, so that their values have a table of their own.
point_set = Table(
    "point_set",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("direction", Text, nullable=False),
    Column("unit", String(32), nullable=False),
    Column("meta", Json, nullable=True),
    UniqueConstraint("site", "name", name="uq_point_set"),
    comment="InSAR: thousands of points that share dates; apart from instruments",
)

point = Table(
    "point",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("pid", String(64), nullable=False),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("height_m", Double, nullable=True),
    Column("static", Json, nullable=True),
    UniqueConstraint("point_set_id", "pid", name="uq_point"),
    Index("ix_point_place", "point_set_id", "latitude", "longitude"),
)

point_observation = Table(
    "point_observation",
    metadata,
    Column("point_id", BigId, primary_key=True),
    Column("observed_at", Instant, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("value_raw", Double, nullable=False),
    Column("sigma", Double, nullable=True),
    *finite("point_observation", "value_raw"),
    sqlite_with_rowid=False,
)

point_delivery = Table(
    "point_delivery",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("file", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("newest_at", Instant, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("revisions", Integer, nullable=False),
    comment="a file of points that came in: when it was through, and what was new in it",
)

point_look = Table(
    "point_look",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("delivery_id", BigId, nullable=False),
    Column("known_at", Instant, nullable=False, comment="values that came in later were not looked at"),
    Column("looked_at", Instant, nullable=False),
    Column("last_point_id", BigId, nullable=False),
    Column("after_point_id", BigId, nullable=False, comment="points up to this one were looked at before"),
    Column("from_at", Instant, nullable=True, comment="acquisitions in (from_at, newest_at] were new"),
    Column("newest_at", Instant, nullable=True, comment="acquisitions in (from_at, newest_at] were new"),
    Column("acquisitions", Integer, nullable=False),
    Column("points", Integer, nullable=False),
    Column("withheld", Integer, nullable=False),
    Column("alarms", Integer, nullable=False),
    Column("happenings", Integer, nullable=False),
    Column("going_on", Integer, nullable=False),
    Column("left_out", Integer, nullable=False),
    Column("budget", Double, nullable=False),
    Column("jump_mm", Double, nullable=True),
    Column("thresholds", Json, nullable=False),
    Column("digest", String(64), nullable=False),
    *translatable_text("reason", nullable=False, comment="why nothing was looked at; empty = it was"),
    UniqueConstraint("point_set_id", "delivery_id", name="uq_point_look"),
    Index("ix_point_look_site", "site", "id"),
    comment="a look of the detectors at the newest acquisitions of a set; append only",
)

point_happening = Table(
    "point_happening",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("point_look_id", BigId, ForeignKey("point_look.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("common", Boolean, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("points", Integer, nullable=False),
    Column("judged", Integer, nullable=False),
    Column("size_mm", Double, nullable=False),
    Column("score", Double, nullable=True, comment="the largest, in thresholds"),
    Column("latitude", Double, nullable=True),
    Column("longitude", Double, nullable=True),
    Column("radius_m", Double, nullable=True),
    Column("station", Text, nullable=True, info={"names": "station"}),
    Column("distance_m", Double, nullable=True),
    *translatable_text("compared_with", nullable=False),
    UniqueConstraint("point_look_id", "number", name="uq_point_happening"),
    comment="one cause: points that alarm together, or what most points of the set did the same way",
)

point_anomaly = Table(
    "point_anomaly",
    metadata,
    Column("point_happening_id", BigId, ForeignKey("point_happening.id"), primary_key=True),
    Column("point_id", BigId, primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("detector", String(64), nullable=False),
    Column("part", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("score", Double, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("size_mm", Double, nullable=False),
    *translatable_text("compared_with", nullable=False),
    *finite("point_anomaly", "score"),
    Index("ix_point_anomaly_point", "point_id"),
    comment="where an alarm of a point begins; the strongest of a look",
)

point_issue = Table(
    "point_issue",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("delivery_id", BigId, nullable=False),
    Column("known_at", Instant, nullable=False, comment="values that came in later were not read"),
    Column("issued_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=True, comment="empty while it is written"),
    Column("last_point_id", BigId, nullable=False),
    Column("newest_at", Instant, nullable=True),
    Column("step_s", Double, nullable=False),
    Column("jump_mm", Double, nullable=True),
    Column("points", Integer, nullable=False),
    Column("withheld", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    *translatable_text("reason", nullable=False, comment="why nothing was forecast; empty = it was"),
    UniqueConstraint("point_set_id", "delivery_id", name="uq_point_issue"),
    Index("ix_point_issue_site", "site", "id"),
    comment=(
        "forecasts of a set of points after a delivery; which of them still stands, each row of point_forecast says"
    ),
)

point_issue_horizon = Table(
    "point_issue_horizon",
    metadata,
    Column("point_issue_id", BigId, ForeignKey("point_issue.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("steps", Integer, nullable=False),
    Column("target_at", Instant, nullable=False),
    Column("model", String(64), nullable=False),
    Column("level_rows", Integer, nullable=False),
    Column("slope_rows", Integer, nullable=False),
    Column("damping", Double, nullable=False),
    Column("forecasts", Integer, nullable=False),
    Column("inside", Double, nullable=True),
    Column("error_mm", Double, nullable=True),
    Column("persistence_mm", Double, nullable=True),
    Column("trend_mm", Double, nullable=True),
    *translatable_text("reason", nullable=False, comment="why the horizon is withheld; empty = it is not"),
    comment="the rule of an issue at one horizon, and what it did on dates that were held out",
)

point_forecast = Table(
    "point_forecast",
    metadata,
    Column("point_id", BigId, ForeignKey("point.id"), primary_key=True, autoincrement=False),
    Column("point_issue_id", BigId, ForeignKey("point_issue.id"), nullable=False),
    Column("value_mm", Double, nullable=True),
    Column("middle_1_mm", Double, nullable=True, comment="by number of the horizon; empty = withheld"),
    Column("middle_2_mm", Double, nullable=True, comment="by number of the horizon; empty = withheld"),
    Column("middle_3_mm", Double, nullable=True, comment="by number of the horizon; empty = withheld"),
    Column("half_1_mm", Double, nullable=True, comment="to either end of the interval of 80 %"),
    Column("half_2_mm", Double, nullable=True, comment="to either end of the interval of 80 %"),
    Column("half_3_mm", Double, nullable=True, comment="to either end of the interval of 80 %"),
    Column(
        "on_line",
        Integer,
        nullable=False,
        comment="at which horizons the point follows the trend in place of the rule of the set: 1, 2, 4 added up",
    ),
    *translatable_text(
        "reason", nullable=False, comment="why there is none at one horizon or more; empty = all are there"
    ),
    comment="the newest forecast of a point, one row; an older issue is made again from the readings",
)

point_rate = Table(
    "point_rate",
    metadata,
    Column("point_id", BigId, ForeignKey("point.id"), primary_key=True, autoincrement=False),
    Column("rate_mm_per_year", Double, nullable=True, comment="empty = too few acquisitions"),
    Column("error_mm_per_year", Double, nullable=True, comment="empty = too few acquisitions"),
    Column("epochs", Integer, nullable=False),
    Column("from_at", Instant, nullable=True),
    Column("newest_at", Instant, nullable=True),
    comment="mean velocity of a point over its whole record, as the newest delivery that was gone through left it",
)

point_map = Table(
    "point_map",
    metadata,
    Column("point_set_id", BigId, ForeignKey("point_set.id"), primary_key=True, autoincrement=False),
    Column("delivery_id", BigId, nullable=False),
    Column("known_at", Instant, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("points", Integer, nullable=False),
    Column("from_at", Instant, nullable=True),
    Column("newest_at", Instant, nullable=True),
    Column("squash", Double, nullable=False, comment="height of a square by its width, in degrees"),
    Column("coarsest", Integer, nullable=True, comment="levels of squares; empty = none are needed"),
    Column("finest", Integer, nullable=True, comment="levels of squares; empty = none are needed"),
    comment="what the map draws of a set: made after a delivery, in the place of what stood there",
)

point_square = Table(
    "point_square",
    metadata,
    Column("delivery_id", BigId, ForeignKey("point_delivery.id"), primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("y", Integer, primary_key=True),
    Column("x", Integer, primary_key=True),
    Column("points", Integer, nullable=False),
    Column("rated", Integer, nullable=False),
    Column("median_mm_per_year", Double, nullable=True),
    Column("least_mm_per_year", Double, nullable=True),
    Column("most_mm_per_year", Double, nullable=True),
    comment="points of one square together: 360 degrees of longitude by 2 ** level",
    sqlite_with_rowid=False,
)

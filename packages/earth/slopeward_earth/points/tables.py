"""Tables of satellite points: detected anomalies, forecasts, rates and squares of the map.

The points and their values are in `monitor.readings.point_tables`. `slopeward_earth.migrations` creates these tables.
"""

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from monitor.api.store import BigId, Instant, Json, finite, translatable_text
from monitor.api.tables import point, point_delivery, point_set

METADATA: Final = MetaData()

earth_look = Table(
    "earth_look",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("point_set_id", BigId, ForeignKey(point_set.c.id), nullable=False),
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
    UniqueConstraint("point_set_id", "delivery_id", name="uq_earth_look"),
    Index("ix_earth_look_site", "site", "id"),
    comment="a look of the detectors at the newest acquisitions of a set; append only",
)

earth_happening = Table(
    "earth_happening",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("earth_look_id", BigId, ForeignKey("earth_look.id"), nullable=False),
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
    UniqueConstraint("earth_look_id", "number", name="uq_earth_happening"),
    comment="one cause: points that alarm together, or what most points of the set did the same way",
)

earth_anomaly = Table(
    "earth_anomaly",
    METADATA,
    Column("earth_happening_id", BigId, ForeignKey("earth_happening.id"), primary_key=True),
    Column("point_id", BigId, primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("detector", String(64), nullable=False),
    Column("part", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("score", Double, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("size_mm", Double, nullable=False),
    *translatable_text("compared_with", nullable=False),
    *finite("earth_anomaly", "score"),
    Index("ix_earth_anomaly_point", "point_id"),
    comment="where an alarm of a point begins; the strongest of a look",
)

earth_issue = Table(
    "earth_issue",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("point_set_id", BigId, ForeignKey(point_set.c.id), nullable=False),
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
    UniqueConstraint("point_set_id", "delivery_id", name="uq_earth_issue"),
    Index("ix_earth_issue_site", "site", "id"),
    comment=(
        "forecasts of a set of points after a delivery; which of them still stands, each row of earth_forecast says"
    ),
)

earth_issue_horizon = Table(
    "earth_issue_horizon",
    METADATA,
    Column("earth_issue_id", BigId, ForeignKey("earth_issue.id"), primary_key=True),
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

earth_forecast = Table(
    "earth_forecast",
    METADATA,
    Column("point_id", BigId, ForeignKey(point.c.id), primary_key=True, autoincrement=False),
    Column("earth_issue_id", BigId, ForeignKey("earth_issue.id"), nullable=False),
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

earth_rate = Table(
    "earth_rate",
    METADATA,
    Column("point_id", BigId, ForeignKey(point.c.id), primary_key=True, autoincrement=False),
    Column("rate_mm_per_year", Double, nullable=True, comment="empty = too few acquisitions"),
    Column("error_mm_per_year", Double, nullable=True, comment="empty = too few acquisitions"),
    Column("epochs", Integer, nullable=False),
    Column("from_at", Instant, nullable=True),
    Column("newest_at", Instant, nullable=True),
    comment="mean velocity of a point over its whole record, as the newest delivery that was gone through left it",
)

earth_map = Table(
    "earth_map",
    METADATA,
    Column("point_set_id", BigId, ForeignKey(point_set.c.id), primary_key=True, autoincrement=False),
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

earth_square = Table(
    "earth_square",
    METADATA,
    Column("delivery_id", BigId, ForeignKey(point_delivery.c.id), primary_key=True),
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

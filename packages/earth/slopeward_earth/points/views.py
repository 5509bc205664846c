"""Public views on satellite (InSAR) points."""

from typing import Final, TypedDict

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, MetaData, Table, Text

from monitor.api.store import PublicView

METADATA: Final = MetaData()


class PointIssueRow(TypedDict):
    """A row of `point_forecast_issues`: an issue at one horizon. An issue that failed has no horizon."""

    point_set: str
    issue_id: int
    known_at: str
    points: int
    withheld: int
    horizon: int | None
    target_at: str
    model: str
    held_out_inside_80: float
    held_out_error_mm: float
    held_out_persistence_mm: float
    held_out_trend_mm: float
    reason: str


class PointForecastRow(TypedDict):
    """A row of `point_forecasts`: a point at one horizon. A withheld forecast has no quantiles."""

    pid: str
    latitude: float
    longitude: float
    horizon: int
    target_at: str
    value_mm: float
    q10: float | None
    q50: float | None
    q90: float | None
    reason: str


insar_points = Table(
    "insar_points",
    METADATA,
    Column("site", Text, comment="site id"),
    Column("point_set", Text, comment="name of the set: one processing along one direction"),
    Column("pid", Text, comment="the point's name in that processing"),
    Column("direction", Text, comment="what a positive value means: los-towards, los-away, east, north or up"),
    Column("latitude", Double, comment="where it lies, WGS 84", info={"unit": "deg"}),
    Column("longitude", Double, comment="WGS84", info={"unit": "deg"}),
    Column("height_m", Double, comment="as the processing says, or null", info={"unit": "m"}),
    Column(
        "newest_at",
        Text,
        comment="newest acquisition; where the file knows the date only, its beginning",
        info={"unit": "time"},
    ),
    Column(
        "received_at",
        Text,
        comment="when that value came in: the difference is the true latency",
        info={"unit": "time"},
    ),
    Column(
        "value_mm", Double, comment="displacement along `direction` since the set's own reference", info={"unit": "mm"}
    ),
    Column("revision", Integer, comment="0 for the first value of the acquisition"),
    Column("n", BigInteger, comment="acquisitions with a value"),
    Column(
        "rate_mm_per_year",
        Double,
        comment=(
            "mean velocity over all acquisitions, the line of least squares; null with fewer than four, or "
            "while the job `point-map` has not gone through a delivery"
        ),
        info={"unit": "mm/year"},
    ),
    Column(
        "error_mm_per_year",
        Double,
        comment="its standard error, as if the errors of acquisitions were independent",
        info={"unit": "mm/year"},
    ),
    Column("rate_from_at", Text, comment="oldest acquisition of that line", info={"unit": "time"}),
    Column("rate_until_at", Text, comment="newest acquisition of that line", info={"unit": "time"}),
    comment=(
        "InSAR points, each with its newest acquisition in its newest revision. `n` counts every "
        "acquisition, so give `pid` or be patient (seconds for ten thousand points). What the zones "
        "around stations did is in the evidence of the decisions."
    ),
    info={"question": "What do satellite points do?"},
)

point_looks = Table(
    "point_looks",
    METADATA,
    Column("site", Text, comment="site id"),
    Column("point_set", Text, comment="name of the set"),
    Column("look_id", BigInteger, comment="number"),
    Column("looked_at", Text, comment="when the job ran", info={"unit": "time"}),
    Column(
        "known_at",
        Text,
        comment="when the delivery was through; values that came in later were not looked at",
        info={"unit": "time"},
    ),
    Column(
        "from_at", Text, comment="acquisitions after it were new, or null for the first look", info={"unit": "time"}
    ),
    Column("newest_at", Text, comment="newest acquisition that was looked at", info={"unit": "time"}),
    Column("acquisitions", Integer, comment="new ones"),
    Column("points", Integer, comment="points that got a score at a new acquisition"),
    Column("withheld", Integer, comment="points with a new acquisition and too short a past"),
    Column("alarms", Integer, comment="alarms that begin at a new acquisition"),
    Column("happenings", Integer, comment="causes, those of `point_happenings`"),
    Column("going_on", Integer, comment="points whose alarm began before"),
    Column("left_out", Integer, comment="alarms that are not in `point_anomalies`: they are not among the strongest"),
    Column(
        "budget_per_point_month",
        Double,
        comment="false alarms per point and month the thresholds were counted for",
        info={"unit": "1/month"},
    ),
    Column("thresholds", Text, comment="JSON: by detector and part"),
    Column("digest", Text, comment="SHA-256 of detectors, thresholds, budget and the size of a phase jump"),
    Column("reason", Text, comment="why nothing was looked at; empty where it was"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    comment=(
        "Looks of the detectors at satellite points: one per delivery of a set, also where nothing was "
        "found. Advice alone. A set without a row was not looked at."
    ),
    info={"question": "What do satellite points do?"},
)

point_happenings = Table(
    "point_happenings",
    METADATA,
    Column("site", Text, comment="site id"),
    Column("point_set", Text, comment="name of the set"),
    Column("look_id", BigInteger, comment="the look that found it"),
    Column("looked_at", Text, comment="when the job ran", info={"unit": "time"}),
    Column("number", Integer, comment="within the look"),
    Column(
        "kind",
        Text,
        comment=("step, acceleration, spike, phase-jump, noise, unknown; of what is common: phase-jump, common-mode"),
    ),
    Column(
        "common", Boolean, comment="most points of the set did it: the processing, its reference, or all the ground"
    ),
    Column("first_at", Text, comment="first acquisition", info={"unit": "time"}),
    Column(
        "last_at",
        Text,
        comment="newest acquisition at which a point of it began to alarm; of what is common, at which it lasted",
        info={"unit": "time"},
    ),
    Column("points", Integer, comment="points that took part"),
    Column("judged", Integer, comment="points that were judged: of what is common, of how many"),
    Column("size_mm", Double, comment="of the change, the middle of its points", info={"unit": "mm"}),
    Column("score", Double, comment="the largest, in thresholds; null where it is common", info={"unit": "1"}),
    Column("latitude", Double, comment="of its middle, WGS 84; null where it is common", info={"unit": "deg"}),
    Column("longitude", Double, comment="WGS84", info={"unit": "deg"}),
    Column("radius_m", Double, comment="within which all its points lie", info={"unit": "m"}),
    Column("station", Text, comment="nearest station of the site, or null"),
    Column("distance_m", Double, comment="to that station", info={"unit": "m"}),
    Column("compared_with", Text, comment="what the scores were compared with, in words"),
    Column("compared_with_id", Text, comment="id of the message in `compared_with`"),
    Column("compared_with_values", Text, comment="values of that message, JSON"),
    comment=(
        "What happened to satellite points: one row per cause. Points that alarm together at one place "
        "are one row. What half of all points or more did the same way is one row too, and `common`."
    ),
    info={"question": "What do satellite points do?"},
)

point_anomalies = Table(
    "point_anomalies",
    METADATA,
    Column("site", Text, comment="site id"),
    Column("point_set", Text, comment="name of the set"),
    Column("pid", Text, comment="the point's name in its processing"),
    Column("at", Text, comment="acquisition at which the alarm begins", info={"unit": "time"}),
    Column(
        "kind",
        Text,
        comment=(
            "what it looked like one acquisition later at the latest: step, acceleration, spike, phase-jump, "
            "noise, unknown"
        ),
    ),
    Column("detector", Text, comment="name"),
    Column("part", Text, comment="of the detector"),
    Column("score", Double, comment="of that part", info={"unit": "1"}),
    Column("threshold", Double, comment="of that part", info={"unit": "1"}),
    Column("size_mm", Double, comment="of the change that it looks like", info={"unit": "mm"}),
    Column("compared_with", Text, comment="its own past, and how many other points, in words"),
    Column("compared_with_id", Text, comment="id of the message in `compared_with`"),
    Column("compared_with_values", Text, comment="values of that message, JSON"),
    Column("latitude", Double, comment="where the point lies, WGS 84", info={"unit": "deg"}),
    Column("longitude", Double, comment="WGS84", info={"unit": "deg"}),
    Column("look_id", BigInteger, comment="the look that found it"),
    Column("looked_at", Text, comment="when the job ran", info={"unit": "time"}),
    Column("number", Integer, comment="the row of `point_happenings` that it belongs to"),
    Column("common", Boolean, comment="as there"),
    comment="Where alarms of satellite points begin, the strongest 1,000 of each look.",
    info={"question": "What do satellite points do?"},
)

point_forecasts = Table(
    "point_forecasts",
    METADATA,
    Column("site", Text, comment="site id"),
    Column("point_set", Text, comment="name of the set"),
    Column("pid", Text, comment="the point's name in its processing"),
    Column("direction", Text, comment="what a positive value means"),
    Column("latitude", Double, comment="where the point lies, WGS 84", info={"unit": "deg"}),
    Column("longitude", Double, comment="WGS84", info={"unit": "deg"}),
    Column("issue_id", BigInteger, comment="the issue"),
    Column("issued_at", Text, comment="when the job ran", info={"unit": "time"}),
    Column("newest_at", Text, comment="newest acquisition of the set", info={"unit": "time"}),
    Column("horizon", Integer, comment="1, 2 or 3"),
    Column("horizon_s", Double, comment="from `newest_at`", info={"unit": "s"}),
    Column("target_at", Text, comment="instant that is forecast", info={"unit": "time"}),
    Column("model", Text, comment="that of the issue, or trend where the past of the point asks for a line"),
    Column("value_mm", Double, comment="newest value of the point", info={"unit": "mm"}),
    Column("q10", Double, comment="lower end of the interval of 80 %; null where it is withheld", info={"unit": "mm"}),
    Column("q50", Double, comment="middle", info={"unit": "mm"}),
    Column("q90", Double, comment="upper end", info={"unit": "mm"}),
    Column("reason", Text, comment="why it is withheld; empty where it is not"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    comment=(
        "The newest forecast of each satellite point, a row per horizon. An older issue is no longer "
        "here; it can be made again from the readings."
    ),
    info={"question": "What do satellite points do?", "row": PointForecastRow},
)

point_forecast_issues = Table(
    "point_forecast_issues",
    METADATA,
    Column("site", Text, comment="site id"),
    Column("point_set", Text, comment="name of the set"),
    Column("issue_id", BigInteger, comment="number"),
    Column("issued_at", Text, comment="when the job ran", info={"unit": "time"}),
    Column(
        "ended_at", Text, comment="when all points were through; null while they are written", info={"unit": "time"}
    ),
    Column(
        "known_at",
        Text,
        comment="when the delivery was through; values that came in later were not read",
        info={"unit": "time"},
    ),
    Column("newest_at", Text, comment="newest acquisition, from which horizons count", info={"unit": "time"}),
    Column("points", Integer, comment="points with a forecast"),
    Column("withheld", Integer, comment="points without"),
    Column("horizon", Integer, comment="1, 2 or 3; null where nothing was forecast"),
    Column("horizon_s", Double, comment="from `newest_at`", info={"unit": "s"}),
    Column("target_at", Text, comment="instant that is forecast", info={"unit": "time"}),
    Column("model", Text, comment="persistence, level-drift or trend"),
    Column("level_rows", Integer, comment="the rule: the mean of so many intervals"),
    Column("slope_rows", Integer, comment="and a slope over so many"),
    Column("damping", Double, comment="of which this share is carried on", info={"unit": "1"}),
    Column("held_out", Integer, comment="forecasts of dates held out, of 1,000 points, that could be compared"),
    Column("held_out_inside_80", Double, comment="share of them inside the interval of 80 %", info={"unit": "1"}),
    Column("held_out_error_mm", Double, comment="mean of their errors without sign", info={"unit": "mm"}),
    Column("held_out_persistence_mm", Double, comment="the same if all had stayed as it was", info={"unit": "mm"}),
    Column(
        "held_out_trend_mm",
        Double,
        comment="the same by the line through the newest 150 intervals",
        info={"unit": "mm"},
    ),
    Column("digest", Text, comment="SHA-256 of the rules and of every number of every point"),
    Column("reason", Text, comment="why nothing, or nothing at this horizon, was forecast; empty where it was"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    comment=(
        "Forecasts of sets of satellite points: one issue per delivery, a row per horizon, with what the "
        "rule did on dates that it had not seen. Where none could be made there is one row without a "
        "horizon."
    ),
    info={"question": "What do satellite points do?", "row": PointIssueRow},
)

VIEWS: Final = (
    PublicView(
        insar_points,
        """SELECT s.site, s.name AS point_set, p.pid, s.direction, p.latitude, p.longitude, p.height_m,
  o.observed_at AS newest_at, o.received_at,
  o.value_raw * CASE s.unit WHEN 'cm' THEN 10.0 WHEN 'm' THEN 1000.0 ELSE 1.0 END AS value_mm, o.revision,
  (SELECT count(*) FROM point_observation k WHERE k.point_id = p.id AND k.revision = 0) AS n,
  r.rate_mm_per_year, r.error_mm_per_year, r.from_at AS rate_from_at, r.newest_at AS rate_until_at
FROM point_set s JOIN point p ON p.point_set_id = s.id JOIN point_observation o ON o.point_id = p.id
  AND o.observed_at = (SELECT max(l.observed_at) FROM point_observation l WHERE l.point_id = p.id)
  AND o.revision = (SELECT max(l.revision) FROM point_observation l WHERE l.point_id = p.id AND l.observed_at = o.observed_at)
  LEFT JOIN earth_rate r ON r.point_id = p.id
WHERE s.unit IN ('mm', 'cm', 'm')""",
    ),
    PublicView(
        point_looks,
        """SELECT l.site, s.name AS point_set, l.id AS look_id, l.looked_at, l.known_at, l.from_at, l.newest_at,
  l.acquisitions, l.points, l.withheld, l.alarms, l.happenings, l.going_on, l.left_out, l.budget AS budget_per_point_month,
  l.thresholds, l.digest, l.reason, l.reason_id, l.reason_values
FROM earth_look l JOIN point_set s ON s.id = l.point_set_id""",
    ),
    PublicView(
        point_happenings,
        """SELECT l.site, s.name AS point_set, l.id AS look_id, l.looked_at, h.number, h.kind, h.common, h.first_at, h.last_at,
  h.points, h.judged, h.size_mm, h.score, h.latitude, h.longitude, h.radius_m, h.station, h.distance_m, h.compared_with,
  h.compared_with_id, h.compared_with_values
FROM earth_look l JOIN point_set s ON s.id = l.point_set_id JOIN earth_happening h ON h.earth_look_id = l.id""",
    ),
    PublicView(
        point_anomalies,
        """SELECT l.site, s.name AS point_set, p.pid, a.at, a.kind, a.detector, a.part, a.score, a.threshold, a.size_mm,
  a.compared_with, a.compared_with_id, a.compared_with_values, p.latitude, p.longitude, l.id AS look_id, l.looked_at, h.number, h.common
FROM earth_look l JOIN point_set s ON s.id = l.point_set_id JOIN earth_happening h ON h.earth_look_id = l.id
  JOIN earth_anomaly a ON a.earth_happening_id = h.id JOIN point p ON p.id = a.point_id""",
    ),
    PublicView(
        point_forecast_issues,
        """SELECT i.site, s.name AS point_set, i.id AS issue_id, i.issued_at, i.ended_at, i.known_at, i.newest_at,
  i.points, i.withheld, h.number AS horizon, i.step_s * h.steps AS horizon_s, h.target_at, h.model, h.level_rows, h.slope_rows, h.damping,
  h.forecasts AS held_out, h.inside AS held_out_inside_80, h.error_mm AS held_out_error_mm,
  h.persistence_mm AS held_out_persistence_mm, h.trend_mm AS held_out_trend_mm,
  i.digest, CASE WHEN i.reason <> '' THEN i.reason ELSE coalesce(h.reason, '') END AS reason,
  CASE WHEN i.reason <> '' THEN i.reason_id ELSE h.reason_id END AS reason_id,
  CASE WHEN i.reason <> '' THEN i.reason_values ELSE h.reason_values END AS reason_values
FROM earth_issue i JOIN point_set s ON s.id = i.point_set_id LEFT JOIN earth_issue_horizon h ON h.earth_issue_id = i.id""",
    ),
    PublicView(
        point_forecasts,
        """SELECT s.site, s.name AS point_set, p.pid, s.direction, p.latitude, p.longitude, i.id AS issue_id, i.issued_at,
  i.newest_at, h.number AS horizon, i.step_s * h.steps AS horizon_s, h.target_at,
  CASE WHEN (f.on_line & CASE h.number WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 4 END) <> 0 THEN 'trend' ELSE h.model END AS model, f.value_mm,
  CASE h.number WHEN 1 THEN f.middle_1_mm - f.half_1_mm WHEN 2 THEN f.middle_2_mm - f.half_2_mm ELSE f.middle_3_mm - f.half_3_mm END AS q10,
  CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END AS q50,
  CASE h.number WHEN 1 THEN f.middle_1_mm + f.half_1_mm WHEN 2 THEN f.middle_2_mm + f.half_2_mm ELSE f.middle_3_mm + f.half_3_mm END AS q90,
  CASE WHEN h.reason <> '' THEN h.reason
       WHEN CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END IS NULL THEN f.reason
       ELSE '' END AS reason,
  CASE WHEN h.reason <> '' THEN h.reason_id
       WHEN CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END IS NULL THEN f.reason_id
       ELSE NULL END AS reason_id,
  CASE WHEN h.reason <> '' THEN h.reason_values
       WHEN CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END IS NULL THEN f.reason_values
       ELSE NULL END AS reason_values
FROM point_set s JOIN point p ON p.point_set_id = s.id JOIN earth_forecast f ON f.point_id = p.id
  JOIN earth_issue i ON i.id = f.earth_issue_id JOIN earth_issue_horizon h ON h.earth_issue_id = i.id""",
    ),
)

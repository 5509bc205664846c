"""Columns of the public views on satellite (InSAR) points."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.store.schema.metadata import view_metadata

insar_points = Table(
    "insar_points",
    view_metadata,
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
    view_metadata,
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
    view_metadata,
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
    view_metadata,
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
    view_metadata,
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
    info={"question": "What do satellite points do?"},
)

point_forecast_issues = Table(
    "point_forecast_issues",
    view_metadata,
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
    Column("model", Text, comment="persistence, lld or trend"),
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
    info={"question": "What do satellite points do?"},
)

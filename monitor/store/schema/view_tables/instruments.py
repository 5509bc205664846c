"""Columns of the public views on the condition of instruments."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.store.schema.metadata import view_metadata

station_health = Table(
    "station_health",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("state", Text, comment="ok, stale, ..."),
    Column("since", Text, comment="since when this state", info={"unit": "time"}),
    Column("reason", Text, comment="why, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("newest_at", Text, comment="newest epoch of the station", info={"unit": "time"}),
    Column("expected_interval_s", Double, comment="shortest interval its series are declared with", info={"unit": "s"}),
    Column(
        "missing_share_24h",
        Double,
        comment="share of the expected epochs missing in the 24 h before the evaluation",
        info={"unit": "1"},
    ),
    Column("votes", Boolean, comment="its vote counts"),
    comment="One row per station, declared or seen; null state = never evaluated.",
    info={"question": "Which instruments need something?"},
)

instrument_health = Table(
    "instrument_health",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("instrument", Text, comment="station id"),
    Column(
        "state",
        Text,
        comment=(
            "ok, unknown, or the gravest of maintenance, stale, offline, unusable, stuck, offset, clock, "
            "battery, solar, snow_ice, fix, satellites, signal, drift, suspected, calibration"
        ),
    ),
    Column("since", Text, comment="since when this state", info={"unit": "time"}),
    Column("reason", Text, comment="why, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("action", Text, comment="what is to be done, where the job found it"),
    Column("action_id", Text, comment="id of the message in `action`"),
    Column("action_values", Text, comment="values of that message, JSON"),
    Column("votes", Boolean, comment="its vote counts; null = never evaluated"),
    Column("parent_alert_id", BigInteger, comment="the alert about it and about others silent by the same cause"),
    Column("base", Text, comment="`reference` of the site file"),
    Column("logger", Text, comment="logger"),
    Column("gateway", Text, comment="gateway"),
    Column("power", Text, comment="power supply"),
    Column("newest_at", Text, comment="newest epoch of the station", info={"unit": "time"}),
    Column(
        "missing_share_24h",
        Double,
        comment="share of the expected epochs missing in the 24 h before the evaluation",
        info={"unit": "1"},
    ),
    Column("battery_v", Double, comment="mean voltage of the newest hour", info={"unit": "V"}),
    Column(
        "battery_percent",
        Double,
        comment=(
            "newest level as the device works it out itself (`battery_level`), declared or not; null where it "
            "is out of range"
        ),
        info={"unit": "%"},
    ),
    Column("battery_at", Text, comment="that hour", info={"unit": "time"}),
    Column("battery_empty_at", Text, comment="expected end of the battery; null = not known", info={"unit": "time"}),
    Column("battery_method", Text, comment="how it was computed, from voltages or from levels, or why it is not known"),
    Column("battery_method_id", Text, comment="id of the message in `battery_method`"),
    Column("battery_method_values", Text, comment="values of that message, JSON"),
    Column("calibrated_on", Text, comment="day of the last calibration"),
    Column("calibration_age_days", Integer, comment="from that day to the last look of the job", info={"unit": "d"}),
    Column("calibration_due_on", Text, comment="day on which the next one is due"),
    Column("spark_of", Text, comment="quantity of the small picture"),
    Column(
        "spark",
        Text,
        comment="JSON: means of equal spans of the last 7 days, 4 h or the interval each; null = nothing came",
    ),
    Column("judged_at", Text, comment="of the last look of the job", info={"unit": "time"}),
    comment=(
        "One row per declared station: what decisions see of it, and what the job `instruments` found "
        "every quarter of an hour. Nothing here changes a level."
    ),
    info={"question": "Which instruments need something?"},
)

instrument_findings = Table(
    "instrument_findings",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("instrument", Text, comment="station id"),
    Column("state", Text, comment="as in `instrument_health`"),
    Column("since", Text, comment="since when", info={"unit": "time"}),
    Column("reason", Text, comment="why"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("action", Text, comment="what is to be done"),
    Column("action_id", Text, comment="id of the message in `action`"),
    Column("action_values", Text, comment="values of that message, JSON"),
    comment="All that the job found wrong and that goes on; `instrument_health` shows the gravest of them.",
    info={"question": "Which instruments need something?"},
)

instrument_availability = Table(
    "instrument_availability",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("instrument", Text, comment="station id"),
    Column("month", Text, comment="`2026-03`, UTC"),
    Column("expected", Integer, comment="epochs that the declared intervals let expect, of all its series"),
    Column("received", Integer, comment="epochs that came, at most as many"),
    Column("availability", Double, comment="their share", info={"unit": "1"}),
    comment="What share of the epochs of a month came; the present month counts up to the last look.",
    info={"question": "Which instruments need something?"},
)

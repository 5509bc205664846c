"""Columns of the public views on movement of stations and failure windows."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.store.schema.metadata import view_metadata

movement_now = Table(
    "movement_now",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="quantity as the criterion names it"),
    Column("stage", Text, comment="stage of movement; null before its first update"),
    Column("trend", Text, comment="trend of movement"),
    Column(
        "velocity_mm_per_day", Double, comment="the rate, where the series is in mm; else null", info={"unit": "mm/day"}
    ),
    Column("velocity_error_mm_per_day", Double, comment="its standard error", info={"unit": "mm/day"}),
    Column("rate", Double, comment="the same for a series of any unit, signed", info={"unit": "`unit`"}),
    Column("rate_error", Double, comment="its standard error", info={"unit": "`unit`"}),
    Column("unit", Text, comment="unit of rates and bounds, such as mm/day"),
    Column("window_s", Double, comment="over which the rate is measured", info={"unit": "s"}),
    Column("newest_at", Text, comment="newest reading that it rests on", info={"unit": "time"}),
    Column("evaluated_at", Text, comment="newest decision of the site", info={"unit": "time"}),
    Column(
        "age_s",
        BigInteger,
        comment="age of that reading at that decision; add the time since `evaluated_at` for its age now",
        info={"unit": "s"},
    ),
    Column("criterion", Text, comment="id of the criterion"),
    Column("level", Integer, comment="level that the vote asks for, 0 = lowest"),
    Column("level_name", Text, comment="its name"),
    Column("counted", Boolean, comment="whether the vote counts; one of a sick instrument is set aside"),
    Column(
        "bound",
        Double,
        comment="bound that the rate is measured against: that of `level`, at level 0 the lowest one",
        info={"unit": "`unit`"},
    ),
    Column("bound_level", Integer, comment="level of that bound"),
    Column("bound_ratio", Double, comment="rate over that bound", info={"unit": "1"}),
    Column("next_level", Integer, comment="the next level up; null where there is none"),
    Column("next_level_name", Text, comment="its name"),
    Column("next_bound", Double, comment="its bound", info={"unit": "`unit`"}),
    Column("next_rate", Double, comment="rate in the window of that bound", info={"unit": "`unit`"}),
    Column("next_window_s", Double, comment="that window", info={"unit": "s"}),
    Column(
        "next_ratio", Double, comment="`next_rate` over `next_bound`: at 1 the bound is reached", info={"unit": "1"}
    ),
    comment=(
        "How fast each series moves by its newest decision, against its bounds: one row per station and "
        "quantity. Of several criteria on one series the row is that of the vote that asks for most, then "
        "of the one farthest beyond its bound. Page and reminders say the same number. A series that no "
        "criterion with a vote reads has its stage and velocity from the newest update of movement, and "
        "no bounds."
    ),
    info={"question": "Which stations move fastest now, and how near is the next level?"},
)

movement_history = Table(
    "movement_history",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity"),
    Column("at", Text, comment="when it was judged", info={"unit": "time"}),
    Column("data_until", Text, comment="newest epoch used, or null", info={"unit": "time"}),
    Column("stage", Text, comment="creep, intermediate, progressive, step or unknown"),
    Column("trend", Text, comment="none, linear, regressive, progressive or unknown"),
    Column(
        "probability", Double, comment="chance of the stage from the newest look alone, or null", info={"unit": "1"}
    ),
    Column(
        "velocity_mm_per_day", Double, comment="velocity in the middle of its window, or null", info={"unit": "mm/day"}
    ),
    Column("velocity_error_mm_per_day", Double, comment="its standard error", info={"unit": "mm/day"}),
    Column("velocity_window_s", Double, comment="the window it was fitted over, or null", info={"unit": "s"}),
    Column("acceleration_mm_per_day2", Double, comment="acceleration, or null", info={"unit": "mm/day²"}),
    Column("acceleration_error_mm_per_day2", Double, comment="its standard error", info={"unit": "mm/day²"}),
    Column(
        "tangential_angle_deg",
        Double,
        comment="improved tangential angle, or null without a reviewed v_eq",
        info={"unit": "degree"},
    ),
    Column(
        "v_eq_mm_per_day",
        Double,
        comment="the reviewed velocity of uniform creep it rests on, or null",
        info={"unit": "mm/day"},
    ),
    Column(
        "inverse_velocity_day_per_mm",
        Double,
        comment="1 / velocity where the slope moves beyond its noise, or null",
        info={"unit": "day/mm"},
    ),
    Column("reasons", Text, comment="why"),
    Column("reasons_id", Text, comment="id of the message in `reasons`"),
    Column("reasons_values", Text, comment="values of that message, JSON"),
    comment=("How a station moves, one row per update: stage and trend with hysteresis, and the figures they rest on."),
    info={"question": "Which stations move fastest now, and how near is the next level?"},
)

failure_windows = Table(
    "failure_windows",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("issued_at", Text, comment="when the forecast was made", info={"unit": "time"}),
    Column("data_until", Text, comment="newest epoch it used", info={"unit": "time"}),
    Column("window_from", Text, comment="start of the nominal 90 % window", info={"unit": "time"}),
    Column("window_mid", Text, comment="middle", info={"unit": "time"}),
    Column("window_to", Text, comment="end", info={"unit": "time"}),
    Column("trusted", Boolean, comment="all conditions of the method hold"),
    Column("reasons", Text, comment="why it is not trusted"),
    Column("reasons_id", Text, comment="id of the message in `reasons`"),
    Column("reasons_values", Text, comment="values of that message, JSON"),
    Column("velocity_mm_per_day", Double, comment="velocity at `data_until`", info={"unit": "mm/day"}),
    Column("r2", Double, comment="fit of the inverse velocity", info={"unit": "1"}),
    Column("n_filters", Integer, comment="filters tried"),
    Column("n_agree", Integer, comment="filters that agree"),
    Column("withdrawn_at", Text, comment="when it no longer held, or null", info={"unit": "time"}),
    Column("withdrawn_reason", Text, comment="why it no longer held, or null"),
    Column("withdrawn_reason_id", Text, comment="id of the message in `withdrawn_reason`"),
    Column("withdrawn_reason_values", Text, comment="values of that message, JSON"),
    Column(
        "method",
        Text,
        comment=("`inverse_velocity`, or `forecast`: the quantiles of the shown forecast cross the failure velocity"),
    ),
    Column("onset_at", Text, comment="since when the slope accelerates, or null", info={"unit": "time"}),
    comment=(
        "Windows in which a slope that accelerates may fail, if the present acceleration goes on. Every "
        "issue is kept, so that the drift of the window can be seen."
    ),
    info={"question": "When may a slope fail?"},
)

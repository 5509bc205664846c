"""Public views on profiles measured by inclinometers."""

from sqlalchemy import Column, Double, Table, Text

from monitor.api.store import Dialect, view_metadata

profile_latest = Table(
    "profile_latest",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("observed_at", Text, comment="epoch of the measurement", info={"unit": "time"}),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column("depth_m", Double, comment="depth", info={"unit": "m"}),
    Column(
        "displacement_mm", Double, comment="along A, from the fixed end, since the zero reading", info={"unit": "mm"}
    ),
    Column("displacement_b_mm", Double, comment="the same along B", info={"unit": "mm"}),
    Column("rate_mm_per_day", Double, comment="rate of `displacement_mm`", info={"unit": "mm/day"}),
    Column("rate_b_mm_per_day", Double, comment="the same along B", info={"unit": "mm/day"}),
    Column(
        "checksum_mm", Double, comment="of a probe: change of A0 + A180 since the zero reading", info={"unit": "mm"}
    ),
    Column(
        "reading", Double, comment="of piezometers and thermistors: what was read", info={"unit": "unit of the profile"}
    ),
    Column("reading_change", Double, comment="its change since the zero reading", info={"unit": "unit of the profile"}),
    comment="The newest profile of every borehole with a `[[profile]]`, a row for each depth.",
    info={"question": "How deep does it slip?"},
)

profile_history = Table(
    "profile_history",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("observed_at", Text, comment="epoch of the measurement", info={"unit": "time"}),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column("depth_m", Double, comment="depth", info={"unit": "m"}),
    Column(
        "displacement_mm", Double, comment="along A, from the fixed end, since the zero reading", info={"unit": "mm"}
    ),
    Column("displacement_b_mm", Double, comment="the same along B", info={"unit": "mm"}),
    Column("rate_mm_per_day", Double, comment="rate of `displacement_mm`", info={"unit": "mm/day"}),
    Column("rate_b_mm_per_day", Double, comment="the same along B", info={"unit": "mm/day"}),
    Column(
        "checksum_mm", Double, comment="of a probe: change of A0 + A180 since the zero reading", info={"unit": "mm"}
    ),
    Column(
        "reading", Double, comment="of piezometers and thermistors: what was read", info={"unit": "unit of the profile"}
    ),
    Column("reading_change", Double, comment="its change since the zero reading", info={"unit": "unit of the profile"}),
    comment=(
        "Every profile of every borehole, in its newest revision. Always give site, station and a span of "
        "`observed_at`."
    ),
    info={"question": "How deep does it slip?"},
)

slip_depth = Table(
    "slip_depth",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("observed_at", Text, comment="epoch of the measurement", info={"unit": "time"}),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column("slip_depth_m", Double, comment="depth of slip, null if there is none", info={"unit": "m"}),
    Column("slip_depth_low_m", Double, comment="upper end of the zone of slip", info={"unit": "m"}),
    Column("slip_depth_high_m", Double, comment="lower end of the zone of slip", info={"unit": "m"}),
    Column("displacement_mm", Double, comment="across the zone of slip, since the zero reading", info={"unit": "mm"}),
    Column(
        "rate_mm_per_day",
        Double,
        comment="across the zone of slip; 0 if the largest rate is within the noise",
        info={"unit": "mm/day"},
    ),
    Column(
        "rate_sigma_mm_per_day",
        Double,
        comment="standard deviation of a rate, estimated from all depths",
        info={"unit": "mm/day"},
    ),
    Column("reason", Text, comment="why there is no depth of slip, or which depths are missing"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    comment="The depth of slip of every profile, or why there is none.",
    info={"question": "How deep does it slip?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    of_rows = (
        "depth_m displacement_mm displacement_b_mm rate_mm_per_day rate_b_mm_per_day checksum_mm reading reading_change"
    )
    of_slip = "slip_depth_m slip_depth_low_m slip_depth_high_m displacement_mm rate_mm_per_day rate_sigma_mm_per_day"

    def select(names: str, key: str, *, newest: bool = False, more: str = "") -> str:
        mine = "o.series_id = s.id AND o.observed_at ="
        last = f"JOIN series_latest l ON l.series_id = s.id JOIN observation o ON {mine} l.observed_at"
        revision = (
            "SELECT max(n.revision) FROM observation n WHERE n.series_id = s.id AND n.observed_at = o.observed_at"
        )
        return f"""SELECT s.site AS site, s.station AS station, o.observed_at, o.received_at,
  {", ".join(f"{dialect.number(index)} AS {name}" for index, name in enumerate(names.split()))}{more}
FROM series s {last if newest else "JOIN observation o ON o.series_id = s.id"}
{dialect.rows_of(dialect.entry("o.extra", key))} WHERE s.quantity = 'depth_count' AND o.revision = ({revision})"""

    reason = "".join(f", {dialect.item(6 + i)} AS reason{end}" for i, end in enumerate(("", "_id", "_values")))
    return {
        "profile_latest": select(of_rows, "rows", newest=True),
        "profile_history": select(of_rows, "rows"),
        "slip_depth": select(of_slip, "slip", more=reason),
    }

"""Public views on readings, their gaps, summaries and offsets."""

from typing import TypedDict

from sqlalchemy import BigInteger, Column, Double, Integer, Table, Text

from monitor.storage.dialect import SERIES_COLUMNS, Dialect
from monitor.storage.metadata import view_metadata


class ReadingRow(TypedDict):
    """A row of `latest_observation` or `observation_history`."""

    site: str
    station: str
    quantity: str
    unit: str
    observed_at: str
    received_at: str
    value: float
    value_raw: float
    offset_applied: float
    sigma: float | None
    flags: str
    revision: int
    solution: str


latest_observation = Table(
    "latest_observation",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("unit", Text, comment="unit of the values of this row"),
    Column("observed_at", Text, comment="epoch of the measurement", info={"unit": "time"}),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column(
        "value", Double, comment="`value_raw - offset_applied`: the value that decisions use", info={"unit": "`unit`"}
    ),
    Column("value_raw", Double, comment="value that the instrument sent; never changes", info={"unit": "`unit`"}),
    Column(
        "offset_applied",
        Double,
        comment="sum of the offsets at or before the epoch that count",
        info={"unit": "`unit`"},
    ),
    Column("sigma", Double, comment="one standard deviation, as reported", info={"unit": "`unit`"}),
    Column("flags", Text, comment="comma-separated flags, set at arrival or later, without withdrawn ones"),
    Column("revision", Integer, comment="0 for the first value of the epoch, then 1, 2, ..."),
    Column("solution", Text, comment="rapid, final, corrected, or null"),
    comment=(
        "The newest epoch of every series that is not stamped in the future, in its newest revision. One "
        "seek per series."
    ),
    info={"question": "What was measured, and what is missing?", "row": ReadingRow},
)

observation_history = Table(
    "observation_history",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("unit", Text, comment="unit of the values of this row"),
    Column("observed_at", Text, comment="epoch of the measurement", info={"unit": "time"}),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column(
        "value", Double, comment="`value_raw - offset_applied`: the value that decisions use", info={"unit": "`unit`"}
    ),
    Column("value_raw", Double, comment="value that the instrument sent; never changes", info={"unit": "`unit`"}),
    Column(
        "offset_applied",
        Double,
        comment="sum of the offsets at or before the epoch that count",
        info={"unit": "`unit`"},
    ),
    Column("sigma", Double, comment="one standard deviation, as reported", info={"unit": "`unit`"}),
    Column("flags", Text, comment="comma-separated flags, set at arrival or later, without withdrawn ones"),
    Column("revision", Integer, comment="0 for the first value of the epoch, then 1, 2, ..."),
    Column("solution", Text, comment="rapid, final, corrected, or null"),
    comment=(
        "Every revision of every epoch. Always restrict site, station and `observed_at`: the view may have very many rows."
    ),
    info={"question": "What was measured, and what is missing?", "row": ReadingRow},
)

observation_summaries = Table(
    "observation_summaries",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="quantity"),
    Column("unit", Text, comment="unit of the values"),
    Column("starts_at", Text, comment="beginning of the span", info={"unit": "time"}),
    Column("span_s", Integer, comment="3600 or 86400", info={"unit": "s"}),
    Column(
        "median",
        Double,
        comment="median of the readings without a flag; null if there was none",
        info={"unit": "`unit`"},
    ),
    Column("minimum", Double, comment="smallest value", info={"unit": "`unit`"}),
    Column("maximum", Double, comment="largest value", info={"unit": "`unit`"}),
    Column("mean", Double, comment="mean value; times `count` it is the sum of rain", info={"unit": "`unit`"}),
    Column("count", Integer, comment="number of readings without a flag"),
    Column("flagged", Integer, comment="number of readings with a flag, which the values above do not include"),
    Column(
        "made_at",
        Text,
        comment="when the summary was made; readings that arrived later have another row",
        info={"unit": "time"},
    ),
    comment=(
        "What retention left of readings that it let go ([how](../how-to/database.md#let-old-rows-go)). "
        "Raw values: offsets are not subtracted."
    ),
    info={"question": "What was measured, and what is missing?"},
)

reading_gaps = Table(
    "reading_gaps",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity"),
    Column("from_at", Text, comment="last reading before the gap", info={"unit": "time"}),
    Column("to_at", Text, comment="first reading after the gap", info={"unit": "time"}),
    Column("missing", Integer, comment="number of missing readings, by the declared interval"),
    Column("found_at", Text, comment="when it was found", info={"unit": "time"}),
    Column(
        "filled_at",
        Text,
        comment=("when late readings filled it; null = they are still missing. The part that remains has another row"),
        info={"unit": "time"},
    ),
    comment=(
        "Holes in the records of regular series: more than three intervals from one reading to the next. "
        "A hole is known when readings come back."
    ),
    info={"question": "What was measured, and what is missing?"},
)

sequence_gaps = Table(
    "sequence_gaps",
    view_metadata,
    Column("gap_id", BigInteger, comment="number"),
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("source", Text, comment="device that counts its messages"),
    Column("boot_id", BigInteger, comment="start of the device, after which it counts again"),
    Column("from_seq", BigInteger, comment="first missing number"),
    Column("to_seq", BigInteger, comment="last missing number"),
    Column("missing", BigInteger, comment="number of missing messages"),
    Column("from_at", Text, comment="last epoch before the gap", info={"unit": "time"}),
    Column("to_at", Text, comment="first epoch after the gap", info={"unit": "time"}),
    Column("detected_at", Text, comment="when the gap was detected", info={"unit": "time"}),
    Column("requested_at", Text, comment="when the missing messages were requested", info={"unit": "time"}),
    Column("filled_at", Text, comment="when it was filled, or null", info={"unit": "time"}),
    comment="Gaps in the numbers of the messages of a device: messages that did not arrive.",
    info={"question": "What was measured, and what is missing?"},
)

offsets = Table(
    "offsets",
    view_metadata,
    Column("offset_id", BigInteger, comment="number of the offset"),
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("unit", Text, comment="unit of the values of this row"),
    Column("at", Text, comment="first epoch with the offset", info={"unit": "time"}),
    Column("known_from", Text, comment="when the offset was declared", info={"unit": "time"}),
    Column("size", Double, comment="size of the jump in the raw values", info={"unit": "`unit`"}),
    Column("kind", Text, comment="antenna, rezero, maintenance, frame or other"),
    Column("author", Text, comment="who declared it"),
    Column("reason", Text, comment="reason, in one sentence"),
    Column("confirmed_at", Text, comment="when a second person signed it, or null", info={"unit": "time"}),
    Column("confirmed_by", Text, comment="by whom"),
    Column(
        "counts_from",
        Text,
        comment="from when on readers subtract it; null until a second person signs it",
        info={"unit": "time"},
    ),
    Column("revoked_at", Text, comment="when it was withdrawn, or null", info={"unit": "time"}),
    Column("revoked_by", Text, comment="by whom"),
    comment="Declared offsets, including revoked ones.",
    info={"question": "What did people see, declare or correct?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""

    def columns(row: str) -> str:
        applied = f"""coalesce({
            dialect.rounded(
                f'''(SELECT sum(o.size) FROM offset_entry o
    WHERE o.series_id = {row}.series_id AND o.at <= {row}.observed_at AND o.counts_from IS NOT NULL AND o.revoked_at IS NULL)''',
                9,
            )
        }, 0.0)"""
        return f"""SELECT {SERIES_COLUMNS}, s.unit AS unit, {row}.observed_at, {row}.received_at,
  {row}.value_raw - {applied} AS value, {row}.value_raw, {applied} AS offset_applied, {row}.sigma,
  {_flags(dialect, row)} AS flags, {row}.revision, {row}.solution
FROM series s JOIN"""

    return {
        "latest_observation": f"{columns('l')} series_latest l ON l.series_id = s.id",
        "observation_history": f"{columns('l')} observation l ON l.series_id = s.id",
        "offsets": f"""SELECT e.id AS offset_id, {SERIES_COLUMNS}, e.unit, e.at, e.known_from, e.size, e.kind, e.author, e.reason,
  e.confirmed_at, e.confirmed_by, e.counts_from, e.revoked_at, e.revoked_by
FROM offset_entry e JOIN series s ON s.id = e.series_id""",
        "reading_gaps": f"""SELECT {SERIES_COLUMNS}, g.from_at, g.to_at, g.missing, g.found_at, g.filled_at
FROM series s JOIN reading_gap g ON g.series_id = s.id""",
        "sequence_gaps": """SELECT id AS gap_id, site, station, source, boot_id, from_seq, to_seq, to_seq - from_seq + 1 AS missing,
  from_at, to_at, detected_at, requested_at, filled_at
FROM sequence_gap""",
        "observation_summaries": """SELECT s.site, s.station, s.quantity, s.unit, o.starts_at, o.span_s, o.median, o.minimum, o.maximum,
  o.mean, o."count", o.flagged, o.made_at
FROM observation_summary o JOIN series s ON s.id = o.series_id""",
    }


def _flags(dialect: Dialect, row: str) -> str:
    """Combine the flags that a revision arrived with and later ones. The newest entry of a flag decides."""
    key = f"series_id = {row}.series_id AND observed_at = {row}.observed_at AND revision = {row}.revision"
    if dialect.sqlite:
        joined = "group_concat(flag, ',')"
        arrival = f"SELECT value AS flag FROM json_each('[\"' || replace({row}.flags, ',', '\",\"') || '\"]')"
    else:
        joined = "string_agg(flag, ',' ORDER BY flag COLLATE \"C\")"
        arrival = f"SELECT unnest(string_to_array({row}.flags, ',')) AS flag"
    return f"""CASE WHEN NOT EXISTS (SELECT 1 FROM observation_flag WHERE {key}) THEN {row}.flags ELSE (
  SELECT coalesce({joined}, '') FROM (SELECT flag FROM (
    SELECT a.flag AS flag, 0 AS set_by, -1 AS withdrawn_by FROM ({arrival}) a WHERE a.flag <> ''
    UNION ALL
    SELECT CASE WHEN substr(flag, 1, 1) = '-' THEN substr(flag, 2) ELSE flag END,
      CASE WHEN substr(flag, 1, 1) = '-' THEN -1 ELSE id END, CASE WHEN substr(flag, 1, 1) = '-' THEN id ELSE -1 END
    FROM observation_flag WHERE {key}
  ) every_word GROUP BY flag HAVING max(set_by) > max(withdrawn_by) ORDER BY flag) standing) END"""

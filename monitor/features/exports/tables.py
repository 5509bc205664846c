"""Write a public view of a site as CSV or Parquet. Rows are streamed, so that memory stays bounded."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import Connection

from monitor.api.database import ColumnSpan, has_view, stream_view
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.extras import require
from monitor.api.hooks import ExportTable
from monitor.api.plugins import hooks
from monitor.api.queries.readings import load_series
from monitor.api.text import format_iso

FORMULA_STARTS: Final = ("=", "+", "-", "@")
FULL_WIDTH: Final = str.maketrans("＝＋－＠", "=+-@")


def write_csv(rows: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """Write a header and rows as CSV for spreadsheets. Texts that look like formulas are quoted.

    All rows have the columns of the first row. Without rows nothing is written. Slopeward cannot import the file,
    because of the quotes.
    """
    writer = csv.writer(file, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(map(quote_formula, row))
        writer.writerow(map(quote_formula, row.values()))


def quote_formula(value: Any) -> Any:
    """Quote a text that a spreadsheet would read as a formula. Return other values unchanged.

    >>> quote_formula("=1+1"), quote_formula(" @SUM(A1)"), quote_formula("G-1"), quote_formula(-2.5)
    ("'=1+1", "' @SUM(A1)", 'G-1', -2.5)
    """
    if not isinstance(value, str):
        return value
    begin = value.translate(FULL_WIDTH).lstrip()
    return f"'{value}" if begin.startswith(FORMULA_STARTS) or value[:1] in {"\t", "\r", "\n"} else value


BLOCK_ROWS: Final = 20_000  # rows in memory at a time


_SERIES: Final = ("station", "quantity")
# Name of the export -> its view. Audit logs and texts with addresses are only available in SQL.
TABLES: Final[dict[str, ExportTable]] = {
    "observations": ExportTable("observation_history", "observed_at", (*_SERIES, "observed_at", "revision")),
    "latest": ExportTable("latest_observation", "observed_at", _SERIES),
    "forecasts": ExportTable("forecast_history", "target_at", (*_SERIES, "issued_at", "model", "horizon_s")),
    "forecast-errors": ExportTable("forecast_vs_observed", "target_at", (*_SERIES, "issued_at", "model", "horizon_s")),
    "failure-windows": ExportTable("failure_windows", "issued_at", (*_SERIES, "issued_at")),
    "movement": ExportTable("movement_history", "at", (*_SERIES, "at")),
    "anomalies": ExportTable("anomalies", "at", (*_SERIES, "at", "detector")),
    "anomaly-labels": ExportTable("anomaly_labels", "from_at", (*_SERIES, "from_at", "label_id")),
    "offsets": ExportTable("offsets", "at", (*_SERIES, "at", "offset_id")),
    "alerts": ExportTable("alert_history", "raised_at", ("raised_at", "alert_id")),
    "alert-events": ExportTable("alert_events", "at", ("alert_id", "sequence")),
    "events": ExportTable("site_events", "from_at", ("from_at", "event_id")),
    "maintenance": ExportTable("maintenance_windows", "from_at", ("from_at", "maintenance_id")),
    "instruments": ExportTable("instrument_health", "", ("instrument",)),
    "availability": ExportTable("instrument_availability", "", ("instrument", "month")),
}
FORMATS: Final = ("csv", "parquet")
# The evidence of an alert may have a megabyte, too much for a cell of a spreadsheet. It is written as lines of JSON.
EVIDENCE: Final = "jsonl"
# Types of the columns. All other columns contain text, or an instant if their name ends in _at.
_COLUMNS_BY_TYPE: Final = """
instant: at since data_until data_time window_from window_mid window_to
integer: revision n issue_id horizon n_filters n_agree level peak_level sequence from_level to_level confirmations
integer: expected received alert_id offset_id event_id maintenance_id outline_id parent_alert_id asks top_level
integer: calibration_age_days label_id
boolean: shown hindcast inside_80 inside_95 trusted alerted exercise votes on_slope shadow
real: value value_raw offset_applied sigma size q025 q10 q50 q90 q975 baseline_q50 data_value novelty weight horizon_s
real: observed susceptibility error baseline_error persistence_error pinball winkler_80 crps pit velocity_mm_per_day r2
real: probability velocity_error_mm_per_day velocity_window_s acceleration_mm_per_day2 acceleration_error_mm_per_day2
real: tangential_angle_deg v_eq_mm_per_day inverse_velocity_day_per_mm score threshold budget factor missing_share_24h
real: battery_v battery_percent availability area_m2 grown_m2 mean_probability min_lon min_lat max_lon max_lat
real: distance_m latitude longitude height_m value_mm azimuth_deg heading_deg rate_mm_per_year error_mm_per_year
"""


def _read_column_types() -> dict[str, str]:
    types: dict[str, str] = {}
    for line in _COLUMNS_BY_TYPE.splitlines():
        column_type, _, columns = line.partition(":")
        types |= dict.fromkeys(columns.split(), column_type)
    return types


_COLUMN_TYPES: Final = _read_column_types()


def list_tables() -> dict[str, ExportTable]:
    """Return all tables that can be exported by name, including those of plugins.

    Tables of features that are not installed are left out.
    """
    tables = {name: table for name, table in TABLES.items() if has_view(table.view)}
    for plugin_tables in hooks().register_export_tables():
        for name, table in plugin_tables.items():
            tables.setdefault(name, table)
    return tables


def find_table(name: str) -> ExportTable:
    """Return a table by its name. Raises NotFoundError with the existing names."""
    tables = list_tables()
    if name not in tables:
        raise NotFoundError(f"there is no table {name!r} to export; there are: {', '.join(tables)}")
    return tables[name]


def read_rows(
    c: Connection,
    name: str,
    site: str,
    *,
    station: str | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table that belong to a site.

    Args:
        c: A read transaction that stays open while rows are read.
        name: Name of the table.
        site: Id of the site.
        station: Only this station or instrument.
        from_at: Only rows after this instant.
        to_at: Only rows until this instant.

    Raises:
        NotFoundError: The table does not exist.
        RefusedError: A station or a range is given, and the table has no such column.
    """
    table = find_table(name)
    if (from_at or to_at) and not table.instant:
        raise RefusedError(f"{name} has no history: omit --since and --until")
    condition: dict[str, Any] = {"site": site}
    if station is not None:
        station_column = next((column for column in ("station", "instrument") if column in table.order), None)
        if station_column is None:
            raise RefusedError(f"{name} belongs to the whole site: omit --station")
        condition[station_column] = station
    conditions: list[dict[str, Any]] = [condition]
    if table.order[:2] == _SERIES:
        # One query per series follows the indexes, so that the database does not sort years of readings.
        conditions = [
            {**condition, "station": series.station, "quantity": series.quantity}
            for series in load_series(c, site)
            if station in {None, series.station}
        ]
    within: ColumnSpan | None = None
    if table.instant:
        after = None if from_at is None else format_iso(from_at)
        until = None if to_at is None else format_iso(to_at)
        within = ColumnSpan(table.instant, after, until)
    for equals in conditions:
        yield from stream_view(c, table.view, order_by=table.order, within=within, block=BLOCK_ROWS, **equals)


def write_table(
    rows: Iterator[dict[str, Any]], path: Path, kind: str, on_progress: Callable[[int], None] | None = None
) -> int:
    """Write rows to a file. Return how many there are. Without rows no file is written.

    Args:
        rows: The rows.
        path: File to write.
        kind: `csv` (UTF-8, decimal point, times in UTC, formulas quoted, without evidence), `parquet` (typed columns),
            or for alerts `jsonl` (a line with `alert_id` and `evidence` for each alert).
        on_progress: Called with the number of rows written so far.
    """
    first = next(rows, None)
    if first is None:
        return 0
    written = 0

    def count_rows(all_rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        nonlocal written
        for row in all_rows:
            yield row
            written += 1
            if on_progress is not None and written % BLOCK_ROWS == 0:
                on_progress(written)

    counted = count_rows(chain((first,), rows))
    if kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            without_evidence = ({k: v for k, v in row.items() if k != "evidence"} for row in counted)
            write_csv(without_evidence, file)
    elif kind == EVIDENCE:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(
                f'{{"alert_id":{row["alert_id"]},"evidence":{row["evidence"] or "null"}}}\n' for row in counted
            )
    else:
        _write_parquet(counted, list(first), path)
    return written


def list_formats(table: str) -> tuple[str, ...]:
    """Return the file formats of a table."""
    return (*FORMATS, EVIDENCE) if table == "alerts" else FORMATS


def find_column_type(column: str) -> str:
    """Return the type of a column of a public view: instant, real, integer, boolean or text."""
    if column in _COLUMN_TYPES:
        return _COLUMN_TYPES[column]
    return "instant" if column.endswith("_at") else "text"


def _write_parquet(rows: Iterator[dict[str, Any]], columns: list[str], path: Path) -> None:
    require("pyarrow", RefusedError)
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "instant": pa.timestamp("us", tz="UTC"),
        "real": pa.float64(),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "text": pa.string(),
    }

    def make_column(values: list[Any], kind: Any) -> Any:
        if pa.types.is_timestamp(kind):
            # Instants are texts in the views. pyarrow parses them.
            return pa.array(values, pa.string()).cast(kind)
        return pa.array(values, kind)

    schema = pa.schema([(name, types[find_column_type(name)]) for name in columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        while block := list(islice(rows, BLOCK_ROWS)):
            columns_of_block = [make_column([row[field.name] for row in block], field.type) for field in schema]
            file.write_table(pa.table(columns_of_block, schema))

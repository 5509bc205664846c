"""One public view of one site as CSV or Parquet, row by row, in bounded memory."""

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

FORMULA: Final = ("=", "+", "-", "@")
FULL_WIDTH: Final = str.maketrans("＝＋－＠", "=+-@")


def write_csv(rows: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """Write rows with the names of their columns; texts of people cannot become formulas. This is no input of ours.

    All rows have the columns of the first; without a row nothing is written.
    """
    writer = csv.writer(file, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(map(guard, row))
        writer.writerow(map(guard, row.values()))


def guard(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted; numbers stay numbers.

    >>> guard("=1+1"), guard(" @SUM(A1)"), guard("G-1"), guard(-2.5)
    ("'=1+1", "' @SUM(A1)", 'G-1', -2.5)
    """
    if not isinstance(value, str):
        return value
    begin = value.translate(FULL_WIDTH).lstrip()
    return f"'{value}" if begin.startswith(FORMULA) or value[:1] in {"\t", "\r", "\n"} else value


BLOCK: Final = 20_000  # rows held at a time


_SERIES: Final = ("station", "quantity")
# what people call it -> where it stands; logs of acts and texts with addresses are no measurements and stay in SQL
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
# what alerts were decided on may be a megabyte each, which no cell of a spreadsheet holds: lines of JSON beside the CSV
EVIDENCE: Final = "jsonl"
# columns of these views by what they hold, for typed files; the rest is text, or an instant where the name ends in _at
_COLUMNS: Final = """
instant: at since data_until data_time window_from window_mid window_to
integer: revision n issue_id horizon n_filters n_agree level peak_level sequence from_level to_level confirmations
integer: expected received alert_id offset_id event_id maintenance_id outline_id parent_alert_id asks top_level
integer: calibration_age_days label_id
boolean: shown hindcast inside_80 inside_95 trusted alerted exercise votes on_slope
real: value value_raw offset_applied sigma size q025 q10 q50 q90 q975 baseline_q50 data_value novelty weight horizon_s
real: observed susceptibility error baseline_error persistence_error pinball winkler_80 crps pit velocity_mm_per_day r2
real: probability velocity_error_mm_per_day velocity_window_s acceleration_mm_per_day2 acceleration_error_mm_per_day2
real: tangential_angle_deg v_eq_mm_per_day inverse_velocity_day_per_mm score threshold budget factor missing_share_24h
real: battery_v battery_percent availability area_m2 grown_m2 mean_probability min_lon min_lat max_lon max_lat
real: distance_m latitude longitude height_m value_mm azimuth_deg heading_deg rate_mm_per_year error_mm_per_year
"""
_KINDS: Final = {
    column: kind
    for kind, _, columns in (line.partition(":") for line in _COLUMNS.splitlines())
    for column in columns.split()
}


def list_tables() -> dict[str, ExportTable]:
    """Return every table that can be exported by its name, also those of plugins.

    Tables of features that are not installed are left out.
    """
    tables = {name: table for name, table in TABLES.items() if has_view(table.view)}
    for plugin_tables in hooks().register_export_tables():
        for name, table in plugin_tables.items():
            tables.setdefault(name, table)
    return tables


def find_table(name: str) -> ExportTable:
    """A table by its name; NotFoundError names those there are."""
    known = list_tables()
    if name not in known:
        raise NotFoundError(f"there is no table {name!r} to export; there are: {', '.join(known)}")
    return known[name]


def read_rows(
    c: Connection,
    name: str,
    site: str,
    *,
    station: str | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of a table for one site.

    `c`: a read transaction that stays open while rows are taken; `name`: one of `TABLES`; `station`: only this station
    (or instrument); `from_at`: rows after this instant; `to_at`: rows up to this instant.

    Raises:
        NotFoundError: no such table.
        RefusedError: the table knows no station or no time.
    """
    table = find_table(name)
    if (from_at or to_at) and not table.instant:
        raise RefusedError(f"{name} are as of now: they take no --from and no --to")
    which: dict[str, Any] = {"site": site}
    if station is not None:
        of = next((column for column in ("station", "instrument") if column in table.order), None)
        if of is None:
            raise RefusedError(f"{name} are of the site, not of a station: leave --station out")
        which[of] = station
    after, until = (None if at is None else format_iso(at) for at in (from_at, to_at))
    parts: list[dict[str, Any]] = [which]
    if table.order[:2] == _SERIES:  # series by series, as the indexes lie: no sorting of years
        own = [one for one in load_series(c, site) if station in {None, one.station}]
        parts = [{**which, "station": one.station, "quantity": one.quantity} for one in own]
    within = ColumnSpan(table.instant, after, until) if table.instant else None
    for part in parts:
        yield from stream_view(c, table.view, order_by=table.order, within=within, block=BLOCK, **part)


def write_table(
    rows: Iterator[dict[str, Any]], path: Path, kind: str, on_progress: Callable[[int], None] | None = None
) -> int:
    """Write rows as a file and return how many there were; nothing is written where there are none.

    Args:
        kind: csv (UTF-8, decimal point, times in UTC; texts cannot become formulas; no evidence), parquet (typed
            columns), or of alerts jsonl (`alert_id` and `evidence` of each in a line).
    """
    first = next(rows, None)
    if first is None:
        return 0
    written = 0

    def count(some: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        nonlocal written
        for row in some:
            yield row
            written += 1
            if on_progress is not None and written % BLOCK == 0:
                on_progress(written)

    whole = count(chain((first,), rows))
    if kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            write_csv(({k: v for k, v in row.items() if k != "evidence"} for row in whole), file)
    elif kind == EVIDENCE:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(
                f'{{"alert_id":{row["alert_id"]},"evidence":{row["evidence"] or "null"}}}\n' for row in whole
            )
    else:
        _write_parquet(whole, list(first), path)
    return written


def list_forms(table: str) -> tuple[str, ...]:
    """The forms that a table can be written in."""
    return (*FORMATS, *((EVIDENCE,) if table == "alerts" else ()))


def kind_of(column: str) -> str:
    """What a column of a public view holds: instant, real, integer, boolean or text."""
    if column in _KINDS:
        return _KINDS[column]
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
        # instants are text in the views; pyarrow reads that spelling
        return pa.array(values, pa.string()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)

    schema = pa.schema([(name, types[kind_of(name)]) for name in columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        while block := list(islice(rows, BLOCK)):
            file.write_table(pa.table([make_column([row[f.name] for row in block], f.type) for f in schema], schema))

"""Measure how long each public view takes for one station of a large PostgreSQL database.

    python -m tests.bench.service.bench_growth
    python -m tests.bench.service.bench_growth --stations 1000 --hourly 20

The database has 10,000 stations in sites of ten, with a year of readings: hourly of 100 stations, daily of the others.
Stations with hourly readings also have a year of forecasts and hourly anomaly scores, the others a month of daily
ones. Every other table has rows for every site or station, such as 100 alerts and 50 scenes per site.

The output has a line for each view with a column `site`: for a station with hourly and one with daily readings the
time, the processor time, its ratio to that of `SELECT 1` in the same session, and the number of rows. Views of a long
history are restricted to their last 30 days, as the documentation of these views requires.

A temporary server runs in `/var/tmp`. The exit code is 1 if a view takes more processor time than `LIMIT_MS`.
Processor time includes the server process and does not depend on what else runs on the machine.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Boolean, Column, Connection, Double, Integer, LargeBinary, text
from sqlalchemy.types import BigInteger

from monitor.storage import migrate
from monitor.storage.column_types import Instant, Json
from monitor.storage.engine import Database
from monitor.storage.tables import load_metadata
from monitor.storage.view_tables import load_view_tables
from monitor.text.instants import format_iso
from tests.bench.databases import open_database
from tests.bench.record import SERVICE_RESULTS, parse_options

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
STATIONS_PER_SITE: Final = 10
LIMIT_MS: Final = 20.0
READS: Final = 9
HISTORY: Final = timedelta(days=30)

# The instant by which views of a long history are restricted to `HISTORY`.
HISTORY_COLUMNS: Final = {
    "observation_history": "observed_at",
    "observation_summaries": "starts_at",
    "forecast_history": "issued_at",
    "forecast_vs_observed": "target_at",
    "forecast_coverage_rolling": "target_at",
    "movement_history": "at",
    "anomalies": "at",
    "problems": "from_at",
    "profile_history": "observed_at",
    "slip_depth": "observed_at",
    "duty": "from_at",
    "digests": "day",
}

_ISO_FORMAT: Final = 'YYYY-MM-DD"T"HH24:MI:SS'
_START: Final = "timestamp '2026-03-01'"


def ago(hours: str) -> str:
    """Return an SQL expression for the stored text of an instant, some hours before `NOW`."""
    return f"to_char({_START} - ({hours}) * interval '1 hour', '{_ISO_FORMAT}') || '.000000Z'"


def _default(column: Column[Any]) -> str:
    if isinstance(column.type, Instant):
        return f"'{format_iso(NOW)}'"
    if isinstance(column.type, Json):
        return "'{}'"
    if isinstance(column.type, Boolean):
        return "false"
    if isinstance(column.type, Double | Integer | BigInteger):
        return "1"
    if isinstance(column.type, LargeBinary):
        return "'\\x00'"
    return "'x'"


def fill(c: Connection, table_name: str, source: str, /, **expressions: str) -> None:
    """Insert one row per row of a FROM clause.

    Args:
        c: the connection.
        table_name: the table.
        source: the FROM clause, for example `FROM site p CROSS JOIN generate_series(0, 9) k`.
        expressions: SQL expressions by column. Other columns that may not be NULL have a constant value.
    """
    table = load_metadata().tables[table_name]
    values = {
        column.name: _default(column)
        for column in table.c
        if not column.nullable and column.server_default is None and column.name != "id"
    }
    values |= expressions
    names = ", ".join(f'"{name}"' for name in values)
    c.execute(text(f"INSERT INTO {table_name} ({names}) SELECT {', '.join(values.values())} {source}"))  # noqa: RUF100, S608


def fill_sites(c: Connection, stations: int, hourly: int) -> None:
    """Fill sites, stations, series and everything that has a row per station."""
    level_names = ("green", "yellow", "red")
    levels = json.dumps([{"number": number, "name": name} for number, name in enumerate(level_names)]).replace(
        ":", "\\:"
    )
    sites = f"FROM generate_series(0, {stations // STATIONS_PER_SITE - 1}) k"
    fill(c, "site", sites, id="'net' || k", name="'Net ' || k", levels=f"'{levels}'", active="true")
    fill(c, "site_state", "FROM site p", site="p.id", level="1", observability="'full'", movement_stage="'creep'")
    each = f"FROM site p CROSS JOIN generate_series(0, {STATIONS_PER_SITE - 1}) k"
    fill(c, "station", each, site="p.id", id="'S' || k", on_slope="true", declared="true", logger="'L' || (k / 3)")
    of_station = {"site": "k.site", "station": "k.id"}
    stations_of_all = "FROM station k"
    fill(c, "station_state", stations_of_all, **of_station, state="'ok'", votes="true")
    fill(c, "instrument", stations_of_all, **of_station, calibrated_on="'2025-06-01'")
    fill(c, "instrument_finding", stations_of_all, **of_station, state="'battery'")
    months = "FROM station k CROSS JOIN generate_series(1, 12) n"
    fill(c, "instrument_month", months, **of_station, month="'2025-' || lpad(n::text, 2, '0')")
    for criterion in ("velocity", "velocity-day"):
        fill(c, "rate_now", stations_of_all, **of_station, criterion=f"'{criterion}'", quantity="'displacement'")
    for quantity in ("displacement", "battery_level", "depth_count"):
        of_quantity = "FROM station k" if quantity != "depth_count" else "FROM station k WHERE k.id = 'S5'"
        fill(c, "series", of_quantity, **of_station, quantity=f"'{quantity}'", unit="'mm'")
    # The stations of the first sites have hourly readings.
    order = "row_number() OVER (ORDER BY length(s.site), s.site, s.station)"
    c.exec_driver_sql(
        f"CREATE TEMP TABLE pace AS SELECT s.id AS series_id, {order} <= {hourly} AS hourly"
        " FROM series s WHERE s.quantity = 'displacement'"
    )
    c.exec_driver_sql("ANALYZE pace")


class _Pace(NamedTuple):
    """How often stations measure, and how many forecasts and scores they have."""

    series: str
    readings: int
    hours_between: int
    forecast_days: int
    scores: int


_PACES: Final = (
    _Pace("pace f WHERE f.hourly", 365 * 24, 1, 365, 365 * 24),
    _Pace("pace f WHERE NOT f.hourly", 365, 24, 30, 30),
)


def fill_readings(c: Connection) -> None:
    """Fill a year of readings with flags, offsets, gaps and summaries."""
    for pace in _PACES:
        each = f"FROM (SELECT * FROM {pace.series}) f CROSS JOIN generate_series({pace.readings - 1}, 0, -1) n"
        observed_at = ago(f"n * {pace.hours_between}")
        fill(
            c, "observation", each, series_id="f.series_id", observed_at=observed_at, revision="0", value_raw="n * 0.01"
        )
        flagged = f"{each} WHERE n % 50 = 0"
        fill(c, "observation_flag", flagged, series_id="f.series_id", observed_at=observed_at, revision="0")
    profile = "FROM series s CROSS JOIN generate_series(364, 0, -1) n WHERE s.quantity = 'depth_count'"
    rows = [[depth, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0] for depth in range(20)]
    extra = json.dumps({"rows": rows, "slip": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, "r", None, None]]}).replace(":", "\\:")
    daily = {"series_id": "s.id", "observed_at": ago("n * 24"), "revision": "0"}
    fill(c, "observation", profile, **daily, extra=f"'{extra}'")
    newest = f"observed_at = '{format_iso(NOW)}'"
    columns = ", ".join(load_metadata().tables["series_latest"].c.keys())
    c.exec_driver_sql(f"INSERT INTO series_latest ({columns}) SELECT {columns} FROM observation WHERE {newest}")  # noqa: RUF100, S608
    fill(c, "series_latest", "FROM series s WHERE s.quantity = 'battery_level'", series_id="s.id")
    every = "FROM pace f CROSS JOIN generate_series(0, {}) n".format
    of_series = {"series_id": "f.series_id"}
    fill(c, "offset_entry", every(2), **of_series, at=ago("n * 2000"), counts_from=ago("n * 2000"))
    fill(c, "reading_gap", every(11), **of_series, from_at=ago("n * 700 + 9"), to_at=ago("n * 700"))
    fill(c, "observation_summary", every(364), **of_series, starts_at=ago("n * 24"), span_s="86400")
    gaps = "FROM station k CROSS JOIN generate_series(0, 9) n"
    fill(c, "sequence_gap", gaps, site="k.site", station="k.id", source="k.id", from_seq="n", to_seq="n")


def fill_forecasts(c: Connection) -> None:
    """Fill forecasts with their scores, stages of movement, anomaly scores and seasons."""
    for pace in _PACES:
        each = f"FROM (SELECT * FROM {pace.series}) f CROSS JOIN generate_series({pace.forecast_days - 1}, 0, -1) n"
        forecasts = (
            f"{each} CROSS JOIN (VALUES (1), (7)) h(days)"
            " CROSS JOIN (VALUES ('combined'), ('line'), ('persistence')) m(model)"
        )
        issued = {"issued_at": ago("n * 24"), "data_until": ago("n * 24"), "series_id": "f.series_id"}
        horizon = {"target_at": ago("(n - h.days) * 24"), "horizon_s": "h.days * 86400.0", "model": "m.model"}
        fill(c, "forecast", forecasts, **issued, **horizon, shown="m.model = 'combined' AND n < 7", hindcast="false")
        fill(c, "movement", each, series_id="f.series_id", at=ago("n * 24"), stage="'creep'", reasons="'[]'")
        hours = pace.readings // pace.scores * pace.hours_between if pace.scores == pace.readings else 24
        scores = f"FROM (SELECT * FROM {pace.series}) f CROSS JOIN generate_series({pace.scores - 1}, 0, -1) n"
        fill(c, "anomaly", scores, series_id="f.series_id", at=ago(f"n * {hours}"), detector="'persistence-z'")
        windows = f"{each} WHERE n < 10"
        fill(c, "failure_time", windows, series_id="f.series_id", issued_at=ago("n * 24"), trusted="false")
        months = (
            f"FROM (SELECT * FROM {pace.series}) f CROSS JOIN generate_series(1, {pace.forecast_days // 30}) n"
            " CROSS JOIN (VALUES (1), (7)) h(days) CROSS JOIN (VALUES ('combined'), ('line')) m(model)"
        )
        month = {"month": "'2025-' || lpad(n::text, 2, '0')", "horizon_s": "h.days * 86400.0", "model": "m.model"}
        fill(c, "forecast_month", months, series_id="f.series_id", **month, hindcast="false", stage="'creep'")
    scored = f"FROM forecast f WHERE f.target_at <= '{format_iso(NOW)}'"
    sums = {"rolled": "30", "rolled_80": "24", "rolled_95": "28"}
    fill(c, "forecast_score", scored, forecast_id="f.id", observed_at="f.target_at", **sums)
    withheld = "FROM pace f CROSS JOIN generate_series(0, 29) n"
    fill(c, "forecast_withheld", withheld, series_id="f.series_id", issued_at=ago("n * 24"), model="'gru'")
    fill(
        c,
        "forecast_chance",
        "FROM station k",
        site="k.site",
        station="k.id",
        criterion="'velocity'",
        config_sha256="'x'",
    )
    components = json.dumps([[format_iso(NOW - timedelta(days=day)), 1, 2, 3, 4] for day in range(365)])
    hours = json.dumps([[hour, 0.5] for hour in range(0, 24, 3)])
    components = components.replace(":", "\\:")
    fill(c, "season", "FROM pace f", series_id="f.series_id", components=f"'{components}'", day_parts=f"'{hours}'")
    labels = "FROM pace f CROSS JOIN generate_series(0, 4) n"
    fill(c, "anomaly_label", labels, series_id="f.series_id", from_at=ago("n * 100 + 9"), to_at=ago("n * 100"))


def fill_events(c: Connection) -> None:
    """Fill alerts, messages and everything else that has rows per site."""

    def per_site(count: int) -> str:
        return f"FROM site p CROSS JOIN generate_series({count - 1}, 0, -1) n"

    site = {"site": "p.id"}
    evidence = json.dumps({"inputs": [[number, 0.5] for number in range(100)]}).replace(":", "\\:")
    fill(c, "decision", per_site(100), **site, at=ago("n * 80"), evidence=f"'{evidence}'")
    alert = {"site": "d.site", "ledger": "'hazard'", "key": "'k' || d.id", "decision_id": "d.id", "raised_at": "d.at"}
    closed_at = f"CASE WHEN d.at < '{format_iso(NOW - timedelta(days=7))}' THEN d.at END"
    fill(c, "alert", "FROM decision d", **alert, exercise="false", state="'closed'", closed_at=closed_at)
    events = "FROM alert a CROSS JOIN generate_series(1, 4) n"
    fill(c, "alert_event", events, alert_id="a.id", sequence="n", at="a.raised_at")
    fill(c, "alert_outcome", "FROM alert a", alert_id="a.id", **{"class": "'true'"})
    sent = {"alert_id": "a.id", "site": "a.site", "event_id": "n", "idempotency_key": "a.id || ' ' || n"}
    fill(
        c,
        "notification",
        events,
        **sent,
        channel="'log:x'",
        state="CASE WHEN a.id % 50 = 0 AND n = 1 THEN 'failed_final' ELSE 'delivered' END",
        queued_at="a.raised_at",
        exercise="false",
    )
    fill(c, "reply", "FROM alert a", alert_id="a.id", provider_id="a.id::text")
    order = {"topic": "p.id", "sequence": "n", "ordered_at": ago("n * 100")}
    fill(c, "siren_order", per_site(20), **site, **order)
    jobs = f"{per_site(400)} CROSS JOIN (VALUES ('forecast'), ('movement')) j(job)"
    state = "CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'done' END"
    fill(c, "job_run", jobs, **site, job="j.job", started_at=ago("n * 24"), finished_at=ago("n * 24"), state=state)
    fill(c, "digest", per_site(365), **site, day="(date '2026-03-01' - n)::text")
    fill(c, "report", per_site(50), **site, at=ago("n * 80"), digest="p.id || ' ' || n")
    event = {"from_at": ago("n * 80"), "to_at": ago("n * 80"), "digest": "p.id || ' ' || n"}
    fill(c, "site_event", per_site(50), **site, **event)
    fill(c, "event_confirmation", "FROM site_event e", event_id="e.id", site="e.site")
    fill(c, "config_version", per_site(5), **site, sha256="p.id || ' ' || n", source="repeat('x', 5000)")
    fill(c, "site_proposal", per_site(5), **site)
    fill(c, "maintenance", per_site(5), **site, station="'S5'", to_at=ago("n * 100"))
    for table in ("duty_rota", "duty_override", "duty_handover"):
        fill(c, table, per_site(5), **site, team="'t'")
    fill(c, "duty_turn", per_site(365), **site, team="'t'", from_at=ago("n * 24"), day="(date '2026-03-01' - n)::text")
    for table in ("anomaly_budget", "model_proof", "drill"):
        fill(c, table, per_site(20), **site)
    fill(c, "issued_report", per_site(20), **site, to_at=ago("n * 700"))
    fill(c, "photo", per_site(10), **site, sha256="p.id || ' ' || n")
    fill(c, "source_poll", per_site(1), **site, source="p.id")
    fill(c, "outage", "FROM generate_series(1, 50) n", from_at=ago("n * 100 + 2"), back_at=ago("n * 100"))
    fill(c, "outage_station", "FROM station k CROSS JOIN outage o", outage_id="o.id", site="k.site", station="k.id")
    scene = {"scene_hash": "p.id || ' ' || n", "acquired_at": ago("n * 170"), "name": "'scene' || n"}
    fill(c, "scene", per_site(50), **site, **scene)
    footprints = "FROM scene s CROSS JOIN generate_series(0, 3) n"
    footprint = {"scene_hash": "s.scene_hash", "model_hash": "'m'", "polygon_id": "'p' || n", "nearest_station": "'S5'"}
    fill(c, "scene_footprint", footprints, **footprint)
    of_footprint = {"scene_hash": "s.scene_hash", "model_hash": "'m'", "polygon_id": "'p' || n"}
    fill(c, "scene_change", footprints, **of_footprint)
    fill(c, "footprint_review", footprints, **of_footprint)
    fill(c, "scene_outline", "FROM scene s", site="s.site", scene_hash="s.scene_hash")


def measure_processor_ns(server_pid: int) -> int:
    """Return the processor time of this process and of its server process so far."""
    return time.process_time_ns() + int(Path(f"/proc/{server_pid}/schedstat").read_text().split()[0])


class Timing(NamedTuple):
    """Medians of several reads of one query."""

    wall_ms: float
    processor_ms: float
    rows: int


def time_query(c: Connection, query: str, values: Mapping[str, str]) -> Timing:
    """Read all rows of a query several times."""
    wall_ms: list[float] = []
    processor_ms: list[float] = []
    rows = 0
    server_pid = c.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    for _ in range(READS):
        before_ns = measure_processor_ns(server_pid)
        started_s = time.perf_counter()
        rows = len(c.execute(text(query), dict(values)).all())
        wall_ms.append((time.perf_counter() - started_s) * 1000)
        processor_ms.append((measure_processor_ns(server_pid) - before_ns) / 1e6)
    return Timing(statistics.median(wall_ms), statistics.median(processor_ms), rows)


def time_view(c: Connection, name: str, site: str, station: str) -> Timing:
    """Read the rows of one station, or of its site if the view has no station."""
    columns = load_view_tables()[name].c.keys()
    values = {"site": site, "station": station, "instrument": station, "nearest_station": station}
    conditions = [f"{column} = :{column}" for column in values if column in columns]
    if name in HISTORY_COLUMNS:
        conditions.append(f"{HISTORY_COLUMNS[name]} > :since")
        values["since"] = format_iso(NOW - HISTORY)
    return time_query(c, f"SELECT * FROM {name} WHERE {' AND '.join(conditions)}", values)  # noqa: RUF100, S608


def fill_database(db: Database, stations: int, hourly: int) -> None:
    """Create the tables and fill them with a year of the given number of stations, some of them hourly."""
    migrate.upgrade(db)
    with db.engine.begin() as c:
        fill_sites(c, stations, hourly)
        fill_readings(c)
        fill_forecasts(c)
        fill_events(c)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.exec_driver_sql("VACUUM ANALYZE")


def name_sites(stations: int) -> dict[str, str]:
    """Return a site with hourly and one with daily readings, by pace."""
    return {"hourly": "net0", "daily": f"net{stations // STATIONS_PER_SITE - 1}"}


def measure_views(db: Database, sites: Mapping[str, str]) -> tuple[Timing, dict[str, dict[str, float]]]:
    """Time every view with a column `site`, and print a line for each.

    Args:
        db: the filled database.
        sites: for each pace of reading a site that has it.

    Returns:
        The timing of `SELECT 1`, and for each view the milliseconds of processor time and their ratio to `SELECT 1`,
        by pace.
    """
    figures: dict[str, dict[str, float]] = {}
    with db.read() as c:
        # The processor time of parallel workers would not be counted.
        c.exec_driver_sql("SET LOCAL max_parallel_workers_per_gather = 0")
        reference = time_query(c, "SELECT 1", {})
        print(f"SELECT 1: {reference.wall_ms:.2f} ms, {reference.processor_ms:.2f} ms of the processor")
        for name, view in load_view_tables().items():
            if "site" not in view.c:
                continue
            figures[name] = {}
            cells = ""
            for pace, site in sites.items():
                timing = time_view(c, name, site, "S5")
                ratio = timing.processor_ms / reference.processor_ms
                figures[name] |= {f"{pace}_ms": round(timing.processor_ms, 2), f"{pace}_ratio": round(ratio, 1)}
                cells += f" | {pace} {timing.wall_ms:7.1f} ms, processor {timing.processor_ms:5.1f} ms,"
                cells += f" ratio {ratio:5.1f}, {timing.rows:4} rows"
            print(f"{name:<26}{cells}")
    return reference, figures


def main() -> None:
    """Fill, measure, print and store; exit with 1 if a view is too slow."""
    options = parse_options(__doc__, stations=10_000, hourly=100)
    with open_database("postgresql", is_durable=False) as url, Database(url) as db:
        started_s = time.monotonic()
        fill_database(db, options.stations, options.hourly)
        with db.read() as c:
            size = c.exec_driver_sql("SELECT pg_size_pretty(pg_database_size(current_database()))").scalar_one()
        filled_s = time.monotonic() - started_s
        print(f"{options.stations} stations, {options.hourly} of them hourly: {size}, filled in {filled_s:.0f} s")
        _, figures = measure_views(db, name_sites(options.stations))
    slow = [name for name, view in figures.items() if max(view["hourly_ms"], view["daily_ms"]) > LIMIT_MS]
    print(f"slower than {LIMIT_MS:g} ms: {', '.join(slow) or 'none'}")
    if options.stations == 10_000:
        command = "python -m tests.bench.service.bench_growth"
        SERVICE_RESULTS.store("growth-postgresql", command, {"unit": "ms of the processor", "views": figures})
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()

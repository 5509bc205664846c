"""How long every public view takes for one station of a large database.

    python -m tests.bench.service.bench_views --rows 5000000
    python -m tests.bench.service.bench_views --rows 100000 --network 10000 --postgresql # a national network beside it

`--postgresql` starts a server of its own in `/var/tmp` and stops it. One station has three years of forecasts (6-hourly, 3 models, 3 horizons,
all scored) and hourly anomaly scores; the others a month. Views over a long history are asked for their last 30 days,
one with a moving window for one model and horizon. With `--network` so many stations more, in sites of ten, with a daily reading
of a year, forecasts of a month and stages of a month; then also what draws a map of all sites is timed.
"""  # noqa: E501

import json
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, insert, text, true

from monitor.decision.records import Memory
from monitor.features.forecasts.queries.score_sums import find_spans, sum_up
from monitor.readings.tables import series
from monitor.storage import audit, migrate
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.view_tables import load_view_tables
from monitor.text.instants import epoch_s, format_iso
from monitor.web.parts.collect import collect_overview
from tests.bench.databases import open_database
from tests.bench.record import SERVICE_RESULTS, parse_options
from tests.data.rows import insert_rows

LIMIT_MS, MAP_LIMIT_MS = 50.0, 2000.0
PER_SITE = 10
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SITE, STATION = "bench", "S007"
STATIONS, QUANTITIES = 50, ("displacement_north", "displacement_east")
READING = "series_id, observed_at, revision, received_at, value_raw, sigma, solution, flags"
RECENT = {
    "observation_history": "observed_at",
    "forecast_history": "issued_at",
    "forecast_vs_observed": "target_at",
    "anomalies": "at",
    "audit_log": "at",
}
# This view computes a window over all scores of a query, so the query names one model and one horizon.
NARROW = {"forecast_coverage_rolling": "model = 'gru' AND horizon_s = 86400.0"}


class Filler:
    """SQL of one database for many rows at once."""

    def __init__(self, c: Connection) -> None:
        self.c = c
        self.sqlite = c.dialect.name == "sqlite"

    def instant(self, seconds: str) -> str:
        """The one spelling of an epoch expression."""
        if self.sqlite:
            return f"strftime('%Y-%m-%dT%H:%M:%S', {seconds}, 'unixepoch') || '.000000Z'"
        return f"""to_char(to_timestamp({seconds}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || '.000000Z'"""

    def numbers(self, count: int) -> str:
        """A table n(k) of 0 .. count - 1."""
        if self.sqlite:
            return f"(WITH RECURSIVE n(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n WHERE k < {count - 1}) SELECT k FROM n)"  # noqa: E501
        return f"(SELECT k FROM generate_series(0, {count - 1}) AS g(k))"

    def run(self, statement: str) -> None:
        """Execute without parameters."""
        self.c.exec_driver_sql(statement.replace("%", "%%") if not self.sqlite else statement)


def fill_history(c: Connection, rows: int) -> None:
    """Observations of all series, hourly up to now."""
    f = Filler(c)
    c.execute(
        insert(series),
        [
            {"site": SITE, "station": f"S{s:03d}", "quantity": q, "unit": "mm", "created_at": NOW}
            for s in range(STATIONS)
            for q in QUANTITIES
        ],
    )
    each, end = rows // (STATIONS * len(QUANTITIES)), int(epoch_s(NOW))
    at = f.instant(f"{end} - n.k * 3600")
    f.run(
        f"INSERT INTO observation ({READING}) SELECT s.id, {at}, 0,"
        f" {f.instant(f'{end} + 120 - n.k * 3600')}, n.k * 0.01, 1.0, 'rapid', ''"
        f" FROM series s CROSS JOIN {f.numbers(each)} n ORDER BY s.id, n.k DESC"
    )
    f.run(
        f"INSERT INTO series_latest ({READING}) SELECT {READING} FROM observation"
        f" WHERE observed_at = '{format_iso(NOW)}'"
    )
    f.run(
        "INSERT INTO offset_entry (series_id, at, known_from, size, unit, kind, author, reason)"
        f" SELECT s.id, {f.instant(f'{end} - (n.k + 1) * 1000000')}, {f.instant(f'{end} - n.k * 1000000')}, 1.5, 'mm', 'rezero', 'ada', 'r'"  # noqa: E501
        f" FROM series s CROSS JOIN {f.numbers(5)} n"
    )
    f.run(
        'INSERT INTO observation_flag (series_id, observed_at, revision, flag, known_from, "by", reason)'
        f" SELECT s.id, {f.instant(f'{end} - n.k * 7200')}, 0, 'suspect', '{format_iso(NOW)}', 'ada', 'r' FROM series s CROSS JOIN {f.numbers(100)} n"  # noqa: E501
    )


def fill_forecasts(c: Connection) -> None:
    """Three years for one station, a month for the others; scores for all whose target has passed."""
    f, end = Filler(c), int(epoch_s(NOW))
    issued = f"{end} - n.k * 21600"
    for where, issues in ((f"s.station = '{STATION}'", 4380), (f"s.station <> '{STATION}'", 120)):
        f.run(
            "INSERT INTO forecast (series_id, issued_at, data_until, as_of_received_at, target_at, horizon_s, q025, q10, q50, q90, q975,"  # noqa: E501
            " model, model_hash, baseline, baseline_q50, data_value, shown, reason)"
            f" SELECT s.id, {f.instant(issued)}, {f.instant(issued)}, {f.instant(issued)}, {f.instant(f'{issued} + h.h * 86400')}, h.h * 86400.0,"  # noqa: E501
            f" 1, 2, 3, 4, 5, m.m, '{'a' * 64}', 'line', 3.1, 2.5, m.m = 'combined', 'bench' FROM series s CROSS JOIN {f.numbers(issues)} n"  # noqa: E501
            " CROSS JOIN (SELECT 1 AS h UNION ALL SELECT 7 UNION ALL SELECT 30) h"
            f" CROSS JOIN (SELECT 'combined' AS m UNION ALL SELECT 'gru' UNION ALL SELECT 'persistence') m"
            f" WHERE {where}"
        )
        f.run(
            "INSERT INTO anomaly (series_id, at, detector, score, threshold, budget, kind, alerted, scored_at)"
            f" SELECT s.id, {f.instant(f'{end} - n.k * 3600')}, 'persistence-z', 1.0, 4.0, 0.1, 'level', 1 = 0, '{format_iso(NOW)}'"  # noqa: E501
            f" FROM series s CROSS JOIN {f.numbers(issues * 6)} n WHERE {where}"
        )
    f.run(
        "INSERT INTO forecast_score (forecast_id, observed_at, observed, error, baseline_error, persistence_error, inside_80, inside_95,"  # noqa: E501
        " pinball, winkler_80, scored_at)"
        f" SELECT id, target_at, 3.2, 0.2, 0.1, 0.7, 1 = 1, 1 = 1, 0.3, 2.0, '{format_iso(NOW)}' FROM forecast WHERE target_at <= '{format_iso(NOW)}'"  # noqa: E501
    )
    sum_up(c, find_spans(c, true()))
    f.run(
        "INSERT INTO failure_time (series_id, issued_at, data_until, window_from, window_mid, window_to, trusted, reasons)"  # noqa: E501
        f" SELECT s.id, {f.instant(issued)}, {f.instant(issued)}, '{format_iso(NOW)}', '{format_iso(NOW)}', '{format_iso(NOW)}', 1 = 0, 'bench'"  # noqa: E501
        f" FROM series s CROSS JOIN {f.numbers(400)} n"
    )


def fill_rest(c: Connection) -> None:
    """Thousands of alerts, messages and records."""
    numbers = range(20000)
    names = {
        "levels": [
            {"number": k, "name": n, "action": "", "auto_lower": False}
            for k, n in enumerate(("green", "yellow", "red"))
        ],
        "memory": Memory().to_json(),
        "a": "a" * 64,
        "long": "x" * 5000,
        "evidence": json.dumps({"inputs": [[k, 0.5] for k in range(500)]}),
        "area": {"type": "Polygon"},
        "ago": [NOW - timedelta(hours=k) for k in numbers],
        "station": [f"S{k % STATIONS:03d}" for k in numbers],
        "number": [k + 1 for k in numbers],
        "state": ["closed" if k > 20 else "unacknowledged" for k in numbers],
        "closed": [NOW if k > 20 else None for k in numbers],
        "half": [k // 2 + 1 for k in numbers],
        "quarter": [k // 4 + 1 for k in numbers],
        "of_four": [k % 4 + 1 for k in numbers],
        "eighth": [k // 8 + 1 for k in numbers],
        "scene": [f"{k % 300:064d}" for k in numbers],
    }
    rows = f"""
site id=bench name=Bench latitude=46 longitude=8 timezone=UTC levels=$levels config_sha256=$a active=yes
site_state site=bench level=1 level_source=auto since=+0s evaluated_at=+0s observability=full reachable_level=2
    witnesses_available=9 health=ok newest_at=+0s config_sha256=$a state=$memory
{STATIONS} station site=bench id=$station on_slope=yes declared=yes
{STATIONS} station_state site=bench station=$station state=ok since=+0s reason= newest_at=+0s votes=yes
1000 decision site=bench at=$ago code_version=0 config_sha256=$a evidence=$evidence evidence_sha256=$a
1000 alert site=bench ledger=hazard key=k{{k}} level=1 peak_level=1 state=$state exercise=no raised_at=$ago reason=r
    decision_id=$number rule_version=0 closed_at=$closed
4000 alert_event alert_id=$quarter sequence=$of_four at=$ago to_state=closed to_level=1 actor=a actor_kind=person
    reason=r
1000 alert_outcome alert_id=$number class=true by=ada note=n at=+0s
8000 notification alert_id=$eighth event_id=$half site=bench ledger=hazard level=1 level_name=yellow recipient=d
    channel=log exercise=no subject=s body=b state=delivered queued_at=$ago idempotency_key={{k:064d}}
5000 rejected_message received_at=$ago topic=t payload={{k:0200d}} payload_bytes=200 code=no_unit reason=r client=live
    digest=d
5000 sequence_gap site=bench station=$station source=l boot_id=1 from_seq={{k}} to_seq={{k}} detected_at=$ago
300 scene scene_hash={{k:064d}} site=bench name=s{{k}} acquired_at=$ago role=after path=p received_at=+0s state=done
6000 scene_footprint scene_hash=$scene model_hash=m polygon_id=p{{k}} model=unet change=single area_m2=1 min_lon=1
    min_lat=1 max_lon=1 max_lat=1 mean_probability=0.5 geometry=$area nearest_station=$station detected_at=+0s
2000 report site=bench kind=crack text=t by=a digest={{k:064d}} received_at=+0s at=$ago
2000 site_event site=bench kind=crack text=t by=a digest={{k:064d}} received_at=+0s from_at=$ago to_at=$ago via=mqtt
200 config_version site=bench sha256={{k:064d}} source=$long loaded_at=$ago author=a reason=r code_version=0
"""
    insert_rows(c, NOW, rows, names)
    for k in range(2000):
        audit.add_audit(
            c, Actor("ada"), "alert.acknowledge", f"alert:{k}", {"reason": "r"}, NOW - timedelta(hours=2000 - k)
        )


def fill_network(c: Connection, stations: int, days: int = 365) -> None:
    """Sites of ten stations over a country, one series each."""
    f, end, sites = Filler(c), int(epoch_s(NOW)), stations // PER_SITE
    levels = json.dumps(
        [{"number": k, "name": n, "action": "", "auto_lower": False} for k, n in enumerate(("green", "red"))]
    )
    now, sha = format_iso(NOW), "c" * 64
    site, place = "'net' || n.k", "n.k * 0.001 + m.k * 0.0001"
    each = f"FROM {f.numbers(sites)} n CROSS JOIN {f.numbers(PER_SITE)} m"
    f.run(
        "INSERT INTO site (id, name, latitude, longitude, timezone, levels, config_sha256, active)"
        f" SELECT {site}, 'Net', 46 + n.k * 0.001, 8, 'UTC', '{levels}', '{sha}', 1 = 1 FROM {f.numbers(sites)} n"
    )
    f.run(
        "INSERT INTO site_state (site, level, level_source, since, evaluated_at, observability, reachable_level, witnesses_available,"  # noqa: E501
        f" health, movement_stage, trend, newest_at, config_sha256, state) SELECT {site}, n.k % 2, 'auto', '{now}', '{now}', 'full', 1, 9, 'ok',"  # noqa: E501
        f" CASE WHEN n.k % 3 = 0 THEN 'slow' END, 'steady', '{now}', '{sha}', '{{}}' FROM {f.numbers(sites)} n"
    )
    f.run(
        "INSERT INTO station (site, id, latitude, longitude, on_slope, declared)"
        f" SELECT {site}, 'N' || m.k, 46 + {place}, 8, 1 = 1, 1 = 1 {each}"
    )
    f.run(
        "INSERT INTO station_state (site, station, state, since, reason, newest_at, votes)"
        f" SELECT {site}, 'N' || m.k, 'ok', '{now}', '', '{now}', 1 = 1 {each}"
    )
    f.run(
        "INSERT INTO series (site, station, quantity, unit, created_at)"
        f" SELECT {site}, 'N' || m.k, 'displacement_norm', 'mm', '{now}' {each}"
    )
    f.run(
        f"INSERT INTO observation ({READING}) SELECT s.id, {f.instant(f'{end} - n.k * 86400')}, 0,"
        f" {f.instant(f'{end} + 120 - n.k * 86400')}, n.k * 0.01, 1.0, 'rapid', ''"
        f" FROM series s CROSS JOIN {f.numbers(days)} n WHERE s.site LIKE 'net%' ORDER BY n.k DESC, s.id"
    )
    f.run(
        f"INSERT INTO series_latest ({READING}) SELECT {READING} FROM observation WHERE observed_at = '{now}'"
        " AND series_id IN (SELECT id FROM series WHERE site LIKE 'net%')"
    )
    issued = f"{end} - n.k * 86400"
    f.run(
        "INSERT INTO forecast (series_id, issued_at, data_until, as_of_received_at, target_at, horizon_s, q025, q10, q50, q90, q975,"  # noqa: E501
        " model, model_hash, baseline, baseline_q50, data_value, shown, reason)"
        f" SELECT s.id, {f.instant(issued)}, {f.instant(issued)}, {f.instant(issued)}, {f.instant(f'{issued} + 86400')}, 86400.0,"  # noqa: E501
        f" 1, 2, 3, 4, 5, 'combined', '', 'line', 3.1, 2.5, 1 = 1, 'bench' FROM series s CROSS JOIN {f.numbers(30)} n WHERE s.site LIKE 'net%'"  # noqa: E501
    )
    f.run(
        "INSERT INTO movement (series_id, at, stage, trend, reasons, state)"
        f" SELECT s.id, {f.instant(issued)}, 'slow', 'steady', '[]', '{{}}'"
        f" FROM series s CROSS JOIN {f.numbers(30)} n WHERE s.site LIKE 'net%'"
    )


def processor_ns(c: Connection) -> int:
    """Processor time so far of this process and of its backend, which is of this machine."""
    used = time.process_time_ns()
    if c.dialect.name == "postgresql":
        pid = c.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        used += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return used


def measure_map(db: Database) -> dict[str, float]:
    """Median milliseconds of three times what draws all sites: by SQL, and as the page gathers it."""

    def by_sql(c: Connection) -> None:
        for name in ("site_status", "station_health", "latest_observation", "latest_forecast", "active_alerts"):
            c.exec_driver_sql(f"SELECT * FROM {name}").all()  # noqa: RUF100, S608

    times = {}
    for name, act in {"map_by_sql": by_sql, "map_of_the_page": lambda c: collect_overview(c, None, NOW)}.items():
        seen, used = [], []
        for _ in range(3):
            with db.read() as c:
                before_ns, start = processor_ns(c), time.perf_counter()
                act(c)
                seen.append((time.perf_counter() - start) * 1000)
                used.append((processor_ns(c) - before_ns) / 1e6)
        times[name] = round(statistics.median(seen), 1)
        times[f"{name}_processor"] = round(statistics.median(used), 1)
    return times


def measure(db: Database, name: str, site: str = SITE, station: str = STATION) -> tuple[float, float, int]:
    """Median milliseconds of five reads, the same of processor time, and the rows."""
    with db.read() as c:
        columns = list(c.exec_driver_sql(f"SELECT * FROM {name} WHERE 1 = 0").keys())  # noqa: RUF100, S608
        given = {"site": site, "station": station, "nearest_station": station}
        where = [f"{k} = :{k}" for k in given if k in columns]
        if name in RECENT:
            where.append(f"{RECENT[name]} > '{format_iso(NOW - timedelta(days=30))}'")
        if name in NARROW:
            where.append(NARROW[name])
        query = text(f"SELECT * FROM {name} WHERE {' AND '.join(where) or '1 = 1'}")  # noqa: RUF100, S608
        times, used, rows = [], [], 0
        for _ in range(5):
            before_ns, start = processor_ns(c), time.perf_counter()
            rows = len(c.execute(query, {k: v for k, v in given.items() if k in columns}).all())
            times.append((time.perf_counter() - start) * 1000)
            used.append((processor_ns(c) - before_ns) / 1e6)
    return statistics.median(times), statistics.median(used), rows


def measure_select(db: Database) -> float:
    """Return the median milliseconds of processor time of `SELECT 1`."""
    used_ms = []
    with db.read() as c:
        for _ in range(21):
            before_ns = processor_ns(c)
            c.execute(text("SELECT 1")).all()
            used_ms.append((processor_ns(c) - before_ns) / 1e6)
    return statistics.median(used_ms)


def fill_database(db: Database, rows: int, network: int = 0) -> None:
    """Create the tables and fill them.

    Args:
        db: an empty database.
        rows: number of readings of the site whose views are measured.
        network: number of stations of other sites.
    """
    migrate.upgrade(db)
    parts = [lambda c: fill_history(c, rows), fill_forecasts, fill_rest]
    if network:
        parts.append(lambda c: fill_network(c, network))
    for part in parts:
        with db.write() as c:
            part(c)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        # The tables of a database that has run for years have been vacuumed.
        c.exec_driver_sql("ANALYZE" if db.is_sqlite else "VACUUM ANALYZE")


def main() -> None:
    """Fill, measure, print; exit 1 when a view takes too much of the processor, whatever runs beside it."""
    options = parse_options(__doc__, rows=5_000_000, postgresql=False, network=0)
    with open_database("postgresql" if options.postgresql else "sqlite") as url, Database(url) as db:
        fill_database(db, options.rows, options.network)
        slow, times, processor, more = [], {}, {}, ""
        for name in load_view_tables():
            took, processor_ms, rows = measure(db, name)
            slow += [name] if processor_ms > LIMIT_MS else []
            times[name], processor[name] = round(took, 1), round(processor_ms, 1)
            print(f"{name:24} {took:9.1f} ms {rows:8} rows{'   TOO SLOW' if name in slow else ''}")
        times["processor"] = processor
        if options.network:
            more, maps = f" --network {options.network}", measure_map(db)
            worst_ms, worst = max((measure(db, name, "net5", "N5")[1], name) for name in load_view_tables())
            slow += [name for name, ms in maps.items() if ms > MAP_LIMIT_MS]
            slow += [worst] if worst_ms > LIMIT_MS else []
            times |= maps | {"slowest_of_a_station_of_the_network": round(worst_ms, 1)}
            print(f"{maps}; slowest of a station of the network: {worst} {worst_ms:.1f} ms")
        name = f"views-{'postgresql' if options.postgresql else 'sqlite'}{'-network' if options.network else ''}"
        SERVICE_RESULTS.store(
            name, f"python -m tests.bench.service.bench_views --rows {options.rows}{more}", {"unit": "ms"} | times
        )
        sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()

"""What it costs and brings to part the observations of a PostgreSQL database by month: one table beside 37 partitions.

    python -m tests.bench.service.bench_partitions --rows 26000000 --folder /var/tmp

A throw-away cluster with `fsync` is started below the folder; the same rows lie in two databases. Measured beside each
other: filling, batches of new and of late readings, reading, letting a month go, and the way from one to the other.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from monitor.domain.instants import format_iso
from monitor.domain.observation import Observation
from monitor.store.database.engine import Database
from monitor.store.readings.observations import add_observations, load_readings, load_series
from monitor.store.schema import views
from monitor.store.upkeep import migrate
from monitor.store.upkeep.prune import RetentionLimits, RetentionRun
from tests.bench.record import record
from tests.bench.service import bench_views
from tests.conftest import PostgresServer

bench_views.STATIONS = 500  # two series each: 26 million hourly rows are three years
NOW = bench_views.NOW
BATCHES, BATCH = 60, 500
Figures = dict[str, Any]


def months(first: datetime, last: datetime) -> Iterator[tuple[str, str]]:
    """Where each month begins and ends, as instants are spelled."""
    at = first.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while at < last:
        then = (at + timedelta(days=32)).replace(day=1)
        yield format_iso(at), format_iso(then)
        at = then


def part(c: Connection, first: datetime, last: datetime) -> None:
    """Put a parted table in the place of the empty `observation`."""
    views.drop_views(c)
    c.exec_driver_sql("ALTER TABLE observation RENAME TO observation_whole")
    c.exec_driver_sql(
        "CREATE TABLE observation (LIKE observation_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS,"
        " PRIMARY KEY (series_id, observed_at, revision)) PARTITION BY RANGE (observed_at)"
    )
    c.exec_driver_sql("CREATE INDEX ix_parted_flagged ON observation (series_id) WHERE flags <> ''")
    for start, end in months(first, last):
        name = f"observation_{start[:4]}_{start[5:7]}"
        c.exec_driver_sql(f"CREATE TABLE {name} PARTITION OF observation FOR VALUES FROM ('{start}') TO ('{end}')")
    c.exec_driver_sql("CREATE TABLE observation_rest PARTITION OF observation DEFAULT")
    views.create_views(c)


def timed(act: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def add(db: Database, epochs: list[datetime]) -> tuple[float, float]:
    """Batches as the writer makes them, one per epoch: rows per second, and the 99th percentile of a batch in ms."""
    known: dict[Any, Any] = {}
    took: list[float] = []
    for k, at in enumerate(epochs):
        rows = [
            Observation(
                site=bench_views.SITE,
                station=f"S{n % bench_views.STATIONS:03d}",
                quantity=bench_views.QUANTITIES[0],
                observed_at=at + timedelta(seconds=k + 1),
                received_at=NOW + timedelta(hours=1, seconds=k),
                value=1.0,
                unit="mm",
            )
            for n in range(BATCH)
        ]

        def store(rows: list[Observation] = rows) -> None:
            with db.write() as c:
                add_observations(c, rows, NOW, known)

        took.append(timed(store))
    took = took[5:]  # what the connection learns first
    return len(took) * BATCH / sum(took), statistics.quantiles(took, n=100)[98] * 1000


def read(db: Database) -> Figures:
    """Medians in ms of what the service asks most."""
    with db.read() as c:
        series = load_series(c, bench_views.SITE)

        def window(days: int) -> float:
            return statistics.median(
                timed(lambda one=one: load_readings(c, one.id, NOW - timedelta(days=days), NOW, NOW)) * 1000
                for one in random.Random(1).sample(series, 40)
            )

        return {"window_2_days_ms": round(window(2), 2), "window_400_days_ms": round(window(400), 1)}


def measure(db: Database, rows: int) -> Figures:
    """All that is measured on a filled database."""
    first = NOW - timedelta(hours=rows // (bench_views.STATIONS * 2))
    figures: Figures = {}
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.exec_driver_sql("VACUUM ANALYZE observation")  # what filling left to do is not measured
        c.exec_driver_sql("CHECKPOINT")
        size = text(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'observation%'"
        )
        figures["gib"] = round(float(c.execute(size).scalar() or 0) / 2**30, 2)
    figures |= read(db)
    for name in ("latest_observation", "observation_history", "station_health", "forecast_vs_observed"):
        figures[f"{name}_ms"] = round(bench_views.measure(db, name)[0], 1)
    live = [NOW + timedelta(minutes=k) for k in range(BATCHES)]
    figures["live_rows_per_s"], figures["live_batch_p99_ms"] = map(round, add(db, live))
    late = [first + timedelta(days=random.Random(k).uniform(0.1, 0.9) * (NOW - first).days) for k in range(BATCHES)]
    figures["late_rows_per_s"], figures["late_batch_p99_ms"] = map(round, add(db, late))
    return figures


def let_go(db: Database, before: datetime) -> Figures:
    """Delete in steps as the job does."""
    sweep = RetentionRun(db, RetentionLimits(before, None), NOW, pause=lambda _: None)
    done = sweep.run()["observation"]
    return {"rows": done.removed, "seconds": round(done.seconds, 1), "longest_ms": round(done.longest_s * 1000)}


def attach(db: Database) -> Figures:
    """The way from one table to a parted one: the old table becomes its first partition, checked while it is in use."""
    border = format_iso(NOW + timedelta(days=31))
    figures = {}
    with db.write() as c:
        figures["locked_check_s"] = timed(
            lambda: c.exec_driver_sql(
                f"ALTER TABLE observation ADD CONSTRAINT old CHECK (observed_at < '{border}') NOT VALID"
            )
        )
    with db.write() as c:
        figures["online_validation_s"] = timed(
            lambda: c.exec_driver_sql("ALTER TABLE observation VALIDATE CONSTRAINT old")
        )

    def swap() -> None:
        with db.write() as c:
            views.drop_views(c)
            c.exec_driver_sql("ALTER TABLE observation RENAME TO observation_old")
            c.exec_driver_sql(
                "CREATE TABLE observation (LIKE observation_old INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
                " PARTITION BY RANGE (observed_at)"
            )
            c.exec_driver_sql("ALTER TABLE observation DROP CONSTRAINT old")
            c.exec_driver_sql(
                f"ALTER TABLE observation ATTACH PARTITION observation_old FOR VALUES FROM (MINVALUE) TO ('{border}')"
            )
            c.exec_driver_sql("ALTER TABLE observation ADD PRIMARY KEY (series_id, observed_at, revision)")
            views.create_views(c)

    figures["locked_swap_s"] = timed(swap)
    return {key: round(value, 2) for key, value in figures.items()}


def main() -> None:
    """Fill both, measure both, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=26_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    folder.chmod(0o755)
    server = PostgresServer(folder, durable=True)
    first = NOW - timedelta(hours=options.rows // (bench_views.STATIONS * 2))
    figures: Figures = {"rows": options.rows, "series": bench_views.STATIONS * 2}
    try:
        for kind in ("one_table", "by_month"):
            server.execute(f"CREATE DATABASE {kind}")
            with Database(server.url(kind)) as db:
                migrate.upgrade(db)
                with db.write() as c:
                    if kind == "by_month":
                        part(c, first, NOW + timedelta(days=40))

                def fill(db: Database = db) -> None:
                    with db.write() as c:
                        bench_views.fill_history(c, options.rows)

                seconds = timed(fill)
                print(f"{datetime.now(UTC):%H:%M:%S} {kind} filled in {seconds:.0f} s", file=sys.stderr)
                figures[kind] = {"fill_s": round(seconds)} | measure(db, options.rows)
                figures[kind]["month_deleted"] = let_go(db, first + timedelta(days=31))
                if kind == "by_month":
                    start = format_iso(first + timedelta(days=32))
                    gone = f"DROP TABLE observation_{start[:4]}_{start[5:7]}"

                    def drop(db: Database = db, gone: str = gone) -> None:
                        with db.write() as c:
                            c.exec_driver_sql(gone)

                    figures[kind]["month_dropped_s"] = round(timed(drop), 2)
                else:
                    figures["old_table_attached"] = attach(db)
                    figures["old_table_attached"] |= measure(db, options.rows)
                print(f"{datetime.now(UTC):%H:%M:%S} {figures}", file=sys.stderr)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(record("partitions", "python -m tests.bench.service.bench_partitions", figures))


if __name__ == "__main__":
    main()

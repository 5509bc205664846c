"""Satellite points beside a bare load of the same rows: executemany of SQLite, COPY of PostgreSQL, binary as ours is.

    python -m tests.bench.service.bench_points_import [--points 5000] [--rounds 3]

Both write to tables of the same definition, in pieces of as many values, each a durable transaction of its own. The
bare load asks nothing: not what is known already, not where a point lay, not whether a value is a number. Seconds are
of the clock, for the server of PostgreSQL works in a process of its own; the least of the rounds counts.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from monitor.ingest.files.points import CHUNK
from monitor.readings.queries.points import Point, PointValue, add_point_values, open_point_set, place_points
from monitor.storage.engine import Database
from monitor.text.instants import format_iso
from tests.bench.record import SERVICE_RESULTS, parse_options
from tests.fixtures.databases import create_schema
from tests.fixtures.postgresql import PostgresServer

DATES = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=6 * k) for k in range(60)]
NOW = datetime(2025, 1, 1, tzinfo=UTC)
PLACE = ("bigint", "bigint", "text", "float8", "float8")
VALUE = ("bigint", "text", "int4", "text", "float8")
Pieces = list[tuple[list[Point], list[PointValue]]]


def draw(points: int, round_: int) -> Pieces:
    """Values of points in pieces, as a reader hands them on."""
    chance = random.Random(round_)
    step = max(1, CHUNK // len(DATES))
    found = []
    for begin in range(0, points, step):
        some = [Point(f"r{round_}p{k}", 46.0 + k * 1e-5, 8.0) for k in range(begin, min(begin + step, points))]
        found.append((some, [PointValue(one.pid, at, chance.gauss(0.0, 5.0)) for one in some for at in DATES]))
    return found


def take(db: Database, pieces: Pieces) -> None:
    """As the service stores them."""
    for points, values in pieces:
        with db.write() as c:
            placed = place_points(c, open_point_set(c, "bench", "set", "los", "mm"), points)
            added = add_point_values(c, placed, values, NOW, NOW)
        assert added.stored == len(values)


def load(db: Database, pieces: Pieces) -> None:
    """The same rows without a question, numbered by hand."""
    with db.write() as c:
        set_id = open_point_set(c, "bench", "bare", "los", "mm")
        number = int(c.exec_driver_sql("SELECT coalesce(max(id), 0) FROM point").scalar_one())
    received, spelled = format_iso(NOW), {at: format_iso(at) for at in DATES}
    for points, values in pieces:
        ids = {one.pid: number + k for k, one in enumerate(points, 1)}
        number += len(points)
        places = [(ids[x.pid], set_id, x.pid, x.latitude, x.longitude) for x in points]
        rows = [(ids[v.pid], spelled[v.observed_at], 0, received, v.value) for v in values]
        with db.write() as c:
            driver: Any = c.connection.driver_connection
            for table, columns, types, some in (
                ("point", "id, point_set_id, pid, latitude, longitude", PLACE, places),
                ("point_observation", "point_id, observed_at, revision, received_at, value_raw", VALUE, rows),
            ):
                if db.is_sqlite:
                    driver.executemany(f"INSERT INTO {table} ({columns}) VALUES (?,?,?,?,?)", some)
                    continue
                binary = f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
                with driver.cursor() as cursor, cursor.copy(binary) as copy:
                    copy.set_types(types)
                    for row in some:
                        copy.write_row(row)


@contextmanager
def open_both(kind: str) -> Iterator[tuple[Database, Database]]:
    """Two empty databases of one kind, on disk and durable."""
    with tempfile.TemporaryDirectory(prefix="slopeward-points-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder), durable=True) if kind == "postgresql" else None
        try:
            urls = [
                server.url(server.copy("template1", name)) if server else f"sqlite:///{folder}/{name}.db"
                for name in ("ours", "bare")
            ]
            for url in urls:
                create_schema(url)
            with Database(urls[0]) as ours, Database(urls[1]) as bare:
                yield ours, bare
        finally:
            if server is not None:
                server.stop()


def clock(work: Callable[[Database, Pieces], None], db: Database, pieces: Pieces) -> float:
    """Seconds of the clock."""
    begun = time.perf_counter()
    work(db, pieces)
    return time.perf_counter() - begun


def main() -> None:
    """Measure both databases and keep the figures."""
    asked = parse_options(__doc__, points=5000, rounds=3)
    found: dict[str, Any] = {"points": asked.points, "values": asked.points * len(DATES), "rounds": asked.rounds}
    for kind in ("sqlite", "postgresql"):
        seconds: dict[str, list[float]] = {"ours": [], "bare": []}
        with open_both(kind) as (ours, bare):
            for round_ in range(asked.rounds):
                pieces = draw(asked.points, round_)
                seconds["bare"].append(clock(load, bare, pieces))
                seconds["ours"].append(clock(take, ours, pieces))
        best = {name: min(rounds) for name, rounds in seconds.items()}
        found[kind] = {
            "ratio_to_bare_load": round(best["bare"] / best["ours"], 3),
            "values_per_s": round(found["values"] / best["ours"]),
            "bare_values_per_s": round(found["values"] / best["bare"]),
            "rounds": [round(b / o, 2) for b, o in zip(seconds["bare"], seconds["ours"], strict=True)],
        }
        print(kind, found[kind])
    SERVICE_RESULTS.store("points-import", "python -m tests.bench.service.bench_points_import", found)


if __name__ == "__main__":
    main()

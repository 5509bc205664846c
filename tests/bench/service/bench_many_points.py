"""Many satellite points as a user brings them: a file, `slopeward ingest`, the job `points`, evaluation, `--recompute`.

    python -m tests.bench.service.bench_many_points [--points 20000 100000] [--dates 80] [--postgresql]

Drawn points of one track in the form of an EGMS product: creep, a season, noise and an air that all share. Each step is
a process of its own, so that its processor seconds and its largest memory (its own, or that of its largest worker) are
told apart. Two numbers of points say what grows with them. Then the site is evaluated beside `--placed` points without
values, half a degree around its station. Figures go to `points-many.json`, by database.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import insert

from monitor.config.service import load_service, load_site
from monitor.jobs.points import run
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.readings.points import open_point_set
from monitor.store.schema.tables import point
from tests.bench.record import read_figures, record
from tests.conftest import PostgresServer, create_schema
from tests.data.site_text import head, series, station

STEP: Final = timedelta(days=6)
AT_ONCE: Final = 10_000
INGEST: Final = ["--site", "million", "--format", "egms", "--set", "track", "--json"]
CRITERIA: Final = """[[criterion]]
kind = "velocity"
stations = ["G1"]
yellow = {over = 5.0, window = "7d"}
[[criterion]]
kind = "insar_rate"
id = "radar"
role = "witness"
window = "90d"
yellow = {over = 0.2}
"""
SITE: Final = (
    head("million", timezone="UTC", levels={"names": ["green", "yellow"]})
    + station("G1", series("displacement", "mm"), latitude=46.0, longitude=8.0)
    + CRITERIA
)


def draw(path: Path, points: int, dates: int) -> None:
    """Write the file; points lie on a square of half a degree, with the station in its middle."""
    chance, newest = np.random.default_rng(23), datetime.now(UTC).date() - STEP
    days = 6.0 * np.arange(dates)
    air = chance.normal(0.0, 2.0, dates)
    with path.open("w", encoding="utf-8") as file:
        names = [f"{newest - STEP * (dates - 1 - k):%Y%m%d}" for k in range(dates)]
        file.write(",".join(["pid", "latitude", "longitude", *names]) + "\n")
        for begin in range(0, points, AT_ONCE):
            count = min(AT_ONCE, points - begin)
            creep = chance.normal(0.0, 3.0, (count, 1)) * days / 365.25
            season = chance.normal(0.0, 1.5, (count, 1)) * np.sin(2.0 * np.pi * days / 365.25)
            noise = chance.normal(0.0, 1.0, (count, dates)) * chance.uniform(1.0, 3.0, (count, 1))
            values = (creep + season + noise + air).tolist()
            places = chance.uniform(-0.25, 0.25, (count, 2)).tolist()
            for k, (row, (north, east)) in enumerate(zip(values, places, strict=True)):
                cells = ",".join([f"{value:.1f}" for value in row])
                file.write(f"P{begin + k:07d},{46.0 + north:.6f},{8.0 + east:.6f},{cells}\n")


def look(config: Path) -> str:
    """As the schedule of the service calls the job."""
    service = load_service(config)
    with Database(service.database.url) as db:
        return run(db, service, load_site(Path(service.paths.sites) / "million.toml"), datetime.now(UTC))


def measure(name: str, command: list[str], found: dict[str, Any], environment: dict[str, str]) -> str:
    """Run one step in a process that tells what it took; returns what it printed."""
    begun_s = time.monotonic()
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "open(sys.argv[1], 'w').write(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))\n"
        "sys.stdout.write(done.stdout)\n"
        "sys.exit(done.returncode)\n"
    )
    with tempfile.NamedTemporaryFile("r") as told:
        done = subprocess.run(
            [sys.executable, "-c", code, told.name, *command], stdout=subprocess.PIPE, text=True, env=environment
        )
        cpu_s, peak_mib = json.loads(Path(told.name).read_text())
    said = " ".join(done.stdout.split())[-400:]
    found[name] = {
        "cpu_s": round(cpu_s, 1), "wall_s": round(time.monotonic() - begun_s), "peak_mib": round(peak_mib),
        "status": done.returncode,
    }  # fmt: skip
    if name == "look":
        found[name]["said"] = said
    print(name, found[name], flush=True)
    return said


def run_size(place: Path, url: str, points: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Every step on an empty database."""
    (place / "sites").mkdir()
    (place / "sites" / "million.toml").write_text(SITE, encoding="utf-8")
    config = place / "slopeward.toml"
    config.write_text(f'[database]\nurl = "{url}"\n[paths]\nsites = "{place}/sites"\n', encoding="utf-8")
    create_schema(url)
    with Database(url) as db, db.write() as c:
        save_site(c, load_site(place / "sites" / "million.toml"), "bench", "points", datetime.now(UTC))
    file = place / "EGMS_L2b_drawn.csv"
    draw(file, points, asked.dates)
    found: dict[str, Any] = {
        "points": points, "acquisitions": asked.dates, "file_mib": round(file.stat().st_size / 2**20)
    }  # fmt: skip
    environment = {**os.environ, "SLOPEWARD_CONFIG": str(config)}
    own = [sys.executable, "-m", "monitor.cli.main"]
    evaluate = [*own, "evaluate", "--site", "million", "--dry-run", "--json"]
    read = [*own, "anomalies", "points", "--site", "million", "--json"]
    measure("import", [*own, "ingest", str(file), *INGEST], found, environment)
    measure("look", [sys.executable, "-m", __spec__.name, "--look", str(config)], found, environment)
    measure("recompute", [*read, "--recompute"], found, environment)
    measure("read", read, found, environment)
    measure("evaluate", evaluate, found, environment)
    with Database(url) as db:
        place_many(db, asked.placed)
    measure("evaluate_beside_placed", evaluate, found, environment)
    return found


def place_many(db: Database, count: int) -> None:
    """Points of another track, without a value: what looks for points around a station sees all of them."""
    chance = np.random.default_rng(29)
    with db.write() as c:
        set_id = open_point_set(c, "million", "other", "los", "mm")
        for begin in range(0, count, AT_ONCE):
            places = chance.uniform(-0.25, 0.25, (min(AT_ONCE, count - begin), 2)).tolist()
            rows = [
                {"point_set_id": set_id, "pid": f"O{begin + k:07d}", "latitude": 46.0 + north, "longitude": 8.0 + east}
                for k, (north, east) in enumerate(places)
            ]
            c.execute(insert(point), rows)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--dates", type=int, default=80)
    parser.add_argument("--placed", type=int, default=1_000_000)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--look", type=Path, help="of a child")
    asked = parser.parse_args()
    if asked.look:
        print(look(asked.look))
        return
    figures: dict[str, Any] = read_figures("points-many") or {}
    kind = "postgresql" if asked.postgresql else "sqlite"
    figures[kind] = {}
    for points in asked.points:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            place = Path(folder)
            place.chmod(0o755)
            server = PostgresServer(place, durable=True) if asked.postgresql else None
            try:
                if server is not None:
                    server.execute("CREATE DATABASE many")
                url = f"sqlite:///{place}/bench.db" if server is None else server.url("many")
                figures[kind][str(points)] = run_size(place, url, points, asked)
            finally:
                if server is not None:
                    server.stop()
    record("points-many", "python -m tests.bench.service.bench_many_points [--postgresql]", figures)


if __name__ == "__main__":
    main()

"""Many satellite points as a user brings them: a file, `slopeward ingest`, the job `points`, evaluation, `--recompute`.

    python -m tests.bench.service.bench_many_points [--points 20000 100000] [--dates 80] [--postgresql]
        [--folder DIR] [--steps fill forecast look ...]

Drawn points of one track in the form of an EGMS product: creep, a season, noise and an air that all share. Each step is
a process of its own, so that its processor seconds and its largest memory (its own, or that of its largest worker) are
told apart. Two numbers of points say what grows with them. Then the site is evaluated beside `--placed` points without
values, half a degree around its station. Figures go to `points-many.json`, by database. What lies in `--folder` stays,
and later steps go on from there: a million points need an hour, and not all steps at once. `fill` takes the place of
the import where that is not what is asked: 10,000 of the drawn points over and over, each time by another factor,
written by the database itself.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from sqlalchemy import insert, text

from monitor.config.service import load_service, load_site
from monitor.ingest.files.egms import open_egms
from monitor.ingest.files.points import PointsFile, read_points
from monitor.ingest.files.reader import ImportOptions
from monitor.jobs import point_forecasts, point_map
from monitor.jobs import points as point_looks
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.readings.points import PointsAdded, add_delivery, open_point_set
from monitor.store.schema.tables import point
from monitor.web.app import build
from tests.bench.record import read_figures, record
from tests.conftest import PostgresServer, create_schema
from tests.data.site_text import head, series, station

STEP: Final = timedelta(days=6)
AT_ONCE: Final = 10_000
FILE: Final = "EGMS_L2b_drawn.csv"
PAGES: Final = (
    "/",
    "/sites/million",
    "/sites/million/instruments",
    "/api/v1/sites/million/forecasts/points",
    "/api/v1/sites/million/forecasts/points?pid=P0004711",
)
MAP: Final = "/api/v1/sites/million/points.geojson"
MAPS: Final = (  # all of the set, a tenth and a hundredth of its sides, as it was known an hour ago, one point
    MAP,
    f"{MAP}?bbox=7.975,45.975,8.025,46.025",
    f"{MAP}?bbox=7.9975,45.9975,8.0025,46.0025",
    f"{MAP}?at={(datetime.now(UTC) - timedelta(hours=1)).isoformat().replace('+00:00', 'Z')}",
    f"{MAP}?days=365",
    "/api/v1/sites/million/points/series?set=track&pid=P0000471",
)
COPY_POINTS: Final = (
    "INSERT INTO point (id, point_set_id, pid, latitude, longitude, height_m) SELECT id + :shift, point_set_id, "
    "'C' || :k || '-' || pid, latitude + 0.000002 * :k, longitude, height_m FROM point WHERE id BETWEEN "
    ":first AND :last ORDER BY id"
)
COPY_VALUES: Final = (
    "INSERT INTO point_observation (point_id, observed_at, revision, received_at, value_raw) SELECT point_id + :shift, "
    "observed_at, revision, received_at, round(value_raw * :by, 1) FROM point_observation "
    "WHERE point_id BETWEEN :first AND :last ORDER BY point_id, observed_at, revision"
)
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


def work(config: Path, job: str) -> str:
    """As the schedule of the service calls a job."""
    service = load_service(config)
    run = {"look": point_looks.run, "forecast": point_forecasts.run, "map": point_map.run}[job]
    with Database(service.database.url) as db:
        return run(db, service, load_site(Path(service.paths.sites) / "million.toml"), datetime.now(UTC))


def fill(config: Path, count: int) -> str:
    """The first 10,000 points of the file by the import, all others from them, in the order of points."""
    service = load_service(config)
    site = load_site(Path(service.paths.sites) / "million.toml")
    now = datetime.now(UTC)
    few = config.with_name("few.csv")
    with few.open("w", encoding="utf-8") as out, config.with_name(FILE).open(encoding="utf-8") as file:
        out.writelines(line for _, line in zip(range(min(count, AT_ONCE) + 1), file, strict=False))
    with Database(service.database.url) as db:
        opened = open_egms(few, ImportOptions(point_set="track"), now)
        read_points(PointsFile(few, site, lambda: now, db, lambda _: None), opened)
        with db.read() as c:
            set_id, first, last = c.execute(text("SELECT point_set_id, min(id), max(id) FROM point")).one()
        for k in range(1, -(-count // AT_ONCE)):
            by = {"k": k, "first": first, "last": last, "shift": k * (last - first + 1), "by": 0.5 + 0.01 * (k % 100)}
            with db.write() as c:
                c.execute(text(COPY_POINTS), by)
                c.execute(text(COPY_VALUES), by)
        with db.write() as c:
            add_delivery(c, site.id, set_id, FILE, datetime.now(UTC), now - STEP, PointsAdded(count))
    return f"{count} points"


def ask_pages(config: Path, addresses: Sequence[str]) -> str:
    """What a person opens, asked of the page itself: status, bytes, processor seconds of each, the second time.

    The last number is by how many MiB the largest size of the process grew by that answer.
    """
    service = load_service(config)
    found = {}
    with Database(service.database.url) as db:
        web = httpx.ASGITransport(app=build(service, db))
        found = asyncio.run(_ask(web, addresses))
    return json.dumps(found)


async def _ask(web: httpx.ASGITransport, addresses: Sequence[str]) -> dict[str, list[float]]:
    found = {}
    async with httpx.AsyncClient(transport=web, base_url="http://127.0.0.1:8080", timeout=600.0) as client:
        for address in addresses:
            before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await client.get(address)
            begun_s = time.process_time()
            answer = await client.get(address)
            grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
            found[address] = [
                answer.status_code,
                len(answer.content),
                round(time.process_time() - begun_s, 3),
                round(grown_mib),
            ]
    return found


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
    said = " ".join(done.stdout.split())[-2000:]
    found[name] = {
        "cpu_s": round(cpu_s, 1),
        "wall_s": round(time.monotonic() - begun_s),
        "peak_mib": round(peak_mib),
        "status": done.returncode,
    }
    if name in {"look", "forecast", "map", "pages", "map_pages"}:
        found[name]["said"] = json.loads(said) if name.endswith("pages") else said
    print(name, found[name], flush=True)
    return said


def run_size(place: Path, url: str, points: int, asked: argparse.Namespace, found: dict[str, Any]) -> None:
    """Every step that is asked for; the first of all on an empty database."""
    config = place / "slopeward.toml"
    if not config.exists():
        prepare(place, url, points, asked)
    found |= {
        "points": points,
        "acquisitions": asked.dates,
        "file_mib": round((place / FILE).stat().st_size / 2**20),
    }
    environment = {**os.environ, "SLOPEWARD_CONFIG": str(config)}
    own, this = [sys.executable, "-m", "monitor.cli.main"], [sys.executable, "-m", __spec__.name, "--work", str(config)]
    ahead = [*own, "forecast", "points", "--site", "million", "--json"]
    take_out = [*own, "export", "million", "--force"]
    evaluate = [*own, "evaluate", "--site", "million", "--dry-run", "--json"]
    read = [*own, "anomalies", "points", "--site", "million", "--json"]
    commands = {
        "import": [*own, "ingest", str(place / FILE), *INGEST],
        "fill": [*this, "fill", "--points", str(points)],
        "forecast": [*this, "forecast"],
        "forecast_list": [*ahead, "--most", "10"],
        "forecast_recompute": [*ahead, "--most", "0", "--recompute"],
        "export_forecasts_csv": [*take_out, "point-forecasts", "--out", str(place / "forecasts.csv")],
        "export_points_parquet": [*take_out, "insar-points", "--out", str(place / "points.parquet")],
        "export_points_gpkg": [*take_out, "insar-points", "--out", str(place / "points.gpkg")],
        "pages": [*this, "pages"],
        "map": [*this, "map"],
        "map_pages": [*this, "map_pages"],
        "look": [*this, "look"],
        "recompute": [*read, "--recompute"],
        "read": read,
        "evaluate": evaluate,
        "evaluate_beside_placed": evaluate,
    }
    for name, command in commands.items():
        if name not in asked.steps if asked.steps else name == "fill":
            continue
        if name == "evaluate_beside_placed":
            with Database(url) as db:
                place_many(db, asked.placed)
        measure(name, command, found, environment)
        if name in {"import", "fill"} and url.startswith("sqlite"):
            found["database_mib"] = round(sum(f.stat().st_size for f in place.glob("bench.db*")) / 2**20)


def prepare(place: Path, url: str, points: int, asked: argparse.Namespace) -> None:
    """An empty database with the site, and the file."""
    (place / "sites").mkdir()
    (place / "sites" / "million.toml").write_text(SITE, encoding="utf-8")
    create_schema(url)
    with Database(url) as db, db.write() as c:
        save_site(c, load_site(place / "sites" / "million.toml"), "bench", "points", datetime.now(UTC))
    if not (place / FILE).exists():
        draw(place / FILE, points, asked.dates)
    text = f'[database]\nurl = "{url}"\n[paths]\nsites = "{place}/sites"\n'
    (place / "slopeward.toml").write_text(text, encoding="utf-8")


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
    parser.add_argument("--folder", type=Path, help="where file and database of each size lie, and stay")
    parser.add_argument("--steps", nargs="*", help="these alone; all where none is named")
    parser.add_argument("--work", nargs=2, help="of a child: the service file, and what to do")
    asked = parser.parse_args()
    if asked.work:
        config, job = Path(asked.work[0]), asked.work[1]
        jobs = {"fill": lambda: fill(config, asked.points[0]), "pages": lambda: ask_pages(config, PAGES)}
        jobs["map_pages"] = lambda: ask_pages(config, MAPS)
        print(jobs.get(job, lambda: work(config, job))())
        return
    figures: dict[str, Any] = read_figures("points-many") or {}
    kind = "postgresql" if asked.postgresql else "sqlite"
    of_kind = figures.setdefault(kind, {})
    for points in asked.points:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            place = Path(folder) if asked.folder is None else asked.folder / f"points-{points}"
            place.mkdir(exist_ok=True)
            place.chmod(0o755)
            server = PostgresServer(place, durable=True) if asked.postgresql else None
            try:
                if server is not None:
                    server.execute("CREATE DATABASE many")
                url = f"sqlite:///{place}/bench.db" if server is None else server.url("many")
                run_size(
                    place,
                    url,
                    points,
                    asked,
                    of_kind.setdefault(str(points) + ("" if asked.dates == 80 else f"x{asked.dates}"), {}),
                )
            finally:
                record("points-many", "python -m tests.bench.service.bench_many_points [--postgresql]", figures)
                if server is not None:
                    server.stop()


if __name__ == "__main__":
    main()

"""A million satellite points as a user brings them: a file, `slopeward ingest`, the job `points`, evaluation, `--recompute`.

    python -m tests.bench.service.bench_million_points [--points 1000000] [--dates 80] [--postgresql] [--recompute]

Drawn points of one track in the form of an EGMS product: creep, a season, noise and an air that all share. Each step is
a process of its own, so that its processor seconds and its largest memory (its own, and that of its largest worker) are
told apart. Figures go to `points-million.json`, by database.
"""  # noqa: E501

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

from monitor.config.service import load_service, load_site
from monitor.jobs.points import run
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from tests.bench.record import read_figures, record
from tests.conftest import PostgresServer, create_schema
from tests.data.site_text import head, series, station

STEP: Final = timedelta(days=6)
AT_ONCE: Final = 10_000
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
        file.write("pid,latitude,longitude," + ",".join(f"{newest - STEP * (dates - 1 - k):%Y%m%d}" for k in range(dates)) + "\n")
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
        "status": done.returncode, "said": said,
    }  # fmt: skip
    print(name, found[name], flush=True)
    return said


def run_all(place: Path, url: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Every step on an empty database."""
    (place / "sites").mkdir()
    (place / "sites" / "million.toml").write_text(SITE, encoding="utf-8")
    config = place / "slopeward.toml"
    config.write_text(f'[database]\nurl = "{url}"\n[paths]\nsites = "{place}/sites"\n', encoding="utf-8")
    create_schema(url)
    with Database(url) as db, db.write() as c:
        save_site(c, load_site(place / "sites" / "million.toml"), "bench", "points", datetime.now(UTC))
    file = place / "EGMS_L2b_drawn.csv"
    draw(file, asked.points, asked.dates)
    found: dict[str, Any] = {
        "points": asked.points, "acquisitions": asked.dates, "file_mib": round(file.stat().st_size / 2**20)
    }  # fmt: skip
    environment = {**os.environ, "SLOPEWARD_CONFIG": str(config)}
    own = [sys.executable, "-m", "monitor.cli.main"]
    steps = {
        "import": [*own, "ingest", str(file), "--site", "million", "--format", "egms", "--set", "track", "--json"],
        "look": [sys.executable, "-m", __spec__.name, "--look", str(config)],
        "evaluate": [*own, "evaluate", "--site", "million", "--dry-run", "--json"],
        "read": [*own, "anomalies", "points", "--site", "million", "--json"],
    }
    if asked.recompute:
        steps["recompute"] = [*own, "anomalies", "points", "--site", "million", "--recompute", "--json"]
    for name, command in steps.items():
        measure(name, command, found, environment)
    if url.startswith("sqlite"):
        found["database_gib"] = round(sum(f.stat().st_size for f in place.glob("bench.db*")) / 2**30, 2)
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--dates", type=int, default=80)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--look", type=Path, help="of a child")
    parser.add_argument("--in", dest="place", default="/var/tmp")
    asked = parser.parse_args()
    if asked.look:
        print(look(asked.look))
        return
    figures: dict[str, Any] = read_figures("points-million") or {}
    with tempfile.TemporaryDirectory(dir=asked.place) as folder:
        place = Path(folder)
        place.chmod(0o755)
        if asked.postgresql:
            (place / "server").mkdir(mode=0o755)
            server = PostgresServer(place / "server", durable=True)
            try:
                server.execute("CREATE DATABASE million")
                figures["postgresql"] = run_all(place, server.url("million"), asked)
            finally:
                server.stop()
        else:
            figures["sqlite"] = run_all(place, f"sqlite:///{place}/bench.db", asked)
    record("points-million", "python -m tests.bench.service.bench_million_points [--postgresql] [--recompute]", figures)


if __name__ == "__main__":
    main()

"""A year of ten hourly stations through the decision: seconds, looks and memory, for one and for two configurations.

    python -m packages.lab.benchmarks.forecasting.bench_backtest

The limit is 60 s for one configuration on two cores. It uses one of them, so that on an idle machine `seconds` is about
`processor_seconds`; `within` goes by the processor, which other programs on the machine disturb less.

`python -m tests.bench --only replay` measures the first case on SQLite and PostgreSQL, beside the decisions alone.
"""

import json
import os
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from monitor.alerts.replay import clock
from monitor.alerts.replay.backtest import run_backtest
from monitor.features.demo.slope import SITE_ID, SlopeModel
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from tests.bench.record import LAB_RESULTS
from tests.data.simulated_slope import write_site_toml

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
BAR_S: Final = 60.0
CHUNK: Final = 5000
MIXED: Final = {"G1", "G2", "G3", "C1", "R1", "P1", "E1", "T1", "W1", "C2"}


def fill(db: Database, model: SlopeModel, site: Site, names: set[str]) -> int:
    """Store what the stations of these names said, each half a minute after its epoch; returns the rows."""
    rows: list[Observation] = []
    total = 0
    for sample in model.samples():
        if sample.station not in names:
            continue
        at = sample.at
        for quantity, unit, value in spell(sample.payload):
            rows.append(Observation(site.id, sample.station, quantity, unit, at, at + timedelta(seconds=30), value))
        if len(rows) > CHUNK:
            total += store(db, rows)
    return total + store(db, rows)


def spell(payload: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Quantity, unit and value of what one payload of the simulator holds."""
    if "gnss" in payload:
        parts = ("displacement_east", "displacement_north", "displacement_up")
        return [(q, "mm", v) for q, v in zip(parts, payload["gnss"]["enu_mm"], strict=True)]
    units = {"rain_mm": "mm", "pore_pressure_kpa": "kPa", "crack_opening_mm": "mm", "reservoir_level_m": "m"}
    units |= {"tilt_x_mrad": "mrad", "tilt_y_mrad": "mrad"}
    return [(k.rpartition("_")[0], unit, payload[k]) for k, unit in units.items() if k in payload]


def store(db: Database, rows: list[Observation]) -> int:
    with db.write() as c:
        add_observations(c, rows, START)
    count = len(rows)
    rows.clear()
    return count


def prepare(db: Database, movers: int, names: set[str], duration: timedelta) -> tuple[Site, str, int]:
    """Fill an empty database; return the site, the text of its site file, and the number of readings."""
    model = SlopeModel(7, movers, START, duration=duration, onset_at=START + 0.8 * duration)
    text = write_site_toml(model)
    site = parse_site(text, "bench.toml")
    assert site.id == SITE_ID
    upgrade(db)
    with db.write() as c:
        save_site(c, site, "bench", "bench", START)
    return site, text, fill(db, model, site, names)


def measure_replay(url: str, duration: timedelta) -> tuple[float, float]:
    """Return the seconds of a replay of ten mixed stations, and the seconds of its decisions alone."""
    decide = clock.decide
    decision_s = 0.0

    def decide_and_time(*arguments: Any) -> Any:
        nonlocal decision_s
        started_s = time.perf_counter()
        decision = decide(*arguments)
        decision_s += time.perf_counter() - started_s
        return decision

    with Database(url) as db, patch.object(clock, "decide", decide_and_time):
        site, _, _ = prepare(db, 3, MIXED, duration)
        started_s = time.perf_counter()
        run_backtest(db, site, START, START + duration)
        return time.perf_counter() - started_s, decision_s


def measure(name: str, movers: int, names: set[str]) -> dict[str, Any]:
    end = START + YEAR
    with tempfile.TemporaryDirectory() as folder, Database(f"sqlite:///{Path(folder)}/bench.db") as db:
        site, text, rows = prepare(db, movers, names, YEAR)
        other = parse_site(text.replace("over = 3.0", "over = 2.5"), "bench.toml")
        begun, cpu = time.monotonic(), time.process_time()
        run = run_backtest(db, site, START, end).runs[0]
        alone, busy = time.monotonic() - begun, time.process_time() - cpu
        begun = time.monotonic()
        run_backtest(db, site, START, end, other=other)
        both = round(time.monotonic() - begun, 1)
    return {
        "case": name,
        "stations": len(names),
        "rows": rows,
        "days": YEAR.days,
        "looks": run.looks,
        "seconds": round(alone, 1),
        "processor_seconds": round(busy, 1),
        "ms_per_look": round(1e3 * busy / run.looks, 2),
        "seconds_two_configurations": both,
        "bar_s": BAR_S,
        "bar_by": "processor_seconds",
        "within": busy < BAR_S,
        "load_at_end": round(os.getloadavg()[0], 1),
        "levels": len(run.levels),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0),
    }


def main() -> None:
    figures = [
        measure("ten stations: 5 GNSS, rain, pressure, crack, tilt, level", 3, MIXED),
        measure("ten GNSS stations (east, north, up)", 8, {*(f"G{i}" for i in range(1, 9)), "C1", "C2"}),
    ]
    print(json.dumps(figures, indent=1))
    print(LAB_RESULTS.store("backtest", "python -m packages.lab.benchmarks.forecasting.bench_backtest", figures))


if __name__ == "__main__":
    main()

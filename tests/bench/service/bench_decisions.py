"""What a decision costs: a new sample after long and after short history, a thousand series a minute.

    python -m tests.bench.service.bench_decisions [--quick]   # small sizes, no record

Hourly GNSS with east, north and up on SQLite. Figures are processor time of this process; the ratio is made in one run,
one sample here, one there. `warm` holds what the service holds between evaluations, `cold` begins anew each time.
"""

import random
import statistics
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.alerts.evaluate import Evaluator, evaluate_site
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Criterion, Dwell, SeriesSpec, Site, Threshold
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from tests.bench.record import SERVICE_RESULTS, measure_cpu_s, parse_options
from tests.bench.service.slopes import make_site
from tests.data.criteria import KINDS

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY_S = timedelta(hours=1), 86400.0
COMPONENTS = ("displacement_east", "displacement_north", "displacement_up")


def slope(name: str) -> Site:
    """Ten hourly GNSS stations with three bounds and a dwell."""
    names = [f"G{k:02d}" for k in range(10)]
    bounds = (
        Threshold(1, over=4.0, window_s=3 * DAY_S),
        Threshold(2, over=16.0, window_s=DAY_S),
        Threshold(3, over=60.0, window_s=0.5 * DAY_S),
    )
    lasts = {"dwell": Dwell(3, 4, DAY_S), "recover": 0.6, "valid_for_s": 2 * DAY_S}
    moved = Criterion("velocity", KINDS["velocity"], tuple(names), "displacement", bounds, **lasts)
    return make_site(
        name, names, SeriesSpec("", "displacement", "mm", 3600.0, 6 * 3600.0, 0.5, 20.0), criteria=(moved,)
    )


def sample(site: Site, at: datetime, rng: random.Random) -> list[Observation]:
    """One epoch of every station: noise."""
    return [
        Observation(site.id, s.id, q, "mm", at, at + timedelta(seconds=60), rng.gauss(0.0, 1.0), 1.0)
        for s in site.stations
        for q in COMPONENTS
    ]


def fill(db: Database, site: Site, hours: int) -> None:
    """Hourly history up to NOW."""
    rng = random.Random(hours)
    with db.write() as c:
        save_site(c, site, "bench", "bench", NOW)
    known: dict[tuple[str, str, str], tuple[int, str]] = {}
    for first in range(0, hours, 48):
        rows = [
            o for k in range(first, min(hours, first + 48)) for o in sample(site, NOW - (hours - 1 - k) * HOUR, rng)
        ]
        with db.write() as c:
            add_observations(c, rows, NOW, known)


def measure_history(folder: Path, long_days: int, samples: int) -> dict[str, float]:
    """A new sample of ten stations stored and evaluated, after long and after ten days of history."""
    found: dict[str, list[float]] = {k: [] for k in ("long warm", "short warm", "long cold", "short cold")}
    site = slope("slope")
    databases = {"long": open_new(folder, "long"), "short": open_new(folder, "short")}
    fill(databases["long"], site, long_days * 24)
    fill(databases["short"], site, 10 * 24)
    evaluators = {name: Evaluator() for name in databases}
    known: dict[str, dict[tuple[str, str, str], tuple[int, str]]] = {name: {} for name in databases}  # as ingest has it
    for k in range(1, samples + 1):
        at = NOW + k * HOUR
        rows = sample(site, at, random.Random(k))
        for name in ("long", "short") if k % 2 else ("short", "long"):
            db = databases[name]

            def store(name: str = name, rows: list[Observation] = rows, at: datetime = at) -> None:
                with databases[name].write() as c:
                    add_observations(c, rows, at, known[name])

            stored = measure_cpu_s(store)
            now = at + timedelta(seconds=61)
            warm = measure_cpu_s(lambda name=name, db=db, now=now: evaluators[name](db, site, now, "data"))
            cold = measure_cpu_s(lambda db=db, now=now: evaluate_site(db, site, now, "data", dry_run=True))
            if k > 3:
                found[f"{name} warm"].append(stored + warm)
                found[f"{name} cold"].append(stored + cold)
    for db in databases.values():
        db.close()
    middle = {key: statistics.median(values) * 1e3 for key, values in found.items()}
    return {
        "long_days": long_days,
        "short_days": 10,
        "samples": samples,
        **{f"{key.replace(' ', '_')}_ms": round(value, 2) for key, value in middle.items()},
        "ratio_warm": round(middle["long warm"] / middle["short warm"], 3),
        "ratio_cold": round(middle["long cold"] / middle["short cold"], 3),
    }


def measure_many(folder: Path, sites: int, minutes: int) -> dict[str, float]:
    """Every series of many sites gets a sample and is evaluated; share of a core when that happens each minute."""
    db, evaluator = open_new(folder, "many"), Evaluator()
    slopes = [slope(f"slope{k:03d}") for k in range(sites)]
    for site in slopes:
        fill(db, site, 8 * 24)
    for site in slopes:
        evaluator(db, site, NOW + timedelta(seconds=61), "start")
    used = []
    for k in range(1, minutes + 1):
        at = NOW + k * HOUR
        for site in slopes:
            with db.write() as c:
                add_observations(c, sample(site, at, random.Random(k)), at)
        now = at + timedelta(seconds=61)
        used.append(measure_cpu_s(lambda now=now: [evaluator(db, site, now, "data") for site in slopes]))
    db.close()
    series = sites * 10 * len(COMPONENTS)
    seconds = statistics.median(used) * 1000.0 / series
    return {"series": series, "cpu_s_per_1000_series": round(seconds, 2), "share_of_a_core": round(seconds / 60.0, 3)}


def open_new(folder: Path, name: str) -> Database:
    """A new SQLite database."""
    db = Database(f"sqlite:///{folder}/{name}.db")
    upgrade(db)
    return db


def main() -> None:
    """Measure and record."""
    quick = parse_options(__doc__, quick=False).quick
    with tempfile.TemporaryDirectory() as name:
        figures = {
            "new_sample": measure_history(Path(name), *((60, 12) if quick else (3 * 365, 60))),
            "many_series": measure_many(Path(name), *((4, 2) if quick else (34, 5))),
        }
    print(figures)
    bars = {
        "a new sample costs the same": figures["new_sample"]["ratio_warm"] <= 1.2,
        "1,000 series a minute below 0.2 of a core": figures["many_series"]["share_of_a_core"] < 0.2,
    }
    print(bars)
    if not quick:
        print(
            SERVICE_RESULTS.store(
                "decisions", "python -m tests.bench.service.bench_decisions", figures | {"bars": bars}
            )
        )


if __name__ == "__main__":
    main()

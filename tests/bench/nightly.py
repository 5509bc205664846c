"""A night of the service over drawn sites: every job through the real worker processes, one after another."""

import random
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.observation import Observation
from monitor.domain.site import Site
from monitor.jobs.forecasts import run, train
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.readings.observations import add_observations
from monitor.store.schema.tables import forecast as forecasts
from monitor.store.upkeep.migrate import upgrade
from tests.data.site_text import THREE, head, series, station

START = datetime(2023, 1, 1, tzinfo=UTC)
FORECAST = {"models": ["auto", "gru"], "horizons": ["1d", "7d", "30d"]}


def draw_site(name: str, stations: int) -> Site:
    """A site of daily stations that asks for `auto` and `gru`."""
    daily = series("displacement", "mm", "1d", max_silence="3d")
    text = head(name, name, 46.2, 8.9, timezone="UTC", levels=THREE, forecast=FORECAST)
    return parse_site(text + "".join(station(f"G{i}", daily) for i in range(stations)), f"{name}.toml")


def fill(db: Database, site: Site, days: int, seed: int) -> None:
    """Creep that quickens and slackens, with the noise of a GNSS day."""
    noise = random.Random(seed)
    rows = []
    for i, one in enumerate(site.stations):
        level, rate = 0.0, 0.2 + 0.05 * i
        for day in range(days):
            rate = max(0.0, rate + noise.gauss(0.0, 0.01))
            level += rate
            at = START + timedelta(days=day)
            value = level + noise.gauss(0.0, 0.8)
            rows.append(Observation(site.id, one.id, "displacement", "mm", at, at + timedelta(minutes=5), value))
    with db.write() as c:
        add_observations(c, rows, START + timedelta(days=days))


def run_night(*, sites: int, stations: int, days: int) -> dict[str, Any]:
    """Train, issue and score for every site; wall seconds by kind of work, and what all of it took with its workers."""
    took: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="slopeward-night-") as name:
        folder = Path(name)
        db = Database(f"sqlite:///{folder / 'night.db'}")
        try:
            upgrade(db)
            config = ServiceConfig.model_validate({"paths": {"models": str(folder / "models")}})
            drawn = [draw_site(f"night{k:02d}", stations) for k in range(sites)]
            for seed, site in enumerate(drawn):
                with db.write() as c:
                    save_site(c, site, "bench", "bench", START)
                fill(db, site, days + 1, seed)
            first = START + timedelta(days=days - 1, hours=1)
            used = _processor_s()
            for site in drawn:
                for key, job, now in (
                    ("train", train, first),
                    ("issue", run, first),
                    ("again", run, first + timedelta(days=1)),
                ):
                    begun = time.perf_counter()
                    job.run(db, config, site, now)
                    took[key].append(time.perf_counter() - begun)
            used = _processor_s() - used
            with db.read() as c:
                rows = c.execute(select(func.count()).select_from(forecasts)).scalar_one()
        finally:
            db.close()
    out: dict[str, Any] = {f"{key}_s": round(sum(each), 1) for key, each in took.items()}
    out |= {f"{key}_s_per_site": round(statistics.median(each), 1) for key, each in took.items()}
    night = round(sum(took["train"]) + sum(took["again"]), 1)
    return out | {
        "sites": sites,
        "night_s": night,
        "all_cpu_s": round(used, 1),
        "forecast_rows": rows,
        "peak_mib": _peak_mib(resource.RUSAGE_SELF),
        "worker_peak_mib": _peak_mib(resource.RUSAGE_CHILDREN),
    }


def _peak_mib(who: int) -> int:
    """Most memory that this process, or the largest worker, ever held."""
    return round(resource.getrusage(who).ru_maxrss / 1024)


def _processor_s() -> float:
    """Of this process and the workers that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)

"""What a cycle of the anomaly job costs with ten thousand series, and a look at a thousand instruments.

    python -m packages.lab.benchmarks.anomaly.bench_anomaly_scale

Figures are processor seconds of this process, the median of five cycles. A cycle is what the service does when every series has
one new reading: `rules` with all parts, the neighbours taken off, and all checks. `scoring` begins with the readings in
memory; `job` reads them from SQLite and stores the scores: 10 sites of 1,000 stations. The reference is the robust z of the same
readings in bare numpy: the newest one less the median of the ninety before, over their median absolute deviation.
"""  # noqa: E501

import gc
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import numpy as np
from sqlalchemy import insert

from detection.anomaly.detector import start_without_history
from detection.anomaly.parts import score_parts
from detection.anomaly.running.state import DetectorState
from detection.anomaly.windows import Series
from monitor.features.anomalies import jobs as anomaly
from monitor.features.anomalies.queries.scores import AnomalyRow, add_anomalies
from monitor.features.instruments import jobs as instruments
from monitor.readings.queries.observations import load_series
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import series
from monitor.settings.service import ServiceConfig
from monitor.sites.queries.sites import save_site
from monitor.sites.records import SeriesSpec, Site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.text.instants import epoch_s
from monitor.worker.garbage_collection import freeze_startup_objects
from tests.bench.databases import open_database
from tests.bench.record import LAB_RESULTS, measure_cpu_s
from tests.bench.service.bench_views import Filler
from tests.bench.service.slopes import make_site

SERIES, CYCLES, HISTORY = 10_000, 5, 900
SITES, DAYS, INSTRUMENTS, STRANGE_DAYS = 10, 150, 1000, 60
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CONFIG = ServiceConfig.model_validate({})


class Waiting(threading.Thread):
    """The longest that another thread of this process waits for its turn while something runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.longest_s, self._over = 0.0, threading.Event()

    def run(self) -> None:
        before = time.perf_counter()
        while not self._over.wait(0.005):
            now = time.perf_counter()
            self.longest_s, before = max(self.longest_s, now - before), now

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def measure_scoring() -> dict[str, Any]:
    """Cycles of one site with all series in memory, daily and hourly ones; and a whole pass as it was before."""
    rng = np.random.default_rng(1)
    common = rng.normal(0, 1, HISTORY + CYCLES)
    values = np.round(rng.normal(0, 1, (SERIES, HISTORY + CYCLES)) + common, 3)

    def refer() -> Any:
        before = values[:, -91:-1]
        middle = np.median(before, axis=1)
        return np.abs(values[:, -1] - middle) / (1.4826 * np.median(np.abs(before - middle[:, None]), axis=1))

    reference_s = statistics.median(measure_cpu_s(refer) for _ in range(CYCLES))
    out: dict[str, Any] = {"series": SERIES, "robust_z_s": round(reference_s, 4)}
    for name, step_s in (("daily", 86400.0), ("hourly", 3600.0)):
        times = 1e4 * 86400.0 + step_s * np.arange(HISTORY + CYCLES)
        samples = {f"G{k:05}": Series(times[:HISTORY], row[:HISTORY], step_s) for k, row in enumerate(values)}
        thresholds = {p: t.value for p, t in start_without_history("rules", step_s).thresholds.items()}
        begun = time.process_time()
        with Waiting() as waiting:
            running = DetectorState(samples, {"rules": thresholds}, times[HISTORY - 1])
        made_s = time.process_time() - begun

        def cycle(column: int) -> None:
            running.add_readings(list(samples), [times[column]] * SERIES, values[:, column].tolist())  # noqa: B023 - called at once
            found, _ = running.score_new()  # noqa: B023
            assert len(found["rules"]) == SERIES

        took = statistics.median(measure_cpu_s(lambda c=c: cycle(c)) for c in range(HISTORY, HISTORY + CYCLES))
        out[name] = {
            "cycle_s": round(took, 3),
            "times_robust_z": round(took / reference_s, 1),
            "made_anew_ms_a_series": round(1000 * made_s / SERIES, 2),
            "made_anew_longest_wait_s": round(waiting.longest_s, 3),
        }
    row = np.concatenate([rng.normal(0, 1, 2500)])
    ten = {f"G{k}": Series(86400.0 * np.arange(2500), rng.permutation(row), 86400.0) for k in range(10)}
    out["whole_pass_of_2500_ms_a_series"] = round(
        100 * statistics.median(measure_cpu_s(lambda: score_parts(ten)) for _ in range(CYCLES)), 1
    )
    return out


def slope(name: str, stations: int, step_s: float, *more: SeriesSpec) -> Site:
    moved = SeriesSpec("", "displacement", "mm", step_s, 5 * step_s)
    return make_site(name, [f"S{k:04}" for k in range(stations)], moved, *more)


def fill(db: Database, sites: list[Site], quantities: dict[str, str], step_s: float, rows: int) -> None:
    with db.write() as c:
        f, end = Filler(c), int(epoch_s(NOW))
        c.execute(
            insert(series),
            [
                {"site": site.id, "station": s.id, "quantity": q, "unit": unit, "created_at": NOW - 400 * DAY}
                for site in sites
                for s in site.stations
                for q, unit in quantities.items()
            ],
        )
        at = f.instant(f"{end} - n.k * {int(step_s)}")
        noise = "(abs(random()) % 2000 + abs(random()) % 2000) * 0.0005" if f.sqlite else "random() + random()"
        f.run(
            "INSERT INTO observation (series_id, observed_at, revision, received_at, value_raw, flags)"
            f" SELECT s.id, {at}, 0, {f.instant(f'{end} + 60 - n.k * {int(step_s)}')}, 12.0 + {noise}, ''"
            f" FROM series s CROSS JOIN {f.numbers(rows)} n ORDER BY s.id, n.k DESC"
        )


def measure_job(db: Database) -> dict[str, Any]:
    sites = [slope(f"site-{k}", SERIES // SITES, 86400.0) for k in range(SITES)]
    fill(db, sites, {"displacement": "mm"}, 86400.0, DAYS)
    first_s = 0.0
    for site in sites:
        first_s += measure_cpu_s(lambda site=site: anomaly.run(db, CONFIG, site, NOW + timedelta(hours=1)))  # type: ignore[misc]
        if site is sites[0]:  # as the service does when the first run of a job has ended
            gc.enable()
            freeze_startup_objects()
    rng = np.random.default_rng(2)
    took, wall = [], []
    for day in range(1, CYCLES + 1):
        at = NOW + day * DAY
        for site in sites:
            values = np.round(13.0 + rng.uniform(-1, 1, len(site.stations)), 4).tolist()
            rows = [
                Observation(site.id, s.id, "displacement", "mm", at, at + timedelta(minutes=1), value)
                for s, value in zip(site.stations, values, strict=True)
            ]
            with db.write() as c:
                add_observations(c, rows, rows[-1].received_at)
        begun = time.perf_counter()
        took.append(sum(measure_cpu_s(lambda s=s: anomaly.run(db, CONFIG, s, at + timedelta(hours=1))) for s in sites))  # noqa: B023
        wall.append(time.perf_counter() - begun)
    return {
        "series": SERIES,
        "sites": SITES,
        "cycle_s": round(statistics.median(took), 2),
        "cycle_wall_s": round(statistics.median(wall), 2),
        "first_look_s": round(first_s, 1),
    }


def measure_instruments(db: Database) -> dict[str, Any]:
    """The board of a site: two weeks of battery and displacement, every six hours."""
    spec = SeriesSpec("", "battery_voltage", "V", 6 * 3600.0, 2 * 86400.0, empty=11.4)
    site = slope("board", INSTRUMENTS, 6 * 3600.0, spec)
    with db.write() as c:
        save_site(c, site, "bench", "bench", NOW - 400 * DAY)
    fill(db, [site], {"displacement": "mm", "battery_voltage": "V"}, 6 * 3600.0, 4 * 16)
    look = lambda: instruments.run(db, CONFIG, site, NOW)  # noqa: E731
    look()
    look_s = statistics.median(measure_cpu_s(look) for _ in range(3))
    with db.write() as c:
        ids = [one.id for one in load_series(c, site.id) if one.quantity == "displacement"]
        for back in range(STRANGE_DAYS * 4):
            at = NOW - back * DAY / 4
            add_anomalies(c, [AnomalyRow(i, at, "rules", 2.0, 1.0, 0.1, "drift", alerted=True) for i in ids], at)
    strange_s = statistics.median(measure_cpu_s(look) for _ in range(3))
    return {"instruments": INSTRUMENTS, "look_s": round(look_s, 2), "all_strange_for_60_days_s": round(strange_s, 2)}


def main() -> None:
    figures = dict(LAB_RESULTS.load_figures("anomalies-scale") or {})
    figures["scoring"] = measure_scoring()
    for name, part in {"job": measure_job, "instruments": measure_instruments}.items():
        with open_database("sqlite") as url, Database(url) as db:
            upgrade(db)
            figures[name] = part(db)
    print(figures)
    LAB_RESULTS.store("anomalies-scale", "python -m packages.lab.benchmarks.anomaly.bench_anomaly_scale", figures)


if __name__ == "__main__":
    main()

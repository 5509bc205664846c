"""Lives of slopes up to their failure or their fastest week, and what the service shows at one moment of a life."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from forecasting.data.series import DAY_S, Floats, panel_from_samples, read_long_csv
from forecasting.data.workbook import read_sheet
from forecasting.kinematics.simulated_collapse import draw_collapse
from forecasting.registry import COMBINED
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.records import Forecast, Withheld
from monitor.features.forecasts.cli.curve_file import read_curve
from tests.bench.record import DATA
from tests.data.measured_curves import INTERVALS, OUTANG, find

DAILY: Final = (DAY_S, 7 * DAY_S)
OFTEN: Final = (DAY_S / 4, *DAILY)
HISTORY: Final = 1200  # rows of the grid that the service reads
FIRST_SEED: Final = 5000
NOISES_MM: Final = (0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Life:
    kind: str
    name: str
    samples: dict[str, tuple[Floats, Floats]]
    step_s: float
    horizons_s: tuple[float, ...]
    end_s: float


def draw_lives(count: int) -> Iterator[Life]:
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        often = seed % 2 == 1
        step = DAY_S / 4 if often else DAY_S
        sigma = NOISES_MM[seed % 3]
        c = draw_collapse(seed, sigma=sigma, interval_s=step, alpha=(1.5, 2.5), rain=True, gaps=True)
        kind = "drawn collapses, each 6 h" if often else "drawn collapses, daily"
        samples = {"S": (np.array(c.times_s), np.array(c.values))}
        yield Life(kind, str(seed), samples, step, OFTEN if often else DAILY, c.failure_s)


def read_lives() -> Iterator[Life]:
    for suffix, interval_s in INTERVALS.items():
        curve = read_curve(find(DATA, "failure-curves", f"pftf_synthetic{suffix}.csv"), "displacement")
        times, values = np.array(curve.times_s), np.array(curve.values)
        step, horizons = (DAY_S, DAILY) if interval_s == DAY_S else (max(interval_s, DAY_S / 16), OFTEN)
        yield Life("published failure curves", f"pftf{suffix}", {"S": (times, values)}, step, horizons, times[-1])
    outang = {}
    for name in OUTANG:
        curve = read_curve(find(DATA, "outang", "monitoring_data.csv"), "displacement", value=f"{name}/mm")
        outang[name] = np.array(curve.times_s), np.array(curve.values)
    motion = np.mean([values for _, values in outang.values()], axis=0)
    peak = _fastest(next(iter(outang.values()))[0], motion, "2017")
    yield Life("Outang 2017", "outang", outang, DAY_S, DAILY, peak)
    noisy = read_long_csv(DATA / "timeseries" / "benchmarks" / "SK.csv")
    known = {name: np.isfinite(noisy.values[:, s]) for s, name in enumerate(noisy.stations)}
    samples = {n: (noisy.times_s[k], noisy.values[k, s]) for s, (n, k) in enumerate(known.items())}
    yield Life("SK", "SK", samples, DAY_S, DAILY, peak + DAY_S / 2)
    rows = read_sheet(find(DATA, "bazimen-baijiabao", "source_sample.xlsx")).to_dict("records")
    column = next(key for key in rows[0] if key.startswith("Total"))
    times = np.array([datetime.fromisoformat(row["Time"]).replace(tzinfo=UTC).timestamp() for row in rows])
    values = np.array([float(row[column]) for row in rows])
    yield Life("Baijiabao 2018", "baijiabao", {"S": (times, values)}, DAY_S, DAILY, _fastest(times, values, "2018"))


def _fastest(times: Floats, values: Floats, year: str) -> float:
    moved = values[7:] - values[:-7]
    inside = [datetime.fromtimestamp(t, UTC).strftime("%Y") == year for t in times[:-7]]
    return float(times[int(np.argmax(np.where(inside, moved, -np.inf))) + 3])


def serve(
    samples: dict[str, tuple[Floats, Floats]], step_s: float, horizons_s: tuple[float, ...], now_s: float
) -> tuple[list[Forecast], list[Withheld]]:
    """Return the forecasts that people would have seen at `now_s`, and what stands in place of the others."""
    since_s = now_s - HISTORY * step_s
    known = {}
    for name, (times, values) in samples.items():
        kept = (times > since_s) & (times <= now_s)
        if kept.any():
            known[name] = times[kept], values[kept]
    issue = issue_forecasts(panel_from_samples(known, step_s, end_s=now_s), horizons_s)
    return [row for row in issue.rows if row.shown], [one for one in issue.withheld if one.model == COMBINED]


def moments(life: Life, span: tuple[float, float], count: int) -> list[float]:
    """Rows of the grid at which something was read, evenly over a part of the life."""
    every = np.concatenate([times for times, _ in life.samples.values()])
    start = float(every.min())
    age = life.end_s - start
    at = [start + age * (span[0] + (span[1] - span[0]) * (k + 0.5) / count) for k in range(count)]
    return [start + math.floor((t - start) / life.step_s) * life.step_s for t in at]

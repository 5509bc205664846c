"""Forecasts of measured satellite points as they are served, on dates that were held out.

    python -m tests.bench.service.bench_point_forecasts [--every 5] [--first 110]

EGMS products: level 2b on Ustica and the vertical and eastward part of level 3. From one acquisition in `--every` on,
the rule is chosen on a thousand points as known then, and all points are forecast; nothing later is read. Coverage of
the interval of 80 %, mean error beside "stays as it is" and the line through the newest 150 intervals, all points and
the fastest tenth of them by the slope of their past. Figures go to `point-forecasts.json`.
"""

import argparse
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from forecasting.data.series import Floats
from forecasting.serving.points import (
    STEPS,
    TREND,
    Choosing,
    Forecasting,
    PointForecast,
    PointRecord,
    choose_rule,
    forecast_points,
    lay_on_grid,
)
from forecasting.simple.baselines import LevelDrift
from monitor.domain.instants import epoch_s
from monitor.ingest.files.egms import open_egms
from monitor.ingest.files.reader import ImportOptions
from monitor.jobs.points import AT_ONCE, LEARN_FROM
from tests.bench.record import record

FOLDER: Final = Path(os.environ["SLOPEWARD_DATA"]) / "timeseries" / "egms"
FILES: Final = {
    "level 2b, Ustica": "EGMS_L2b_022_0845_IW2_VV_2020_2024_1.zip",
    "level 3, up": "EGMS_L3_E45N17_100km_U_2020_2024_1.zip",
    "level 3, east": "EGMS_L3_E45N17_100km_E_2020_2024_1.zip",
}
NOW: Final = datetime(2025, 6, 1, tzinfo=UTC)
HALF_WAVELENGTH_MM: Final = 27.73


def read(path: Path) -> PointRecord:
    """All points of a product."""
    with open_egms(path, ImportOptions(None, "bench"), NOW) as (_, pieces):
        rows = [{epoch_s(v.observed_at): v.value for v in piece.values} for piece in pieces]
    times = sorted({at for row in rows for at in row})
    return PointRecord(np.array(times), np.array([[row.get(at, np.nan) for at in times] for row in rows]))


def forecast(record_: PointRecord, known: int) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Of each horizon that is served from acquisition `known` on: what was forecast of every point, and what came."""
    times_s, values = record_.times_s[:known], record_.values[:, :known]
    chosen = choose_rule(Choosing(PointRecord(times_s, values[:: max(1, len(values) // LEARN_FROM)])))
    if chosen.reason:
        return
    end_s = float(times_s[-1])
    made: list[PointForecast] = []
    for first in range(0, len(values), AT_ONCE):
        table = PointRecord(times_s, values[first : first + AT_ONCE])
        asked = Forecasting(table, end_s, chosen.step_s, chosen.rows, chosen.horizons, HALF_WAVELENGTH_MM / 2.0)
        made += forecast_points(asked).points
    grid = lay_on_grid(PointRecord(times_s, values), end_s, chosen.step_s, chosen.rows)
    last = np.array([len(grid) - 1])
    trend = LevelDrift("trend", STEPS, tuple(TREND for _ in STEPS)).predict(grid, last)[0]
    speed = np.abs(np.nan_to_num(np.array([np.nan if p.value_mm is None else p.value_mm for p in made]) - grid[0]))
    for k, one in enumerate(chosen.horizons):
        after = np.abs(record_.times_s - (end_s + one.steps * chosen.step_s))
        if one.reason or after.min() > 0.01 * chosen.step_s:
            continue
        yield (
            one.steps,
            {
                "seen": record_.values[:, int(after.argmin())],
                "middle": _column([p.middle_mm[k] for p in made]),
                "half": _column([p.half_mm[k] for p in made]),
                "value": _column([p.value_mm for p in made]),
                "trend": trend[:, k],
                "speed": speed,
                "inside_then": np.full(len(made), one.inside),
            },
        )


def _column(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values])


def describe(parts: list[dict[str, Floats]]) -> dict[str, Any]:
    """One horizon over all its origins."""

    def add_up(pick: str) -> dict[str, Any]:
        inside: list[float] = []
        errors: dict[str, list[float]] = {"error_mm": [], "persistence_mm": [], "trend_mm": []}
        for one in parts:
            known = np.isfinite(one["seen"]) & np.isfinite(one["middle"])
            if pick == "fastest":
                known &= one["speed"] >= np.quantile(one["speed"], 0.9)
            miss = np.abs(one["seen"] - one["middle"])[known]
            inside.append(float((miss <= one["half"][known]).mean()))
            errors["error_mm"].append(float(miss.mean()))
            errors["persistence_mm"].append(float(np.abs(one["seen"] - one["value"])[known].mean()))
            errors["trend_mm"].append(float(np.abs(one["seen"] - one["trend"])[known].mean()))
        means = {name: round(float(np.mean(some)), 2) for name, some in errors.items()}
        return {"inside_80": round(float(np.mean(inside)), 3), "least_of_a_date": round(min(inside), 3), **means}

    return {
        "dates": len(parts),
        "all": add_up("all"),
        "fastest_tenth": add_up("fastest"),
        "half_mm": round(float(np.mean([np.nanmean(one["half"]) for one in parts])), 2),
        "withheld": round(float(np.mean([np.isnan(one["middle"]).mean() for one in parts])), 4),
        "inside_80_as_the_issue_said": round(float(np.mean([one["inside_then"].mean() for one in parts])), 3),
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--first", type=int, default=110)
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    for name, file in FILES.items():
        whole = read(FOLDER / file)
        begun_s = time.process_time()
        found: dict[int, list[dict[str, Floats]]] = {}
        for known in range(asked.first, whole.times_s.size, asked.every):
            for steps, part in forecast(whole, known):
                found.setdefault(steps, []).append(part)
        figures[name] = {
            "points": len(whole.values),
            "acquisitions": whole.times_s.size,
            "cpu_s": round(time.process_time() - begun_s, 1),
            "acquisitions_ahead": {str(steps): describe(parts) for steps, parts in sorted(found.items())},
        }
        print(name, figures[name], flush=True)
    record("point-forecasts", "python -m tests.bench.service.bench_point_forecasts", figures)


if __name__ == "__main__":
    main()

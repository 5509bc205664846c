"""What forecasting costs: many points, many nodes, one update, one training, ten sites in a night.

    python -m tests.bench.forecasting.bench_forecast_scale [--only many,graph,...]

Seconds are processor time of one thread (the machine may be shared); each part runs in a process of its own, so that
peak memory is its own. Ratios are to a reference of the same run where there is one. Each part is kept in the figures
when only some are run again.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Panel, read_long_csv
from tests.bench.record import DATA, read_figures, read_options, record

ROOT = Path(__file__).resolve().parents[3]
POINTS, WINDOW = 100_000, 60


def spent(work: Callable[[], Any], repeats: int = 3) -> float:
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def draw(points: int, rows: int = 100) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.cumsum(rng.normal(0.1, 1.0, (rows, points)), axis=0)


def forecaster_of(model: str, stations: int, supports: Any = None) -> Any:
    """An untrained network: what it costs does not depend on its weights."""
    from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network
    from forecasting.simple.baselines import DEFAULT, LevelDrift

    names = tuple(f"P{i}" for i in range(stations))
    lld = LevelDrift("lld", (30,), (DEFAULT,))
    recipe = Recipe(
        model, names, DAY_S, (30,), (30 * DAY_S,), WINDOW, 32, 0.1, 7, (1.0,) * stations, (1.0,), lld, supports
    )
    return NeuralForecaster(recipe, build_network(recipe))


def many(model: str) -> dict[str, Any]:
    """P2: quantiles 30 days ahead for 10, 1,000 and 100,000 points."""
    out: dict[str, Any] = {}
    for points, repeats in ((10, 5), (1000, 3), (POINTS, 1)):
        values, made = draw(points), forecaster_of(model, points)
        origin = np.array([values.shape[0] - 1])
        floors = np.ones(points)
        took = spent(lambda: made.quantiles(values, origin, floors), repeats)  # noqa: B023 - called at once
        out[f"ms_{points}"] = round(1000 * took, 1)
    out["points_per_s"] = round(POINTS / took)
    out["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return out


def simple() -> dict[str, Any]:
    """P3: lld for 100,000 series; the reference reads the same 61 rows once."""
    from forecasting.simple.baselines import DEFAULT, LevelDrift

    values, lld = draw(POINTS), LevelDrift("lld", (30,), (DEFAULT,))
    origin = np.array([values.shape[0] - 1])
    took = spent(lambda: lld.predict(values, origin), 5)
    read = spent(lambda: np.isfinite(values[-61:]).sum() + np.nansum(values[-61:]), 5)
    return {"ms": round(1000 * took, 1), "times_one_reading": round(took / read, 2)}


def graph() -> dict[str, Any]:
    """P4: a dense graph of 1,000 nodes, beside the same network without a graph; 2,001 are refused."""
    from forecasting.data.splits import split
    from forecasting.errors import ForecastingError
    from forecasting.neural.learner import Settings
    from forecasting.neural.training import prepare

    values = draw(1000)
    origin, floors = np.array([values.shape[0] - 1]), np.ones(1000)
    dense = np.full((2, 1000, 1000), 1e-3)
    tied, plain = forecaster_of("graph-gru", 1000, dense), forecaster_of("gru", 1000)
    with_graph = spent(lambda: tied.quantiles(values, origin, floors))
    without = spent(lambda: plain.quantiles(values, origin, floors))
    large = Panel(0.0, DAY_S, tuple(f"P{i:04}" for i in range(2001)), draw(2001, 200))
    try:
        prepare("graph-gru", large, split(200), (DAY_S,), Settings())
        refused = "accepted"
    except ForecastingError as error:
        refused = str(error)
    return {"ms_1000": round(1000 * with_graph), "times_gru": round(with_graph / without, 2), "2001 nodes": refused}


def update() -> dict[str, Any]:
    """P5: one conformal update with its margin, and one expert average, per station x horizon x level."""
    from forecasting.data.splits import split
    from forecasting.serving.conformal import ConformalState, margin
    from forecasting.serving.conformal import update as take
    from forecasting.simple.averaging import fit_ewa

    state = ConformalState.fresh(0.8, 1)
    rng = np.random.default_rng(2)
    for value in rng.normal(0, 1, 300):
        state = take(state, float(value))
    conformal = spent(lambda: [margin(take(state, 0.3)) for _ in range(200)]) / 200
    panel = _bench("K")
    parts, steps = split(panel.values.shape[0]), (1, 7, 30)
    ewa = fit_ewa(panel, parts.calibration, steps)
    newest = np.array([panel.values.shape[0] - 1])
    known = len(panel.stations) * len(steps)
    averaged = spent(lambda: ewa.predict(panel.values, newest)) / known
    return {
        "conformal_ms": round(1000 * conformal, 4),
        "ewa_ms": round(1000 * averaged, 4),
        "note": "ewa keeps no state: its weights are worked out again from the stored rows, so a restart loses none",
    }


def issue() -> dict[str, Any]:
    """P6: one issue of 1,000 stations with 400 rows, cold: `auto` alone, then all that a site runs at least."""
    from forecasting.serving.jobs import forecast, measure_motion

    horizons_s = (DAY_S, 7 * DAY_S, 30 * DAY_S)
    panels = [Panel(0.0, DAY_S, tuple(f"P{i:04}" for i in range(1000)), draw(1000, 400) + shift) for shift in (0, 1)]

    def all_of(panel: Panel) -> None:
        motion = measure_motion(panel, horizons_s)
        for model in ("persistence", "lld", "auto"):
            forecast(panel, model, horizons_s, motion=motion)

    alone = spent(lambda: forecast(panels[0], "auto", horizons_s), 1)
    return {"auto_s": round(alone, 2), "site_s": round(spent(lambda: all_of(panels[1]), 1), 2)}


def training() -> dict[str, Any]:
    """P1: one site (SK, 8 stations, the rows before the last fold), GRU, three seeds, one core."""
    from forecasting.data.splits import rolling_folds
    from forecasting.neural.learner import Settings
    from forecasting.neural.training import train_network

    panel = _bench("SK")
    parts = rolling_folds(panel.values.shape[0])[-1]
    known, seconds = panel.head(parts.calibration.end), []
    for seed in (7, 8, 9):
        horizons = (DAY_S, 7 * DAY_S, 30 * DAY_S)
        settings = Settings(seed=seed, covariates=())
        seconds.append(spent(lambda: train_network("gru", known, parts, horizons, settings), 1))  # noqa: B023
    return {"rows": parts.calibration.end, "s_per_seed": [round(s, 1) for s in seconds], "s": round(sum(seconds), 1)}


def night() -> dict[str, Any]:
    """Ten sites of eight stations, three years of days: train GRU, issue with four models, score; wall time."""
    from tests.bench.nightly import run_night

    return run_night(sites=10, stations=8, days=1100)


PARTS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "lstm": ("P2 lstm, 100,000 points x 30 d", lambda: many("lstm")),
    "gru": ("P2 gru, 100,000 points x 30 d", lambda: many("gru")),
    "lld": ("P3 lld, 100,000 series", simple),
    "graph": ("P4 graph-gru, 1,000 nodes", graph),
    "update": ("P5 one update", update),
    "issue": ("P6 one issue, 1,000 stations", issue),
    "training": ("P1 one site, gru, 3 seeds", training),
    "night": ("ten sites in a night", night),
}


def child(part: str) -> dict[str, Any]:
    """One part in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.forecasting.bench_forecast_scale", "--child", part]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    made = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    return found


def _bench(name: str) -> Panel:
    panel = read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv")
    return replace(panel, xy_m=None)


def main() -> None:
    given = read_options(__doc__, only=",".join(PARTS), child="")
    if given.child:
        print(json.dumps(PARTS[given.child][1]()))
        return
    for part in given.only.split(","):
        load = os.getloadavg()[0]
        found = child(part) | {"load": round(load, 1)}
        # read again: another part may have been written meanwhile
        figures = (read_figures("forecast-scale") or {}) | {PARTS[part][0]: found}
        print(f"{PARTS[part][0]}: {json.dumps(found)}", flush=True)
        command = "make bench-forecast (python -m tests.bench.forecasting.bench_forecast_scale)"
        record("forecast-scale", command, figures)


if __name__ == "__main__":
    main()

"""One network over all benchmark records, tuned to each, and averaged with the simple forecasts: what does it gain?

    python -m tests.bench.forecasting.bench_forecast_global [--model gru] [--seeds 7,8,9] [--stride 2] [--report]

MAE in mm per record and horizon, mean of three folds; gain = 1 - MAE / MAE of `auto`. A fold's networks learn from rows
before their own record's test only. What the networks of each (seed, fold) said is kept in build/, so that a killed run
goes on where it was and the averages can be scored anew without training; --report trains nothing.
"""

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forecasting.data.series import DAY_S, Floats, Ints, Panel, read_long_csv
from forecasting.data.splits import Split, rolling_folds
from forecasting.metrics import mae
from forecasting.neural.learner import Settings
from forecasting.neural.pooled import adopt, fine_tune, train_pooled
from forecasting.simple.auto import fit_auto
from forecasting.simple.averaging import WARM_UP_ROWS, Ewa, Median, fit_ewa
from forecasting.simple.baselines import Baseline
from tests.bench.record import record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_forecast_global"
SETS = ("S", "SK", "G", "K")
HORIZONS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
FOLDS = 3
TUNING = Settings(epochs=6, learning_rate=5e-4, patience=2, stride=2)


@dataclass(frozen=True)
class Told:
    """What a network said about consecutive rows, as an expert among the simple forecasts."""

    name: str
    steps: tuple[int, ...]
    first: int
    points: Floats

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """The kept medians, shape (N, S, H)."""
        del values
        return self.points[origins - self.first]

    def to_json(self) -> dict[str, Any]:
        """Only its name: the weights have a checkpoint of their own."""
        return {"name": self.name}


def first_row(cut: Split) -> int:
    """Where the weights of experts begin to settle."""
    return max(0, cut.calibration.first - WARM_UP_ROWS)


def train_fold(panels: dict[str, Panel], fold: int, model: str, settings: Settings) -> dict[str, Floats]:
    """Medians of the shared and of each tuned network, by record, on the rows from which experts are followed."""
    parts = {name: rolling_folds(p.values.shape[0], FOLDS)[fold] for name, p in panels.items()}
    known = {name: p.head(parts[name].test.end) for name, p in panels.items()}
    begun = time.process_time()
    pooled = train_pooled(model, [(known[n], parts[n]) for n in panels], HORIZONS_S, settings)
    found: dict[str, Floats] = {}
    for name, panel in known.items():
        shared = adopt(pooled, panel, parts[name])
        others = [(known[n], parts[n]) for n in known if n != name]
        tuned = fine_tune(shared, panel, parts[name], TUNING, replay=others)
        rows = np.arange(first_row(parts[name]), parts[name].test.end, dtype=np.int64)
        for way, forecaster in (("shared", shared), ("tuned", tuned.forecaster)):
            found[f"{name} {way}"] = forecaster.quantiles(panel.values, rows)[..., 2]
    return found | {"cpu_s": np.array(time.process_time() - begun)}


def score(told: dict[str, Floats], panel: Panel, cut: Split, name: str) -> dict[str, float]:
    """MAE on the test of one record, by way and horizon."""
    steps = tuple(panel.steps(h) for h in HORIZONS_S)
    first = first_row(cut)
    auto = fit_auto(panel, cut.calibration, steps)
    followed = fit_ewa(panel, cut.calibration, steps)
    members = {one.name: one for one in auto.members}
    shared, tuned = (Told(way, steps, first, told[f"{name} {way}"]) for way in ("shared", "tuned"))
    ways: dict[str, Baseline] = {
        "auto": auto,
        "lld": members["lld"],
        "lad": members["lad"],
        "ewa": followed,
        "shared": shared,
        "tuned": tuned,
        "experts": Ewa("experts", steps, (*followed.members, shared, tuned), first),
        "median with networks": Median(
            "median", steps, (members["lld"], members["lad"], members["arima"], shared, tuned)
        ),
        "mean of auto and tuned": Median("mean", steps, (auto, tuned)),
    }
    origins = cut.test.origins
    out = {}
    for way, made in ways.items():
        points = made.predict(panel.values, origins)
        for i, h in enumerate(steps):
            out[f"{way} {HORIZONS_S[i] / DAY_S:g}d"] = mae(cut.test.targets(panel.values, origins, h) - points[:, :, i])
    return out


def tabulate(cells: dict[str, dict[int, list[float]]]) -> dict[str, Any]:
    """Median and range of the seeds per record, way and horizon, and the gain over `auto`."""
    figures: dict[str, Any] = {}
    for key, by_seed in cells.items():
        means = [statistics.fmean(values) for values in by_seed.values()]
        figures[key] = {
            "median": round(statistics.median(means), 4),
            "range": [round(min(means), 4), round(max(means), 4)],
        }
    gains: dict[str, list[float]] = defaultdict(list)
    for key, cell in figures.items():
        name, _, rest = key.partition(" ")
        way, _, horizon = rest.rpartition(" ")
        if way != "auto":
            gain = 1.0 - cell["median"] / figures[f"{name} auto {horizon}"]["median"]
            cell["gain_over_auto"] = round(gain, 4)
            gains[way].append(gain)
            gains[f"{way} {horizon}"].append(gain)
    return figures | {"mean gain over auto": {way: round(statistics.fmean(g), 4) for way, g in gains.items()}}


def main() -> None:
    """Train what is missing, score what is there, keep the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="gru")
    options.add_argument("--seeds", default="7,8,9")
    options.add_argument("--stride", type=int, default=2)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--report", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    panels = {name: read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv") for name in SETS}
    KEPT.mkdir(parents=True, exist_ok=True)
    cells: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    spent: list[float] = []
    for fold in range(FOLDS):
        for seed in (int(s) for s in given.seeds.split(",")):
            kept = KEPT / f"{given.model}-{seed}-{fold}-{given.stride}-{given.epochs}.npz"
            if not kept.exists() and not given.report:
                settings = Settings(seed=seed, stride=given.stride, epochs=given.epochs, time_limit_s=1200.0)
                made = train_fold(panels, fold, given.model, settings)
                beside = kept.with_suffix(".part.npz")
                np.savez(beside, **made)  # type: ignore[arg-type]
                beside.replace(kept)
                print(f"seed {seed} fold {fold + 1}: {float(made['cpu_s']):.0f} s of processor time", flush=True)
            if not kept.exists():
                continue
            told = dict(np.load(kept))
            spent.append(float(told["cpu_s"]))
            for name, panel in panels.items():
                cut = rolling_folds(panel.values.shape[0], FOLDS)[fold]
                for key, value in score(told, panel.head(cut.test.end), cut, name).items():
                    cells[f"{name} {key}"][seed].append(value)
    table = tabulate(cells)
    for key, value in table.items():
        print(f"  {key:28} {json.dumps(value)}")
    facts = {
        "unit": "MAE mm, mean of 3 folds, median and range of seeds",
        "trainings": len(spent),
        "train_and_tune_cpu_s": round(sum(spent), 1),
    }
    command = f"make bench-forecast-global (model {given.model}, seeds {given.seeds}, stride {given.stride})"
    print(record("forecast-global", command, facts | table))


if __name__ == "__main__":
    main()

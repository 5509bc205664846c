"""One network over all benchmark records, tuned to each, and averaged with the simple forecasts: what does it gain?

    python -m tests.bench.bench_forecast_global [--model lstm] [--seeds 7,8,9] [--stride 3]

MAE in mm per record and horizon, mean of three folds; gain = 1 - MAE / MAE of `auto`. A fold's networks learn from rows
before their own record's test only. Each (seed, fold) is kept in build/, so that a killed run goes on where it was.
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

from forecasting.averaging import WARM_UP_ROWS, Ewa
from forecasting.baselines import fit_lld
from forecasting.choice import fit_auto
from forecasting.metrics import mae
from forecasting.neural.forecaster import NeuralForecaster
from forecasting.neural.learner import Settings
from forecasting.neural.pooled import adopt, fine_tune, train_pooled
from forecasting.series import DAY_S, Floats, Ints, Panel, read_long_csv
from forecasting.splits import Split, rolling_folds
from tests.bench.record import record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
KEPT = Path(__file__).resolve().parents[2] / "build" / "bench_forecast_global"
SETS = ("S", "SK", "G", "K")
HORIZONS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)


@dataclass(frozen=True)
class Expert:
    """A network among the simple forecasts."""

    name: str
    steps: tuple[int, ...]
    forecaster: NeuralForecaster

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """The median."""
        return np.asarray(self.forecaster.quantiles(values, origins)[..., 2])

    def to_json(self) -> dict[str, Any]:
        """Only its name: the weights have a checkpoint of their own."""
        return {"name": self.name}


def run_fold(panels: dict[str, Panel], fold: int, model: str, settings: Settings) -> dict[str, float]:
    """MAE of every way on every record in one fold."""
    parts = {name: rolling_folds(p.values.shape[0])[fold] for name, p in panels.items()}
    known = {name: p.head(parts[name].test.end) for name, p in panels.items()}
    pooled = train_pooled(model, [(known[n], parts[n]) for n in panels], HORIZONS_S, settings)
    found = {"seconds": pooled.seconds}
    for name, panel in known.items():
        found |= {f"{name} {key}": value for key, value in score(pooled, panel, parts[name], known, parts).items()}
    return found


def score(pooled: Any, panel: Panel, cut: Split, known: dict[str, Panel], parts: dict[str, Split]) -> dict[str, float]:
    """MAE on the test of one record, by way and horizon."""
    shared = adopt(pooled, panel, cut)
    others = [(known[n], parts[n]) for n in known if known[n] is not panel]
    tuned = fine_tune(shared, panel, cut, Settings(epochs=6, learning_rate=5e-4, patience=2, stride=2), replay=others)
    steps = shared.recipe.steps
    auto = fit_auto(panel, cut.calibration, steps)
    members = [m for m in auto.members if m.name not in {"mean3", "ewa", "seasonal", "climatology"}]
    networks = [Expert("shared", steps, shared), Expert("tuned", steps, tuned.forecaster)]
    first = max(0, cut.calibration.first - WARM_UP_ROWS)
    ways = {
        "auto": auto, "lld": fit_lld(panel, cut.calibration, steps), "ewa": auto.member("ewa"),
        "shared": networks[0], "tuned": networks[1],
        "experts": Ewa("experts", steps, (*members, *networks), first),
    }  # fmt: skip
    origins = cut.test.origins
    out = {}
    for way, made in ways.items():
        points = made.predict(panel.values, origins)  # type: ignore[union-attr]
        for i, h in enumerate(steps):
            out[f"{way} {HORIZONS_S[i] / DAY_S:g}d"] = mae(cut.test.targets(panel.values, origins, h) - points[:, :, i])
    return out


def main() -> None:
    """Score, keep, and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="lstm")
    options.add_argument("--seeds", default="7,8,9")
    options.add_argument("--stride", type=int, default=3)
    options.add_argument("--epochs", type=int, default=12)
    given = options.parse_args()
    panels = {name: read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv") for name in SETS}
    KEPT.mkdir(parents=True, exist_ok=True)
    cells: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in (int(s) for s in given.seeds.split(",")):
        for fold in range(3):
            kept = KEPT / f"{given.model}-{seed}-{fold}-{given.stride}-{given.epochs}.json"
            if not kept.exists():
                begun = time.perf_counter()
                settings = Settings(seed=seed, stride=given.stride, epochs=given.epochs, time_limit_s=1200.0)
                found = run_fold(panels, fold, given.model, settings)
                kept.write_text(json.dumps(found))
                print(f"seed {seed} fold {fold + 1}: {time.perf_counter() - begun:.0f} s", flush=True)
            for key, value in json.loads(kept.read_text()).items():
                cells[key][seed].append(value)
    figures: dict[str, Any] = {}
    for key, by_seed in cells.items():
        means = [statistics.fmean(values) for values in by_seed.values()]
        figures[key] = {
            "median": round(statistics.median(means), 4),
            "range": [round(min(means), 4), round(max(means), 4)],
        }
    gains = defaultdict(list)
    for key in list(figures):
        name, _, rest = key.partition(" ")
        way, _, horizon = rest.partition(" ")
        if horizon and way != "auto":
            gain = 1.0 - figures[key]["median"] / figures[f"{name} auto {horizon}"]["median"]
            figures[key]["gain_over_auto"] = round(gain, 4)
            gains[way].append(gain)
    figures["mean gain over auto"] = {way: round(statistics.fmean(values), 4) for way, values in gains.items()}
    for key, value in figures.items():
        print(f"  {key:24} {value}")
    command = f"make bench-forecast-global (model {given.model}, seeds {given.seeds}, stride {given.stride})"
    print(record("forecast-global", command, {"unit": "MAE mm, mean of 3 folds, median and range of seeds"} | figures))


if __name__ == "__main__":
    main()

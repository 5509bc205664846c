"""What knowledge is worth, each piece on and off: transfer, replay.

    python -m tests.bench.forecasting.bench_forecast_knowledge [--seeds 7,8] [--epochs 8]

MAE in mm of the network's own median (no gate) on the tests of three rolling folds, mean over folds, median and range
over seeds; `gain` = 1 - MAE on / MAE off. Each part is kept in build/, so that a killed run goes on where it was.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Panel, read_long_csv
from forecasting.data.splits import Split, rolling_folds, split
from forecasting.metrics import mae
from forecasting.neural.forecaster import NeuralForecaster
from forecasting.neural.learner import Settings
from forecasting.neural.pooled import Pooled, adopt, fine_tune, train_pooled
from forecasting.neural.training import train_network
from tests.bench.forecasting.bench_forecast_sources import DATA
from tests.bench.record import record

KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_forecast_knowledge"
HORIZONS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
Row = dict[str, list[float]]
SHORT_ROWS = 330
TUNING = Settings(epochs=5, learning_rate=5e-4, patience=2)


def read(name: str) -> Panel:
    """One benchmark record."""
    return read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv")


def score(forecaster: NeuralForecaster, panel: Panel, cut: Split) -> list[float]:
    """MAE on the test per horizon."""
    origins = cut.test.origins
    made = forecaster.quantiles(panel.values, origins, drivers=panel.drivers)[..., 2]
    return [
        mae(cut.test.targets(panel.values, origins, h) - made[:, :, i]) for i, h in enumerate(forecaster.recipe.steps)
    ]


def over_folds(panel: Panel, run: Callable[[Panel, Split], Row]) -> Row:
    """Mean over folds of what a fold gives."""
    found = [run(panel.head(cut.test.end), cut) for cut in rolling_folds(panel.values.shape[0])]
    return {
        way: [statistics.fmean(one[way][i] for one in found) for i in range(len(found[0][way]))] for way in found[0]
    }


def transfer(settings: Settings) -> Row:
    """SK known for 330 days only: from scratch, the network of G and K as it is, its head tuned, all of it tuned."""
    others = [(panel, split(panel.values.shape[0])) for panel in (read("G"), read("K"))]
    pooled = train_pooled("lstm", others, HORIZONS_S, replace(settings, stride=5))

    def run(panel: Panel, cut: Split) -> Row:
        first = cut.test.first - SHORT_ROWS
        young = replace(panel, values=panel.values[first:], drivers=None)
        parts = split(young.values.shape[0], SHORT_ROWS, young.values.shape[0])
        scratch = train_network("lstm", young, parts, HORIZONS_S, replace(settings, stride=1)).forecaster
        shared = adopt(pooled, young, parts)
        head = fine_tune(shared, young, parts, TUNING, head_only=True).forecaster
        whole = fine_tune(shared, young, parts, TUNING).forecaster
        ways = {
            "off, lstm from scratch": scratch,
            "adopted as it is": shared,
            "head tuned": head,
            "all tuned": whole,
        }
        return {way: score(made, young, parts) for way, made in ways.items()}

    return over_folds(read("SK"), run)


def replay(settings: Settings) -> Row:
    """A network of G tuned to SK, with and without G to go on learning from: what it knows of SK, and still of G."""
    old = read("G")
    cut_old = rolling_folds(old.values.shape[0])[-1]
    known = old.head(cut_old.test.end)
    pooled: Pooled = train_pooled("lstm", [(known, cut_old)], HORIZONS_S, replace(settings, stride=3))
    hard = replace(TUNING, epochs=6, learning_rate=2e-3, stride=4)

    def run(panel: Panel, cut: Split) -> Row:
        shared = adopt(pooled, panel, cut)
        out = {
            "as it was, on SK": score(shared, panel, cut),
            "as it was, on G": score(_back(pooled, shared), known, cut_old),
        }
        for way, more in (("off (no replay)", ()), ("replay", ((known, cut_old),))):
            tuned = fine_tune(shared, panel, cut, hard, replay=more).forecaster
            out[f"{way}, on SK"] = score(tuned, panel, cut)
            out[f"{way}, on G"] = score(_back(pooled, tuned), known, cut_old)
        return out

    def _back(pooled: Pooled, tuned: NeuralForecaster) -> NeuralForecaster:
        return adopt(replace(pooled, network=tuned.network), known, cut_old)

    return over_folds(read("SK"), run)


def main() -> None:
    """Run every part for every seed, keep, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="7,8")
    options.add_argument("--epochs", type=int, default=8)
    given = options.parse_args()
    seeds = [int(s) for s in given.seeds.split(",")]
    KEPT.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[Settings], Row]] = {
        "transfer to 330 d of SK": transfer,
        "replay": replay,
    }
    figures: dict[str, Any] = {"unit": "MAE mm at 1, 7, 30 d, own median, mean of 3 folds; median [range] over seeds"}
    for name, run in parts.items():
        by_seed = []
        for seed in seeds[:1] if name.startswith("ewa") else seeds:
            kept = KEPT / f"{name.replace(' ', '-')}-{seed}-{given.epochs}.json"
            if not kept.exists():
                kept.write_text(
                    json.dumps(run(Settings(seed=seed, epochs=given.epochs, stride=3, patience=4, covariates=())))
                )
            by_seed.append(json.loads(kept.read_text()))
        figures[name] = table = {}
        for way in by_seed[0]:
            values = np.array([one[way] for one in by_seed])
            table[way] = {
                "mae": np.median(values, axis=0).round(3).tolist(),
                "range": [values.min(axis=0).round(3).tolist(), values.max(axis=0).round(3).tolist()],
            }
            off = _off(way, by_seed[0])
            if off is not None:
                gain = 1.0 - values / np.array([one[off] for one in by_seed])
                table[way]["gain"] = np.median(gain, axis=0).round(4).tolist()
            print(f"{name:24} {way:26} {table[way]}", flush=True)
    command = (
        f"python -m tests.bench.forecasting.bench_forecast_knowledge --seeds {given.seeds} --epochs {given.epochs}"
    )
    print(record("forecast-knowledge", command, figures))


def _off(way: str, ways: Row) -> str | None:
    """The row without the knowledge that this one is held against: that of the same network or record."""
    if way.startswith("off"):
        return None
    last = way.rpartition(", ")[2]
    same = [w for w in ways if w.startswith("off") and w.endswith(last)]
    return (same or [w for w in ways if w.startswith("off")])[0]


if __name__ == "__main__":
    main()

"""What rain, water and the other drivers are worth to networks that read them.

    python -m tests.bench.forecasting.bench_forecast_sources [--seeds 7,8,9] [--epochs 12] [--only SK]

MAE in mm of the network's own median (no gate) on the tests of rolling folds, mean over folds, median and range over
seeds. `gain` of the ways named `gru, drivers` and so on = 1 - MAE / MAE of the same network that reads the motion
alone, seed by seed; `silent` is the network with drivers whose drivers fall silent after training.
`Drawn` is made here: a slope that moves with the rain of the day, of which the archived forecast knows two days, give
or take a third. The published Outang curve itself is not scored: below its knots it is an interpolation; SK is its
movement with noise.
"""

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.data.covariates import covariates_from_samples, rows_from_covariates
from forecasting.data.rain_forecasts import lay_outlook
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.data.sources import Recipe, read_recipe, read_record
from forecasting.data.splits import Split, rolling_folds
from forecasting.metrics import mae
from forecasting.neural.forecaster import NeuralForecaster
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from tests.bench.record import DATA, FOLDER, record
from tests.data.slopes import rain_to_come

NETWORKS = ("gru", "lstm", "graph-gru")
RECIPES = Path(__file__).resolve().parents[3] / "configs" / "forecasting"


@dataclass(frozen=True)
class Case:
    """A record with the horizons and window that fit it."""

    name: str
    panel: Panel
    horizons_s: tuple[float, ...]
    settings: Settings
    folds: list[Split]
    words: str


def read_outang_places(stations: tuple[str, ...]) -> Floats:
    """Plan places of the Outang stations in the order given."""
    lines = (DATA / "timeseries" / "outang" / "station_coords.csv").read_text().splitlines()[1:]
    rows = {line.split(",")[0]: [float(v) for v in line.split(",")[2:]] for line in lines}
    return np.array([rows[name][:2] for name in stations])


def read_sk() -> Panel:
    """SK with the places of its stations."""
    panel = read_record("SK", Recipe()).panel
    return replace(panel, xy_m=read_outang_places(panel.stations))


def cases(epochs: int) -> Iterator[Case]:
    """SK, Baijiabao, Lamosano, and a slope drawn here."""
    os.environ.setdefault("SLOPEWARD_DATA", str(DATA))
    panel = read_sk()
    yield Case(
        "SK",
        panel,
        (DAY_S, 7 * DAY_S, 30 * DAY_S),
        Settings(epochs=epochs, stride=3, patience=4),
        rolling_folds(panel.values.shape[0]),
        "movement of Outang with measured noise, its rain, reservoir and groundwater, 8 stations, daily",
    )
    panel = read_record(None, read_recipe(RECIPES / "baijiabao.toml")).panel
    settings = Settings(epochs=3 * epochs, patience=6, window=30, hidden=16, batch=16)
    yield Case(
        "Baijiabao",
        panel,
        (DAY_S, 7 * DAY_S),
        settings,
        rolling_folds(panel.values.shape[0], 2),
        "one point, 300 d, rain and reservoir; the step of June 2018 lies in the tests",
    )
    panel = read_record(None, read_recipe(RECIPES / "lamosano.toml")).panel
    settings = Settings(epochs=3 * epochs, patience=6, window=16, hidden=16, batch=8)
    yield Case(
        "Lamosano",
        panel,
        (11 * DAY_S, 33 * DAY_S),
        settings,
        rolling_folds(panel.values.shape[0], 1, last=50),
        "one satellite point every 11 d with rain, last 50",
    )
    panel, rain, expected = rain_to_come(rows=700)
    laid = (*covariates_from_samples({"R.rain_mm": rain}, panel), lay_outlook(expected, panel))
    panel = replace(panel, drivers=rows_from_covariates(laid, panel.step_s))
    settings = Settings(epochs=2 * epochs, patience=6, window=10, hidden=16, batch=16, learning_rate=5e-3)
    yield Case(
        "Drawn",
        panel,
        (DAY_S, 2 * DAY_S),
        settings,
        rolling_folds(panel.values.shape[0], 2),
        "drawn: two stations that move with the rain of the day; measured rain, and what was expected of two days",
    )


def score(forecaster: NeuralForecaster, case: Case, panel: Panel, cut: Split) -> list[float]:
    """MAE on the test per horizon."""
    origins = cut.test.origins
    made = forecaster.quantiles(panel.values, origins, drivers=panel.drivers)[..., 2]
    steps = forecaster.recipe.steps
    return [mae(cut.test.targets(panel.values, origins, h) - made[:, :, i]) for i, h in enumerate(steps)]


def score_networks(case: Case, seed: int) -> dict[str, list[float]]:
    """MAE of `NETWORKS` that read the motion alone, the drivers too, and no more of these later; mean over folds."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for cut in case.folds:
        panel = case.panel.head(cut.test.end)
        for model in NETWORKS if len(panel.stations) > 1 else NETWORKS[:2]:
            for way, covariates in (("motion only", ()), ("drivers", None)):
                settings = replace(case.settings, seed=seed, covariates=covariates)
                made = train_network(model, panel, cut, case.horizons_s, settings).forecaster
                found[f"{model}, {way}"].append(score(made, case, panel, cut))
                if covariates is None:
                    deaf = replace(panel, drivers=None)
                    found[f"{model}, drivers silent after training"].append(score(made, case, deaf, cut))
    return _mean(found)


def _mean(found: dict[str, list[list[float]]]) -> dict[str, list[float]]:
    """Over folds."""
    return {way: [statistics.fmean(column) for column in zip(*rows, strict=True)] for way, rows in found.items()}


def main() -> None:
    """Score, record, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="7,8,9")
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--only", help="names of records, the others are kept as they were")
    given = options.parse_args()
    seeds = [int(s) for s in given.seeds.split(",")]
    figures: dict[str, Any] = {"unit": "MAE mm, own median, mean of folds; median [range] over seeds"}
    path = FOLDER / "forecast-sources.json"
    only = given.only.split(",") if given.only else []
    if only and path.exists():
        figures = json.loads(path.read_text())["figures"]
    for case in cases(given.epochs):
        if only and case.name not in only:
            continue
        begun = time.process_time()
        by_seed = [score_networks(case, seed) for seed in seeds]
        table: dict[str, Any] = figures.get(case.name, {}) | {"record": case.words}
        for way in by_seed[0]:
            for i, horizon in enumerate(case.horizons_s):
                values = [one[way][i] for one in by_seed]
                cell = {"mae": round(statistics.median(values), 3), "range": [round(f(values), 3) for f in (min, max)]}
                if ", drivers" in way:
                    alone = f"{way.partition(',')[0]}, motion only"
                    cell["gain"] = round(statistics.median(1.0 - one[way][i] / one[alone][i] for one in by_seed), 4)
                table.setdefault(way, {})[f"{horizon / DAY_S:g}d"] = cell
            print(f"{case.name:10} {way:20} {table[way]}", flush=True)
        print(f"{case.name:10} {time.process_time() - begun:.0f} s of a processor", flush=True)
        figures[case.name] = table
    print(
        record(
            "forecast-sources",
            f"python -m tests.bench.forecasting.bench_forecast_sources --seeds {given.seeds}",
            figures,
        )
    )


if __name__ == "__main__":
    main()

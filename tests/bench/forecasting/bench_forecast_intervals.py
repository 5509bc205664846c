"""Do the intervals cover? 80 and 95 %, overall and at the worst station, through a change of regime, and at what width.

    python -m tests.bench.forecasting.bench_forecast_intervals [--sets SK,K,S,G] [--network gru] [--seed 7]

Per record, horizon and model (`lld`, `auto`, what is served when one network is trained beside them): coverage over the
tests of three folds, of the worst station over all three and of the worst in one fold, the lowest coverage of 60
forecasts in a row that any station saw one day ahead, and the Winkler score of the 80 % interval as a multiple of that
of a static split (one margin per station, the quantile of its calibration errors). Each (record, model) is kept in
build/, so that a killed run goes on where it was.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forecasting.data.series import DAY_S, Floats, Panel, read_long_csv
from forecasting.data.splits import Split, rolling_folds
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import Trial, format_horizon
from forecasting.metrics import winkler
from forecasting.serving.quantiles import bounds
from forecasting.simple.auto import fit_auto
from forecasting.simple.baselines import Baseline, fit_lld
from tests.bench.record import DATA, keep, record

KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_forecast_intervals"
HORIZONS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
STRIDE = {"G": 2, "K": 2}
FOLDS = 3
ROLLING = 60
"""Forecasts in a row over which a lapse is looked for."""
BARS = {
    "C1": "80 % at 1 and 7 d: .78-.82 overall, worst station >= .74",
    "C2": "30 d: 80 % .73-.85 overall, worst station >= .68; 95 % >= .88",
    "C3": "lowest 60 forecasts in a row at 1 d >= .50",
    "C4": "Winkler <= 1.05 x static at 1 and 7 d, <= 1.30 x at 30 d",
}


def static_margins(panel: Panel, cut: Split, fitted: Baseline, index: int, steps: int) -> Floats:
    """80 % margin per station from the errors on calibration, never adapted, shape (S,)."""
    origins = cut.calibration.origins
    missed = cut.calibration.targets(panel.values, origins, steps) - fitted.predict(panel.values, origins)[:, :, index]
    out = np.full(missed.shape[1], np.nan)
    for s, one in enumerate(np.sort(np.abs(missed), axis=0).T):
        count = int(np.isfinite(one).sum())
        if count:
            out[s] = one[min(int(np.ceil(0.8 * (count + 1))), count) - 1]
    return out


def lowest_run(inside: Floats) -> float:
    """Lowest coverage of `ROLLING` scored forecasts in a row at any station, from (N, S) of 0, 1, NaN."""
    found = []
    for one in inside.T:
        known = one[np.isfinite(one)]
        if known.size >= ROLLING:
            found.append(float(np.convolve(known, np.ones(ROLLING) / ROLLING, "valid").min()))
    return min(found, default=float("nan"))


def facts_of(trial: Trial, label: str, margins: Floats) -> dict[str, Any]:
    """What one fold says about one model at one horizon."""
    answer = next(a for a in trial.answers if a.label == label)
    assert answer.quantiles is not None
    inside = {}
    for level in (0.8, 0.95):
        low, high = bounds(answer.quantiles, level)
        known = np.isfinite(trial.observed) & np.isfinite(low)
        inside[level] = np.where(known, (trial.observed >= low) & (trial.observed <= high), np.nan)
    low, high = bounds(answer.quantiles, 0.8)
    point = answer.point
    return {
        "held_80": np.nansum(inside[0.8], axis=0).tolist(),
        "held_95": np.nansum(inside[0.95], axis=0).tolist(),
        "n": np.isfinite(inside[0.8]).sum(axis=0).tolist(),
        "lowest_60": lowest_run(inside[0.8]),
        "winkler": winkler(low, high, trial.observed, 0.8),
        "winkler_static": winkler(point - margins, point + margins, trial.observed, 0.8),
    }


def run(name: str, model: str, seed: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Label to horizon to one entry per fold."""
    panel = read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv")
    steps = tuple(panel.steps(h) for h in HORIZONS_S)
    out: dict[str, dict[str, list[dict[str, Any]]]] = {}
    models = ("auto",) if model == "auto" else (model,)
    labels = {"lld": "lld", "auto": "auto"} if model == "auto" else {f"gated {model}": "gated"}
    cuts = rolling_folds(panel.values.shape[0], FOLDS)
    for trial in run_trials(panel, models, HORIZONS_S, seed=seed, training={"stride": STRIDE.get(name, 1)}):
        cut = cuts[trial.fold]
        known = panel.head(cut.test.end)
        index = HORIZONS_S.index(trial.horizon_s)
        for label, answered in labels.items():
            simple = fit_lld if answered == "lld" else fit_auto
            fitted: Baseline = simple(known, cut.calibration, steps)
            margins = static_margins(known, cut, fitted, index, trial.steps)
            facts = facts_of(trial, answered, margins)
            out.setdefault(label, {}).setdefault(format_horizon(trial.horizon_s), []).append(facts)
    return out


def tabulate(folds: list[dict[str, Any]], horizon: str) -> dict[str, Any]:
    """One row of the table, with the bars that hold."""
    held, held_95, n = (np.array([f[key] for f in folds]) for key in ("held_80", "held_95", "n"))
    total = n.sum(axis=0)
    overall, worst = float(held.sum() / n.sum()), float((held.sum(axis=0) / np.maximum(total, 1))[total > 0].min())
    cover_95 = float(held_95.sum() / n.sum())
    ratio = sum(f["winkler"] for f in folds) / sum(f["winkler_static"] for f in folds)
    lowest = min(f["lowest_60"] for f in folds)
    met = (
        {"C2": 0.73 <= overall <= 0.85 and worst >= 0.68 and cover_95 >= 0.88, "C4": ratio <= 1.30}
        if horizon == "30d"
        else {"C1": 0.78 <= overall <= 0.82 and worst >= 0.74, "C4": ratio <= 1.05}
    )
    return {
        "coverage_80": round(overall, 3),
        "worst_80": round(worst, 3),
        "worst_80_one_fold": round(float((held / np.maximum(n, 1))[n > 0].min()), 3),
        "coverage_95": round(cover_95, 3),
        "worst_95": round(float((held_95.sum(axis=0) / np.maximum(total, 1))[total > 0].min()), 3),
        "lowest_60": round(lowest, 3),
        "winkler_80": round(sum(f["winkler"] for f in folds) / len(folds), 3),
        "winkler_to_static": round(ratio, 3),
        "met": met | ({"C3": lowest >= 0.50} if horizon == "1d" else {}),
    }


def main() -> None:
    """Measure what is missing and keep the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sets", default="SK,K,S,G")
    options.add_argument("--network", default="gru", help="Empty: the simple forecasts alone.")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--fresh", action="store_true", help="Measure anew what is kept.")
    given = options.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"unit": "shares of three tests; Winkler mm", "bars": BARS}
    for name in given.sets.split(","):
        for model in ("auto", *([given.network] if given.network else [])):
            kept = KEPT / f"{name}-{model}-{given.seed}.json"
            made = keep(kept, partial(run, name, model, given.seed), fresh=given.fresh)
            for label, by_horizon in made.items():
                for horizon, folds in by_horizon.items():
                    row = tabulate(folds, horizon)
                    figures.setdefault(name, {})[f"{label} {horizon}"] = row
                    print(f"{name} {label} {horizon}: {json.dumps(row)}", flush=True)
    print(
        record(
            "forecast-intervals",
            f"python -m tests.bench.forecasting.bench_forecast_intervals (seed {given.seed})",
            figures,
        )
    )


if __name__ == "__main__":
    main()

"""What SARIMAX and unobserved components with drivers are worth beside what is served, on slow records and a daily one.

    python -m tests.bench.forecasting.bench_forecast_statistical [--only NAMES]

Three rolling tests per record; drivers are read where they prove their worth on the calibration of each. `auto+both` is
the shipped average with the two among its candidates, none judged on rows that it was fitted to. `chosen` is left out
in turn: which of the four is best on all other families of records, scored on the one left out. Figures are the MAE as
a share of that of `auto`, over targets that all four forecast.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Floats
from forecasting.data.sources import read_recipe, read_record
from forecasting.data.splits import Split, rolling_folds
from forecasting.data.windows import targets
from forecasting.registry import STATISTICAL
from forecasting.serving.issue import find_calibration
from forecasting.simple.auto import Halves, fit_auto, least_scored
from forecasting.simple.baselines import fit_baseline
from forecasting.simple.regret import Rule, mix, weigh
from forecasting.simple.state_space import StateSpace
from tests.bench.record import record
from tests.data.records import RECIPES, Measured, read_records

NAMES = ("auto", *STATISTICAL, "auto+both")
SLOW = ("outang-months", "bazimen", "lamosano", "houston")
DAILY = ("baijiabao",)


def read_all(only: set[str]) -> Iterator[Measured]:
    """The records, with what may drive them where it was measured."""
    for one in read_records():
        if one.name not in only:
            continue
        recipe = RECIPES / f"{one.name}.toml"
        panel = read_record(None, read_recipe(recipe)).panel if recipe.exists() else one.panel
        yield replace(one, panel=panel)
        only.discard(one.name)
        if not only:
            return


def forecast_fold(one: Measured, cut: Split) -> tuple[list[dict[str, Floats]], dict[str, Any]]:
    """What each says on the test of one fold, by horizon (N, S), and what the fits took."""
    known = one.panel.head(cut.test.end)
    steps = tuple(known.steps(h) for h in one.horizons_s)
    auto = fit_auto(known, cut.calibration, steps)
    begun, origins = time.process_time(), cut.test.origins
    now = {name: fit_baseline(name, known, cut.calibration, steps) for name in STATISTICAL}
    took = time.process_time() - begun
    before = find_calibration(cut.calibration.first)
    apart = {
        name: Halves(fit_baseline(name, known, before, steps), fit, cut.calibration.end) for name, fit in now.items()
    }
    rows = np.arange(auto.first, cut.test.end)
    more = {name: fit.predict(known.values, rows) for name, fit in apart.items()}
    least = [*(least_scored(auto.member(m.name)) for m in auto.judged), *(0 for _ in more)]
    out = []
    for i, (h, (made, weights)) in enumerate(
        zip(steps, auto.weigh_candidates(known.values, cut.test.end - 1), strict=True)
    ):
        every = np.concatenate([made, np.stack([said[:, :, i] for said in more.values()])])
        errors = np.abs(every - targets(known.values, rows, h))
        both = weigh(every, errors, h, Rule(), np.array(least, dtype=np.int64))
        said = {name: fit.predict(known.values, origins)[:, :, i] for name, fit in now.items()}
        at = origins - auto.first
        said |= {"auto": mix(made, weights)[at], "auto+both": mix(every, both)[at]}
        out.append(said | {"observed": cut.test.targets(known.values, origins, h)})
    drivers = {name: list(fit.columns) for name, fit in now.items() if isinstance(fit, StateSpace)}
    return out, {"fit_s": took, "drivers": drivers}


def score(one: Measured) -> dict[str, Any]:
    """MAE in mm by horizon and model, and the cost of the fits."""
    missed: list[dict[str, list[Floats]]] = [{name: [] for name in NAMES} for _ in one.horizons_s]
    fits = []
    for cut in rolling_folds(one.panel.values.shape[0]):
        made, fit = forecast_fold(one, cut)
        fits.append(fit)
        for i, said in enumerate(made):
            known = np.isfinite(said["observed"]) & np.all([np.isfinite(said[name]) for name in NAMES], axis=0)
            for name in NAMES:
                missed[i][name].append(np.abs(said[name] - said["observed"])[known])
    horizons: dict[str, Any] = {}
    for horizon_s, by_model in zip(one.horizons_s, missed, strict=True):
        errors = {name: np.concatenate(parts) for name, parts in by_model.items()}
        if errors["auto"].size:
            mae = {name: round(float(e.mean()), 3) for name, e in errors.items()}
            horizons[f"{horizon_s / DAY_S:g} d"] = {"n": int(errors["auto"].size), "mae_mm": mae}
    return {
        "family": one.family, "stations": len(one.panel.stations), "horizons": horizons,
        "fit_s": round(sum(f["fit_s"] for f in fits), 1), "drivers": [f["drivers"] for f in fits],
    }  # fmt: skip


def share(found: dict[str, Any], name: str) -> float:
    """Geometric mean over the horizons of a record of the MAE as a share of that of `auto`; NaN without a target."""
    shares = [h["mae_mm"][name] / max(h["mae_mm"]["auto"], 1e-9) for h in found["horizons"].values()]
    return float(np.exp(np.mean(np.log(shares)))) if shares else float("nan")


def main() -> None:
    """Score every record, then leave each family out in turn."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default=",".join((*SLOW, *DAILY)))
    figures: dict[str, Any] = {}
    for one in read_all(set(options.parse_args().only.split(","))):
        figures[one.name] = score(one)
        print(one.name, figures[one.name], flush=True)
    shares = {name: {model: share(found, model) for model in NAMES} for name, found in figures.items()}
    left_out: dict[str, Any] = {}
    for name, found in figures.items():
        apart = [k for k, v in figures.items() if v["family"] != found["family"]]
        others = [shares[k] for k in apart if np.isfinite(shares[k]["auto"])]
        if not others or not np.isfinite(shares[name]["auto"]):
            continue
        chosen = min(NAMES, key=lambda model: float(np.mean([np.log(s[model]) for s in others])))
        left_out[name] = {"chosen": chosen, "share_of_auto": round(shares[name][chosen], 3)}
        left_out[name] |= {model: round(shares[name][model], 3) for model in NAMES}
        print(name, left_out[name], flush=True)
    figures["left out in turn"] = left_out
    command = "make bench-forecast (python -m tests.bench.forecasting.bench_forecast_statistical)"
    record("forecast-statistical", command, figures)


if __name__ == "__main__":
    main()

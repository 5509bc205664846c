"""Forecasts of motions that move: drawn over rate and noise, and measured ones in their last weeks.

    python -m packages.lab.benchmarks.forecasting.bench_fast_motion [--only drawn]

Rows: persistence, the straight line (`drift`), `lld`, `trend` and `auto`; MAE and CRPS (twice the mean pinball loss of
the five quantiles) in mm over three rolling tests, and what the 80 % interval of `auto` holds. `networks`: each by
itself on the named and measured records, on those tests alone in which all answer. Drawn: mean MAE of `auto` over the
seeds, over the lowest mean of persistence, straight line and `lld`, which is known only afterwards; `ratio, standard
error` is that of seeds drawn again with replacement. Beside a bend, a stop and a step stands `floor_mm`: what one errs
on the same targets who knows the motion so far without its noise and sees the change at the row behind it (`foresee`).
The rule was chosen on motions of this kind (other seeds) and on the first nine tenths of Outang, Bazimen, Baijiabao,
Lamosano, Cascadia, the cracks.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.data.splits import rolling_folds
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import score_all
from tests.bench.record import LAB_RESULTS, parse_options
from tests.data.forecasts.motions import CADENCES, KINDS, RATIOS, draw_crack, draw_marker, draw_motion, foresee
from tests.data.records import read_records

RIVALS = ("persistence", "drift", "lld")
MODELS = (*RIVALS, "trend", "auto")
NETWORKS = ("gru", "lstm", "graph-gru")
"""Each by itself, on the named and the measured records."""
SEED = 100
SEEDS = {"hourly": range(200, 203), "daily": range(200, 206), "monthly": range(200, 210)}
AGAIN = 300  # draws of seeds for a standard error
HOURS = (0.25 * DAY_S, DAY_S, 3.0 * DAY_S)
LAST_WEEKS_S = 28.0 * DAY_S
Told = dict[str, dict[str, float]]


def judge(
    panel: Panel, horizons_s: tuple[float, ...], last: int | None = None, networks: Sequence[str] = ()
) -> list[Told]:
    """Per horizon model to its figures, over all tests in which these networks answer."""
    found: list[dict[str, list[tuple[float, float, float, int]]]] = [defaultdict(list) for _ in horizons_s]
    for trial in run_trials(panel, (*MODELS, *networks), horizons_s, last=last):
        i = horizons_s.index(trial.horizon_s)
        scores = {one.model: one for one in score_all(trial) if one.n}
        if scores.keys() >= {*networks}:  # a test in which a network has too little to learn from compares nothing
            for name in (*MODELS, *networks):
                if (one := scores.get(name)) is not None:
                    found[i][name].append((one.mae_mm, 2.0 * one.pinball, one.coverage_80, one.n))
    return [{model: pool(parts) for model, parts in own.items()} for own in found]


def pool(parts: list[tuple[float, float, float, int]]) -> dict[str, float]:
    table = np.array(parts)
    out = {}
    for i, name in enumerate(("mae_mm", "crps_mm", "coverage_80")):
        known = np.isfinite(table[:, i])
        if known.any():
            out[name] = float(f"{np.average(table[known, i], weights=table[known, 3]):.4g}")
    return out


def judge_drawn() -> dict[str, Any]:
    """Every cadence, kind and ratio once: cells, shares of them, and coverage."""
    asked = [(name, kind, r) for name in CADENCES for kind in KINDS for r in (RATIOS if kind != "white" else (1.0,))]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        cells = {
            key: cell for found in pool.map(judge_motion, *zip(*asked, strict=True)) for key, cell in found.items()
        }
    by_kind = {kind: tell_cells({k: c for k, c in cells.items() if k.split()[1] == kind}) for kind in KINDS}
    return {
        "seeds": {name: len(own) for name, own in SEEDS.items()},
        "all": tell_cells(cells),
        "by kind": by_kind,
        "cells": cells,
    }


def judge_motion(cadence_name: str, kind: str, ratio: float) -> dict[str, dict[str, Any]]:
    """The cell of each horizon, of those seeds in which all models answer."""
    cadence, of_seeds = CADENCES[cadence_name], list[list[tuple[float | None, Told]]]()
    for seed in SEEDS[cadence_name]:
        panel = Panel(0.0, cadence.step_s, ("drawn",), draw_motion(kind, ratio, cadence, seed)[:, None])
        floors = find_floors(panel, cadence.steps, foresee(kind, ratio, cadence, seed))
        told = judge(panel, tuple(h * cadence.step_s for h in cadence.steps))
        of_seeds.append(list(zip(floors, told, strict=True)))
    found = {}
    for h, own in zip(cadence.steps, zip(*of_seeds, strict=True), strict=True):
        if known := [(floor, one) for floor, one in own if set(one) >= set(MODELS)]:
            cell = tell_cell(*average(known))
            draws = np.random.default_rng(0).integers(0, len(known), (AGAIN, len(known)))
            again = [tell_cell(*average([known[i] for i in draw]))["ratio"] for draw in draws.tolist()]
            key = f"{cadence_name} {kind} {ratio:g}, {h} rows"
            found[key] = cell | {"ratio, standard error": round(float(np.std(again)), 3)}
            print(key, found[key], flush=True)
    return found


def average(known: Sequence[tuple[float | None, Told]]) -> tuple[Told, float | None]:
    """Means over seeds of each model's figures, and of the floor."""
    told = {m: {k: mean([one[m].get(k) for _, one in known]) for k in known[0][1][m]} for m in MODELS}
    floors = [floor for floor, _ in known if floor is not None]
    return told, mean(floors) if floors else None


def mean(figures: Sequence[float | None]) -> float:
    return float(f"{np.mean([one for one in figures if one is not None]):.4g}")


def find_floors(panel: Panel, steps: Sequence[int], foreseen: Floats | None) -> list[float | None]:
    """By horizon what is erred by one who foresees all but the change, on the targets of the same tests."""
    if foreseen is None:
        return [None] * len(steps)
    tests = [one.test for one in rolling_folds(panel.values.shape[0], 3)]

    def err(i: int, h: int) -> float:
        off = [np.abs(t.targets(panel.values, t.origins, h)[:, 0] - foreseen[t.origins, i]) for t in tests]
        return float(np.nanmean(np.concatenate(off)))

    return [err(i, h) for i, h in enumerate(steps)]


def tell_cell(told: Told, floor: float | None = None) -> dict[str, Any]:
    """MAE and CRPS of each model, and the ratio to the best rival, and to the floor where that is higher."""
    best = min(told[name]["mae_mm"] for name in RIVALS)
    more = (
        {}
        if floor is None
        else {"floor_mm": float(f"{floor:.4g}"), "ratio to floor": round(told["auto"]["mae_mm"] / max(best, floor), 3)}
    )
    return more | {
        "ratio": round(told["auto"]["mae_mm"] / max(best, 1e-9), 3),
        "mae_mm": {name: told[name]["mae_mm"] for name in MODELS},
        "crps_mm": {name: told[name].get("crps_mm") for name in MODELS},
        "coverage_80": told["auto"].get("coverage_80"),
    }


def tell_horizons(told: Sequence[Told], horizons_s: Sequence[float], unit: str) -> dict[str, Any]:
    """The cells of one motion at which all models answer, by horizon in hours or days."""
    seconds = {"h": 3600.0, "d": DAY_S}[unit]
    pairs = zip(horizons_s, told, strict=True)
    return {f"{h / seconds:g} {unit}": tell_cell(one) for h, one in pairs if set(one) >= set(MODELS)}


def judge_networks(panel: Panel, horizons_s: tuple[float, ...], last: int | None = None) -> dict[str, Any]:
    """Networks by themselves beside persistence, straight line and `auto`, on the tests in which they answer."""
    return {
        f"{h / 3600:g} h": {name: figures for name, figures in one.items() if name not in {"lld", "trend"}}
        for h, one in zip(horizons_s, judge(panel, horizons_s, last, NETWORKS), strict=True)
        if one
    }


def tell_cells(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    ratios = np.array([cell["ratio"] for cell in cells.values()])
    fair = np.array([cell.get("ratio to floor", cell["ratio"]) for cell in cells.values()])
    held = [cell["coverage_80"] for cell in cells.values() if cell["coverage_80"] is not None]
    return {
        "cells": ratios.size,
        "geometric mean": round(float(np.exp(np.log(np.maximum(ratios, 0.001)).mean())), 3),
        "share <= 1.10": round(float((ratios <= 1.1).mean()), 3),
        "cells > 1.30": int((ratios > 1.3).sum()),
        "worst": float(ratios.max()),
        "cells > 1.30 x the larger of best and floor": int((fair > 1.3).sum()),
        "coverage_80, mean": round(float(np.mean(held)), 3) if held else None,
    }


def list_named() -> Iterator[tuple[str, Panel]]:
    """Records drawn as they are described: a crack that opens steadily, one that bends, markers at 8 m/day."""
    yield "crack, steady 45 mm/day", draw_crack(False, SEED)
    yield "crack, 1 mm/day, then 45 for 10 days", draw_crack(True, SEED)
    yield "marker, 8 m/day", draw_marker(0.0, SEED)
    yield "marker, 8 m/day, its velocity wanders by 2 % an hour", draw_marker(0.02, SEED)


def judge_recorded() -> dict[str, Any]:
    """The named and the measured motions, with networks."""
    figures: dict[str, Any] = {}
    named, measured, networks = (figures.setdefault(k, {}) for k in ("named", "measured, last four weeks", "networks"))
    for name, panel in list_named():
        named[name] = tell_horizons(judge(panel, HOURS), HOURS, "h")
        networks[name] = judge_networks(panel, HOURS)
        print(name, named[name], networks[name], flush=True)
    for one in read_records({"bowdoin", "failure", "cracks", "outang"}):
        last = round(LAST_WEEKS_S / one.panel.step_s)
        if last < 20 or last > 0.6 * one.panel.values.shape[0]:
            last = round(0.5 * one.panel.values.shape[0])
        horizons_s = tuple(h for h in one.horizons_s if 3 * h < last * one.panel.step_s)
        measured[one.name] = tell_horizons(judge(one.panel, horizons_s, last), horizons_s, "d")
        networks[one.name] = judge_networks(one.panel, horizons_s, last)
        print(one.name, measured[one.name], networks[one.name], flush=True)
    return figures


def main() -> None:
    part = parse_options(__doc__, only="").only
    kept = LAB_RESULTS.load_figures("forecast-fast-motion") if part else judge_recorded()
    bars = "auto <= 1.10 x the best of persistence, straight line, lld; never > 1.30 x the larger of it and floor"
    figures = {"bars": bars} | kept | {"drawn": judge_drawn()}
    print(
        LAB_RESULTS.store(
            "forecast-fast-motion", "python -m packages.lab.benchmarks.forecasting.bench_fast_motion", figures, part
        )
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

"""What the average of simple forecasts costs beside the best of four, on every measured record left out in turn.

    python -m packages.lab.benchmarks.forecasting.bench_forecast_regret

A cell is a station at a horizon over three rolling tests; its ratio is the MAE served / the lowest MAE of persistence,
drift, `lld` and `ewa`, known only afterwards. `served`: the rule as it is shipped, on one path over the horizons as
every forecast is given out. `without the path`: before it is laid there. `median5`: never anything else. Coverage is
that of the 80 % interval of the average, inside experience and outside it alike: the kinematic forecast does not step
in here.

How much of it is chance was measured once: what stands under `MEASURED_ONCE` in the record stays as it is.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from forecasting.serving.path import Reach, find_reach, lay
from forecasting.simple.auto import fit_auto, least_scored
from forecasting.simple.regret import Rule, Shorter, compute_weights, mix

from forecasting.data.series import Floats, Ints
from forecasting.data.splits import Split, rolling_folds
from forecasting.data.windows import targets
from forecasting.serving.experience import see_pace
from forecasting.serving.quantiles import bounds, conform, repeat_point, widen
from forecasting.simple.baselines import fit_baseline
from forecasting.simple.trend import Trend, follow
from tests.bench.record import LAB_RESULTS
from tests.data.records import Measured, read_records

RIVALS = ("persistence", "drift", "lld", "ewa")
LEAST_TARGETS = 10
NEAR, FAR = 1.10, 1.25
COMMAND = "python -m packages.lab.benchmarks.forecasting.bench_forecast_regret"
MEASURED_ONCE = ("by chance", "of exact intervals, worst and below .70")


@dataclass(frozen=True)
class Fold:
    cut: Split
    steps: int
    first: int
    made: Floats
    least: Ints
    rivals: Mapping[str, Floats]
    observed: Floats
    known: Floats
    surprise: Floats | None
    scale: Floats | None
    groups: Sequence[Sequence[int]]

    def serve(self, shorter: Shorter | None) -> tuple[Floats, Shorter]:
        """The average at every row from `first` on, and what the next horizon learns from this one."""
        rows = np.arange(self.first, self.cut.test.end)
        errors = self.made - targets(self.known, rows, self.steps)
        facts = (self.least, self.surprise, self.scale, self.groups, shorter)
        weights, passed_on = compute_weights(self.made, errors, self.steps, Rule(), *facts)
        return mix(self.made, weights), passed_on


@dataclass(frozen=True)
class Paths:
    """How far the path of each station reaches from each origin of a test."""

    origins: Ints
    steps: Sequence[int]
    known: Floats
    newest: Ints
    reaches: Sequence[Reach]

    def lay(self, points: Floats) -> Floats:
        """Points of all horizons (N, S, H) as they are given out."""
        out = points.copy()
        for n, reach in enumerate(self.reaches):
            for s, row in enumerate(self.newest[n]):
                told = np.flatnonzero(np.isfinite(points[n, s]))
                if row < 0 or told.size < len(self.steps):
                    continue  # a forecast that cannot be made is not scored
                ahead = [int(self.origins[n] - row) + h for h in self.steps]
                fan = np.repeat(points[n, s, :, None], 5, axis=1)
                out[n, s] = lay(fan, ahead, float(self.known[row, s]), reach, s)[:, 2]
        return out


def find_paths(known: Floats, origins: Ints, steps: Sequence[int]) -> Paths:
    rows = np.where(np.isfinite(known), np.arange(known.shape[0])[:, None], -1)
    newest = np.maximum.accumulate(rows, axis=0)[origins]
    reaches = []
    for origin, last in zip(origins, newest, strict=True):
        ages = {int(origin - row) for row in last if row >= 0}
        asked = {age + h for age in ages for h in steps} | {b - a for a, b in itertools.pairwise(steps)}
        reaches.append(find_reach(known[: origin + 1], asked))
    return Paths(origins, steps, known, newest, reaches)


@dataclass(frozen=True)
class Cell:
    record: str
    family: str
    station: str
    horizon: int
    steps: int
    n: int
    served: float
    unlaid: float
    median5: float
    best: float
    errors: Floats = field(compare=False, repr=False)  # (targets, rivals and served)

    @property
    def ratio(self) -> float:
        return self.served / max(self.best, 1e-9)


def prepare(one: Measured) -> list[list[Fold]]:
    """Horizon by horizon the folds of a record."""
    out: list[list[Fold]] = [[] for _ in one.horizons_s]
    for cut in rolling_folds(one.panel.values.shape[0]):
        known = one.panel.head(cut.test.end)
        steps = tuple(known.steps(h) for h in one.horizons_s)
        auto = fit_auto(known, cut.calibration, steps)
        origins = cut.test.origins
        apart = (fit_baseline(name, known, cut.calibration, steps) for name in (*RIVALS, "median5"))
        said = {one.name: one.predict(known.values, origins) for one in apart}
        named = {m.name: m for m in auto.members}
        least = np.array([least_scored(named.get(m.name)) for m in auto.judged], dtype=np.int64)
        weighed = auto.compute_weighted_candidates(known.values, cut.test.end - 1)
        standard, motion, groups = auto.judged[0], None, ()
        if isinstance(standard, Trend):
            groups = standard.groups
            motion = follow(auto.take_season(known.values)[0], steps, groups).since(auto.first)
        for i, (h, (made, _)) in enumerate(zip(steps, weighed, strict=True)):
            rivals = {name: points[:, :, i] for name, points in said.items()}
            observed = cut.test.targets(known.values, origins, h)
            moving = (None, None) if motion is None else (motion.surprise, motion.scale[:, :, i])
            facts = (known.values, *moving, groups)
            out[i].append(Fold(cut, h, auto.first, made, least, rivals, observed, *facts))
    return out


def serve(prepared: Sequence[Sequence[Fold]]) -> list[list[Floats]]:
    """Horizon by horizon the averages of the folds; each horizon learns from the one before."""
    out: list[list[Floats]] = [[] for _ in prepared]
    for horizons in zip(*prepared, strict=True):
        shorter = None
        for found, fold in zip(out, horizons, strict=True):
            points, shorter = fold.serve(shorter)
            found.append(points)
    return out


def score(
    one: Measured, prepared: Sequence[Sequence[Fold]], served: Sequence[Sequence[Floats]], paths: Sequence[Paths]
) -> list[Cell]:
    """One cell per station and horizon, on the targets that everybody forecast."""
    unlaid = [
        [points[fold.cut.test.origins - fold.first] for fold, points in zip(folds, averages, strict=True)]
        for folds, averages in zip(prepared, served, strict=True)
    ]
    laid = [path.lay(np.stack(points, axis=2)) for path, points in zip(paths, zip(*unlaid, strict=True), strict=True)]
    cells = []
    for i, folds in enumerate(prepared):
        errors: dict[str, list[Floats]] = defaultdict(list)
        for k, fold in enumerate(folds):
            said = {**fold.rivals, "unlaid": unlaid[i][k], "served": laid[k][:, :, i]}
            both = np.isfinite(fold.observed) & np.all([np.isfinite(a) for a in said.values()], axis=0)
            for name, points in said.items():
                errors[name].append(np.where(both, np.abs(fold.observed - points), np.nan))
        every = {name: np.concatenate(of) for name, of in errors.items()}
        for s, station in enumerate(one.panel.stations):
            own = {name: of[np.isfinite(of[:, s]), s] for name, of in every.items()}
            n = own["served"].size
            if n >= LEAST_TARGETS:
                means = {name: float(of.mean()) for name, of in own.items()}
                best = min(means[name] for name in RIVALS)
                errors_of_all = np.stack([own[name] for name in (*RIVALS, "served")], axis=1)
                place = (one.name, one.family, station, i, folds[0].steps, n)
                cells.append(Cell(*place, means["served"], means["unlaid"], means["median5"], best, errors_of_all))
    return cells


def tell_cell(cell: Cell) -> dict[str, Any]:
    means = {name: round(float(m), 2) for name, m in zip((*RIVALS, "served"), cell.errors.mean(axis=0), strict=True)}
    return {
        "cell": f"{cell.record} {cell.station} horizon {cell.horizon + 1}",
        "ratio": round(cell.ratio, 2),
        "without the path": round(cell.unlaid / max(cell.best, 1e-9), 2),
        "targets": cell.n,
        "independent spans": round(cell.n / cell.steps, 1),
        "mae_mm": means,
    }


def tabulate(cells: Sequence[Cell], own: Callable[[Cell], float]) -> dict[str, Any]:
    ratios = np.array([own(c) / max(c.best, 1e-9) for c in cells])
    pooled = {}
    for horizon in sorted({c.horizon for c in cells}):
        # records differ a hundredfold in size, so each counts by its ratio
        by_record = defaultdict(lambda: np.zeros(2))
        for c in cells:
            if c.horizon == horizon:
                by_record[c.record] += c.n * np.array([own(c), c.median5])
        pooled[("first", "second", "third")[horizon]] = round(
            float(np.exp(np.mean([np.log(a / b) for a, b in by_record.values()]))), 4
        )
    return {
        "cells": len(cells),
        "share <= 1.10": round(float((ratios <= NEAR).mean()), 4),
        "cells > 1.25": int((ratios > FAR).sum()),
        "worst": round(float(ratios.max()), 3),
        "geometric mean": round(float(np.exp(np.log(ratios).mean())), 4),
        "to median5 by horizon, mean of records": pooled,
    }


@dataclass
class Held:
    stations: list[tuple[float, int, int, tuple[str, str]]] = field(default_factory=list)
    fast: Floats = field(default_factory=lambda: np.zeros(2))


def cover(
    one: Measured, prepared: Sequence[Sequence[Fold]], served: Sequence[Sequence[Floats]], held: dict[int, Held]
) -> Floats:
    """Add what the 80 % intervals held to `held`, by horizon; issues scored at every horizon, and held at every one."""
    stations = len(one.panel.stations)
    joint: dict[int, tuple[Floats, Floats]] = {}
    for i, folds in enumerate(prepared):
        inside, count = np.zeros(stations), np.zeros(stations)
        found = held.setdefault(i, Held())
        for fold, points in zip(folds, served[i], strict=True):
            fan, rows = repeat_point(points), np.arange(fold.first, fold.cut.test.end)
            pace, test = see_pace(fold.known, rows), slice(fold.cut.test.first - fold.first, None)
            conformed = conform(fan, fold.known, rows, fold.steps, pace)
            low, high = bounds(widen(fan, conformed.margins)[test], 0.8)
            known = np.isfinite(fold.observed) & np.isfinite(low)
            hit = known & (fold.observed >= low) & (fold.observed <= high)
            inside, count = inside + hit.sum(axis=0), count + known.sum(axis=0)
            fast = known & (pace.velocity > pace.usual)[test]
            found.fast += [fast.sum(), (fast & hit).sum()]
            key = fold.cut.test.first
            before = joint.get(key, (np.ones(known.shape), np.ones(known.shape)))
            joint[key] = before[0] * known, before[1] * hit
        found.stations += [
            (float(a / n), int(n), folds[0].steps, (one.name, station))
            for a, n, station in zip(inside, count, one.panel.stations, strict=True)
            if n >= LEAST_TARGETS
        ]
    return np.sum([(known.sum(), (known * hit).sum()) for known, hit in joint.values()], axis=0)


def tell_held(held: Mapping[int, Held]) -> dict[str, Any]:
    out = {}
    for h, found in sorted(held.items()):
        share, n, steps, place = min(found.stations)
        out[("first", "second", "third")[h]] = {
            "pooled": round(sum(a * n for a, n, *_ in found.stations) / sum(n for _, n, *_ in found.stations), 3),
            "worst station": round(share, 3),
            "it is": {"station": " ".join(place), "targets": n, "independent spans": round(n / steps, 1)},
            "stations": len(found.stations),
            "of them below .70": sum(a < 0.70 for a, *_ in found.stations),
            "while faster than usual": round(float(found.fast[1] / max(1.0, found.fast[0])), 3),
            "targets while faster": int(found.fast[0]),
        }
    return out


def main() -> None:
    served: list[Cell] = []
    held: dict[int, Held] = {}
    joint = np.zeros(2)
    shares = {}
    for one in read_records():
        prepared = prepare(one)
        steps = [folds[0].steps for folds in prepared]
        paths = [find_paths(fold.known, fold.cut.test.origins, steps) for fold in prepared[0]]
        averages = serve(prepared)
        own = score(one, prepared, averages, paths)
        served += own
        joint += cover(one, prepared, averages, held)
        shares[one.name] = {
            "stations": len(one.panel.stations),
            "horizons_d": [round(h / 86400.0, 3) for h in one.horizons_s],
            "ratio": [round(float(np.mean([c.ratio for c in own if c.horizon == i])), 3) for i in range(len(prepared))],
            "worst": [round(max(c.ratio for c in own if c.horizon == i), 3) for i in range(len(prepared))],
        }
        print(one.name, shares[one.name], flush=True)
    worst = sorted(served, key=lambda c: -max(c.ratio, c.unlaid / max(c.best, 1e-9)))[:25]
    kept = LAB_RESULTS.load_figures("forecast-regret") or {}
    coverage = tell_held(held) | {"all horizons of an issue at once": round(float(joint[1] / max(1.0, joint[0])), 3)}
    for name, row in coverage.items():
        before = kept.get("coverage_80", {}).get(name, {})
        if isinstance(row, dict) and MEASURED_ONCE[1] in before:
            row[MEASURED_ONCE[1]] = before[MEASURED_ONCE[1]]
    figures = {
        "unit": "MAE served / lowest MAE of persistence, drift, lld, ewa afterwards; three rolling tests",
        "bars": "<= 1.10 in 95 % of cells, none > 1.25, not above median5",
        "served": tabulate(served, lambda c: c.served),
        "without the path": tabulate(served, lambda c: c.unlaid),
        "median5": tabulate(served, lambda c: c.median5),
        "by chance": kept.get("by chance"),
        "coverage_80": coverage,
        "records": shares,
        "worst cells": [tell_cell(c) for c in worst],
    }
    print({k: figures[k] for k in ("served", "without the path", "median5", "by chance", "coverage_80")})
    print(LAB_RESULTS.store("forecast-regret", COMMAND, figures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

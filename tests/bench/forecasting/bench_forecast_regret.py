"""What the average of simple forecasts costs beside the best of four, on every measured record left out in turn.

    python -m tests.bench.forecasting.bench_forecast_regret [--only NAMES]

A cell is a station at a horizon over three rolling tests; its ratio is the MAE served / the lowest MAE of persistence,
drift, `lld` and `ewa`, known only afterwards. `nested`: the rule for the weights is chosen on all other families of
records (a family shares its place), then scored on the one left out. `served`: the rule as it is shipped. `median5`:
never anything else. Coverage is that of the 80 % interval of what is served, inside
experience and outside it alike: the kinematic forecast does not step in here.
"""

import argparse
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.data.splits import Split, rolling_folds
from forecasting.data.windows import targets
from forecasting.serving.pace import see_pace
from forecasting.serving.quantiles import bounds, conform, point_fan, widen
from forecasting.simple.auto import fit_auto, least_scored
from forecasting.simple.regret import Rule, mix, weigh
from tests.bench.record import record
from tests.data.records import Measured, read_records

RIVALS = ("persistence", "drift", "lld", "ewa")
GRID = tuple(
    Rule(prior=prior, sharpness=sharpness, discount=discount)
    for prior, sharpness, discount in itertools.product((2.0, 6.0), (0.5, 1.0, 2.0), (0.98, 0.99, 0.995))
)
LEAST_TARGETS = 10
NEAR, FAR = 1.10, 1.25


@dataclass(frozen=True)
class Fold:
    """One test of one record at one horizon.

    Attributes:
        cut: Where it lies.
        steps: The horizon in rows.
        first: Row of the first forecast in `made`.
        made: What every candidate said from there on, shape (E, N, S).
        least: Rows that must be scored before each has a weight.
        rivals: Model to its forecasts on the test.
        observed: At the targets of the test.
        known: Values up to the end of the test.
    """

    cut: Split
    steps: int
    first: int
    made: Floats
    least: Ints
    rivals: Mapping[str, Floats]
    observed: Floats
    known: Floats

    def serve(self, rule: Rule) -> Floats:
        """The average at every row from `first` on."""
        rows = np.arange(self.first, self.cut.test.end)
        errors = np.abs(self.made - targets(self.known, rows, self.steps))
        return mix(self.made, weigh(self.made, errors, self.steps, rule, self.least))


@dataclass(frozen=True)
class Cell:
    """One station at one horizon."""

    record: str
    family: str
    station: str
    horizon: int
    n: int
    served: float
    median5: float
    best: float

    @property
    def ratio(self) -> float:
        """Served beside the best of four, which is known only afterwards."""
        return self.served / max(self.best, 1e-9)


def prepare(one: Measured) -> list[list[Fold]]:
    """Horizon by horizon the folds of a record."""
    out: list[list[Fold]] = [[] for _ in one.horizons_s]
    for cut in rolling_folds(one.panel.values.shape[0]):
        known = one.panel.head(cut.test.end)
        steps = tuple(known.steps(h) for h in one.horizons_s)
        auto = fit_auto(known, cut.calibration, steps)
        origins = cut.test.origins
        said = {name: auto.member(name).predict(known.values, origins) for name in (*RIVALS, "median5")}  # type: ignore[union-attr]
        least = np.array([least_scored(auto.member(m.name)) for m in auto.judged], dtype=np.int64)
        weighed = auto.weigh_candidates(known.values, cut.test.end - 1)
        for i, (h, (made, _)) in enumerate(zip(steps, weighed, strict=True)):
            rivals = {name: points[:, :, i] for name, points in said.items()}
            observed = cut.test.targets(known.values, origins, h)
            out[i].append(Fold(cut, h, auto.first, made, least, rivals, observed, known.values))
    return out


def score(one: Measured, prepared: Sequence[Sequence[Fold]], rule: Rule) -> list[Cell]:
    """One cell per station and horizon, on the targets that everybody forecast."""
    cells = []
    for i, folds in enumerate(prepared):
        sums: dict[str, Floats] = defaultdict(lambda: np.zeros(len(one.panel.stations)))
        for fold in folds:
            said = {**fold.rivals, "served": fold.serve(rule)[fold.cut.test.origins - fold.first]}
            both = np.isfinite(fold.observed) & np.all([np.isfinite(a) for a in said.values()], axis=0)
            sums["n"] += both.sum(axis=0)
            for name, points in said.items():
                sums[name] += np.where(both, np.abs(fold.observed - points), 0.0).sum(axis=0)
        for s, station in enumerate(one.panel.stations):
            n = int(sums["n"][s])
            if n >= LEAST_TARGETS:
                best = min(float(sums[name][s]) for name in RIVALS) / n
                served, median5 = float(sums["served"][s]) / n, float(sums["median5"][s]) / n
                cells.append(Cell(one.name, one.family, station, i, n, served, median5, best))
    return cells


def loss(cells: Iterable[Cell]) -> float:
    """What a rule is chosen by: mean log ratio and five times what lies beyond 1.10, every family alike."""
    by_family: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        by_family[cell.family].append(float(np.log(cell.ratio)) + 5.0 * max(0.0, cell.ratio - NEAR))
    return float(np.mean([np.mean(values) for values in by_family.values()]))


def tabulate(cells: Sequence[Cell], own: Callable[[Cell], float]) -> dict[str, Any]:
    """Shares of cells and pooled errors of one way."""
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
        "cells": len(cells), "share <= 1.10": round(float((ratios <= NEAR).mean()), 4),
        "cells > 1.25": int((ratios > FAR).sum()), "worst": round(float(ratios.max()), 3),
        "geometric mean": round(float(np.exp(np.log(ratios).mean())), 4),
        "to median5 by horizon, mean of records": pooled,
    }  # fmt: skip


@dataclass
class Held:
    """Coverage of the 80 % interval at one horizon.

    Attributes:
        stations: (share inside, targets) per station.
        fast: Targets issued while the station moved faster than in nine of ten rows before, and how many were inside.
    """

    stations: list[tuple[float, int]] = field(default_factory=list)
    fast: Floats = field(default_factory=lambda: np.zeros(2))


def cover(one: Measured, prepared: Sequence[Sequence[Fold]], rule: Rule, held: dict[int, Held]) -> Floats:
    """Add what the 80 % intervals held to `held`, by horizon; issues scored at every horizon, and held at every one."""
    stations = len(one.panel.stations)
    joint: dict[int, tuple[Floats, Floats]] = {}
    for i, folds in enumerate(prepared):
        inside, count = np.zeros(stations), np.zeros(stations)
        found = held.setdefault(i, Held())
        for fold in folds:
            fan, rows = point_fan(fold.serve(rule)), np.arange(fold.first, fold.cut.test.end)
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
        found.stations += [(float(a / n), int(n)) for a, n in zip(inside, count, strict=True) if n >= LEAST_TARGETS]
    return np.sum([(known.sum(), (known * hit).sum()) for known, hit in joint.values()], axis=0)


def main() -> None:
    """Measure and keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", help="names of records; nothing is kept then")
    only = [name for name in options.parse_args().only.split(",") if name]
    every: dict[Rule, list[Cell]] = defaultdict(list)
    held: dict[int, Held] = {}
    joint = np.zeros(2)
    shares = {}
    for one in read_records():
        if only and one.name not in only:
            continue
        prepared = prepare(one)
        for rule in {*GRID, Rule()}:
            every[rule] += score(one, prepared, rule)
        joint += cover(one, prepared, Rule(), held)
        own = [c for c in every[Rule()] if c.record == one.name]
        shares[one.name] = {
            "stations": len(one.panel.stations), "horizons_d": [round(h / 86400.0, 3) for h in one.horizons_s],
            "ratio": [round(float(np.mean([c.ratio for c in own if c.horizon == i])), 3) for i in range(len(prepared))],
            "worst": [round(max(c.ratio for c in own if c.horizon == i), 3) for i in range(len(prepared))],
        }  # fmt: skip
        print(one.name, shares[one.name], flush=True)
    families = sorted({c.family for c in every[Rule()]})
    nested: list[Cell] = []
    picked = {}
    for family in families if len(families) > 1 else ():
        rule = min(GRID, key=lambda r: loss(c for c in every[r] if c.family != family))
        picked[family] = f"prior {rule.prior:g}, sharpness {rule.sharpness:g}, discount {rule.discount:g}"
        nested += [c for c in every[rule] if c.family == family]
    served = every[Rule()]
    worst = sorted(served, key=lambda c: -c.ratio)[:25]
    figures = {
        "unit": "MAE served / lowest MAE of persistence, drift, lld, ewa afterwards; three rolling tests",
        "bars": "<= 1.10 in 95 % of cells, none > 1.25, not above median5",
        "nested": tabulate(nested, lambda c: c.served) if nested else {}, "rule without the family": picked,
        "served": tabulate(served, lambda c: c.served), "median5": tabulate(served, lambda c: c.median5),
        "coverage_80": {
            ("first", "second", "third")[h]: {
                "pooled": round(sum(a * n for a, n in found.stations) / sum(n for _, n in found.stations), 3),
                "worst station": round(min(a for a, _ in found.stations), 3),
                "stations": len(found.stations), "of them below .70": sum(a < 0.70 for a, _ in found.stations),
                "while faster than usual": round(float(found.fast[1] / max(1.0, found.fast[0])), 3),
                "targets while faster": int(found.fast[0]),
            }
            for h, found in sorted(held.items())
        } | {"all horizons of an issue at once": round(float(joint[1] / max(1.0, joint[0])), 3)},
        "records": shares,
        "worst cells": [
            f"{c.record} {c.station} horizon {c.horizon + 1}: {c.ratio:.2f} "
            f"({c.n} targets, median5 {c.median5 / max(c.best, 1e-9):.2f})"
            for c in worst
        ],
    }  # fmt: skip
    print({k: figures[k] for k in ("nested", "served", "median5", "coverage_80")})
    if not only:
        print(record("forecast-regret", "python -m tests.bench.forecasting.bench_forecast_regret", figures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

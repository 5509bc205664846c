"""The combination of experts beside the last value, a straight line and damped level and slope, at the same origins.

    python -m packages.lab.benchmarks.forecasting.bench_combination [--only measured|drawn]

Records are the measured ones of `tests.data.records` (of large panels the first stations) and motions of
`tests.data.forecasts.motions`. Three rolling tests per record. A ratio is the mean absolute error, pooled over the
stations of a record, relative to the better of last value and straight line, which is known only afterwards; a table
entry is the geometric mean of the ratios of a kind. The slope of the straight line is the best one so far per station
and horizon; `lld` chooses level, slope and damping on calibration. Coverage is that of the intervals of the
combination. Processor seconds are those of the combination, every row once.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forecasting.combination.combination import LINE, MEDIAN, PERSISTENCE
from forecasting.combination.run import run
from forecasting.data.components import group_components
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.data.splits import Split, rolling_folds
from forecasting.simple.baselines import fit_lld
from tests.bench.record import parse_options
from tests.data.forecasts.motions import CADENCES, KINDS, draw_motion
from tests.data.records import read_records

MOST_STATIONS = 6
FEWEST_TARGETS = 10
SEED = 500
RATIOS = (1.0, 10.0, 100.0)
FAST = {"bowdoin": "tidal ice", "failure": "accelerating", "cracks": "cracks"}
PEERS = {"last value": PERSISTENCE, "straight line": LINE}
MODELS = ("combination", *PEERS, "lld")


@dataclass(frozen=True)
class Case:
    """One record and the forecasts that are asked of it."""

    name: str
    kind: str
    panel: Panel
    horizons_s: tuple[float, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(self.panel.steps(h) for h in self.horizons_s)

    @property
    def folds(self) -> list[Split]:
        return rolling_folds(self.panel.values.shape[0])


@dataclass(frozen=True)
class Result:
    """Mean absolute errors in mm by model (M, S, H), and shares that intervals hold (S, H), NaN of few targets."""

    case: Case
    errors_mm: dict[str, Floats]
    coverage: dict[float, Floats]
    seconds: float


def list_measured() -> Iterator[Case]:
    for record in read_records():
        panel = record.panel
        panel = replace(panel, stations=panel.stations[:MOST_STATIONS], values=panel.values[:, :MOST_STATIONS])
        kind = FAST.get(record.family)
        if kind is None:
            kind = "slow, daily" if panel.step_s == DAY_S else "monthly and satellite"
        yield Case(record.name, kind, panel, record.horizons_s)


def list_drawn() -> Iterator[Case]:
    for name, cadence in CADENCES.items():
        for kind in KINDS:
            for ratio in RATIOS if kind != "white" else (1.0,):
                values = draw_motion(kind, ratio, cadence, SEED)[:, None]
                panel = Panel(0.0, cadence.step_s, ("drawn",), values)
                horizons_s = tuple(h * cadence.step_s for h in cadence.steps)
                yield Case(f"{name} {kind} {ratio:g}", f"drawn, {kind}", panel, horizons_s)


def judge(case: Case) -> Result:
    started = time.process_time()
    made = run(case.panel, case.horizons_s, groups=group_components(case.panel.stations))
    seconds = time.process_time() - started
    fans = made.fans
    medians = {"combination": fans[..., MEDIAN]}
    medians |= {name: made.peers[peer][..., MEDIAN] for name, peer in PEERS.items()}
    points = {name: [median[fold.test.origins] for fold in case.folds] for name, median in medians.items()}
    points["lld"] = [
        fit_lld(case.panel.head(fold.test.end), fold.calibration, case.steps).predict(
            case.panel.values, fold.test.origins
        )
        for fold in case.folds
    ]
    errors: dict[str, list[Floats]] = defaultdict(list)
    inside: dict[float, list[Floats]] = defaultdict(list)
    for number, fold in enumerate(case.folds):
        origins = fold.test.origins
        observed = np.stack([fold.test.targets(case.panel.values, origins, h) for h in case.steps], axis=2)
        off = {name: np.abs(observed - points[name][number]) for name in MODELS}
        known = np.all([np.isfinite(error) for error in off.values()], axis=0)
        for name in MODELS:
            errors[name].append(np.where(known, off[name], np.nan))
        for level, low, high in ((0.8, 1, 3), (0.95, 0, 4)):
            fan = fans[origins]
            held = (observed >= fan[..., low]) & (observed <= fan[..., high])
            inside[level].append(np.where(np.isfinite(observed) & np.isfinite(fan[..., low]), held, np.nan))
    return Result(
        case,
        {name: average(parts) for name, parts in errors.items()},
        {level: average(parts) for level, parts in inside.items()},
        seconds,
    )


def average(parts: Sequence[Floats]) -> Floats:
    """Mean over the origins (S, H), NaN of fewer than 10 targets."""
    joined = np.concatenate(parts)
    count = np.isfinite(joined).sum(axis=0)
    total = np.nansum(joined, axis=0)
    return np.where(count >= FEWEST_TARGETS, total / np.maximum(count, 1), np.nan)


def compare(result: Result, model: str) -> Floats:
    """Errors pooled over the stations relative to the better of last value and straight line, shape (H,)."""
    best = np.minimum(*(np.nansum(result.errors_mm[name], axis=0) for name in PEERS))
    own = np.nansum(result.errors_mm[model], axis=0)
    return np.where(best > 0.0, own / np.where(best > 0.0, best, 1.0), np.nan)


def tabulate(results: Sequence[Result]) -> dict[str, Any]:
    """By kind and horizon the mean ratios, the worst record, and coverage."""
    out: dict[str, Any] = {}
    for kind in dict.fromkeys(result.case.kind for result in results):
        members = [result for result in results if result.case.kind == kind]
        rows = out.setdefault(kind, {"records": len(members)})
        for position, horizon in enumerate(("first", "second", "third")):
            having = [result for result in members if len(result.case.steps) > position]
            ratios = {m: np.array([compare(result, m)[position] for result in having]) for m in MODELS}
            own = ratios["combination"]
            if not np.isfinite(own).any():
                continue
            rows[horizon] = {m: mean_ratio(ratios[m]) for m in MODELS} | {
                "worst": round(float(np.nanmax(own)), 3),
                "worst record": having[int(np.nanargmax(own))].case.name,
                "coverage 80 %": mean_coverage(having, 0.8, position),
                "coverage 95 %": mean_coverage(having, 0.95, position),
            }
        rows["processor s"] = round(sum(result.seconds for result in members), 1)
    return out


def mean_ratio(ratios: Floats) -> float:
    return round(float(np.exp(np.nanmean(np.log(np.maximum(ratios, 1e-6))))), 3)


def mean_coverage(results: Sequence[Result], level: float, position: int) -> float:
    return round(float(np.nanmean(np.concatenate([result.coverage[level][:, position] for result in results]))), 3)


def print_table(table: dict[str, Any]) -> None:
    heads = "".join(f"{head:>14}" for head in MODELS)
    print(f"{'kind':24}{'horizon':>8}{heads}{'worst':>8}{'80 %':>7}{'95 %':>7}  worst record")
    for kind, rows in table.items():
        for horizon in ("first", "second", "third"):
            if (row := rows.get(horizon)) is not None:
                text = "".join(f"{row[m]:14.3f}" for m in MODELS) + f"{row['worst']:8.3f}"
                text += f"{row['coverage 80 %']:7.3f}{row['coverage 95 %']:7.3f}"
                print(f"{kind:24}{horizon:>8}{text}  {row['worst record']}")
        print(f"{kind:24} processor s: {rows['processor s']}", flush=True)


def judge_all(cases: Iterable[Case]) -> list[Result]:
    results = []
    for case in cases:
        results.append(judge(case))
        print(case.name, compare(results[-1], "combination").round(3).tolist(), flush=True)
    return results


def main() -> None:
    part = parse_options(__doc__, only="").only
    for name, cases in (("measured", list_measured), ("drawn", list_drawn)):
        if part in {"", name}:
            print_table(tabulate(judge_all(cases())))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

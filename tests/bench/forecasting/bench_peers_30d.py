"""`auto` beside the models that others forecast with, at 1, 7 and 30 days on measured daily positions.

    python -m tests.bench.forecasting.bench_peers_30d [--only NAMES]

Rows: straight line (`drift`), least absolute regression, our ARIMA and ETS, ETS chosen by AICc and Theta (fitted by
statsmodels and scipy on the newest 500 rows before each of three tests, then followed reading by reading), `trend`,
`auto`, and `auto` when no horizon learns from a shorter one. MAE and CRPS in mm over the targets that
all forecast; the interval of every row is conformed alike. The rule was chosen on seven of the records, `chosen on`;
the others were scored afterwards. `S` and `SK` are one motion under two noises. `groups` pools the targets of all
stations of one slide or network, and of the single stations.
"""

import argparse
import os
from collections import defaultdict
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from forecasting.data.series import Floats, Ints
from forecasting.data.windows import last_value
from forecasting.evaluation.distribution import crps
from forecasting.serving.pace import see_pace
from forecasting.serving.quantiles import conform, repeat_point, widen
from forecasting.simple.baselines import fit_baseline
from tests.bench.forecasting.bench_forecast_regret import Fold, prepare, serve
from tests.bench.record import record
from tests.data.records import Measured, read_records

CHOSEN_ON = ("SK", "K", "cascadia-up", "CHAN", "LHAS", "P156", "QUEM")
LEFT_OUT = ("S", "G", "japan-east", "japan-up", "cascadia-north", "IRKJ", "MXTM", "USUD", "baijiabao")
FAMILIES = {"outang", "cascadia", "japan", "positions", "baijiabao"}
OURS = ("drift", "lad", "arima", "ets", "trend")
BEFORE = "auto before"
NEWEST, FEWEST = 500, 60
DAYS = ("1 d", "7 d", "30 d")


def follow_ets(before: Floats, seen: Floats, ahead: Ints) -> Floats:
    """ETS(A,N,N), (A,A,N) or (A,Ad,N), whichever has the lowest AICc; forecasts after each row seen, (rows, H)."""
    fits = [
        ETSModel(before, error="add", trend=trend, damped_trend=damped).fit(disp=0, maxiter=200)
        for trend, damped in ((None, False), ("add", False), ("add", True))
    ]
    best = min(fits, key=lambda one: one.aicc)
    found = dict(zip(best.model.param_names, best.params, strict=True))
    a, b = found["smoothing_level"], found.get("smoothing_trend", 0.0)
    keep = found.get("damping_trend", 1.0) if best.model.has_trend else 0.0
    level, slope = found["initial_level"], found.get("initial_trend", 0.0)
    reach = np.array([sum(keep**k for k in range(1, h + 1)) for h in ahead])
    out = np.empty((seen.size, ahead.size))
    for t, value in enumerate(seen):
        level, slope = level + keep * slope, keep * slope
        if np.isfinite(value):
            error = value - level
            level, slope = level + a * error, slope + b * error
        out[t] = level + reach * slope
    return out


def follow_theta(before: Floats, seen: Floats, ahead: Ints) -> Floats:
    """Exponential smoothing with half of the slope (Hyndman and Billah 2003); forecasts after each row, (rows, H)."""

    def smooth(a: float, values: Floats) -> Floats:
        out, level = np.empty(values.size), values[np.isfinite(values).argmax()]
        for t, value in enumerate(values):
            level += a * (value - level) if np.isfinite(value) else 0.0
            out[t] = level
        return out

    def cost(a: float) -> float:
        return float(np.square(before[1:] - smooth(a, before)[:-1]).sum())

    a = float(minimize_scalar(cost, bounds=(0.01, 0.999), method="bounded").x)
    slope = np.polyfit(np.arange(before.size), before, 1)[0]
    return np.asarray(smooth(a, seen)[:, None] + 0.5 * slope * (ahead - 1.0 + 1.0 / a))


def ask_peers(fold: Fold, steps: Ints) -> dict[str, Floats]:
    """What both say from row `first` of the fold on, each (N, S, H); NaN where a station has too few rows."""
    end, first = fold.known.shape[0], fold.cut.test.first
    rows = np.arange(fold.first, end)
    out = {name: np.full((rows.size, fold.known.shape[1], steps.size), np.nan) for name in ("ETS by AICc", "Theta")}
    for s, series in enumerate(fold.known.T):
        at = np.flatnonzero(np.isfinite(series[:first]))
        if at.size < FEWEST:
            continue
        begin = max(int(at[0]), first - NEWEST)
        before = np.interp(np.arange(begin, first), at, series[at])
        for name, follow in (("ETS by AICc", follow_ets), ("Theta", follow_theta)):
            told = follow(before, series[begin:], steps)
            own = rows >= begin
            out[name][own, s] = told[rows[own] - begin]
    stale = np.isnan(last_value(fold.known, rows)[0])
    return {name: np.where(stale[..., None], np.nan, told) for name, told in out.items()}


def judge(one: Measured) -> dict[str, dict[str, list[float]]]:
    """By horizon: model to MAE, CRPS and the number of targets."""
    prepared = prepare(one)
    served = serve(prepared)
    steps = np.array([folds[0].steps for folds in prepared])
    found: list[dict[str, list[Floats]]] = [defaultdict(list) for _ in DAYS]
    for k, first in enumerate(prepared[0]):
        known, rows, cut = one.panel.head(first.cut.test.end), np.arange(first.first, first.cut.test.end), first.cut
        said = {
            name: fit_baseline(name, known, cut.calibration, steps.tolist()).predict(known.values, rows)
            for name in OURS
        }
        said |= ask_peers(first, steps)
        pace, test = see_pace(known.values, rows), slice(cut.test.first - first.first, None)
        for i, h in enumerate(steps.tolist()):
            fold = prepared[i][k]
            points = {name: told[:, :, i] for name, told in said.items()}
            points |= {"auto": served[i][k], BEFORE: fold.serve(None)[0]}
            same = np.isfinite(fold.observed) & np.all([np.isfinite(p[test]) for p in points.values()], axis=0)
            seen = np.where(same, fold.observed, np.nan)
            for name, made in points.items():
                fan = widen(repeat_point(made), conform(repeat_point(made), known.values, rows, h, pace).margins)[test]
                found[i][name].append(np.stack([np.abs(seen - made[test]), crps(fan, seen)]).reshape(2, -1))
    return {
        day: {name: tell(np.concatenate(parts, axis=1)) for name, parts in own.items()}
        for day, own in zip(DAYS, found, strict=True)
    }


def tell(scored: Floats) -> list[float]:
    """MAE, CRPS and the number of targets, from both by target, (2, N)."""
    return [*(round(float(v), 4) for v in np.nanmean(scored, axis=1)), int(np.isfinite(scored[0]).sum())]


def sum_up(told: dict[str, dict[str, dict[str, list[float]]]], names: tuple[str, ...]) -> dict[str, Any]:
    """`auto` over the best other row, and over itself before: geometric means, the worst, and what lies above 1.03."""
    out: dict[str, Any] = {}
    for day in DAYS:
        rows = {name: told[name][day] for name in names if name in told}
        for i, score in enumerate(("mae", "crps")):
            best = {n: min(v[i] for m, v in r.items() if not m.startswith("auto")) for n, r in rows.items()}
            ratio = {n: r["auto"][i] / best[n] for n, r in rows.items()}
            was = {n: r["auto"][i] / r[BEFORE][i] for n, r in rows.items()}
            out[f"{day} {score}"] = {
                "to the best other": round(float(np.exp(np.mean(np.log(list(ratio.values()))))), 4),
                "above 1.03": {n: round(r, 3) for n, r in ratio.items() if r > 1.03},
                "to before": round(float(np.exp(np.mean(np.log(list(was.values()))))), 4),
                "worst to before": round(max(was.values()), 4),
            }
    return out


def pool(told: dict[str, dict[str, dict[str, list[float]]]], groups: dict[str, str]) -> dict[str, Any]:
    """By group and horizon the MAE and CRPS of each row over all targets, and `auto` over the best other row."""
    out: dict[str, Any] = {}
    for group in dict.fromkeys(groups[name] for name in told):
        mine = [told[name] for name in told if groups[name] == group]
        for day in DAYS:
            rows = {
                model: [float(f"{np.average([one[day][model][i] for one in mine], weights=n):.4g}") for i in (0, 1)]
                for model in mine[0][day]
                for n in [[one[day][model][2] for one in mine]]
            }
            best = [min(v[i] for m, v in rows.items() if not m.startswith("auto")) for i in (0, 1)]
            ratio = {s: round(rows["auto"][i] / best[i], 4) for i, s in enumerate(("mae", "crps"))}
            out.setdefault(group, {})[day] = {"to the best other": ratio, "rows": rows}
    return out


def main() -> None:
    """Measure and keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", help="names of records; nothing is kept then")
    only = [name for name in options.parse_args().only.split(",") if name]
    told, groups = {}, {}
    for one in read_records(FAMILIES):
        groups[one.name] = "single stations" if one.family == one.name != "baijiabao" else one.family
        if one.name in (only or CHOSEN_ON + LEFT_OUT):
            told[one.name] = judge(one)
            print(one.name, told[one.name], flush=True)
    if not only:
        figures = {
            "unit": "mm, MAE and CRPS of each row, and targets",
            "chosen on": sum_up(told, CHOSEN_ON),
            "left out": sum_up(told, LEFT_OUT),
            "groups": pool(told, groups),
            "records": told,
        }
        print({key: figures[key] for key in ("chosen on", "left out")})
        for group, by_day in figures["groups"].items():
            print(group, {day: found["to the best other"] for day, found in by_day.items()})
        print(record("forecast-peers-30d", "python -m tests.bench.forecasting.bench_peers_30d", figures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

"""The last tenth: what is served over the last 10 % of life before failure or peak, and over the 10 % before that.

    python -m packages.lab.benchmarks.forecasting.bench_last_tenth [--quick]   # 20 collapses, no record

Records: drawn collapses (Voight exponent 1.5 to 2.5, rain, gaps, noise 0.5, 1 or 2 mm; every second one daily, the
others each 6 h), the published failure curves, Outang 2017, the same motion with measured noise (SK), Baijiabao 2018.
Each forecast goes through `forecasting.serving.jobs.forecast` and `choose_shown` with the readings before it alone.

Per horizon: coverage of the 80 % interval (with the 95 % bootstrap interval over records), median absolute error beside
constant velocity and inverse velocity on the same targets, absurd forecasts by rule, withheld ones by reason, and the
chance that so few targets meet the bar of coverage if every interval is exact. Constant
velocity is that of the shortest window in which it is clear; inverse velocity takes the failure time of the ensemble,
and constant velocity where that gives no window.

The seeds from 5000 on are for reporting: nothing may be chosen on them. A run takes most of an hour.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from forecasting.serving.jobs import forecast
from forecasting.serving.shown import choose_shown

from forecasting.data.kinds import format_span
from forecasting.data.series import DAY_S, Floats, panel_from_samples, read_long_csv
from forecasting.data.workbook import read_sheet
from forecasting.kinematics.failure import FailureSpec, Watch
from forecasting.kinematics.simulated_collapse import draw_collapse
from forecasting.metrics import winkler
from forecasting.serving.records import Forecast, Withheld
from monitor.features.forecasts.cli.curve_file import read_curve
from monitor.text.reasons import convert_reason
from tests.bench.record import DATA, LAB_RESULTS, parse_options
from tests.data.forecasts.absurdity import RULES, Fan, Present, find_absurd, see_present
from tests.data.measured_curves import INTERVALS, OUTANG, find

DAILY: Final = (DAY_S, 7 * DAY_S)
OFTEN: Final = (DAY_S / 4, *DAILY)
SERVED: Final = ("auto", "lld", "persistence")  # of a site that names no model; the first is shown
HISTORY: Final = 1200  # rows of the grid that the service reads
FIRST_SEED: Final = 5000
NOISES_MM: Final = (0.5, 1.0, 2.0)
SPANS: Final = {"last tenth": (0.9, 1.0), "tenth before": (0.8, 0.9)}
COVERED: Final = 0.72
NEAR: Final = 0.98  # of the time left: inverse velocity goes to infinity at the end
DRAWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Life:
    kind: str
    name: str
    samples: dict[str, tuple[Floats, Floats]]
    step_s: float
    horizons_s: tuple[float, ...]
    end_s: float


@dataclass(slots=True)
class Case:
    kind: str
    name: str
    span: str
    horizon: str
    shown: bool
    reason: str = ""
    observed: float | None = None
    q10: float = math.nan
    q50: float = math.nan
    q90: float = math.nan
    constant: float = math.nan
    inverse: float = math.nan
    window: bool = False
    absurd: list[str] = field(default_factory=list)


def draw_lives(count: int) -> Iterator[Life]:
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        often = seed % 2 == 1
        step = DAY_S / 4 if often else DAY_S
        sigma = NOISES_MM[seed % 3]
        c = draw_collapse(seed, sigma=sigma, interval_s=step, alpha=(1.5, 2.5), rain=True, gaps=True)
        kind = "drawn collapses, each 6 h" if often else "drawn collapses, daily"
        samples = {"S": (np.array(c.times_s), np.array(c.values))}
        yield Life(kind, str(seed), samples, step, OFTEN if often else DAILY, c.failure_s)


def read_lives() -> Iterator[Life]:
    for suffix, interval_s in INTERVALS.items():
        curve = read_curve(find(DATA, "failure-curves", f"pftf_synthetic{suffix}.csv"), "displacement")
        times, values = np.array(curve.times_s), np.array(curve.values)
        step, horizons = (DAY_S, DAILY) if interval_s == DAY_S else (max(interval_s, DAY_S / 16), OFTEN)
        yield Life("published failure curves", f"pftf{suffix}", {"S": (times, values)}, step, horizons, times[-1])
    outang = {}
    for name in OUTANG:
        curve = read_curve(find(DATA, "outang", "monitoring_data.csv"), "displacement", value=f"{name}/mm")
        outang[name] = np.array(curve.times_s), np.array(curve.values)
    motion = np.mean([values for _, values in outang.values()], axis=0)
    peak = _fastest(next(iter(outang.values()))[0], motion, "2017")
    yield Life("Outang 2017", "outang", outang, DAY_S, DAILY, peak)
    noisy = read_long_csv(DATA / "timeseries" / "benchmarks" / "SK.csv")
    known = {name: np.isfinite(noisy.values[:, s]) for s, name in enumerate(noisy.stations)}
    samples = {n: (noisy.times_s[k], noisy.values[k, s]) for s, (n, k) in enumerate(known.items())}
    yield Life("SK", "SK", samples, DAY_S, DAILY, peak + DAY_S / 2)
    rows = read_sheet(find(DATA, "bazimen-baijiabao", "source_sample.xlsx")).to_dict("records")
    column = next(key for key in rows[0] if key.startswith("Total"))
    times = np.array([datetime.fromisoformat(row["Time"]).replace(tzinfo=UTC).timestamp() for row in rows])
    values = np.array([float(row[column]) for row in rows])
    yield Life("Baijiabao 2018", "baijiabao", {"S": (times, values)}, DAY_S, DAILY, _fastest(times, values, "2018"))


def _fastest(times: Floats, values: Floats, year: str) -> float:
    moved = values[7:] - values[:-7]
    inside = [datetime.fromtimestamp(t, UTC).strftime("%Y") == year for t in times[:-7]]
    return float(times[int(np.argmax(np.where(inside, moved, -np.inf))) + 3])


def serve(
    samples: dict[str, tuple[Floats, Floats]], step_s: float, horizons_s: tuple[float, ...], now_s: float
) -> tuple[list[Forecast], list[Withheld]]:
    """What the service would answer at `now_s`: one row per station and horizon, or why there is none."""
    since_s = now_s - HISTORY * step_s
    known = {}
    for name, (times, values) in samples.items():
        kept = (times > since_s) & (times <= now_s)
        if kept.any():
            known[name] = times[kept], values[kept]
    panel = panel_from_samples(known, step_s, end_s=now_s)
    asked = {(name, h) for name in panel.stations for h in horizons_s}
    rows: list[Forecast] = []
    held: dict[tuple[str, float], Withheld] = {}
    for model in SERVED:  # a later one is shown only where all before it are silent
        made = forecast(panel, model, horizons_s)
        rows += made.rows
        held = {(w.station, w.horizon_s): w for w in made.withheld} | held
        if asked <= {(r.station, r.horizon_s) for r in rows}:
            break
    shown = [r for r in choose_shown(rows) if r.shown]
    answered = {(r.station, r.horizon_s) for r in shown}
    return shown, [w for key, w in held.items() if key not in answered]


def judge(life: Life, now_s: float, span: str) -> list[Case]:
    """All targets of one moment; those after the end of the record are left out."""
    rows, withheld = serve(life.samples, life.step_s, life.horizons_s, now_s)
    cases = [
        Case(life.kind, life.name, span, format_span(w.horizon_s), shown=False, reason=plain(convert_reason(w.reason)))
        for w in withheld
    ]
    for name, (times, values) in life.samples.items():
        mine = [r for r in rows if r.station == name]
        known = times <= now_s
        if not mine or known.sum() < 4:
            continue
        before, seen = times[known].tolist(), values[known].tolist()
        present = see_present(before, seen)
        assert present is not None
        fans = [Fan(r.target_s - now_s, r.q025, r.q10, r.q50, r.q90, r.q975) for r in mine]
        broken = find_absurd(fans, present)
        watch = Watch(before, seen, [0.0] * len(before), FailureSpec(life.step_s, present.noise))
        end_s = watch.issue(len(before) - 1).mid_s
        for r, fan in zip(mine, fans, strict=True):
            constant, inverse = extrapolate(present, end_s, before[-1], r.target_s)
            named = {name: getattr(r, name) for name in ("q10", "q50", "q90")}
            named |= {"constant": constant, "inverse": inverse, "window": end_s is not None}
            observed, absurd = _at(times, values, r.target_s, life.step_s), list(broken.get(fan.horizon_s, ()))
            place = (life.kind, life.name, span, format_span(r.horizon_s))
            cases.append(Case(*place, shown=True, observed=observed, absurd=absurd, **named))
    return cases


def extrapolate(present: Present, end_s: float | None, newest_s: float, target_s: float) -> tuple[float, float]:
    """Displacement at the target by constant velocity, and by inverse velocity with that failure time.

    >>> now = Present(100.0, 100.0, 10.0, 0.1, 0.0, 0.1, 10.0)
    >>> [round(x, 1) for x in extrapolate(now, 20 * 86400.0, 0.0, 10 * 86400.0)]
    [200.0, 238.6]
    """
    ahead = (target_s - newest_s) / DAY_S
    constant = present.value + present.velocity * ahead
    if end_s is None or end_s <= newest_s:
        return constant, constant
    left = (end_s - newest_s) / DAY_S
    rate = present.velocity * (end_s - present.mid_s) / (end_s - newest_s)
    return constant, present.value - rate * left * math.log(1.0 - min(ahead / left, NEAR))


def _at(times: Floats, values: Floats, target_s: float, step_s: float) -> float | None:
    """The mean of the readings within half a step of the target, as the grid would hold it."""
    near = np.abs(times - target_s) <= step_s / 2
    return float(values[near].mean()) if near.any() else None


def plain(reason: str) -> str:
    """A reason without its numbers.

    >>> plain("gaps: 38 of the last 60 rows of 1 d observed, not 42")
    'gaps: # of the last # rows of # d observed, not #'
    """
    return re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", reason)


def moments(life: Life, span: tuple[float, float], count: int) -> list[float]:
    """Rows of the grid at which something was read, evenly over a part of the life."""
    every = np.concatenate([times for times, _ in life.samples.values()])
    start = float(every.min())
    age = life.end_s - start
    at = [start + age * (span[0] + (span[1] - span[0]) * (k + 0.5) / count) for k in range(count)]
    return [start + math.floor((t - start) / life.step_s) * life.step_s for t in at]


def chance_of_bar(targets: int) -> float:
    """Chance that exact 80 % intervals hold the bar's share of so many independent targets or more.

    >>> chance_of_bar(3), chance_of_bar(24)
    (0.512, 0.811)
    """
    held = range(math.ceil(COVERED * targets - 1e-9), targets + 1)
    return _round(sum(math.comb(targets, k) * 0.8**k * 0.2 ** (targets - k) for k in held))


def tabulate(cases: Sequence[Case], count: int) -> dict[str, Any]:
    """One row: shown, covered, errors, absurd, withheld."""
    shown = [c for c in cases if c.shown]
    scored = [c for c in shown if c.observed is not None]
    rules = Counter(rule for c in shown for rule in c.absurd)
    out: dict[str, Any] = {
        "targets": len(cases),
        "shown": len(shown),
        "withheld_share": _round(1.0 - len(shown) / max(1, len(cases))),
        "withheld": dict(Counter(c.reason for c in cases if not c.shown)),
        "absurd": sum(1 for c in shown if c.absurd),
        "absurd_by_rule": dict(rules),
    }
    if not scored:
        return out
    observed = np.array([c.observed for c in scored], dtype=float)
    low, mid, high = (np.array([getattr(c, q) for c in scored]) for q in ("q10", "q50", "q90"))
    held = ((low <= observed) & (observed <= high)).astype(float)
    names = np.array([c.name for c in scored])
    errors = {
        "served": np.abs(mid - observed),
        "constant velocity": np.abs(np.array([c.constant for c in scored]) - observed),
        "inverse velocity": np.abs(np.array([c.inverse for c in scored]) - observed),
    }
    medians = {name: round(float(np.median(e)), 2) for name, e in errors.items()}
    cover = float(held.mean())
    better = min(medians["constant velocity"], medians["inverse velocity"])
    return out | {
        "scored": len(scored),
        "coverage_80": _round(cover),
        "coverage_80_95": resample(held, names),
        "chance_of_coverage_if_exact": {
            "each target alone": chance_of_bar(len(scored)),
            "stations of a moment as one": chance_of_bar(sum(min(count, n) for n in Counter(names).values())),
        },
        "median_abs_error_mm": medians,
        "with_failure_window": _round(np.mean([c.window for c in scored])),
        "median_width_80_mm": round(float(np.median(high - low)), 2),
        "interval_score_80_mm": round(winkler(low, high, observed, 0.8), 2),
        "met": {"coverage": cover >= COVERED, "error": medians["served"] <= better, "absurd": not out["absurd"]},
    }


def resample(held: Floats, names: np.ndarray) -> list[float]:
    """95 % interval of a mean, whole records drawn with replacement."""
    rng = np.random.default_rng(0)
    _, of = np.unique(names, return_inverse=True)
    sums, counts = np.bincount(of, weights=held), np.bincount(of)
    if counts.size < 3:
        return []
    drawn = rng.integers(0, counts.size, (DRAWS, counts.size))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [_round(q) for q in np.quantile(means, (0.025, 0.975))]


def _round(value: Any) -> float:
    return round(float(value), 3)


def file_cases(cases: Iterable[Case], count: int) -> dict[str, Any]:
    """Span to records to horizon to row; `all records` pools them."""
    groups: dict[tuple[str, str, str], list[Case]] = {}
    for c in cases:
        for kind in (c.kind, "all records"):
            groups.setdefault((c.span, kind, c.horizon), []).append(c)
    out: dict[str, Any] = {}
    for (span, kind, horizon), some in groups.items():
        out.setdefault(span, {}).setdefault(kind, {})[horizon] = tabulate(some, count)
    return out


def main() -> None:
    given = parse_options(__doc__, quick=False)
    drawn, count = (20, 1) if given.quick else (200, 3)
    cases = [
        case
        for life in (*draw_lives(drawn), *read_lives())
        for span, part in SPANS.items()
        for now_s in moments(life, part, count)
        for case in judge(life, now_s, span)
    ]
    figures = {
        "unit": "mm; shares",
        "bars": {
            "coverage": f"80 % interval holds >= {COVERED:.0%}",
            "error": "median absolute error <= the better of constant and inverse velocity",
            "absurd": "none",
        },
        "rules": RULES,
        "drawn": drawn,
        "moments_per_tenth": count,
    } | file_cases(cases, count)
    print(json.dumps(figures, indent=1))
    if not given.quick:
        print(
            LAB_RESULTS.store(
                "forecast-last-tenth", "python -m packages.lab.benchmarks.forecasting.bench_last_tenth", figures
            )
        )


if __name__ == "__main__":
    main()

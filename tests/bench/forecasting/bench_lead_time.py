"""What a forecast adds to a warning: lead time before failure at equal days of false alarm.

    python -m tests.bench.forecasting.bench_lead_time [--panels 5] [--quick] [--no-record]

Three warnings:

- velocity: the fitted velocity (3 errors from nothing, whichever epoch is left out) is over a bound V;
- median: that, or the median of the forecast mean velocity is over r V (what the criterion `forecast` was);
- chance: that, or more than r V has a chance of more than p.

Records come 24 at a time, as the stations of a site: half are drawn collapses (`draw_collapse`: exponent 1.5 to 2.5,
rain, gaps; noise 0.5, 1 or 2 mm), half are slopes that move in surges and do not fail. Each is served as in
`bench_last_tenth` on 18 of the last 30 days, on each of the last ten. Window of the velocity, horizon, r and p of each
warning are those with most lead on the seeds from 1000 on. V is the least one that keeps the share of false days there.
What is reported are the seeds from 5000 on, with that V and with the V that keeps the share on these; there also the
lead by p, with all else as chosen for the median. A paired bootstrap over records gives the 95 % interval of the gain.

Measured: Outang 2017, the same motion with measured noise (SK) and Baijiabao 2018. Settings are those chosen on drawn
records, V is chosen on the record's own days before the last 30. Firm ground (K, G) shows the days of false alarm at
the bounds of the drawn records.
"""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from forecasting.data.series import DAY_S, Floats, read_long_csv
from forecasting.kinematics.curves import draw_collapse
from forecasting.kinematics.noise import measure_sigma
from forecasting.kinematics.velocity import fit_velocity
from tests.bench.forecasting.bench_last_tenth import DATA, NOISES_MM, read_lives, serve
from tests.bench.record import record

LOOKS: Final = (30, 27, 24, 21, 18, 16, 14, 12, *range(10, 0, -1))  # days before the failure
HORIZONS: Final = (DAY_S, 7 * DAY_S)
WINDOWS: Final = (4, 7)  # days of a velocity
SHARES: Final = (0.5, 0.05, 0.1, 0.2, 0.3, 0.7, 0.9)  # chances asked for; the first is the median
RATIOS: Final = (1.0, 1.5, 2.0, 3.0)  # bound on the forecast by that on the velocity
BUDGETS: Final = (0.01, 0.03, 0.1)  # shares of false days
CHOOSE, REPORT = 1000, 5000  # first seeds
HALF: Final = 12  # of the stations of a panel
MIN_SIGMA: Final = 3.0
DRAWS: Final = 2000
SCORES: Final = np.array([NormalDist().inv_cdf(p) for p in (0.025, 0.1, 0.5, 0.9, 0.975)])
WARNINGS: Final = {"velocity": (), "median": (0.5,), "chance": SHARES}


@dataclass(frozen=True, slots=True)
class Days:
    """What was known of one record day by day.

    Attributes:
        name: Of the record.
        fails: Whether it ends in the failure that is warned of.
        left: Days until the end, shape (D,).
        velocity: Sure velocity by window, mm/day, shape (D, W).
        ahead: Forecast mean velocity by horizon and asked chance, mm/day, -inf where nothing is shown, (D, H, P).
    """

    name: str
    fails: bool
    left: Floats
    velocity: Floats
    ahead: Floats


# ---- records ------------------------------------------------------------------------------------------------
def draw_surges(seed: int, *, sigma: float) -> tuple[Floats, Floats]:
    """Days and mm of a slope that does not fail: creep, and surges that rise within days and die away."""
    rng = random.Random(seed)
    n = round(rng.uniform(150.0, 300.0))
    rate = np.full(n, rng.uniform(0.05, 1.0))
    at = rng.uniform(0.0, 60.0)
    while at < n:
        peak, rise, fall = 10.0 ** rng.uniform(0.0, 1.2), rng.uniform(2.0, 8.0), rng.uniform(3.0, 15.0)
        days = np.arange(n) - at
        rate += peak * np.where(days < 0.0, np.maximum(0.0, 1.0 + days / rise), np.exp(-np.maximum(days, 0.0) / fall))
        at += rng.expovariate(1.0 / 45.0) + rise
    noise = np.array([rng.gauss(0.0, sigma) for _ in range(n)])
    return np.arange(n, dtype=float), np.cumsum(rate) + noise


def draw_panel(first: int) -> dict[str, tuple[Floats, Floats, float]]:
    """Stations with seconds, mm and the instant of their end; all ends fall on one day."""
    found = {}
    for seed in range(first, first + HALF):
        sigma = NOISES_MM[seed % 3]
        c = draw_collapse(seed, sigma=sigma, alpha=(1.5, 2.5), rain=True, gaps=True)
        times = np.array(c.times_s)
        # the grid is that of the readings: the failure comes within the day after the last of them
        found[f"collapse {seed}"] = times - math.floor(c.failure_s / DAY_S) * DAY_S, np.array(c.values), sigma
        days, values = draw_surges(seed, sigma=sigma)
        found[f"surges {seed}"] = (days - days[-1]) * DAY_S, values, sigma
    return found


# ---- day by day ---------------------------------------------------------------------------------------------
def follow(
    samples: Mapping[str, tuple[Floats, Floats, float]], nows: Sequence[float], end_s: float, fails: str = "collapse"
) -> list[Days]:
    """What both sources say of every record on every day; records whose name begins with `fails` fail at the end."""
    known = {name: (times, values) for name, (times, values, _) in samples.items()}
    ahead = {name: np.full((len(nows), len(HORIZONS), len(SHARES)), -np.inf) for name in samples}
    velocity = {name: np.full((len(nows), len(WINDOWS)), -np.inf) for name in samples}
    asked = [NormalDist().inv_cdf(1.0 - p) for p in SHARES]
    for d, now_s in enumerate(nows):
        rows, _ = serve(known, DAY_S, HORIZONS, now_s)
        for row in rows:
            span = (row.target_s - row.data_until_s) / DAY_S
            newest = _newest(known[row.station], row.data_until_s)
            fan = (np.array([row.q025, row.q10, row.q50, row.q90, row.q975]) - newest) / span
            ahead[row.station][d, HORIZONS.index(row.horizon_s)] = np.interp(asked, SCORES, fan)
        for name, (times, values, sigma) in samples.items():
            for w, window in enumerate(WINDOWS):
                kept = (times > now_s - window * DAY_S) & (times <= now_s)
                velocity[name][d, w] = _sure(times[kept], values[kept], sigma)
    left = (end_s - np.array(nows)) / DAY_S
    return [Days(name, name.startswith(fails), left, velocity[name], ahead[name]) for name in samples]


def _newest(series: tuple[Floats, Floats], until_s: float) -> float:
    times, values = series
    near = np.abs(times - until_s) <= DAY_S / 2
    return float(values[near].mean())


def _sure(times: Floats, values: Floats, sigma: float) -> float:
    """The velocity that the criterion compares with its bound."""
    if times.size < 4:
        return -math.inf
    fit = fit_velocity(times.tolist(), values.tolist(), [sigma] * times.size)
    return -math.inf if fit is None or fit.rate <= MIN_SIGMA * fit.error else float(fit.low)


# ---- warnings -----------------------------------------------------------------------------------------------
Setting = tuple[int, int, int, float]  # window, horizon, chance, ratio; a ratio of infinity leaves the forecast out


def list_settings(warning: str) -> Iterator[Setting]:
    """All that may be chosen for a warning."""
    for w in range(len(WINDOWS)):
        if warning == "velocity":
            yield w, 0, 0, math.inf
        for h in range(len(HORIZONS)):
            for share in WARNINGS[warning]:
                for ratio in RATIOS:
                    yield w, h, SHARES.index(share), ratio


def spell(setting: Setting) -> dict[str, Any]:
    """For the table."""
    w, h, p, ratio = setting
    out: dict[str, Any] = {"velocity_window_d": WINDOWS[w]}
    if math.isfinite(ratio):
        out |= {"horizon_d": HORIZONS[h] / DAY_S, "chance_over": SHARES[p], "forecast_bound_by_velocity_bound": ratio}
    return out


def measure(one: Days, setting: Setting) -> Floats:
    """The largest bound V that would be crossed, by day."""
    w, h, p, ratio = setting
    if math.isinf(ratio):
        return one.velocity[:, w]
    out: Floats = np.maximum(one.velocity[:, w], one.ahead[:, h, p] / ratio)
    return out


def find_bound(quiet: Sequence[Days], setting: Setting, budget: float) -> float:
    """The least bound with at most that share of days over it; none is below nothing."""
    values = np.sort(np.concatenate([measure(one, setting) for one in quiet]))[::-1]
    return max(0.0, float(values[math.floor(budget * values.size)]))


def lead_of(one: Days, setting: Setting, bound: float) -> float:
    """Days from the first warning to the failure; nothing where none came."""
    over = measure(one, setting) > bound
    return float(one.left[np.argmax(over)]) if over.any() else 0.0


def choose(records: Sequence[Days], warning: str, budget: float) -> tuple[Setting, float]:
    """The setting with most lead, and its bound."""
    failing, quiet = [r for r in records if r.fails], [r for r in records if not r.fails]
    bounds = {s: find_bound(quiet, s, budget) for s in list_settings(warning)}
    best = max(bounds, key=lambda s: float(np.mean([lead_of(r, s, bounds[s]) for r in failing])))
    return best, bounds[best]


def report(
    chosen: Mapping[str, tuple[Setting, float]], failing: Sequence[Days], quiet: Sequence[Days]
) -> dict[str, Any]:
    """Lead, misses and false days of each warning, and what is gained on velocity alone."""
    leads = {name: np.array([lead_of(r, s, v) for r in failing]) for name, (s, v) in chosen.items()}
    out: dict[str, Any] = {}
    for name, (setting, bound) in chosen.items():
        false = np.concatenate([measure(r, setting) > bound for r in quiet]) if quiet else np.empty(0)
        out[name] = {
            "setting": spell(setting),
            "bound_mm_per_day": _round(bound),
            "lead_d": _round(leads[name].mean()),
            "median_lead_d": _round(np.median(leads[name])),
            "missed": int((leads[name] == 0.0).sum()),
            "false_days_share": round(float(false.mean()), 4) if quiet else None,
        }
    for name in ("median", "chance"):
        gain = leads[name] - leads["velocity"]
        out[name]["gain_d"], out[name]["gain_d_95"] = _round(gain.mean()), resample(gain)
    gain = leads["chance"] - leads["median"]
    out["chance over median"] = {"gain_d": _round(gain.mean()), "gain_d_95": resample(gain)}
    return out | {"failures": len(failing), "quiet_days": int(sum(r.left.size for r in quiet))}


def scan(setting: Setting, failing: Sequence[Days], quiet: Sequence[Days], budget: float) -> dict[str, float]:
    """Lead by the chance asked for, with all else as chosen for the median: nothing is chosen here."""
    w, h, _, ratio = setting
    found = {}
    for share in sorted(SHARES):
        one = w, h, SHARES.index(share), ratio
        bound = find_bound(quiet, one, budget)
        found[f"{share:g}"] = _round(np.mean([lead_of(r, one, bound) for r in failing]))
    return found


def resample(gain: Floats) -> list[float]:
    """95 % interval of a mean, records drawn with replacement."""
    drawn = np.random.default_rng(0).integers(0, gain.size, (DRAWS, gain.size))
    return [_round(q) for q in np.quantile(gain[drawn].mean(axis=1), (0.025, 0.975))] if gain.size > 2 else []


def _round(value: Any) -> float:
    return round(float(value), 2)


# ---- the whole ----------------------------------------------------------------------------------------------
def draw_days(first: int, panels: int) -> list[Days]:
    """Drawn records at each look."""
    nows = [-DAY_S * k for k in LOOKS]
    return [r for p in range(panels) for r in follow(draw_panel(first + p * HALF), nows, 0.0)]


def read_days(every: int) -> Iterator[tuple[str, list[Days], list[Days]]]:
    """Measured records: name, days before the end, days of the year before."""
    for life in read_lives():
        if life.step_s != DAY_S or life.name in {"pftf-6h", "pftf-1h"}:
            continue
        end_s = math.floor(life.end_s / DAY_S) * DAY_S
        samples = {n: (t, v, measure_sigma(t[-365:], v[-365:])) for n, (t, v) in life.samples.items()}
        start = max(float(t[0]) for t, _, _ in samples.values()) + 90 * DAY_S
        last = [end_s - DAY_S * k for k in LOOKS]
        past = np.arange(max(start, end_s - 395 * DAY_S), last[0], every * DAY_S).tolist()
        if not past:
            continue  # the published curves are shorter
        yield life.kind, follow(samples, last, end_s, ""), follow(samples, past, end_s, "-")


def read_firm(every: int) -> Iterator[tuple[str, list[Days]]]:
    """Firm ground over the last year of its record."""
    for name in ("K", "G"):
        panel = read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv")
        samples = {}
        for s, station in enumerate(panel.stations):
            seen = np.isfinite(panel.values[:, s])
            times, values = panel.times_s[seen], panel.values[seen, s]
            samples[station] = times, values, measure_sigma(times[-365:].tolist(), values[-365:].tolist())
        nows = np.arange(panel.end_s - 365 * DAY_S, panel.end_s, every * DAY_S).tolist()
        yield name, follow(samples, nows, panel.end_s, "-")


def main() -> None:
    """Measure and keep the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--panels", type=int, default=5, help="Of 24 records that are reported.")
    options.add_argument("--choose", type=int, default=3, help="Of 24 records that settings are chosen on.")
    options.add_argument("--quick", action="store_true", help="One panel each, drawn only, no record.")
    options.add_argument("--no-record", action="store_true")
    given = options.parse_args()
    begun = time.process_time()
    known = draw_days(CHOOSE, 1 if given.quick else given.choose)
    print(f"{time.process_time() - begun:.0f} s to choose on {len(known)} records", file=sys.stderr, flush=True)
    chosen = {b: {w: choose(known, w, b) for w in WARNINGS} for b in BUDGETS}
    drawn = draw_days(REPORT, 1 if given.quick else given.panels)
    failing, quiet = [r for r in drawn if r.fails], [r for r in drawn if not r.fails]
    measured = [] if given.quick else list(read_days(14))
    firm = [] if given.quick else list(read_firm(28))
    figures: dict[str, Any] = {
        "unit": "days before failure or peak, of at most 30",
        "asked_chances": SHARES,
        "drawn": {},
        "measured": {},
        "firm ground, false days": {},
    }
    for budget in BUDGETS:
        name = f"{budget:.1%} of days false"
        here = {w: (s, find_bound(quiet, s, budget)) for w, (s, _) in chosen[budget].items()}
        figures["drawn"][name] = {
            "bounds as chosen": report(chosen[budget], failing, quiet),
            "bounds with that share here": report(here, failing, quiet),
            "lead by asked chance, with that share here": scan(chosen[budget]["median"][0], failing, quiet, budget),
        }
        figures["firm ground, false days"][name] = {
            where: {
                w: round(float(np.mean([(measure(r, s) > v).mean() for r in some])), 4)
                for w, (s, v) in chosen[budget].items()
            }
            for where, some in firm
        }
        figures["measured"][name] = {
            kind: report({w: (s, find_bound(past, s, budget)) for w, (s, _) in chosen[budget].items()}, last, [])
            for kind, last, past in measured
        }
        for part in ("drawn", "measured", "firm ground, false days"):
            print(f"{name} | {part}: {json.dumps(figures[part][name])}")
    figures["cpu_s"] = round(time.process_time() - begun)
    print(f"{figures['cpu_s']} s", file=sys.stderr)
    if not (given.quick or given.no_record):
        command = " ".join(["python -m tests.bench.forecasting.bench_lead_time", *sys.argv[1:]])
        print(record("forecast-lead-time", command, figures))


if __name__ == "__main__":
    main()

"""Sets a challenger beside the champion on the very targets that both forecast: error, significance, coverage."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.data.series import Floats
from forecasting.evaluation.distribution import roll
from forecasting.evaluation.resampling import block_bootstrap
from forecasting.metrics import or_none, sum_lags
from forecasting.serving.promotion import RollingRecord, Scored, summarise

MINIMUM_ROWS = 10


def diebold_mariano(loss: Floats, reference: Floats, steps: int) -> tuple[float, float]:
    """Test of equal accuracy: statistic (negative = `loss` is the smaller) and two-sided p.

    Diebold and Mariano 1995 with the small-sample correction of Harvey, Leybourne and Newbold 1997. Stations are
    averaged per issue time first: they move together and are no independent witnesses. The long-run variance takes the
    h - 1 lags over which forecasts overlap, with Bartlett weights, so that it is never negative. `loss`: losses, shape
    (N, S), rows in order of time, NaN where not scored. Returns (statistic, p); NaN where there are fewer than 10
    issue times or the two never differ.
    """
    both = np.isfinite(loss) & np.isfinite(reference)
    count = both.sum(axis=1)
    rows = count > 0
    apart = np.where(both, loss - reference, 0.0).sum(axis=1)[rows] / count[rows]
    n = apart.size
    if n < MINIMUM_ROWS or not np.any(apart):
        return math.nan, math.nan
    centred = apart - apart.mean()
    lags = min(steps - 1, n // 2)
    variance = sum_lags(centred, lags) / n
    if variance <= 0:
        return math.nan, math.nan
    correction = max(n + 1 - 2 * (lags + 1) + (lags + 1) * lags / n, 1.0) / n
    statistic = float(apart.mean()) / math.sqrt(variance / n) * math.sqrt(correction)
    from scipy.special import stdtr  # Student's t; scipy.stats would take longer to load than all of this

    return statistic, float(2.0 * stdtr(n - 1, -abs(statistic)))


@dataclass(frozen=True, slots=True)
class Challenge:
    """One forecaster against a reference on the same stations and issue times."""

    record: RollingRecord  # what its forecasts were worth there, skill against the best simple forecast included
    reference_mae: float | None  # mean absolute error of the reference there
    winkler_80: float | None  # mean Winkler score of its 80 % intervals
    reference_winkler_80: float | None  # the same of the reference
    statistic: float | None  # Diebold-Mariano, negative where it is the better one; None below 10 issue times
    p: float | None  # two-sided
    # 95 % interval of the mean absolute error, by blocks of issue times; None for fewer than three blocks
    mae_95: tuple[float, float] | None = None
    coverage_80_95: tuple[float, float] | None = None  # the same of the coverage
    crps: float | None = None  # mean continuous ranked probability score, in the unit of the errors
    crps_95: tuple[float, float] | None = None  # its 95 % interval
    pinball: float | None = None  # mean quantile loss over the five quantiles
    pit_below_10: float | None = None  # share that came below the 10 % quantile; honest fans have a tenth there
    pit_above_90: float | None = None  # share that came above the 90 % quantile
    # lowest coverage of the 80 % interval over 30 scored forecasts in a row, of any station
    lowest_30: float | None = None
    newest_30: float | None = None  # coverage of the newest 30 of each station, over all stations


def challenge(rows: Sequence[Scored], reference: Sequence[Scored], horizon_s: float) -> Challenge:
    """Compare on what both have."""
    other = {(r.issued_s, r.station): r for r in reference}
    both = [r for r in rows if (r.issued_s, r.station) in other]
    same = [other[r.issued_s, r.station] for r in both]
    return Challenge(
        summarise(both),
        summarise(same).mae,
        _mean([r.winkler_80 for r in both]),
        _mean([r.winkler_80 for r in same]),
        crps=_mean([r.crps for r in both]),
        pinball=_mean([r.pinball for r in both]),
        pit_below_10=_mean([None if r.pit is None else float(r.pit < 0.1) for r in both]),
        pit_above_90=_mean([None if r.pit is None else float(r.pit > 0.9) for r in both]),
        **_test(both, same, horizon_s),
    )


def _test(both: Sequence[Scored], same: Sequence[Scored], horizon_s: float) -> dict[str, Any]:
    if not both:
        return {"statistic": None, "p": None}
    issued, stations = sorted({r.issued_s for r in both}), sorted({r.station for r in both})
    apart_s = float(np.median(np.diff(issued))) if len(issued) > 1 else horizon_s
    steps = max(1, math.ceil(horizon_s / apart_s))

    at = {issued_s: i for i, issued_s in enumerate(issued)}
    column = {name: i for i, name in enumerate(stations)}

    def lay(rows: Sequence[Scored], of: Callable[[Scored], float | None]) -> Floats:
        out = np.full((len(issued), len(stations)), np.nan)
        for r in rows:
            value = of(r)
            out[at[r.issued_s], column[r.station]] = math.nan if value is None else value
        return out

    errors, inside = lay(both, lambda r: abs(r.error)), lay(both, lambda r: float(r.inside_80))
    statistic, p = diebold_mariano(errors, lay(same, lambda r: abs(r.error)), steps)
    rolled = [one for one in (roll(column) for column in inside.T) if one.size]
    return {
        "statistic": or_none(statistic),
        "p": or_none(p),
        "mae_95": block_bootstrap(errors, steps),
        "coverage_80_95": block_bootstrap(inside, steps),
        "crps_95": block_bootstrap(lay(both, lambda r: r.crps), steps),
        "lowest_30": min((float(one.min()) for one in rolled), default=None),
        "newest_30": _mean([float(one[-1]) for one in rolled]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None

"""Sets a challenger beside the champion on the very targets that both forecast: error, significance, coverage."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.data.series import Floats
from forecasting.evaluation.distribution import roll
from forecasting.evaluation.resampling import block_bootstrap
from forecasting.evaluation.significance import diebold_mariano
from forecasting.metrics import or_none
from forecasting.serving.promotion import RollingRecord, Scored, summarise


@dataclass(frozen=True, slots=True)
class Challenge:
    """One forecaster against a reference on the same stations and issue times.

    Attributes:
        record: What its forecasts were worth there, skill against the best simple forecast included.
        reference_mae: Mean absolute error of the reference there.
        winkler_80: Mean Winkler score of its 80 % intervals.
        reference_winkler_80: The same of the reference.
        statistic: Diebold-Mariano, negative where it is the better one; None below 10 issue times.
        p: Two-sided.
        mae_95: 95 % interval of the mean absolute error, by blocks of issue times; None for fewer than three blocks.
        coverage_80_95: The same of the coverage.
        crps: Mean continuous ranked probability score, in the unit of the errors.
        crps_95: Its 95 % interval.
        pinball: Mean quantile loss over the five quantiles.
        pit_below_10: Share that came below the 10 % quantile; honest fans have a tenth there.
        pit_above_90: Share that came above the 90 % quantile.
        lowest_30: Lowest coverage of the 80 % interval over 30 scored forecasts in a row, of any station.
        newest_30: Coverage of the newest 30 of each station, over all stations.
    """

    record: RollingRecord
    reference_mae: float | None
    winkler_80: float | None
    reference_winkler_80: float | None
    statistic: float | None
    p: float | None
    mae_95: tuple[float, float] | None = None
    coverage_80_95: tuple[float, float] | None = None
    crps: float | None = None
    crps_95: tuple[float, float] | None = None
    pinball: float | None = None
    pit_below_10: float | None = None
    pit_above_90: float | None = None
    lowest_30: float | None = None
    newest_30: float | None = None


def challenge(rows: Sequence[Scored], reference: Sequence[Scored], horizon_s: float) -> Challenge:
    """Compare on what both have.

    Args:
        horizon_s: Horizon, s: forecasts that overlap share their errors.
    """
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

    def lay(rows: Sequence[Scored], of: Callable[[Scored], float | None]) -> Floats:
        return _table(rows, issued, stations, of)

    errors, inside = lay(both, _off), lay(both, _held)
    statistic, p = diebold_mariano(errors, lay(same, _off), steps)
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


def _table(
    rows: Sequence[Scored], issued: Sequence[float], stations: Sequence[str], of: Callable[[Scored], float | None]
) -> Floats:
    """One score of each forecast, shape (N, S), NaN where there is none."""
    out = np.full((len(issued), len(stations)), np.nan)
    at = {issued_s: i for i, issued_s in enumerate(issued)}
    column = {name: i for i, name in enumerate(stations)}
    for r in rows:
        value = of(r)
        out[at[r.issued_s], column[r.station]] = math.nan if value is None else value
    return out


def _off(row: Scored) -> float:
    return abs(row.error)


def _held(row: Scored) -> float:
    return float(row.inside_80)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None

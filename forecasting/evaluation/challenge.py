"""Sets a challenger beside the champion on the very targets that both forecast: error, significance, coverage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.data.series import Floats
from forecasting.evaluation.significance import diebold_mariano
from forecasting.metrics import or_none
from forecasting.serving.promotion import Record, Scored, summarise


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
    """

    record: Record
    reference_mae: float | None
    winkler_80: float | None
    reference_winkler_80: float | None
    statistic: float | None
    p: float | None


def challenge(rows: Sequence[Scored], reference: Sequence[Scored], horizon_s: float) -> Challenge:
    """Compare on what both have.

    Args:
        rows: Scored forecasts of one forecaster at one horizon.
        reference: Those of the other.
        horizon_s: Horizon, s: forecasts that overlap share their errors.
    """
    other = {(r.issued_s, r.station): r for r in reference}
    both = [r for r in rows if (r.issued_s, r.station) in other]
    same = [other[r.issued_s, r.station] for r in both]
    record, against = summarise(both), summarise(same)
    statistic, p = math.nan, math.nan
    if both:
        issued = sorted({r.issued_s for r in both})
        apart_s = float(np.median(np.diff(issued))) if len(issued) > 1 else horizon_s
        steps = max(1, math.ceil(horizon_s / apart_s))
        stations = sorted({r.station for r in both})
        ours, theirs = (_lay_errors(some, issued, stations) for some in (both, same))
        statistic, p = diebold_mariano(ours, theirs, steps)
    return Challenge(
        record, against.mae, _mean([r.winkler_80 for r in both]), _mean([r.winkler_80 for r in same]),
        or_none(statistic), or_none(p),
    )  # fmt: skip


def _lay_errors(rows: Sequence[Scored], issued: Sequence[float], stations: Sequence[str]) -> Floats:
    """Absolute error of each forecast, shape (N, S), NaN where there is none."""
    out = np.full((len(issued), len(stations)), np.nan)
    at = {issued_s: i for i, issued_s in enumerate(issued)}
    column = {name: i for i, name in enumerate(stations)}
    for r in rows:
        out[at[r.issued_s], column[r.station]] = abs(r.error)
    return out


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None

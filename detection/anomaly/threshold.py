"""Choose thresholds from a budget: how many false alarms per sensor-month people accept."""

import math
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.records import LEAST, MONTH_S, RUN_GAP_S, ThresholdError
from detection.anomaly.registry import CARRIED_BUDGET, CARRIED_OVER_THRESHOLDS, COMPOSITES, SUM_PARTS
from detection.anomaly.stages import DAY_S, Array

# If fewer alarms are expected, they are not counted: a distribution is fitted to the tail instead.
COUNTABLE: Final = 3.0
MIN_PEAKS: Final = 10
_BLOCK: Final = 1000


@dataclass(frozen=True, slots=True)
class DetectorThreshold:
    """A threshold, and how it was found.

    Attributes:
        value: A larger score alarms.
        false_alarms: Runs of alarms on the validation record.
        months: Sensor-months of the validation record.
        method: `count`, `pot` (peaks over threshold) or `carried over`.
    """

    value: float
    false_alarms: int
    months: float
    method: str


def carry_over(
    name: str,
    step_s: float,
    budget: float = CARRIED_BUDGET,
    table: Mapping[str, Mapping[str, float]] = CARRIED_OVER_THRESHOLDS,
) -> dict[str, float]:
    """Return the thresholds of other sites for readings of an interval and for a budget.

    The thresholds in the tables are for daily readings. With k readings per day, an alarm of each has to be k times
    less likely. For a normal distribution, the threshold becomes sqrt(threshold^2 + 2 ln k). A sum, whose maximum has
    an exponential distribution (Siegmund 1985), grows by ln k. A budget that is k times smaller has the same effect.

    Args:
        step_s: Interval of the readings, seconds.
        budget: False alarms per sensor-month.
        table: Thresholds by detector and part.
    """
    more = math.log(DAY_S / min(step_s, DAY_S)) + math.log(CARRIED_BUDGET / budget) if name in COMPOSITES else 0.0
    return {
        part: max(value + more if part in SUM_PARTS else math.sqrt(max(value**2 + 2.0 * more, LEAST)), LEAST)
        for part, value in table[name].items()
    }


def count_runs(times_s: Array) -> int:
    """Count the runs of alarms, given the times of alarms in ascending order.

    >>> count_runs(np.array([0.0, 86400.0, 30 * 86400.0]))
    2
    """
    return 0 if len(times_s) == 0 else 1 + int((np.diff(times_s) > RUN_GAP_S).sum())


def choose_threshold(
    scores: Sequence[Array], times_s: Sequence[Array], step_s: float, budget: float
) -> DetectorThreshold:
    """Return the lowest threshold whose runs of alarms on the validation record are within the budget.

    The search descends from the largest score and stops before the first score that would exceed the budget. At still
    lower thresholds runs merge, so that their number falls again although the detector alarms all the time. If the
    budget allows fewer than `COUNTABLE` alarms, a generalised Pareto distribution is fitted to the tail.

    Args:
        scores: Scores of each series, shape (n,), NaN where there is none.
        times_s: Times of the scores, shape (n,), ascending.
        step_s: Interval of the readings, seconds.
        budget: False alarms per sensor-month.

    Raises:
        ThresholdError: The budget is not positive, there is no score, or the tail has too few peaks.
    """
    if not budget > 0:
        raise ThresholdError(f"the budget must be above 0 false alarms per sensor-month, not {budget!r}")
    known = [np.isfinite(row) for row in scores]
    months = sum(int(mask.sum()) for mask in known) * step_s / MONTH_S
    if months == 0:
        raise ThresholdError(
            "no validation score at all: the record is too short or too full of holes, or its values never change"
        )
    if budget * months < COUNTABLE:
        method = "pot"
        known_scores = [row[mask] for row, mask in zip(scores, known, strict=True)]
        known_times_s = [row[mask] for row, mask in zip(times_s, known, strict=True)]
        value = _fit_tail(known_scores, known_times_s, step_s, budget)
    else:
        method = "count"
        value = find_threshold(scores, times_s, int(budget * months + 1e-9), RUN_GAP_S)
    alarms = sum(count_runs(t[mask][s[mask] > value]) for s, t, mask in zip(scores, times_s, known, strict=True))
    return DetectorThreshold(value, alarms, months, method)


def find_threshold(scores: Sequence[Array], times_s: Sequence[Array], allowed: int, gap_s: float) -> float:
    """Return the lowest threshold, from above, that gives no more than `allowed` runs of alarms."""
    return find_thresholds(scores, times_s, (allowed,), gap_s)[0]


def find_thresholds(
    scores: Sequence[Array], times_s: Sequence[Array], allowed: Sequence[int], gap_s: float
) -> list[float]:
    """Return the result of `find_threshold` for several numbers of runs, in one pass over the scores."""
    all_scores = np.concatenate(list(scores))
    all_times_s = np.concatenate(list(times_s))
    series = np.repeat(np.arange(len(scores)), [len(row) for row in scores])
    known = np.flatnonzero(np.isfinite(all_scores))
    order = known[np.argsort(-all_scores[known], kind="stable")]
    alarms: list[list[float]] = [[] for _ in scores]
    thresholds = [float(all_scores[order[-1]])] * len(allowed)
    # Indices into `allowed`, the smallest number of runs last.
    remaining = sorted(range(len(allowed)), key=lambda k: allowed[k], reverse=True)
    runs = 0
    for first in range(0, len(order), _BLOCK):
        block = order[first : first + _BLOCK]
        rows = zip(all_scores[block].tolist(), series[block].tolist(), all_times_s[block].tolist(), strict=True)
        for score, k, at_s in rows:
            alarm_times = alarms[k]
            place = bisect_left(alarm_times, at_s)
            joins_earlier = place > 0 and at_s - alarm_times[place - 1] <= gap_s
            joins_later = place < len(alarm_times) and alarm_times[place] - at_s <= gap_s
            were_joined = 0 < place < len(alarm_times) and alarm_times[place] - alarm_times[place - 1] <= gap_s
            runs += 1 - int(joins_earlier) - int(joins_later) + int(were_joined)
            while remaining and runs > allowed[remaining[-1]]:
                thresholds[remaining.pop()] = score
            if not remaining:
                return thresholds
            insort(alarm_times, at_s)
    return thresholds


def _fit_tail(scores: Sequence[Array], times_s: Sequence[Array], step_s: float, budget: float) -> float:
    """Return the threshold of a budget from peaks over a base (Pickands 1975), by probability-weighted moments.

    The base is the 98 % quantile, or the 95 % or 90 % quantile if runs merge there and fewer than ten peaks remain.
    """
    pooled = np.concatenate(list(scores))
    # A fast sensor has independent peaks within a week. Merging fewer of them only raises the threshold.
    gap_s = min(RUN_GAP_S, 12.0 * step_s)
    for share in (0.98, 0.95, 0.90):
        base = float(np.quantile(pooled, share))
        peaks = _find_peaks(scores, times_s, base, gap_s)
        if len(peaks) >= MIN_PEAKS:
            break
    else:
        months = len(pooled) * step_s / MONTH_S
        raise ThresholdError(
            f"{months:.1f} sensor-months of validation hold {len(peaks)} peaks: at least {MIN_PEAKS} are needed to "
            f"fit a tail for a budget of {budget:g} per sensor-month; take a longer record, or a larger budget"
        )
    excess = np.sort(np.array(peaks) - base)
    n = len(excess)
    b0 = float(excess.mean())
    b1 = float((excess * (n - 1 - np.arange(n)) / (n - 1)).mean())
    # Hosking and Wallis (1987): k = b0/(b0 - 2 b1) - 2, sigma = 2 b0 b1/(b0 - 2 b1), shape xi = -k.
    spread = b0 - 2.0 * b1
    k = b0 / spread - 2.0 if spread > 0 else -0.5
    xi = float(np.clip(-k, -0.5, 0.5))
    sigma = b0 * (1.0 - xi)
    allowed_peaks = budget * len(pooled) * step_s / MONTH_S
    ratio = allowed_peaks / n
    if ratio >= 1.0:
        return base
    return base + (sigma / xi * (ratio**-xi - 1.0) if abs(xi) > 1e-6 else -sigma * float(np.log(ratio)))


def _find_peaks(scores: Sequence[Array], times_s: Sequence[Array], base: float, gap_s: float) -> list[float]:
    """Return the largest score of each run above a base."""
    peaks: list[float] = []
    for row, times in zip(scores, times_s, strict=True):
        above = np.flatnonzero(row > base)
        if len(above):
            groups = np.split(above, np.flatnonzero(np.diff(times[above]) > gap_s) + 1)
            peaks += [float(row[group].max()) for group in groups]
    return peaks

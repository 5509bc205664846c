"""Thresholds from a budget: how many false alarms per sensor and month somebody is willing to look at."""

import math
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detection.anomaly.records import LEAST, MONTH_S, RUN_GAP_S, ThresholdError
from detection.anomaly.registry import CARRIED_BUDGET, CARRIED_OVER, COMPOSITES, SUMS
from detection.anomaly.stages import DAY_S, Array

# Below this many expected alarms there is nothing to count, and a tail must be fitted instead.
COUNTABLE = 3.0
FEWEST_PEAKS = 10
_WALKED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class DetectorThreshold:
    """A threshold and the ground it stands on."""

    value: float  # alarm where score > value
    false_alarms: int  # alarm runs it gives on the validation record
    months: float  # sensor-months counted
    method: str  # ``count``, ``pot`` or ``carried over``


def carry_over(
    name: str, step_s: float, budget: float = CARRIED_BUDGET, table: Mapping[str, Mapping[str, float]] = CARRIED_OVER
) -> dict[str, float]:
    """The thresholds of other sites, from a table of the registry, for readings of this interval and this budget.

    Those of `rules` were counted on daily readings: of k readings a day each must be k times less likely to alarm,
    under a normal law the root of threshold squared + 2 ln k; sums that go up by chance as often as their exponential
    says (Siegmund 1985) ln k more. So it is with a budget that is k times smaller. `persistence-z` keeps its own.
    """
    more = math.log(DAY_S / min(step_s, DAY_S)) + math.log(CARRIED_BUDGET / budget) if name in COMPOSITES else 0.0
    return {
        part: max(value + more if part in SUMS else math.sqrt(max(value**2 + 2.0 * more, LEAST)), LEAST)
        for part, value in table[name].items()
    }


def count_runs(times_s: Array) -> int:
    """Alarms closer than the gap are one run; `times_s` ascending.

    >>> count_runs(np.array([0.0, 86400.0, 30 * 86400.0]))
    2
    """
    return 0 if len(times_s) == 0 else 1 + int((np.diff(times_s) > RUN_GAP_S).sum())


def choose_threshold(
    scores: Sequence[Array], times_s: Sequence[Array], step_s: float, budget: float
) -> DetectorThreshold:
    """The lowest threshold whose alarm runs on validation stay within the budget.

    Descends from the largest score and stops before the first one that would break the budget. (Further down, runs
    melt into one long alarm and their number falls again: that is no quiet detector.) Where budget x months < 3 a
    generalised Pareto law is fitted to the tail instead.

    Args:
        scores: per station, shape (n_i,), NaN where no score.
        times_s: per station, shape (n_i,), ascending.
        budget: false alarm runs per sensor-month.

    Raises:
        ThresholdError: the budget is not positive, nothing was scored, or the tail is too thin to fit.
    """
    if not budget > 0:
        raise ThresholdError(f"the budget must be above 0 false alarms per sensor-month, not {budget!r}")
    kept = [np.isfinite(s) for s in scores]
    months = sum(int(k.sum()) for k in kept) * step_s / MONTH_S
    if months == 0:
        raise ThresholdError(
            "no validation score at all: the record is too short or too full of holes, or its values never change"
        )
    value = (
        _fit_tail(
            [s[k] for s, k in zip(scores, kept, strict=True)],
            [t[k] for t, k in zip(times_s, kept, strict=True)],
            step_s,
            budget,
        )
        if budget * months < COUNTABLE
        else descend(scores, times_s, int(budget * months + 1e-9), RUN_GAP_S)
    )
    alarms = sum(count_runs(t[k][s[k] > value]) for s, t, k in zip(scores, times_s, kept, strict=True))
    return DetectorThreshold(value, alarms, months, "pot" if budget * months < COUNTABLE else "count")


def descend(scores: Sequence[Array], times_s: Sequence[Array], allowed: int, gap_s: float) -> float:
    """The lowest threshold from above that gives no more than `allowed` alarm runs."""
    return descend_to_each(scores, times_s, (allowed,), gap_s)[0]


def descend_to_each(
    scores: Sequence[Array], times_s: Sequence[Array], allowed: Sequence[int], gap_s: float
) -> list[float]:
    """`descend` for several numbers of runs in one walk."""
    every = np.concatenate(list(scores))
    station = np.repeat(np.arange(len(scores)), [len(row) for row in scores])
    known = np.flatnonzero(np.isfinite(every))
    order = known[np.argsort(-every[known], kind="stable")]
    at_s = np.concatenate(list(times_s))
    alarms: list[list[float]] = [[] for _ in scores]
    found = [float(every[order[-1]])] * len(allowed)
    waiting = sorted(range(len(allowed)), key=lambda k: allowed[k], reverse=True)
    runs = 0
    for first in range(0, len(order), _WALKED_AT_ONCE):
        part = order[first : first + _WALKED_AT_ONCE]
        for score, k, at in zip(every[part].tolist(), station[part].tolist(), at_s[part].tolist(), strict=True):
            row = alarms[k]
            place = bisect_left(row, at)
            near_before = place > 0 and at - row[place - 1] <= gap_s
            near_after = place < len(row) and row[place] - at <= gap_s
            split_before = place > 0 and place < len(row) and row[place] - row[place - 1] <= gap_s
            runs += 1 - int(near_before) - int(near_after) + int(split_before)
            while waiting and runs > allowed[waiting[-1]]:
                found[waiting.pop()] = score
            if not waiting:
                return found
            insort(row, at)
    return found


def _fit_tail(scores: Sequence[Array], times_s: Sequence[Array], step_s: float, budget: float) -> float:
    """Peaks over threshold (Pickands 1975) on the largest score of each run, fitted by probability-weighted moments.

    The base is the 98 % point; where runs melt there and fewer than ten peaks remain, 95 % or 90 %.
    """
    pooled = np.concatenate(list(scores))
    # A fast sensor has independent peaks within a week; fewer merged peaks only make the threshold more careful.
    gap_s = min(RUN_GAP_S, 12.0 * step_s)
    for share in (0.98, 0.95, 0.90):
        base = float(np.quantile(pooled, share))
        peaks = []
        for row, times in zip(scores, times_s, strict=True):
            if len(over := np.flatnonzero(row > base)):
                groups = np.split(over, np.flatnonzero(np.diff(times[over]) > gap_s) + 1)
                peaks += [float(row[g].max()) for g in groups]
        if len(peaks) >= FEWEST_PEAKS:
            break
    else:
        months = len(pooled) * step_s / MONTH_S
        raise ThresholdError(
            f"{months:.1f} sensor-months of validation hold {len(peaks)} peaks: at least {FEWEST_PEAKS} are needed to "
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
    expected = budget * len(pooled) * step_s / MONTH_S  # peaks that the budget allows in this record
    ratio = expected / n
    if ratio >= 1.0:
        return base
    return base + (sigma / xi * (ratio**-xi - 1.0) if abs(xi) > 1e-6 else -sigma * float(np.log(ratio)))

"""A record as if people had labelled each alarm a week later: how well the budget holds when thresholds follow that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.budget.correction import EVERY_S, LABEL_MEMORY_S, LOWEST, Alarm, choose_factor
from detection.anomaly.faults import Event
from detection.anomaly.records import MONTH_S, RUN_GAP_S
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series

LABELLED_AFTER_S = EVERY_S


@dataclass(frozen=True, slots=True)
class _Run:
    """Scores above the counted threshold, less than seven days apart: its end, the highest, and whether it is false."""

    end_s: float
    score: float
    is_false: bool


def follow_labels(
    scored: Mapping[str, Array],
    samples: Mapping[str, Series],
    events: Sequence[Event],
    from_share: float,
    budget: float,
) -> dict[str, NDArray[np.bool_]]:
    """Where a detector alarms when its threshold is corrected once a week from labels."""
    begin_s = max(float(s.times_s[int(len(s.times_s) * from_share)]) for s in samples.values())
    end_s = max(float(s.times_s[-1]) for s in samples.values())
    runs = [run for name in sorted(samples) for run in _find_runs(name, scored[name], samples[name], events, begin_s)]
    shown: dict[_Run, bool] = {}
    raised = {name: np.zeros(len(row), dtype=np.bool_) for name, row in scored.items()}
    factor, at_s = 1.0, begin_s
    while at_s <= end_s:
        next_s = at_s + EVERY_S
        for name, series in samples.items():
            week = (series.times_s >= at_s) & (series.times_s < next_s)
            raised[name] |= week & (np.nan_to_num(scored[name], nan=0.0) > factor)
        shown |= {run: run.score > factor for run in runs if at_s <= run.end_s < next_s}
        since_s = max(begin_s, next_s - LABEL_MEMORY_S)
        known = [
            Alarm(run.score, run.is_false if is_shown else None, is_shown)
            for run, is_shown in shown.items()
            if since_s < run.end_s <= next_s - LABELLED_AFTER_S
        ]
        factor = choose_factor(known, _count_months(scored, samples, since_s, next_s), budget, factor)
        at_s = next_s
    return raised


def _find_runs(name: str, row: Array, series: Series, events: Sequence[Event], begin_s: float) -> list[_Run]:
    over = np.flatnonzero(np.nan_to_num(row, nan=0.0) > LOWEST)
    mine = [e for e in events if e.station == name]
    found = []
    for group in np.split(over, np.flatnonzero(np.diff(series.times_s[over]) > RUN_GAP_S) + 1):
        if not group.size or series.times_s[group[0]] < begin_s:
            continue
        is_right = any(((group >= e.first) & (group <= e.last)).any() for e in mine)
        if is_right or not any(e.last < group[0] and group[-1] <= e.quiet_until for e in mine):
            found.append(_Run(float(series.times_s[group[-1]]), float(row[group].max()), not is_right))
    return found


def _count_months(scored: Mapping[str, Array], samples: Mapping[str, Series], since_s: float, to_s: float) -> float:
    months = 0.0
    for name, series in samples.items():
        within = (series.times_s >= since_s) & (series.times_s < to_s)
        months += int(np.isfinite(scored[name][within]).sum()) * series.step_s / MONTH_S
    return months

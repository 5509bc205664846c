"""Split one budget of false alarms over the parts of `rules`, by what each part finds of injected faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.faults import SCORED_KINDS, Event, inject_many
from detection.anomaly.parts import score_parts
from detection.anomaly.records import LEAST, MONTH_S, RUN_GAP_S
from detection.anomaly.stages import Array
from detection.anomaly.threshold import (
    COUNTABLE,
    DetectorThreshold,
    choose_threshold,
    count_runs,
    find_threshold,
    find_thresholds,
)
from detection.anomaly.windows import Series

# Shares of the budget that one part may spend. The shares of all parts may sum to more than 1, because their alarms
# coincide.
SHARES: Final = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
STEPS: Final = (1, 2, 3)
INJECT_FROM: Final = 0.3
SEEDS: Final = (101, 102, 103)
# Checks find stuck and replayed readings, so no part spends budget on them.
KINDS: Final = tuple(kind for kind in SCORED_KINDS if kind not in {"stuck", "replay"})
MIN_COMMON_STATIONS: Final = 3
COMMON_SHARE: Final = 0.4
# Thresholds between those of the own record and those of other sites leave a part of the budget unspent, so they are
# lowered by this factor.
SPENT: Final = 0.95
# Weight of recall relative to precision in the F score.
BETA: Final = 1.2


@dataclass(frozen=True, slots=True)
class _Option:
    """A threshold of a part, the cells that alarm on the record as measured, and the injected faults that it finds."""

    limit: float
    alarms: NDArray[np.int64]
    found: NDArray[np.bool_]


Options = dict[str, list[_Option]]  # by part, one for each share
Choice = dict[str, int]  # by part, the index of an option


def split_budget(
    samples: Mapping[str, Series], until: float, budget: float, carried: Mapping[str, float]
) -> dict[str, DetectorThreshold]:
    """Choose the thresholds of the parts of `rules` together, on the first `until` of the record.

    Faults of five kinds are injected into this part of the record. The chosen thresholds find most faults (each kind
    has the same weight) with the fewest false alarms (F score with beta 1.2), while all parts together stay within the
    budget. A part that is not worth its false alarms has no threshold. Then each threshold is moved halfway to that of
    other sites, because one record contains few false alarms, and a real movement in it would make a part insensitive.

    If the record is too short to count three false alarms, each part gets an equal share, by the tail of its scores.

    Args:
        until: Share of each record that may be used.
        budget: False alarms of all parts together per sensor-month.
        carried: Thresholds of other sites; empty to keep those of this record.

    Raises:
        ThresholdError: The budget is not positive, or the record is too short for any threshold.
    """
    past = {label: _cut(series, until) for label, series in samples.items()}
    labels = sorted(past)
    clean = score_parts(past)
    times = [past[label].times_s for label in labels]
    step_s = past[labels[0]].step_s
    months = _count_months(clean, step_s)
    trials = [inject_many(past, INJECT_FROM, seed, KINDS) for seed in SEEDS]
    events = [event for _, injected in trials for event in injected]
    if not budget > 0 or budget * months < COUNTABLE or not events:
        share = budget / len(clean)
        return {
            part: choose_threshold([rows[label] for label in labels], times, step_s, share)
            for part, rows in clean.items()
        }
    clean = _remove_common(clean, past, budget * months)
    months = _count_months(clean, step_s)
    # One time axis for all series, on which the alarms of two series are never close.
    far_times = np.concatenate([row + 1e12 * k for k, row in enumerate(times)])
    allowed = [int(share * budget * months + 1e-9) for share in SHARES if share]
    options = _list_options(clean, times, allowed, _find_largest(trials))
    watched = sum(
        int(series.observed[int(len(series.values) * INJECT_FROM) :].sum())
        for altered, _ in trials
        for series in altered.values()
    )
    kinds = np.array([event.kind for event in events])
    value = _Value(options, kinds, far_times, months, budget, watched * step_s / MONTH_S)
    chosen = _climb(options, value)
    limits = _move_halfway({part: options[part][k].limit for part, k in chosen.items()}, carried)
    return {
        part: DetectorThreshold(limit, count_runs(far_times[_join(clean[part]) > limit]), months, "count")
        for part, limit in limits.items()
    }


def _join(rows: Mapping[str, Array]) -> Array:
    """Return the scores of all series in one array, 0 where there is none."""
    return np.asarray(np.nan_to_num(np.concatenate([rows[label] for label in sorted(rows)]), nan=0.0))


def _list_options(
    clean: Mapping[str, Mapping[str, Array]],
    times: Sequence[Array],
    allowed: Sequence[int],
    largest: Mapping[str, Array],
) -> Options:
    """List the thresholds of each part, one for each share of the budget.

    Args:
        allowed: Runs of alarms for each share.
        largest: The largest score of each part within each injected fault.
    """
    options: Options = {}
    for part, rows in clean.items():
        joined = _join(rows)
        limits = [np.inf, *find_thresholds([rows[label] for label in sorted(rows)], times, allowed, RUN_GAP_S)]
        options[part] = [_Option(limit, np.flatnonzero(joined > limit), largest[part] > limit) for limit in limits]
    return options


def _move_halfway(own: Mapping[str, float], carried: Mapping[str, float]) -> dict[str, float]:
    """Return the thresholds halfway between those of the own record and of other sites, in their inverse, 5 % lower.

    A part without a threshold in one of both has an infinite threshold there, so that halfway is twice the other one.

    >>> {part: round(limit, 2) for part, limit in _move_halfway({"level": 4.0, "drift": 6.0}, {"level": 6.0}).items()}
    {'level': 4.56, 'drift': 11.4}
    >>> _move_halfway({"level": 4.0, "drift": np.inf}, {})
    {'level': 4.0}
    >>> _move_halfway({"level": 0.0}, {}), _move_halfway({"level": 0.0}, {"level": 6.0}).keys()
    ({'level': 1.0}, dict_keys(['level']))
    """
    own = {part: limit or LEAST for part, limit in own.items()}
    if not carried:
        return {part: limit for part, limit in own.items() if np.isfinite(limit)}
    inverse = {part: 0.5 / limit + 0.5 / carried.get(part, np.inf) for part, limit in own.items()}
    return {part: SPENT / value for part, value in inverse.items() if value}


def _count_months(clean: Mapping[str, Mapping[str, Array]], step_s: float) -> float:
    return max(sum(int(np.isfinite(row).sum()) for row in rows.values()) for rows in clean.values()) * step_s / MONTH_S


def _cut(series: Series, until: float) -> Series:
    end = int(len(series.values) * until)
    return Series(series.times_s[:end], series.values[:end], series.step_s)


def _remove_common(
    clean: Mapping[str, Mapping[str, Array]], past: Mapping[str, Series], allowed: float
) -> dict[str, dict[str, Array]]:
    """Remove the scores of weeks in which a third of the stations, and at least three, alarmed together.

    Such alarms are a movement of the slope, an earthquake or a fault of the reference. If they were counted as false
    alarms, one event in the past would make the parts that find movement insensitive.

    Args:
        allowed: Runs of alarms that the budget allows on this record.
    """
    labels = sorted(past)
    times = [past[label].times_s for label in labels]
    is_unusual = {label: np.zeros(len(past[label].values), dtype=bool) for label in labels}
    for rows in clean.values():
        limit = find_threshold([rows[label] for label in labels], times, int(COMMON_SHARE * allowed), RUN_GAP_S)
        for label in labels:
            is_unusual[label] |= np.nan_to_num(rows[label], nan=0.0) > limit
    begin_s = min(float(row[0]) for row in times)
    weeks = {label: np.floor((past[label].times_s - begin_s) / RUN_GAP_S).astype(np.int64) for label in labels}
    count = np.zeros(max(int(row[-1]) for row in weeks.values()) + 3, dtype=np.int64)
    for label in labels:
        unusual_weeks = np.unique(weeks[label][is_unusual[label]])
        count[np.unique(np.concatenate([unusual_weeks, unusual_weeks + 1]))] += 1  # a week and the next one
    is_common = count >= max(MIN_COMMON_STATIONS, len(labels) / 3.0)
    is_common |= np.concatenate([is_common[1:], [False]])
    return {
        part: {label: np.where(is_common[weeks[label]], np.nan, row) for label, row in rows.items()}
        for part, rows in clean.items()
    }


def _find_largest(trials: Sequence[tuple[Mapping[str, Series], Sequence[Event]]]) -> dict[str, Array]:
    """Return the largest score of each part within each injected fault."""
    largest: dict[str, list[float]] = {}
    for altered, events in trials:
        for part, rows in score_parts(altered).items():
            for event in events:
                inside = np.nan_to_num(rows[event.station][event.first : event.last + 1], nan=0.0)
                largest.setdefault(part, []).append(float(inside.max(initial=0.0)))
    return {part: np.array(row) for part, row in largest.items()}


class _Value:
    """Value of a choice: the F score of found faults and false alarms, or a negative number beyond the budget."""

    def __init__(
        self,
        options: Options,
        kinds: NDArray[np.str_],
        far_times: Array,
        months: float,
        budget: float,
        watched_months: float,
    ) -> None:
        self.options, self.far_times, self.months, self.budget = options, far_times, months, budget
        counts = {kind: int((kinds == kind).sum()) for kind in set(kinds.tolist())}
        self.weights = np.array([1.0 / (counts[kind] * len(counts)) for kind in kinds.tolist()])
        self.faults_per_month = len(kinds) / watched_months
        self.values: dict[tuple[int, ...], float] = {}

    def __call__(self, choice: Choice) -> float:
        key = tuple(choice.values())
        if key not in self.values:
            options = [self.options[part][k] for part, k in choice.items()]
            alarms = np.unique(np.concatenate([option.alarms for option in options]))
            rate = count_runs(self.far_times[alarms]) / self.months
            recall = float(self.weights[np.logical_or.reduce([option.found for option in options])].sum())
            found = recall * self.faults_per_month
            missed = self.faults_per_month - found
            total = (1.0 + BETA**2) * found + BETA**2 * missed + rate
            self.values[key] = -rate if rate > self.budget else (1.0 + BETA**2) * found / total
        return self.values[key]


def _climb(options: Options, value: _Value) -> Choice:
    """Return the best choice by hill climbing from several starts."""
    last = len(SHARES)
    moves: list[Choice] = [{part: by} for part in options for by in range(1 - last, last) if by]
    moves += [{up: a, down: -b} for up, down in permutations(options, 2) for a in STEPS for b in STEPS]
    starts = [dict.fromkeys(options, k) for k in (0, 2, 4)]
    starts += [{part: 8 if part == single else 0 for part in options} for single in options]
    return max((_climb_from(start, moves, value) for start in starts), key=value)


def _climb_from(start: Choice, moves: Sequence[Choice], value: _Value) -> Choice:
    best = start
    while True:
        steps = ({part: k + move.get(part, 0) for part, k in best.items()} for move in moves)
        allowed = (step for step in steps if all(0 <= k < len(SHARES) for k in step.values()))
        better = max(allowed, key=value)
        if value(better) <= value(best):
            return best
        best = better

"""One budget over several parts, split by what each finds: faults laid into the site's own past tell its worth."""

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
    descend,
    descend_to_each,
)
from detection.anomaly.windows import Series

# Shares of the budget that a part may spend alone; those of several may add up to more, for their alarms fall together.
SHARES: Final = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
STEPS: Final = (1, 2, 3)
INJECT_FROM: Final = 0.3
SEEDS: Final = (101, 102, 103)
# Stuck and replayed readings are found by checks: no part is to pay for them.
KINDS: Final = tuple(kind for kind in SCORED_KINDS if kind not in {"stuck", "replay"})
FEWEST_TOGETHER: Final = 3
COMMON_SHARE: Final = 0.4
# One past holds few false alarms of a part, and maybe a real movement that makes its threshold deaf: what is counted on
# it is drawn halfway to what was counted on other sites. That alone leaves a part of the budget unspent.
SPENT: Final = 0.95
# How much more recall weighs than precision.
BETA: Final = 1.2


@dataclass(frozen=True, slots=True)
class _Option:
    limit: float
    alarms: NDArray[np.int64]
    found: NDArray[np.bool_]


Options = dict[str, list[_Option]]  # by part, one per share
Choice = dict[str, int]  # part -> which of its options


def split_budget(
    samples: Mapping[str, Series], until: float, budget: float, carried: Mapping[str, float]
) -> dict[str, DetectorThreshold]:
    """Thresholds of the parts of `rules`, chosen together on the first `until` of the record.

    Faults of five kinds are laid into that past. Those thresholds are taken that find the most of them (each kind
    counts alike) for the fewest false alarms (F of beta 1.2), while all parts together stay within the budget. A part
    that is not worth its false alarms gets none. Then each is drawn halfway to the threshold of other sites; a part
    that one of both leaves out counts half. Where the record is too short to count three false alarms, each part gets
    an equal share by the tail of its scores.

    Args:
        until: share of each record that may be looked at.
        budget: false alarm runs per sensor-month of all parts together.
        carried: thresholds of other sites; none: the own ones stay.

    Raises:
        ThresholdError: the budget is not positive, or the record is too short for any threshold.
    """
    past = {name: _cut(series, until) for name, series in samples.items()}
    names = sorted(past)
    clean = score_parts(past)
    times = [past[name].times_s for name in names]
    step_s = past[names[0]].step_s
    months = _count_months(clean, step_s)
    trials = [inject_many(past, INJECT_FROM, seed, KINDS) for seed in SEEDS]
    events = [event for _, laid in trials for event in laid]
    if not budget > 0 or budget * months < COUNTABLE or not events:
        share = budget / len(clean)
        return {p: choose_threshold([by[n] for n in names], times, step_s, share) for p, by in clean.items()}
    clean = _without_common(clean, past, budget * months)
    months = _count_months(clean, step_s)
    far = np.concatenate([row + 1e12 * k for k, row in enumerate(times)])  # one axis on which stations never meet
    allowed = [int(share * budget * months + 1e-9) for share in SHARES if share]
    options = _list_options(clean, times, allowed, _find_worst(trials))
    watched = sum(
        int(s.observed[int(len(s.values) * INJECT_FROM) :].sum()) for laid, _ in trials for s in laid.values()
    )
    value = _Value(options, np.array([event.kind for event in events]), far, months, budget, watched * step_s / MONTH_S)
    chosen = _climb(options, value)
    drawn = _draw_halfway({part: options[part][k].limit for part, k in chosen.items()}, carried)
    return {
        part: DetectorThreshold(limit, count_runs(far[_join(clean[part]) > limit]), months, "count")
        for part, limit in drawn.items()
    }


def _join(rows: Mapping[str, Array]) -> Array:
    return np.asarray(np.nan_to_num(np.concatenate([rows[name] for name in sorted(rows)]), nan=0.0))


def _list_options(
    clean: Mapping[str, Mapping[str, Array]], times: Sequence[Array], allowed: Sequence[int], worst: Mapping[str, Array]
) -> Options:
    """Each part at each share of the budget, counted in runs; `worst`: its score in each injected fault."""
    options: Options = {}
    for part, by in clean.items():
        joined = _join(by)
        limits = [np.inf, *descend_to_each([by[name] for name in sorted(by)], times, allowed, RUN_GAP_S)]
        options[part] = [_Option(limit, np.flatnonzero(joined > limit), worst[part] > limit) for limit in limits]
    return options


def _draw_halfway(own: Mapping[str, float], carried: Mapping[str, float]) -> dict[str, float]:
    """The thresholds halfway between the own ones and those of other sites, in their inverse, and 5 % lower.

    A part that one of both leaves out has an infinite threshold there, so that twice the other is halfway.

    >>> {part: round(limit, 2) for part, limit in _draw_halfway({"level": 4.0, "drift": 6.0}, {"level": 6.0}).items()}
    {'level': 4.56, 'drift': 11.4}
    >>> _draw_halfway({"level": 4.0, "drift": np.inf}, {})
    {'level': 4.0}
    >>> _draw_halfway({"level": 0.0}, {}), _draw_halfway({"level": 0.0}, {"level": 6.0}).keys()
    ({'level': 1.0}, dict_keys(['level']))
    """
    own = {part: limit or LEAST for part, limit in own.items()}
    if not carried:
        return {part: limit for part, limit in own.items() if np.isfinite(limit)}
    both = {part: 0.5 / limit + 0.5 / carried.get(part, np.inf) for part, limit in own.items()}
    return {part: SPENT / share for part, share in both.items() if share}


def _count_months(clean: Mapping[str, Mapping[str, Array]], step_s: float) -> float:
    return max(sum(int(np.isfinite(row).sum()) for row in by.values()) for by in clean.values()) * step_s / MONTH_S


def _cut(series: Series, until: float) -> Series:
    end = int(len(series.values) * until)
    return Series(series.times_s[:end], series.values[:end], series.step_s)


def _without_common(
    clean: Mapping[str, Mapping[str, Array]], past: Mapping[str, Series], allowed: float
) -> dict[str, dict[str, Array]]:
    """The scores without the weeks in which a third of the stations, three at least, were strange together.

    That is a movement of the slope, an earthquake or a fault of the reference, and no false alarm of single sensors:
    counted as such, one event of the past would silence the rules that see movement.
    """
    names = sorted(past)
    times = [past[name].times_s for name in names]
    strange = {name: np.zeros(len(past[name].values), dtype=bool) for name in names}
    for by in clean.values():
        limit = descend([by[name] for name in names], times, int(COMMON_SHARE * allowed), RUN_GAP_S)
        for name in names:
            strange[name] |= np.nan_to_num(by[name], nan=0.0) > limit
    begin = min(float(row[0]) for row in times)
    weeks = {name: np.floor((past[name].times_s - begin) / RUN_GAP_S).astype(np.int64) for name in names}
    count = np.zeros(max(int(row[-1]) for row in weeks.values()) + 3, dtype=np.int64)
    for name in names:
        there = np.unique(weeks[name][strange[name]])
        count[np.unique(np.concatenate([there, there + 1]))] += 1  # a week, and the one after it
    common = count >= max(FEWEST_TOGETHER, len(names) / 3.0)
    common |= np.concatenate([common[1:], [False]])
    return {
        part: {name: np.where(common[weeks[name]], np.nan, row) for name, row in by.items()}
        for part, by in clean.items()
    }


def _find_worst(trials: Sequence[tuple[Mapping[str, Series], Sequence[Event]]]) -> dict[str, Array]:
    worst: dict[str, list[float]] = {}
    for laid, events in trials:
        for part, by in score_parts(laid).items():
            inside = (np.nan_to_num(by[e.station][e.first : e.last + 1], nan=0.0) for e in events)
            worst.setdefault(part, []).extend(float(row.max(initial=0.0)) for row in inside)
    return {part: np.array(row) for part, row in worst.items()}


class _Value:
    """What a choice of one option per part is worth: F of found faults and false alarms; negative beyond the budget."""

    def __init__(
        self, options: Options, kinds: NDArray[np.str_], far: Array, months: float, budget: float, watched: float
    ) -> None:
        self.options, self.far, self.months, self.budget = options, far, months, budget
        counts = {kind: int((kinds == kind).sum()) for kind in set(kinds.tolist())}
        self.weights = np.array([1.0 / (counts[kind] * len(counts)) for kind in kinds.tolist()])
        self.per_month = len(kinds) / watched
        self.known: dict[tuple[int, ...], float] = {}

    def __call__(self, choice: Choice) -> float:
        key = tuple(choice.values())
        if key not in self.known:
            taken = [self.options[part][k] for part, k in choice.items()]
            rate = count_runs(self.far[np.unique(np.concatenate([one.alarms for one in taken]))]) / self.months
            recall = float(self.weights[np.logical_or.reduce([one.found for one in taken])].sum())
            hits, wrong = recall * self.per_month, rate
            total = (1.0 + BETA**2) * hits + BETA**2 * (self.per_month - hits) + wrong
            self.known[key] = -rate if rate > self.budget else (1.0 + BETA**2) * hits / total
        return self.known[key]


def _climb(options: Options, value: _Value) -> Choice:
    last = len(SHARES)
    moves: list[Choice] = [{part: by} for part in options for by in range(1 - last, last) if by]
    moves += [{up: a, down: -b} for up, down in permutations(options, 2) for a in STEPS for b in STEPS]
    begins = [dict.fromkeys(options, k) for k in (0, 2, 4)]
    begins += [{part: 8 if part == one else 0 for part in options} for one in options]
    return max((_climb_from(begin, moves, value) for begin in begins), key=value)


def _climb_from(begin: Choice, moves: Sequence[Choice], value: _Value) -> Choice:
    best = begin
    while True:
        steps = ({part: k + move.get(part, 0) for part, k in best.items()} for move in moves)
        allowed = (step for step in steps if all(0 <= k < len(SHARES) for k in step.values()))
        better = max(allowed, key=value)
        if value(better) <= value(best):
            return best
        best = better

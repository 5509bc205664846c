"""The rain threshold of one slope, learned from its own rain and movement, with an honest account of its skill.

The predictor at an instant is the largest rain sum over a window that ended within the last `lag`; an event is the
beginning of a time of fast movement. Instants inside an event after its beginning are left out: they would count one
event many times. Every instant without an event counts, rain without movement included (Leonarduzzi and Molnar 2020,
Nat. Hazards Earth Syst. Sci. 20, 2905-2919).
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from math import fsum
from typing import Final

LEAST_EVENTS: Final = 5
LEAST_YEARS: Final = 2
ONSET_SHARE: Final = 0.2
_STEPS: Final = 60  # thresholds in the table at most


class TooFewEventsError(ValueError):
    """There are too few events, or too few years with events, to learn anything."""


@dataclass(frozen=True, slots=True)
class ThresholdScore:
    """One threshold held against all instants: hits and misses of events, false alarms and quiet instants.

    `skill` is the true skill statistic, hit rate minus false-alarm rate (Peirce 1884).
    """

    over_mm: float
    hits: int
    misses: int
    false_alarms: int
    quiet: int

    @property
    def hit_rate(self) -> float:
        """Share of events that were announced."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0

    @property
    def false_rate(self) -> float:
        """Share of instants without an event that were announced."""
        return self.false_alarms / (self.false_alarms + self.quiet) if self.false_alarms + self.quiet else 0.0

    @property
    def skill(self) -> float:
        """Hit rate minus false-alarm rate, -1 to 1; 0 is what chance gives."""
        return self.hit_rate - self.false_rate


@dataclass(frozen=True, slots=True)
class Samples:
    """Instants with what rain said (mm; None where too little of the window was measured) and what the slope did."""

    times_s: tuple[float, ...]
    event: tuple[bool | None, ...]  # None inside an event after its beginning: left out


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned."""

    window_s: float  # of the rain sum
    lag_s: float  # how long a crossing stands for movement
    score: ThresholdScore  # in sample at the threshold chosen
    cross: ThresholdScore  # the same by cross-validation: each year judged by what the other years taught
    area: float  # area under the ROC curve, in sample
    table: tuple[ThresholdScore, ...]  # ROC, one row per threshold, falling
    events_s: tuple[float, ...]  # beginnings of the events that were used
    lead_s: float | None  # of the hits: from the first crossing within the lag to the event, median; None without hits
    years: tuple[int, ...]  # calendar years (UTC) with samples


def find_events(times_s: Sequence[float], rates: Sequence[float], over: float, apart_s: float) -> Samples:
    """Label each instant: an event begins where the rate rises over a bound after it was below it for `apart_s`.

    Args:
        times_s: instants, rising; each rate is the movement that begins there.
        apart_s: fast times nearer to each other than this are one event.
    """
    labels: list[bool | None] = []
    last_fast = float("-inf")
    for at_s, rate in zip(times_s, rates, strict=True):
        if rate > over:
            labels.append(True if at_s - last_fast > apart_s else None)
            last_fast = at_s
        else:
            labels.append(None if at_s - last_fast <= apart_s else False)
    if labels and labels[0]:
        labels[0] = None  # it was moving when the record began: when that began nobody knows
    return Samples(tuple(times_s), tuple(labels))


def date_onsets(samples: Samples, times_s: Sequence[float], values: Sequence[float], window_s: float) -> Samples:
    """Move the beginning of each event to where its movement really begins within the window of its rate.

    The rate of a window that reaches forward is fast up to a whole window before anything moves, and rain that fell
    meanwhile would come too late for it. The beginning is the last reading at which no more than ONSET_SHARE of the
    window's displacement had happened; instants between are left out. `samples`: labels by the rate of the window that
    begins at each instant.
    """
    labels = list(samples.event)
    index = {t: i for i, t in enumerate(samples.times_s)}
    for i, label in enumerate(samples.event):
        if not label:
            continue
        first = bisect_left(times_s, samples.times_s[i])
        last = min(bisect_left(times_s, samples.times_s[i] + window_s), len(times_s) - 1)
        moved = values[last] - values[first]
        begun = first
        for k in range(first, last):
            if values[k] - values[first] <= ONSET_SHARE * moved and times_s[k] in index:
                begun = k
        labels[i] = None
        labels[index[times_s[begun]]] = True
        for k in range(first + 1, begun):
            if times_s[k] in index:
                labels[index[times_s[k]]] = None
    return Samples(samples.times_s, tuple(labels))


def predict_rain(
    rain_s: Sequence[float],
    rain_mm: Sequence[float],
    interval_s: float,
    at_s: Sequence[float],
    window_s: float,
    lag_s: float,
    least_share: float = 0.8,
) -> list[float | None]:
    """Largest rain sum over `window_s` that ended within (t - lag, t] at each instant t; None where unknown.

    Known at t means interval ends up to t: nothing later is used.
    """
    total = [0.0, *accumulate(rain_mm)]
    ends: list[float | None] = []
    for i, end in enumerate(rain_s):
        first = bisect_right(rain_s, end - window_s + 0.5 * interval_s)
        share = (i + 1 - first) * interval_s / window_s
        ends.append(total[i + 1] - total[first] if share >= least_share else None)
    found: list[float | None] = []
    best: deque[int] = deque()  # indices of falling sums inside the lag
    upcoming = 0
    for at in at_s:
        while upcoming < len(rain_s) and rain_s[upcoming] <= at:
            value = ends[upcoming]
            if value is not None:
                while best and (ends[best[-1]] or 0.0) <= value:
                    best.pop()
                best.append(upcoming)
            upcoming += 1
        while best and rain_s[best[0]] <= at - max(lag_s, interval_s):
            best.popleft()
        found.append(ends[best[0]] if best else None)
    return found


def learn_threshold(
    rain_s: Sequence[float],
    rain_mm: Sequence[float],
    interval_s: float,
    samples: Samples,
    windows_s: Sequence[float],
    lags_s: Sequence[float],
    least_events: int = LEAST_EVENTS,
) -> Learned:
    """Choose window, lag and threshold by the true skill statistic, and judge the choice by years left out."""
    years = [datetime.fromtimestamp(t, UTC).year for t in samples.times_s]
    series = {
        (w, lag): predict_rain(rain_s, rain_mm, interval_s, samples.times_s, w, lag)
        for w in windows_s
        for lag in lags_s
    }
    # an instant counts when every window is known there: all choices are judged on the same instants
    used = [
        i
        for i, label in enumerate(samples.event)
        if label is not None and all(s[i] is not None for s in series.values())
    ]
    beginnings = [i for i in used if samples.event[i]]
    if len(beginnings) < least_events:
        raise TooFewEventsError(f"{len(beginnings)} events with rain known before them; at least {least_events} needed")
    if len(of := {years[i] for i in beginnings}) < LEAST_YEARS:
        raise TooFewEventsError(f"all events lie in {min(of)}: cross-validation by year needs {LEAST_YEARS} years")
    (window_s, lag_s), over = _choose(series, samples, used)
    values = series[window_s, lag_s]
    table = _table(values, samples, used)
    curve = [(0.0, 0.0), *((r.false_rate, r.hit_rate) for r in table), (1.0, 1.0)]
    short = predict_rain(rain_s, rain_mm, interval_s, samples.times_s, window_s, interval_s)
    return Learned(
        window_s,
        lag_s,
        _score(values, samples, used, over),
        _cross_validate(series, samples, used, years, over),
        fsum((x1 - x0) * (y0 + y1) / 2.0 for (x0, y0), (x1, y1) in pairwise(curve)),
        tuple(table),
        tuple(samples.times_s[i] for i in beginnings),
        _lead(short, samples, beginnings, over, lag_s),
        tuple(sorted({years[i] for i in used})),
    )


def _cross_validate(
    series: dict[tuple[float, float], list[float | None]],
    samples: Samples,
    used: Sequence[int],
    years: Sequence[int],
    over: float,
) -> ThresholdScore:
    hits = misses = false_alarms = quiet = 0
    for year in sorted({years[i] for i in used}):
        key, limit = _choose(series, samples, [i for i in used if years[i] != year])
        fold = _score(series[key], samples, [i for i in used if years[i] == year], limit)
        hits, misses = hits + fold.hits, misses + fold.misses
        false_alarms, quiet = false_alarms + fold.false_alarms, quiet + fold.quiet
    return ThresholdScore(over, hits, misses, false_alarms, quiet)


def _choose(
    series: dict[tuple[float, float], list[float | None]], samples: Samples, used: Sequence[int]
) -> tuple[tuple[float, float], float]:
    best = None
    for (window_s, lag_s), values in series.items():
        for row in _table(values, samples, used):
            rank = (round(row.skill, 12), -lag_s, -window_s, row.over_mm)
            if best is None or rank > best[0]:
                best = (rank, (window_s, lag_s), row.over_mm)
    if best is None:
        raise TooFewEventsError("no instant is left to learn from")
    return best[1], best[2]


def _table(values: Sequence[float | None], samples: Samples, used: Sequence[int]) -> list[ThresholdScore]:
    ranked = sorted(((values[i] or 0.0, bool(samples.event[i])) for i in used), reverse=True)
    events = sum(1 for _, event in ranked if event)
    quiet = len(ranked) - events
    rows: list[ThresholdScore] = []
    hits = false_alarms = 0
    for (value, event), (below, _) in zip(ranked, [*ranked[1:], (0.0, False)], strict=True):
        hits += event
        false_alarms += not event
        if value > below:
            rows.append(ThresholdScore(0.5 * (value + below), hits, events - hits, false_alarms, quiet - false_alarms))
    if len(rows) <= _STEPS:
        return rows
    # thin the table; where an event is gained or skill is greatest always stays
    best = max(rows, key=lambda r: r.skill)
    step = len(rows) / _STEPS
    kept = {int(i * step) for i in range(_STEPS)} | {len(rows) - 1}
    return [r for i, r in enumerate(rows) if i in kept or r is best or (i > 0 and r.hits > rows[i - 1].hits)]


def _score(values: Sequence[float | None], samples: Samples, used: Sequence[int], over: float) -> ThresholdScore:
    hits = misses = false_alarms = quiet = 0
    for i in used:
        above = (values[i] or 0.0) > over
        if samples.event[i]:
            hits, misses = hits + above, misses + (not above)
        else:
            false_alarms, quiet = false_alarms + above, quiet + (not above)
    return ThresholdScore(over, hits, misses, false_alarms, quiet)


def _lead(
    values: Sequence[float | None], samples: Samples, beginnings: Sequence[int], over: float, lag_s: float
) -> float | None:
    leads = []
    for i in beginnings:
        at = samples.times_s[i]
        first = bisect_right(samples.times_s, at - lag_s)
        crossed = next((at - samples.times_s[j] for j in range(first, i + 1) if (values[j] or 0.0) > over), None)
        leads += [] if crossed is None else [crossed]
    return sorted(leads)[len(leads) // 2] if leads else None

"""Learn a rain threshold of one slope from its own rain and movement, and estimate its skill by cross-validation.

The predictor at an instant is the largest rain sum over a window that ended within the last `lag_s`. An event is the
onset of fast movement. Instants within an event after its onset are left out, because they would count one event more
than once. Every instant without an event counts, also one with rain and no movement (Leonarduzzi and Molnar 2020, Nat.
Hazards Earth Syst. Sci. 20, 2905-2919).
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from math import fsum
from typing import Final

# Events, and calendar years with events, that learning needs.
LEAST_EVENTS: Final = 5
LEAST_YEARS: Final = 2
# Share of the displacement of an event up to which movement has not begun.
ONSET_SHARE: Final = 0.2
# Largest number of thresholds in the table.
_STEPS: Final = 60


class TooFewEventsError(ValueError):
    """There are too few events, or too few years with events, to learn a threshold."""


@dataclass(frozen=True, slots=True)
class ThresholdScore:
    """How one threshold separates instants with an event from those without.

    Attributes:
        over_mm: The threshold. A larger rain sum announces an event.
        hits: Events that were announced.
        misses: Events that were not.
        false_alarms: Instants without an event that were announced.
        quiet: Instants without an event that were not.
    """

    over_mm: float
    hits: int
    misses: int
    false_alarms: int
    quiet: int

    @property
    def hit_rate(self) -> float:
        """The share of events that were announced."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0

    @property
    def false_rate(self) -> float:
        """The share of instants without an event that were announced."""
        return self.false_alarms / (self.false_alarms + self.quiet) if self.false_alarms + self.quiet else 0.0

    @property
    def skill(self) -> float:
        """The true skill statistic (Peirce 1884): hit rate minus false-alarm rate, -1 to 1. Chance gives 0."""
        return self.hit_rate - self.false_rate


@dataclass(frozen=True, slots=True)
class Samples:
    """Instants and whether an event begins at each.

    Attributes:
        times_s: Epoch seconds, ascending.
        event: True at the onset of an event, False without an event, None for an instant that is left out.
    """

    times_s: tuple[float, ...]
    event: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """A learned threshold.

    Attributes:
        window_s: Window of the rain sum.
        lag_s: Time after a crossing of the threshold in which an event counts as announced.
        score: Score of the threshold on the samples from which it was learned.
        cross: Score by cross-validation: each year with the threshold that the other years give.
        area: Area under the ROC curve, on the samples from which the threshold was learned.
        table: Scores of all thresholds (ROC curve), the highest threshold first.
        events_s: Onsets of the events that were used, epoch seconds.
        lead_s: Median time from the first crossing within the lag to the event, of the hits; None without hits.
        years: Calendar years (UTC) with samples.
    """

    window_s: float
    lag_s: float
    score: ThresholdScore
    cross: ThresholdScore
    area: float
    table: tuple[ThresholdScore, ...]
    events_s: tuple[float, ...]
    lead_s: float | None
    years: tuple[int, ...]


def find_events(times_s: Sequence[float], rates: Sequence[float], over: float, apart_s: float) -> Samples:
    """Label each instant. An event begins when the rate exceeds a bound after not exceeding it for `apart_s`.

    Args:
        times_s: Instants, epoch seconds, ascending.
        rates: Rate of the movement that begins at each instant.
        over: The bound, in the unit of the rates.
        apart_s: Times of fast movement closer to each other than this are one event.
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
        labels[0] = None  # the slope moved already when the record began, so the onset is not known
    return Samples(tuple(times_s), tuple(labels))


def date_onsets(samples: Samples, times_s: Sequence[float], values: Sequence[float], window_s: float) -> Samples:
    """Move the onset of each event to the instant at which its movement begins within the window of its rate.

    The rate of a window that begins at an instant is high up to a whole window before the movement, and rain within the
    window would come too late for it. The onset is the last reading at which at most `ONSET_SHARE` of the displacement
    of the window has happened. Instants before it within the window are left out.

    Args:
        samples: Labels by the rate of the window that begins at each instant.
        times_s: Epochs of the displacement, epoch seconds.
        values: Displacement at these epochs.
        window_s: Window of the rates.
    """
    labels = list(samples.event)
    index = {t: i for i, t in enumerate(samples.times_s)}
    for i, label in enumerate(samples.event):
        if not label:
            continue
        first = bisect_left(times_s, samples.times_s[i])
        last = min(bisect_left(times_s, samples.times_s[i] + window_s), len(times_s) - 1)
        displacement = values[last] - values[first]
        onset = first
        for k in range(first, last):
            if values[k] - values[first] <= ONSET_SHARE * displacement and times_s[k] in index:
                onset = k
        labels[i] = None
        labels[index[times_s[onset]]] = True
        for k in range(first + 1, onset):
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
    """Return the largest rain sum over a window that ended within (t - lag, t], at each instant t, mm.

    Only intervals that end at t or before are used.

    Args:
        rain_s: Ends of the intervals of rain, epoch seconds, ascending.
        rain_mm: Rain of each interval.
        interval_s: Length of an interval.
        at_s: The instants, epoch seconds, ascending.
        window_s: Length of the window.
        lag_s: The lag.
        least_share: Share of a window that must be measured.

    Returns:
        A sum for each instant; None if no window is measured.
    """
    total = [0.0, *accumulate(rain_mm)]
    sums: list[float | None] = []  # over the window that ends with each interval
    for i, end in enumerate(rain_s):
        first = bisect_right(rain_s, end - window_s + 0.5 * interval_s)
        share = (i + 1 - first) * interval_s / window_s
        sums.append(total[i + 1] - total[first] if share >= least_share else None)
    largest_sums: list[float | None] = []
    descending: deque[int] = deque()  # indices of descending sums within the lag, the largest first
    upcoming = 0
    for instant_s in at_s:
        while upcoming < len(rain_s) and rain_s[upcoming] <= instant_s:
            value = sums[upcoming]
            if value is not None:
                while descending and (sums[descending[-1]] or 0.0) <= value:
                    descending.pop()
                descending.append(upcoming)
            upcoming += 1
        while descending and rain_s[descending[0]] <= instant_s - max(lag_s, interval_s):
            descending.popleft()
        largest_sums.append(sums[descending[0]] if descending else None)
    return largest_sums


def learn_threshold(
    rain_s: Sequence[float],
    rain_mm: Sequence[float],
    interval_s: float,
    samples: Samples,
    windows_s: Sequence[float],
    lags_s: Sequence[float],
    least_events: int = LEAST_EVENTS,
) -> Learned:
    """Choose window, lag and threshold with the highest skill, and estimate the skill by leaving out each year.

    Args:
        rain_s: Ends of the intervals of rain, epoch seconds, ascending.
        rain_mm: Rain of each interval.
        interval_s: Length of an interval.
        samples: Instants with their labels.
        windows_s: Windows to choose from.
        lags_s: Lags to choose from.
        least_events: Events that are needed.

    Raises:
        TooFewEventsError: There are too few events, or all lie in one year.
    """
    years = [datetime.fromtimestamp(t, UTC).year for t in samples.times_s]
    series = {
        (w, lag): predict_rain(rain_s, rain_mm, interval_s, samples.times_s, w, lag)
        for w in windows_s
        for lag in lags_s
    }
    # All choices are compared on the same instants: those at which the sum over every window is known.
    used = [
        i
        for i, label in enumerate(samples.event)
        if label is not None and all(s[i] is not None for s in series.values())
    ]
    onsets = [i for i in used if samples.event[i]]
    if len(onsets) < least_events:
        raise TooFewEventsError(f"{len(onsets)} events with rain known before them; at least {least_events} needed")
    event_years = {years[i] for i in onsets}
    if len(event_years) < LEAST_YEARS:
        raise TooFewEventsError(
            f"all events lie in {min(event_years)}: cross-validation by year needs {LEAST_YEARS} years"
        )
    (window_s, lag_s), over = _choose(series, samples, used)
    values = series[window_s, lag_s]
    table = _make_table(values, samples, used)
    curve = [(0.0, 0.0), *((row.false_rate, row.hit_rate) for row in table), (1.0, 1.0)]
    without_lag = predict_rain(rain_s, rain_mm, interval_s, samples.times_s, window_s, interval_s)
    return Learned(
        window_s=window_s,
        lag_s=lag_s,
        score=_score(values, samples, used, over),
        cross=_cross_validate(series, samples, used, years, over),
        area=fsum((x1 - x0) * (y0 + y1) / 2.0 for (x0, y0), (x1, y1) in pairwise(curve)),
        table=tuple(table),
        events_s=tuple(samples.times_s[i] for i in onsets),
        lead_s=_find_lead(without_lag, samples, onsets, over, lag_s),
        years=tuple(sorted({years[i] for i in used})),
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
        hits += fold.hits
        misses += fold.misses
        false_alarms += fold.false_alarms
        quiet += fold.quiet
    return ThresholdScore(over, hits, misses, false_alarms, quiet)


def _choose(
    series: dict[tuple[float, float], list[float | None]], samples: Samples, used: Sequence[int]
) -> tuple[tuple[float, float], float]:
    """Return window and lag, and the threshold, with the highest skill."""
    best = None
    for (window_s, lag_s), values in series.items():
        for row in _make_table(values, samples, used):
            rank = (round(row.skill, 12), -lag_s, -window_s, row.over_mm)
            if best is None or rank > best[0]:
                best = (rank, (window_s, lag_s), row.over_mm)
    if best is None:
        raise TooFewEventsError("no instant is left to learn from")
    return best[1], best[2]


def _make_table(values: Sequence[float | None], samples: Samples, used: Sequence[int]) -> list[ThresholdScore]:
    """Return the score of each threshold between two values, the highest first."""
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
    # Thin the table. The threshold with the highest skill, and those at which a hit is gained, remain.
    best = max(rows, key=lambda row: row.skill)
    step = len(rows) / _STEPS
    evenly_spaced = {int(i * step) for i in range(_STEPS)} | {len(rows) - 1}
    return [
        row
        for i, row in enumerate(rows)
        if i in evenly_spaced or row is best or (i > 0 and row.hits > rows[i - 1].hits)
    ]


def _score(values: Sequence[float | None], samples: Samples, used: Sequence[int], over: float) -> ThresholdScore:
    hits = misses = false_alarms = quiet = 0
    for i in used:
        above = (values[i] or 0.0) > over
        if samples.event[i]:
            hits += above
            misses += not above
        else:
            false_alarms += above
            quiet += not above
    return ThresholdScore(over, hits, misses, false_alarms, quiet)


def _find_lead(
    values: Sequence[float | None], samples: Samples, onsets: Sequence[int], over: float, lag_s: float
) -> float | None:
    """Return the median time from the first crossing within the lag to the onset, seconds; None without a crossing."""
    leads_s = []
    for i in onsets:
        onset_s = samples.times_s[i]
        first = bisect_right(samples.times_s, onset_s - lag_s)
        crossings = (j for j in range(first, i + 1) if (values[j] or 0.0) > over)
        crossing = next(crossings, None)
        if crossing is not None:
            leads_s.append(onset_s - samples.times_s[crossing])
    return sorted(leads_s)[len(leads_s) // 2] if leads_s else None

"""Rate between two surveys, for series with too few readings for a line through several of them.

The newest survey is compared with the newest earlier survey that is at least half a usual interval older:

* A survey that follows another within days is compared with the survey before both of them. It confirms or refutes a
  jump of the first one, and the errors of two surveys within days do not result in a fast rate.
* If surveys were skipped, the earlier survey may be `BRIDGED_WINDOWS` times the window of the bound old, so that the
  first survey after a gap shows the change during the gap.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from math import fsum, hypot, sqrt
from operator import mul
from typing import Any, Final, NamedTuple

from forecasting.kinematics.direction import NORMAL, free_of_noise
from forecasting.kinematics.velocity import DAY_S
from monitor.decision.criteria.fits import list_dwell_epochs
from monitor.decision.criteria.history import longest_window
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import (
    Assessment,
    DecisionContext,
    Measured,
    each_track,
    find_levels,
    measure_nothing,
    pick_bound,
)
from monitor.readings.cleaned.tracks import Track
from monitor.readings.cleaned.vectors import Vector, minus, norm
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import MeasuredTable, SpeedBound, Sureness
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_MIN_SIGMA, Criterion, SeriesSpec, find_bound, find_recovery_limit
from monitor.text.message import Figure, Message, Template, Term, Timestamp

_TOO_FEW: Final = Template("criterion.survey_rate.too_few", "no earlier survey within {days} days")
_MOVED: Final = Template(
    "criterion.survey_rate",
    "{quantity} changed by {change} from {at} to {at2}: {rate} ± {error}, the bound is {bound}",
)
# Readings that a rate is computed from.
SURVEYS: Final = 2
# Share of the usual interval by which the earlier survey must be older.
MIN_SHARE_OF_INTERVAL: Final = 0.5
# A window is about three usual intervals. Twelve of them bridge a winter, or the loss of an instrument for a year.
BRIDGED_WINDOWS: Final = 12.0


class SurveyRateTable(MeasuredTable):
    """kind = "survey_rate": the rate between two surveys."""

    min_sigma: Sureness = DEFAULT_MIN_SIGMA


class SurveyRate(NamedTuple):
    """The change between two surveys.

    Attributes:
        from_s: Epoch of the earlier survey.
        to_s: Epoch of the later survey.
        days: Time between both surveys, but at least half a usual interval.
        change: Change of every component, in the unit of the series.
        length: Length of the horizontal change or of the vertical change, whichever exceeds its error more.
        rate: This length per day, without the bias that noise adds to a length.
        error: One standard error of the rate, from the errors of both surveys.
        error_of_all: One standard error of the rates of all components together.
    """

    from_s: float
    to_s: float
    days: float
    change: Vector
    length: float
    rate: float
    error: float
    error_of_all: float


def assess_surveys(criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext) -> Assessment:
    """Compare the rate between the newest survey and an earlier one with every bound.

    A survey exceeds a bound if its rate does and is at least `min_sigma` standard errors. A bound is crossed if as many
    of the newest surveys exceed it as the dwell needs, all in the direction of the newest change, because a single
    wrong survey moves a point there and back. Motion in any direction counts.
    """
    newest_s = track.times_s[-1]
    epochs = list_dwell_epochs(
        criterion, track.times_s, context.find_answered_until_s(VoteKey(criterion.id, track.station))
    )
    longest_s = find_longest_gap(criterion)
    newest = measure_survey(track, newest_s, spec.interval_s, longest_s, sureness=0.0)
    rates = [measure_survey(track, epoch_s, spec.interval_s, longest_s, criterion.min_sigma) for epoch_s in epochs]
    facts = []
    for threshold in criterion.thresholds:
        bound, _ = find_bound(threshold)
        hits = [
            rate
            for rate in rates
            if rate is not None
            and newest is not None
            and rate.rate > bound
            and rate.rate > criterion.min_sigma * rate.error
            and fsum(map(mul, rate.change, newest.change)) > 0.0
        ]
        limit = find_recovery_limit(threshold, criterion.recover)
        fact: dict[str, Any] = {
            "level": threshold.level,
            "bound": bound,
            "window_s": threshold.effective_window_s,
            "hits": len(hits),
            "needs": criterion.dwell.hits,
            "recovered": newest is not None and newest.rate + newest.error < limit,
        }
        if newest is not None:
            fact |= {
                "rate": newest.rate,
                "error": newest.error,
                "change": newest.length,
                "from_s": newest.from_s,
                "margin": newest.rate - bound,
            }
        facts.append(fact)
    raise_level, hold_level = find_levels(facts)
    is_known = any("rate" in fact for fact in facts)
    return Assessment(
        criterion=criterion.id,
        station=track.station,
        raise_level=raise_level,
        hold_level=hold_level,
        has_data=is_known,
        fresh=is_known and context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        reason=_explain(criterion, track, spec, facts, raise_level),
        facts={"bounds": facts, "quantity": track.quantity, "epochs": len(track.times_s)},
        measure=partial(_measure_motion, newest),
    )


def find_longest_gap(criterion: Criterion) -> float:
    """Return the longest time between two surveys that are compared, in seconds."""
    return BRIDGED_WINDOWS * longest_window(criterion)


def measure_survey(
    track: Track, epoch_s: float, interval_s: float, longest_s: float, sureness: float
) -> SurveyRate | None:
    """Return the rate between the survey of an epoch and an earlier one.

    The earlier survey is the newest that is at least half a usual interval older. At the beginning of a record there
    may be none: then the oldest survey is taken, and its change counts as that of half an interval.

    Args:
        interval_s: Usual time between two surveys, in seconds.
        longest_s: Longest time between the two surveys; None is returned if there is no earlier survey within it.
        sureness: Standard errors by which the length must be certain, see `free_of_noise`.
    """
    to = bisect_left(track.times_s, epoch_s)
    if to == 0:
        return None
    least_s = MIN_SHARE_OF_INTERVAL * interval_s
    start = max(0, bisect_right(track.times_s, epoch_s - least_s) - 1)
    from_s, to_s = track.times_s[start], track.times_s[to]
    if to_s - from_s > longest_s:
        # A gap without surveys ended within the last half interval, or with this survey.
        start = bisect_left(track.times_s, to_s - longest_s)
        if start == to:
            return None
        from_s = track.times_s[start]
    days = max(to_s - from_s, least_s) / DAY_S
    change = minus(track.values[to], track.values[start])
    errors = [hypot(a, b) for a, b in zip(track.sigmas[start], track.sigmas[to], strict=True)]
    lengths = [_measure_length(change[:2], errors[:2], sureness)]
    if len(change) > 2:
        lengths.append(_measure_length(change[2:], errors[2:], sureness))
    length, sure_length, error = max(lengths, key=lambda part: (part[1] - part[2], part[1]))
    rate_error = sqrt(fsum(part * part for part in errors)) / days
    return SurveyRate(from_s, to_s, days, change, length, sure_length / days, error / days, rate_error)


def _measure_length(change: Sequence[float], errors: Sequence[float], sureness: float) -> tuple[float, float, float]:
    """Return the length of a change, the length without the bias of noise, and its standard error along the change."""
    length = norm(tuple(change))
    if length == 0.0 or len(change) == 1:
        return length, length, max(errors)
    error = sqrt(fsum((part / length * sigma) ** 2 for part, sigma in zip(change, errors, strict=True)))
    return length, free_of_noise(length, error, sureness, NORMAL), error


def _measure_motion(survey: SurveyRate | None) -> Measured:
    """Return the rate of every component, and the error of all together."""
    if survey is None:
        return measure_nothing()
    return tuple(part / survey.days for part in survey.change), survey.error_of_all


def _explain(
    criterion: Criterion, track: Track, spec: SeriesSpec, facts: Sequence[Mapping[str, Any]], level: int
) -> Message:
    fact = pick_bound(facts, level)
    if fact is None:
        return _TOO_FEW(days=Figure(find_longest_gap(criterion) / DAY_S, ".0f"))
    unit = criterion.kind.unit_of(spec.unit)
    return _MOVED(
        quantity=Term(criterion.quantity),
        change=Figure(fact["change"], ".3g", spec.unit),
        at=Timestamp(fact["from_s"]),
        at2=Timestamp(track.times_s[-1]),
        rate=Figure(fact["rate"], ".3g"),
        error=Figure(fact["error"], ".2g", unit),
        bound=Figure(fact["bound"], "g", unit),
    )


ENTRY: Final = KindEntry(
    Kind(id="survey_rate", per="/day", epochs=SURVEYS, motion=True, followed=True, scaled=True, loosening="bounds"),
    SurveyRateTable,
    SpeedBound,
    each_track(assess_surveys),
    history_s=find_longest_gap,
    window_s=longest_window,
    example="""
series = "S1.displacement"
yellow = {over = 2.0, window = "90d"}
""",
)

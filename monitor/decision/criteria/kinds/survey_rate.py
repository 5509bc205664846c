"""Rate between two surveys: for series whose readings come too rarely for a line through several of them."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from math import fsum, hypot, sqrt
from operator import mul
from typing import Any, Final, NamedTuple

from forecasting.kinematics.direction import NORMAL, free_of_noise
from monitor.decision.criteria.entry import KindEntry
from monitor.decision.criteria.history import DAY_S, longest_window
from monitor.decision.criteria.kinds.velocity import dwell_epochs
from monitor.decision.criteria.tables import MeasuredTable, SpeedBound, Sureness
from monitor.decision.series.assessment import (
    Assessment,
    DecisionContext,
    Measured,
    bound_of,
    each_track,
    levels_of,
    measure_nothing,
    pick_bound,
    recovery_of,
)
from monitor.decision.series.tracks import Track
from monitor.decision.series.vectors import Vector, minus, norm
from monitor.domain.keys import VoteKey
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion, SeriesSpec
from monitor.text.message import Figure, Message, Template, Term, Timestamp

_TOO_FEW: Final = Template("criterion.survey_rate.too_few", "no earlier survey within {days} days")
_MOVED: Final = Template(
    "criterion.survey_rate",
    "{quantity} changed by {change} from {at} to {at2}: {rate} ± {error}, the bound is {bound}",
)
SURVEYS: Final = 2  # readings that a rate takes


class SurveyRateTable(MeasuredTable):
    """kind = "survey_rate": the rate between two surveys that follow each other."""

    min_sigma: Sureness = 3.0


class SurveyRate(NamedTuple):
    """The change between two surveys.

    Attributes:
        change: Change of every component, in the unit of the series.
        length: Length of the change on the map or upright, whichever is larger beyond its error.
        rate: That length per day, freed of what noise alone would make of a length.
        error: One standard error of the rate, from the errors of both surveys.
    """

    from_s: float
    to_s: float
    change: Vector
    length: float
    rate: float
    error: float


def assess_surveys(criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext) -> Assessment:
    """Compare the rate between the newest survey and the one before it with every bound.

    The bound is crossed when the rate exceeds it and is real by `min_sigma`, in as many of the newest surveys as the
    dwell needs, all in the direction of the newest change: a single wrong survey moves a point there and back. Motion
    in any direction counts. The `window` of a bound is the longest time between two surveys that are compared.
    """
    newest_s = track.times_s[-1]
    epochs = dwell_epochs(criterion, track.times_s, context.answered_s(VoteKey(criterion.id, track.station)))
    facts = []
    for threshold in criterion.thresholds:
        bound, _ = bound_of(threshold)
        window_s = threshold.window_s or DAY_S
        newest = measure_survey(track, newest_s, window_s, sureness=0.0)
        rates = [measure_survey(track, epoch_s, window_s, criterion.min_sigma) for epoch_s in epochs]
        hits = [
            rate
            for rate in rates
            if rate is not None
            and newest is not None
            and rate.rate > bound
            and rate.rate > criterion.min_sigma * rate.error
            and fsum(map(mul, rate.change, newest.change)) > 0.0
        ]
        limit = recovery_of(threshold, criterion.recover)
        fact: dict[str, Any] = {
            "level": threshold.level,
            "bound": bound,
            "window_s": window_s,
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
    raise_level, hold_level = levels_of(facts)
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
        measure=partial(_measure_motion, track, criterion),
    )


def measure_survey(track: Track, epoch_s: float, window_s: float, sureness: float) -> SurveyRate | None:
    """Return the rate between the survey of an epoch and the one before it.

    Args:
        window_s: Longest time between the two surveys; None is returned if there is no earlier survey within it.
        sureness: Standard errors that noise alone may not exceed more often than a signed value would.
    """
    place = bisect_left(track.times_s, epoch_s)
    if place == 0 or track.times_s[place] - track.times_s[place - 1] > window_s:
        return None
    from_s, to_s = track.times_s[place - 1], track.times_s[place]
    days = (to_s - from_s) / DAY_S
    change = minus(track.values[place], track.values[place - 1])
    errors = [hypot(a, b) for a, b in zip(track.sigmas[place - 1], track.sigmas[place], strict=True)]
    lengths = [_measure_length(change[:2], errors[:2], sureness)]
    if len(change) > 2:
        lengths.append(_measure_length(change[2:], errors[2:], sureness))
    length, sure_length, error = max(lengths, key=lambda part: (part[1] - part[2], part[1]))
    return SurveyRate(from_s, to_s, change, length, sure_length / days, error / days)


def _measure_length(change: Sequence[float], errors: Sequence[float], sureness: float) -> tuple[float, float, float]:
    """Return the length of a change, that length freed of noise, and its standard error along the change."""
    length = norm(tuple(change))
    if length == 0.0 or len(change) == 1:
        return length, length, max(errors)
    error = sqrt(fsum((part / length * sigma) ** 2 for part, sigma in zip(change, errors, strict=True)))
    return length, free_of_noise(length, error, sureness, NORMAL), error


def _measure_motion(track: Track, criterion: Criterion) -> Measured:
    """Return the rate of every component between the two newest surveys, and the error of all together."""
    survey = measure_survey(track, track.times_s[-1], longest_window(criterion), sureness=0.0)
    if survey is None:
        return measure_nothing()
    days = (survey.to_s - survey.from_s) / DAY_S
    rates = tuple(part / days for part in survey.change)
    squares = (sigma * sigma for survey in track.sigmas[-2:] for sigma in survey)
    return rates, sqrt(fsum(squares)) / days


def _explain(
    criterion: Criterion, track: Track, spec: SeriesSpec, facts: Sequence[Mapping[str, Any]], level: int
) -> Message:
    fact = pick_bound(facts, level)
    if fact is None:
        return _TOO_FEW(days=Figure(longest_window(criterion) / DAY_S, ".0f"))
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
    history_s=longest_window,
    example="""
series = "S1.displacement"
yellow = {over = 2.0, window = "90d"}
""",
)

"""Compare fitted rates with bounds: shared by the kinds velocity, rate, drawdown and tangential angle."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import dist
from typing import Any, Final, NamedTuple

from forecasting.kinematics.velocity import DAY_S, Velocity
from monitor.decision.criteria.dwell_texts import AGAINST, TOO_FEW, describe_dwell, explain_opposite_motion
from monitor.decision.criteria.fits import (
    DISPLACEMENT,
    MIN_LINE_EPOCHS,
    can_be_opposite,
    exceeds_bound,
    find_window,
    fit_lines,
    get_or_fit,
    has_recovered,
    is_fitted_as_signed_value,
    list_dwell_epochs,
    make_fit_fact,
    make_track_assessment,
    name_component,
    pick_fit,
)
from monitor.decision.criteria.motion_components import describe_component, list_free_components
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import Assessment, DecisionContext, is_below_last_digit, pick_bound
from monitor.readings.cleaned.tracks import Track
from monitor.readings.cleaned.vectors import norm
from monitor.sites.records import BoundInForce, Criterion, SeriesSpec, find_bound
from monitor.text.message import Duration, Figure, Message, Template, Term, Value, join

# Each pair holds the text about a velocity and the text about the rate of another quantity.
_MOVES: Final = (
    Template("criterion.velocity", "velocity {rate} ± {error} in {window}, {dwell}"),
    Template("criterion.rate", "rate of {quantity}: {rate} ± {error} in {window}, {dwell}"),
)
_HELD_BACK: Final = (
    Template(
        "criterion.velocity.too_uncertain",
        "velocity {rate} ± {error} in {window} is over {bound}, but too uncertain to raise a level: it must be at "
        "least {n} times its error",
    ),
    Template(
        "criterion.rate.too_uncertain",
        "rate of {quantity}: {rate} ± {error} in {window} is over {bound}, but too uncertain to raise a level: it "
        "must be at least {n} times its error",
    ),
)
_AGAINST: Final = Template(
    "criterion.velocity.opposite",
    "the station moves {rate} ± {error} in {window} against the declared direction, over {bound}: either {key} in the "
    "site file or the instrument is wrong",
)
_ACROSS: Final = Template(
    "criterion.velocity.sideways",
    "the station moves {rate} ± {error} in {window} across the declared direction, over {bound}: either {key} in the "
    "site file or the instrument is wrong",
)
_FAST_TRACK: Final = Template("criterion.fast_track", "more than {n} times the bound, so a single reading is enough")
_FORWARD: Final = Template(
    "dwell.downslope",
    "but in the direction of the site file, and the bound ({side} {bound}) is for motion in the opposite direction",
)
_OPPOSITE_SIGN: Final = Template("dwell.opposite_sign", "but this bound is only for values {side} {bound}")


class WindowVerdict(NamedTuple):
    """The fits of one window, compared with one bound.

    Attributes:
        exceeds_bound: Whether the motion certainly exceeds the bound.
        has_recovered: Whether the motion is certainly below the recovery limit.
        is_against: Whether the motion certainly exceeds the bound in the opposite direction.
    """

    fits: tuple[Velocity, ...]
    exceeds_bound: bool
    has_recovered: bool
    is_against: bool


@dataclass(frozen=True, slots=True)
class RateComparison:
    """The windows of one track, compared with the bound of one level.

    Attributes:
        epochs: Epochs that can count for the dwell, see `list_dwell_epochs`.
        verdicts: Verdicts of the windows that end at these epochs and at the newest epochs, by the end of the window.
    """

    criterion: Criterion
    track: Track
    spec: SeriesSpec
    bound: BoundInForce
    epochs: tuple[float, ...]
    verdicts: Mapping[float, WindowVerdict]

    @property
    def newest_s(self) -> float:
        """Newest epoch of the track, epoch seconds."""
        return self.track.times_s[-1]

    @property
    def newest_verdict(self) -> WindowVerdict:
        """Verdict of the window that ends at the newest epoch."""
        return self.verdicts[self.newest_s]

    @property
    def needed_hits(self) -> int:
        """Number of epochs of the dwell that must exceed the bound."""
        return self.criterion.dwell.hits


def assess_rates(criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext) -> Assessment:
    """Compare the rates in the windows that end at the newest epochs with every bound.

    A window exceeds a bound if the rate does, whichever single epoch is left out, and if the rate is at least
    `min_sigma` standard errors. Therefore a single reading neither raises nor lowers a level.

    Motion that exceeds a bound against the declared direction or across it becomes a question to an operator, because a
    wrong azimuth in the site file must not hide the motion of a slope.
    """
    if not track.is_directed:
        criterion = _convert_to_speeds(criterion)
    epochs = list_dwell_epochs(
        criterion, track.times_s, context.find_answered_until_s(VoteKey(criterion.id, track.station))
    )
    window_ends = {*epochs, *track.times_s[-criterion.dwell.hits :]}
    undecided: dict[int, Message] = {}
    facts: list[dict[str, Any]] = []
    has_fit = False
    for bound in criterion.bounds:
        key = (bound.window_s, criterion.min_sigma, bound.value, bound.sign, bound.limit)
        verdicts = {end_s: get_or_fit(track, end_s, key, _compare_window) for end_s in window_ends}
        comparison = RateComparison(criterion, track, spec, bound, epochs, verdicts)
        fact, question = _compare_bound(comparison)
        facts.append(fact)
        if question is not None:
            undecided.setdefault(bound.level, question)
        has_fit = has_fit or bool(comparison.newest_verdict.fits)
    return make_track_assessment(criterion, track, spec, context, facts, _explain, has_fit=has_fit, undecided=undecided)


def _convert_to_speeds(criterion: Criterion) -> Criterion:
    """Return the criterion for a track without a direction: a negative `under` becomes a bound on the speed."""
    thresholds = []
    for threshold in criterion.thresholds:
        if threshold.under is not None and threshold.under < 0.0:
            thresholds.append(replace(threshold, over=-threshold.under, under=None))
        else:
            thresholds.append(threshold)
    if tuple(thresholds) == criterion.thresholds:
        return criterion
    return replace(criterion, thresholds=tuple(thresholds))


def _compare_window(
    track: Track, end_s: float, window_s: float, min_sigma: float, bound: float, sign: float, limit: float
) -> WindowVerdict:
    fits = fit_lines(track, end_s, window_s, min_sigma)
    return WindowVerdict(
        fits,
        exceeds_bound=exceeds_bound(fits, bound, sign, min_sigma),
        has_recovered=has_recovered(fits, sign, limit),
        is_against=exceeds_bound(fits, -bound, -sign, min_sigma),
    )


def _compare_bound(comparison: RateComparison) -> tuple[dict[str, Any], Message | None]:
    """Return the fact about a bound, and the question to an operator if the motion cannot be decided."""
    criterion, track, bound = comparison.criterion, comparison.track, comparison.bound
    newest = comparison.newest_verdict
    needed = comparison.needed_hits
    hits = sum(1 for epoch in comparison.epochs if comparison.verdicts[epoch].exceeds_bound)
    recovered = all(comparison.verdicts[epoch].has_recovered for epoch in track.times_s[-needed:])
    if track.digits and is_below_last_digit(track.digit, criterion, bound.threshold):
        recovered = False
    picked = pick_fit(newest.fits, bound.value, bound.sign, criterion.min_sigma)
    fact = make_fit_fact(bound.threshold, "rate", picked, hits, needed, recovered=recovered)
    fact |= name_component(track, newest.fits, picked)
    fact["looked"] = len(comparison.epochs)
    if _is_fast(comparison):
        fact["fast_track"] = True
    is_crossed = hits >= needed or "fast_track" in fact
    question: Message | None = None
    if not is_crossed and _is_held_back_throughout(comparison):
        fact["undecided"] = True
        question = _explain_held_back(comparison, fact)
    if can_be_opposite(track, criterion, bound.value):
        asked = _ask_about_direction(comparison, fact, is_crossed=is_crossed)
        if asked is not None:
            question, figures = asked
            fact |= figures
    return fact, question


def _is_fast(comparison: RateComparison) -> bool:
    """Return whether the newest rate exceeds the bound so far (`fast_track`) that no dwell is needed."""
    criterion, bound = comparison.criterion, comparison.bound
    if criterion.fast_track is None or comparison.newest_s not in comparison.epochs or bound.sign * bound.value <= 0:
        return False
    limit = bound.value * criterion.fast_track
    for fit in comparison.newest_verdict.fits:
        if bound.sign * fit.rate > bound.sign * limit and exceeds_bound([fit], limit, bound.sign, criterion.min_sigma):
            return True
    return False


# ---- motion over a bound that its own error keeps from counting -------------------------------------------------
def _is_held_back_throughout(comparison: RateComparison) -> bool:
    """Return whether every epoch that the dwell needs is held back, and motion was over the bound before them.

    An instrument that states a large error, or whose scatter has grown, must not hide motion without a notice. The
    window that ends half a window earlier excludes passing noise.
    """
    bound = comparison.bound
    needed_epochs = comparison.epochs[-comparison.needed_hits :]
    if len(needed_epochs) < comparison.needed_hits or bound.sign * bound.value <= 0:
        return False
    if not all(_is_held_back(comparison, epoch) for epoch in reversed(needed_epochs)):
        return False
    return exceeds_bound(_fit_before_dwell(comparison), bound.value, bound.sign, 0.0)


def _is_held_back(comparison: RateComparison, end_s: float) -> bool:
    """Return whether the fit of a window exceeds the bound, but by less than `min_sigma` standard errors."""
    track, bound, verdict = comparison.track, comparison.bound, comparison.verdicts[end_s]
    if verdict.exceeds_bound:
        return False
    fits = verdict.fits if is_fitted_as_signed_value(track) else fit_lines(track, end_s, bound.window_s, 0.0)
    return exceeds_bound(fits, bound.value, bound.sign, 0.0)


def _fit_before_dwell(comparison: RateComparison) -> tuple[Velocity, ...]:
    before_s = _find_epoch_before_dwell(comparison)
    if before_s is None:
        return ()
    return fit_lines(comparison.track, before_s, comparison.bound.window_s, 0.0)


def _find_epoch_before_dwell(comparison: RateComparison) -> float | None:
    """Return the newest epoch that is half a window older than the epochs that the dwell needs."""
    needed_epochs = comparison.epochs[-comparison.needed_hits :]
    if not needed_epochs:
        return None
    times_s = comparison.track.times_s
    row = bisect_right(times_s, needed_epochs[0] - comparison.bound.window_s / 2.0)
    return times_s[row - 1] if row > 0 else None


# ---- motion that is not in the declared direction ---------------------------------------------------------------
def _ask_about_direction(
    comparison: RateComparison, fact: Mapping[str, Any], *, is_crossed: bool
) -> tuple[Message, dict[str, Any]] | None:
    """Return the question about motion over the bound that is not in the declared direction, with its figures.

    Motion against the direction is asked about before motion across it. Return None if there is neither.

    Args:
        fact: Fact about the bound.
        is_crossed: Whether the motion in the declared direction exceeds the bound. Then only motion against it is
            asked about.
    """
    criterion, track, spec, bound = comparison.criterion, comparison.track, comparison.spec, comparison.bound
    needed = comparison.needed_hits
    against = [epoch for epoch in comparison.epochs if comparison.verdicts[epoch].is_against]
    is_against = len(against) >= needed and comparison.newest_s in against
    if is_against and exceeds_bound(_fit_before_dwell(comparison), -bound.value, -bound.sign, 0.0):
        opposite = pick_fit(comparison.newest_verdict.fits, -bound.value, -bound.sign, criterion.min_sigma)
        figures = make_fit_fact(bound.threshold, "rate", opposite, fact["hits"], needed, recovered=fact["recovered"])
        figures["against"] = True
        return explain_opposite_motion(_AGAINST, "rate", {**fact, **figures}, criterion, spec, track), figures
    if is_crossed:
        return None
    across = _find_across(comparison)
    if across is None:
        return None
    figures = {"across": across.rate, "across_error": across.error}
    shown = {**fact, "rate": -across.rate, "error": across.error}
    return explain_opposite_motion(_ACROSS, "rate", shown, criterion, spec, track), figures


def _find_across(comparison: RateComparison) -> Velocity | None:
    """Return the motion across the declared direction if it certainly exceeds the bound.

    It must do so in each epoch that the dwell needs and in the window half a window before them.
    """
    criterion, track, bound = comparison.criterion, comparison.track, comparison.bound
    least = abs(bound.value)
    needed = comparison.needed_hits
    if track.unit_vector is None or len(track.unit_vector) == 1 or len(comparison.epochs) < needed:
        return None
    if not _may_move_across(track, track.unit_vector, bound.window_s, least):
        return None
    key = (bound.window_s, criterion.min_sigma, least)
    for epoch in comparison.epochs[-needed:]:
        if not exceeds_bound(get_or_fit(track, epoch, key, _fit_across), least, 1.0, criterion.min_sigma):
            return None
    before_s = _find_epoch_before_dwell(comparison)
    if before_s is None or not exceeds_bound(get_or_fit(track, before_s, key, _fit_across), least, 1.0, 0.0):
        return None
    return pick_fit(get_or_fit(track, comparison.newest_s, key, _fit_across), least, 1.0, criterion.min_sigma)


def _may_move_across(track: Track, unit: Sequence[float], window_s: float, least: float) -> bool:
    """Return whether the ends of the newest window are at least half as far apart as motion at the bound would be.

    This check is cheap. It saves the fits across the direction in the usual case.
    """
    rows = find_window(track, track.times_s[-1], window_s, MIN_LINE_EPOCHS)
    if rows is None:
        return False
    first: int = rows.start
    last: int = rows.stop - 1
    span_s = track.times_s[last] - track.times_s[first]
    start, end = track.values[first], track.values[last]
    # The motion across the direction is at most the whole motion. 0.49 leaves room for rounding.
    if dist(start, end) * DAY_S < 0.49 * least * span_s:
        return False
    along = track.along[last] - track.along[first]
    across = tuple([b - a - along * u for a, b, u in zip(start, end, unit, strict=True)])
    return norm(across) * DAY_S >= 0.5 * least * span_s


def _fit_across(track: Track, end_s: float, window_s: float, min_sigma: float, least: float) -> tuple[Velocity, ...]:
    """Return the fits of the motion across the direction; empty if it is clearly slower than `least` (per day)."""
    rows = find_window(track, end_s, window_s, MIN_LINE_EPOCHS)
    if rows is None:
        return ()
    components = list_free_components(track, rows, track.unit_vector, least)
    if not track.is_plunge_known:
        # `list_components` lists the vertical component of such a station, so it has its own vote.
        components = components[:1]
    lines = [component.fit_line(min_sigma) for component in components]
    return tuple([line for line in lines if line is not None])


# ---- texts ------------------------------------------------------------------------------------------------------
def _describe_rate(
    templates: tuple[Template, Template],
    fact: Mapping[str, Any],
    criterion: Criterion,
    spec: SeriesSpec,
    further: Mapping[str, Value],
) -> Message:
    text_of_velocity, text_of_quantity = templates
    values: dict[str, Value] = {
        **further,
        "rate": Figure(fact["rate"], ".2f"),
        "window": Duration(fact["window_s"]),
        "error": Figure(fact["error"], ".2f", criterion.kind.unit_of(spec.unit)),
    }
    if criterion.kind.velocity:
        return text_of_velocity(**values)
    return text_of_quantity(quantity=Term(criterion.quantity), **values)


def _explain_held_back(comparison: RateComparison, fact: Mapping[str, Any]) -> Message:
    criterion, spec, bound = comparison.criterion, comparison.spec, comparison.bound
    fits = fit_lines(comparison.track, comparison.newest_s, bound.window_s, 0.0)
    fit = pick_fit(fits, bound.value, bound.sign, 0.0)
    figures = dict(fact)
    if fit is not None:
        figures |= {"rate": fit.rate, "error": fit.error}
    values = {
        "bound": Figure(fact["bound"], "g", criterion.kind.unit_of(spec.unit)),
        "n": Figure(criterion.min_sigma),
    }
    return describe_component(_describe_rate(_HELD_BACK, figures, criterion, spec, values), figures, criterion)


def _explain(criterion: Criterion, spec: SeriesSpec, facts: Sequence[dict[str, Any]], level: int) -> Message:
    fact = pick_bound(facts, level)
    if fact is None:
        return TOO_FEW
    threshold = next(t for t in criterion.thresholds if (t.level, find_bound(t)[0]) == (fact["level"], fact["bound"]))
    _, sign = find_bound(threshold)
    has_direction = criterion.quantity.startswith(DISPLACEMENT) and "way" not in fact
    opposite = _OPPOSITE_SIGN
    if has_direction:
        opposite = AGAINST if sign > 0 else _FORWARD
    bound = Figure(fact["bound"], "g", criterion.kind.unit_of(spec.unit))
    dwell = describe_dwell(fact, bound, "over" if sign > 0 else "under", opposite)
    reason = describe_component(_describe_rate(_MOVES, fact, criterion, spec, {"dwell": dwell}), fact, criterion)
    if fact.get("fast_track"):
        return join([reason, _FAST_TRACK(n=Figure(criterion.fast_track or 1.0))])
    return reason

"""Acceleration of displacement along the direction of movement against a bound per level, in mm/day2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from forecasting.kinematics.acceleration import Acceleration
from monitor.decision.criteria.dwell_texts import AGAINST, TOO_FEW, describe_dwell, explain_opposite_motion
from monitor.decision.criteria.fits import (
    can_be_opposite,
    exceeds_bound,
    find_window,
    get_or_fit,
    has_recovered,
    list_dwell_epochs,
    make_fit_fact,
    make_track_assessment,
    name_component,
    pick_fit,
)
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.motion_components import describe_component, list_components
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import Assessment, DecisionContext, each_track, pick_bound
from monitor.readings.cleaned.tracks import Track
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import Dwelling, DwellTable, MeasuredTable, SpeedBound, Sureness
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_MIN_SIGMA, Criterion, SeriesSpec, Threshold, find_bound, find_recovery_limit
from monitor.text.message import Duration, Figure, Message, Template

_ACCELERATES: Final = Template(
    "criterion.acceleration", "acceleration {acceleration} ± {error} in {window} at {velocity}, {dwell}"
)
_AGAINST: Final = Template(
    "criterion.acceleration.opposite",
    "the station accelerates by {rate} ± {error} in {window} against the declared direction, over {bound}: "
    "either {key} in the site file or the instrument is wrong",
)
_SLOWER: Final = Template("dwell.slowing", "but the motion is slowing down")
# Fewest epochs of the fit of a parabola. A parabola through five epochs depends too much on each of them.
MIN_PARABOLA_EPOCHS: Final = 6


class AccelerationTable(MeasuredTable):
    """kind = "acceleration": mm/day2 along the direction of movement."""

    min_sigma: Sureness = DEFAULT_MIN_SIGMA
    dwell: Dwelling = DwellTable(hits=2, of=3)


@dataclass(frozen=True, slots=True)
class AccelerationComparison:
    """The windows of one track, compared with the bound of one level.

    Attributes:
        epochs: Epochs that can count for the dwell, see `list_dwell_epochs`.
        fits: Fits of the windows that end at these epochs and at the newest epochs, by the end of the window.
    """

    criterion: Criterion
    track: Track
    threshold: Threshold
    epochs: tuple[float, ...]
    fits: Mapping[float, tuple[Acceleration, ...]]

    @property
    def newest_s(self) -> float:
        """Newest epoch of the track, epoch seconds."""
        return self.track.times_s[-1]


def assess_acceleration(criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext) -> Assessment:
    """Compare the accelerations in the windows that end at the newest epochs with every bound.

    A window exceeds a bound if the acceleration of the fitted parabola does, whichever single epoch is left out. Both
    the acceleration and the velocity must be at least `min_sigma` standard errors: a slope at rest whose noise bends
    the parabola, or one that moves back, does not accelerate towards a failure. Motion that certainly accelerates
    against the declared direction becomes a question to an operator.
    """
    epochs = list_dwell_epochs(
        criterion, track.times_s, context.find_answered_until_s(VoteKey(criterion.id, track.station))
    )
    window_ends = {*epochs, *track.times_s[-criterion.dwell.hits :]}
    has_fit = False
    undecided: dict[int, Message] = {}
    facts: list[dict[str, Any]] = []
    for threshold in criterion.thresholds:
        key = (threshold.effective_window_s, criterion.min_sigma)
        fits = {end_s: get_or_fit(track, end_s, key, _fit_parabolas) for end_s in window_ends}
        comparison = AccelerationComparison(criterion, track, threshold, epochs, fits)
        fact = _compare_bound(comparison)
        has_fit = has_fit or "acceleration" in fact
        if can_be_opposite(track, criterion, find_bound(threshold)[0]):
            opposite = _find_opposite(comparison, fact)
            if opposite is not None:
                fact = opposite
                question = explain_opposite_motion(_AGAINST, "acceleration", fact, criterion, spec, track)
                undecided[threshold.level] = question
        facts.append(fact | {"looked": len(epochs)})
    return make_track_assessment(criterion, track, spec, context, facts, _explain, has_fit=has_fit, undecided=undecided)


def _compare_bound(comparison: AccelerationComparison) -> dict[str, Any]:
    """Return the fact about the bound of a level."""
    criterion, track, threshold, fits = comparison.criterion, comparison.track, comparison.threshold, comparison.fits
    bound, sign = find_bound(threshold)
    limit = sign * find_recovery_limit(threshold, criterion.recover)
    needed = criterion.dwell.hits
    hits = sum(1 for epoch in comparison.epochs if _accelerates_over(fits[epoch], bound, sign, criterion.min_sigma))
    recovered = all(has_recovered(fits[epoch], sign, limit) for epoch in track.times_s[-needed:])
    newest_fits = fits[comparison.newest_s]
    moving = [fit for fit in newest_fits if fit.velocity > criterion.min_sigma * fit.velocity_error]
    newest = pick_fit(moving or newest_fits, bound, sign, criterion.min_sigma)
    fact = make_fit_fact(threshold, "acceleration", newest, hits, needed, recovered=recovered)
    fact |= name_component(track, newest_fits, newest)
    if newest is not None:
        fact |= {"velocity": newest.velocity, "velocity_error": newest.velocity_error}
    return fact


def _find_opposite(comparison: AccelerationComparison, fact: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fact with the figures of an acceleration against the declared direction; None if there is none."""
    criterion, threshold, fits = comparison.criterion, comparison.threshold, comparison.fits
    bound, sign = find_bound(threshold)
    needed = criterion.dwell.hits
    against = [e for e in comparison.epochs if _accelerates_over(fits[e], -bound, -sign, criterion.min_sigma)]
    if len(against) < needed or comparison.newest_s not in against:
        return None
    fit = pick_fit(fits[comparison.newest_s], -bound, -sign, criterion.min_sigma)
    figures = make_fit_fact(threshold, "acceleration", fit, fact["hits"], needed, recovered=fact["recovered"])
    opposite = {**fact, **figures, "against": True}
    opposite.pop("way", None)  # The figures are those of the signed value.
    return opposite


def _fit_parabolas(track: Track, end_s: float, window_s: float, min_sigma: float) -> tuple[Acceleration, ...]:
    rows = find_window(track, end_s, window_s, MIN_PARABOLA_EPOCHS)
    if rows is None:
        return ()
    parabolas = [component.fit_parabola(min_sigma, window_s) for component in list_components(track, rows)]
    return tuple([parabola for parabola in parabolas if parabola is not None])


def _accelerates_over(fits: Sequence[Acceleration], bound: float, sign: float, min_sigma: float) -> bool:
    """Return whether a component that certainly moves accelerates by certainly more than the bound."""
    moving = [fit for fit in fits if sign * fit.velocity > min_sigma * fit.velocity_error]
    return exceeds_bound(moving, bound, sign, min_sigma)


def _explain(criterion: Criterion, spec: SeriesSpec, facts: Sequence[dict[str, Any]], level: int) -> Message:
    fact = pick_bound(facts, level, "acceleration")
    if fact is None:
        return TOO_FEW
    unit = criterion.kind.unit_of(spec.unit)
    opposite = _SLOWER if fact["velocity"] > 0.0 else AGAINST
    reason = _ACCELERATES(
        acceleration=Figure(fact["acceleration"], ".3g"),
        error=Figure(fact["error"], ".2g", unit),
        window=Duration(fact["window_s"]),
        velocity=Figure(fact["velocity"], ".2f", f"{spec.unit}/day"),
        dwell=describe_dwell(fact, Figure(fact["bound"], "g", unit), opposite=opposite),
    )
    return describe_component(reason, fact, criterion)


ENTRY: Final = KindEntry(
    Kind(
        id="acceleration",
        quantity="displacement",
        per="/day²",
        epochs=MIN_PARABOLA_EPOCHS,
        motion=True,
        noise_steps=True,
        followed=True,
        scaled=True,
        loosening="bounds",
        drawn=("movement",),
    ),
    AccelerationTable,
    SpeedBound,
    each_track(assess_acceleration),
    history_s=longest_window,
    example="""
stations = ["S1"]
yellow = {over = 1.0, window = "2d"}
""",
)

"""Acceleration of displacement along the direction of movement against a bound per level, in mm/day2."""

from collections.abc import Sequence
from typing import Any, Final

from forecasting.kinematics.acceleration import Acceleration
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.kinds.velocity import (
    AGAINST,
    TOO_FEW,
    asks_backwards,
    assess_track,
    describe_dwell,
    describe_fit,
    dwell_epochs,
    explain_against,
    find_window,
    is_clear,
    is_over,
    keep_fit,
    name_way,
    pick_way,
)
from monitor.decision.criteria.ways import describe_way, list_ways
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import (
    Assessment,
    DecisionContext,
    bound_of,
    each_track,
    pick_bound,
    recovery_of,
)
from monitor.decision.series.tracks import Track
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import Dwelling, DwellTable, MeasuredTable, SpeedBound, Sureness
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, SeriesSpec
from monitor.text.message import Duration, Figure, Message, Template

_ACCELERATES: Final = Template(
    "criterion.acceleration", "acceleration {acceleration} ± {error} in {window} at {velocity}, {dwell}"
)
_AGAINST: Final = Template(
    "criterion.acceleration.against",
    "it accelerates by {rate} ± {error} in {window} against the declared direction, over {bound}: either {key} "
    "in the site file or the instrument is wrong",
)
_SLOWER: Final = Template("dwell.slower", "slowing down, so not {side} {bound}")
LEAST_EPOCHS: Final = 6  # a parabola through five bends to any one of them


class AccelerationTable(MeasuredTable):
    """kind = "acceleration": mm/day2 along the direction of movement."""

    min_sigma: Sureness = 3.0
    dwell: Dwelling = DwellTable(hits=2, of=3)


def assess_acceleration(criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext) -> Assessment:
    """Crossed when the parabola over the window bends more than the bound, whichever single epoch is left out.

    Both the acceleration and the velocity must be real by `min_sigma` standard errors: a slope that stands still and
    bends in its noise, or one that creeps back, accelerates towards nothing. One that surely does both against its
    declared direction is a question.
    """
    newest_s = track.times_s[-1]
    epochs = dwell_epochs(criterion, track.times_s, context.answered_s(VoteKey(criterion.id, track.station)))
    quiet = track.times_s[-criterion.dwell.hits :]
    has_fit = False
    undecided: dict[int, Message] = {}
    facts: list[dict[str, Any]] = []
    for threshold in criterion.thresholds:
        fits = {
            e: keep_fit(track, e, (threshold.effective_window_s, criterion.min_sigma, "acceleration"), _fit_window)
            for e in {*epochs, *quiet}
        }
        bound, sign = bound_of(threshold)
        limit = sign * recovery_of(threshold, criterion.recover)
        hits = sum(1 for e in epochs if _bends_over(fits[e], bound, sign, criterion.min_sigma))
        clear = all(is_clear(fits[e], sign, limit) for e in quiet)
        moving = [f for f in fits[newest_s] if f.velocity > criterion.min_sigma * f.velocity_error]
        newest = pick_way(moving or fits[newest_s], bound, sign, criterion.min_sigma)
        fact = describe_fit(threshold, "acceleration", newest, hits, criterion.dwell.hits, clear=clear)
        fact |= name_way(track, fits[newest_s], newest)
        if newest is not None:
            has_fit = True
            fact |= {"velocity": newest.velocity, "velocity_error": newest.velocity_error}
        if asks_backwards(track, criterion, bound):
            back = [e for e in epochs if _bends_over(fits[e], -bound, -sign, criterion.min_sigma)]
            if len(back) >= criterion.dwell.hits and newest_s in back:
                there = pick_way(fits[newest_s], -bound, -sign, criterion.min_sigma)
                figures = describe_fit(threshold, "acceleration", there, hits, criterion.dwell.hits, clear=clear)
                fact |= figures | {"against": True}
                fact.pop("way", None)  # signed, as the direction is
                undecided[threshold.level] = explain_against(_AGAINST, "acceleration", fact, criterion, spec, track)
        facts.append(fact | {"looked": len(epochs)})
    return assess_track(criterion, track, spec, context, facts, _explain, has_fit=has_fit, undecided=undecided)


def _fit_window(track: Track, end_s: float, window_s: float, sureness: float, _: str) -> tuple[Acceleration, ...]:
    if (some := find_window(track, end_s, window_s, LEAST_EPOCHS)) is None:
        return ()
    return tuple([f for way in list_ways(track, some) if (f := way.fit_bend(sureness, window_s)) is not None])


def _bends_over(fits: Sequence[Acceleration], bound: float, sign: float, min_sigma: float) -> bool:
    moving = [f for f in fits if sign * f.velocity > min_sigma * f.velocity_error]
    return is_over(moving, bound, sign, min_sigma)


def _explain(criterion: Criterion, spec: SeriesSpec, facts: Sequence[dict[str, Any]], level: int) -> Message:
    if (fact := pick_bound(facts, level, "acceleration")) is None:
        return TOO_FEW
    unit = criterion.kind.unit_of(spec.unit)
    reason = _ACCELERATES(
        acceleration=Figure(fact["acceleration"], ".3g"),
        error=Figure(fact["error"], ".2g", unit),
        window=Duration(fact["window_s"]),
        velocity=Figure(fact["velocity"], ".2f", f"{spec.unit}/day"),
        dwell=describe_dwell(
            fact, Figure(fact["bound"], "g", unit), back=_SLOWER if fact["velocity"] > 0.0 else AGAINST
        ),
    )
    return describe_way(reason, fact, criterion)


ENTRY: Final = KindEntry(
    Kind(
        id="acceleration",
        quantity="displacement",
        per="/day²",
        epochs=LEAST_EPOCHS,
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

"""Value of any series against a bound: pressure, water level, crack opening, tilt."""

from collections.abc import Sequence
from typing import Any, Final

from monitor.decision.criteria.fits import list_dwell_epochs
from monitor.decision.criteria.history import no_window
from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.records import seconds
from monitor.decision.series.assessment import (
    Assessment,
    DecisionContext,
    bound_of,
    each_station,
    levels_of,
    recovery_of,
)
from monitor.decision.series.step_clocks import clock_s
from monitor.decision.series.steps import ACTIVE, BEFORE, DOUBTFUL, EVENT, is_sudden
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import LevelBound, MeasuredTable
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, Station
from monitor.text.message import Figure, MessageList, Template, Term

_STANDS: Final = Template("criterion.level", "{quantity}: {value}, bounds {bounds}")
LEAST_EPOCHS: Final = 2  # one reading alone raises nothing, whatever the dwell says


def assess_level(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
    """Crossed at `hits` (never fewer than two) of the last distinct epochs."""
    track = context.track(criterion, station.id)
    spec = context.site.series(station.id, criterion.quantity)
    values = read_values(context, criterion, station.id)
    if not values or spec is None or track.stuck:
        return Assessment(criterion.id, station.id, newest_s=track.usable_s)
    times = sorted(values)
    epochs, needed = value_epochs(context, criterion, station.id, times)
    errors = dict(zip(track.times_s, track.along_sigma, strict=True))
    facts: list[dict[str, Any]] = []
    for threshold in criterion.thresholds:
        bound, sign = bound_of(threshold)
        limit = recovery_of(threshold, criterion.recover)
        worst = [sign * values[e] + errors[e] for e in times[-needed:]]
        clear = len(worst) >= needed and max(worst) < sign * limit
        facts.append(
            {
                "level": threshold.level,
                "bound": bound,
                "hits": sum(sign * values[e] > sign * bound for e in epochs),
                "needs": needed,
                "recovered": clear,
                "value": values[times[-1]],
                "margin": sign * (values[times[-1]] - bound),
            }
        )
    bounds = tuple(Figure(bound_of(t)[0], "g", spec.unit) for t in criterion.thresholds)
    reason = _STANDS(
        quantity=Term(criterion.quantity),
        value=Figure(values[times[-1]], ".6g", spec.unit),
        bounds=MessageList(bounds, ", "),
    )
    return Assessment(
        criterion.id,
        station.id,
        *levels_of(facts),
        has_data=True,
        fresh=context.is_fresh(times[-1], spec),
        newest_s=times[-1],
        reason=reason,
        facts={"bounds": facts, "quantity": track.quantity},
    )


def value_epochs(
    context: DecisionContext, criterion: Criterion, station: str, times: Sequence[float]
) -> tuple[tuple[float, ...], int]:
    """The epochs of a value that may count, and how many of them must cross a bound."""
    needed, after_s = max(criterion.dwell.hits, LEAST_EPOCHS), context.answered_s(VoteKey(criterion.id, station))
    epochs = list_dwell_epochs(criterion, times, after_s)
    return (epochs if len(epochs) >= needed else tuple(t for t in times[-needed:] if t > after_s)), needed


def read_values(context: DecisionContext, criterion: Criterion, station: str) -> dict[float, float]:
    """Values by epoch as they are; those after a step that is still to be verified say nothing yet.

    An earthquake explains a step of displacement, not that water stands where it stands: when the clock of the question
    is over, values after such a step are believed as well.
    """
    track = context.track(criterion, station)
    spec = context.site.series(station, criterion.quantity)
    values = dict(zip(track.times_s, track.along, strict=True))
    if spec is None or not track.jumps or len(track.values[0]) != 1:
        return values
    raw = {seconds(r.observed_at): r.value for r in context.view.readings.get(f"{station}.{track.quantity}", ())}
    for jump in track.jumps:
        state = context.memory.steps.get(StepKey(station, jump.at_s))
        for at in [t for t in values if t >= jump.at_s]:
            if state is None and not is_sudden(context, spec, jump):
                values[at] = raw[at]  # nobody is asked about a change during a long gap: the value counts as it is
            elif state is not None and (
                state.state in {BEFORE, *ACTIVE}
                or (state.state == EVENT and context.now_s >= state.known_s + clock_s(context.site, station))
            ):
                values[at] = raw[at]
            elif state is None or state.state in {"pending", DOUBTFUL, EVENT}:
                del values[at]
    return values


ENTRY: Final = KindEntry(
    Kind(id="level", per="", motion=True, is_level=True, followed=True, loosening="bounds", drawn=("line",)),
    MeasuredTable,
    LevelBound,
    each_station(assess_level),
    history_s=no_window,
    example="""
series = "S1.pore_pressure"
yellow = {over = 15.0}
""",
)

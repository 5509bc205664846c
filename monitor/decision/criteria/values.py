"""Values of a series that are compared with a bound as they are: water level, pore pressure, crack opening, tilt."""

from collections.abc import Sequence
from typing import Final

from monitor.decision.criteria.fits import list_dwell_epochs
from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.records import Step
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.decision.series.step_states import ACTIVE, BEFORE, DOUBTFUL, EVENT, PENDING
from monitor.decision.series.steps import is_sudden
from monitor.sites.records import Criterion
from monitor.text.instants import epoch_s

# A single reading never raises a level, even if the site file declares a dwell of one epoch.
MIN_VALUE_EPOCHS: Final = 2


def list_value_epochs(
    context: DecisionContext, criterion: Criterion, station_id: str, times_s: Sequence[float]
) -> tuple[tuple[float, ...], int]:
    """Return the epochs of a value that can count for the dwell, and how many of them must exceed a bound.

    If the dwell has fewer epochs than needed, these are the last epochs after the newest reading that a person answered
    for by lowering the level.
    """
    needed = max(criterion.dwell.hits, MIN_VALUE_EPOCHS)
    answered_s = context.find_answered_until_s(VoteKey(criterion.id, station_id))
    epochs = list_dwell_epochs(criterion, times_s, answered_s)
    if len(epochs) < needed:
        epochs = tuple([epoch for epoch in times_s[-needed:] if epoch > answered_s])
    return epochs, needed


def read_values(context: DecisionContext, criterion: Criterion, station_id: str) -> dict[float, float]:
    """Return the values of a series by epoch, as far as it is decided what its jumps were.

    The steps are those after the last evaluation (`Memory.steps`).

    * After a step that is pending or doubtful, values are left out.
    * After a step that an earthquake explains, values are left out until the deadline of its question. Then the
      measured values count, because an earthquake explains a jump of displacement, but no change of a water level or a
      crack.
    * After a step that counts or that is older than the monitoring, the measured values count.
    * After a step that returned, or that a person attributed to another cause than movement, the jump stays subtracted.
    * After a jump across a long gap, which may be motion, the measured values count.
    * After a sudden jump without a step, values are left out.
    """
    track = context.track(criterion, station_id)
    spec = context.site.series(station_id, criterion.quantity)
    values = dict(zip(track.times_s, track.along, strict=True))
    if spec is None or not track.jumps or len(track.values[0]) != 1:
        return values
    readings = context.inputs.readings.get(f"{station_id}.{track.quantity}", ())
    measured = {epoch_s(reading.observed_at): reading.value for reading in readings}
    for jump in track.jumps:
        step = context.memory.steps.get(StepKey(station_id, jump.at_s))
        if step is None:
            # No question is asked about a change during a long gap.
            is_accepted = not is_sudden(context, spec, jump)
            is_open = not is_accepted
        else:
            is_accepted = _is_accepted(context, step, station_id)
            is_open = step.state in {PENDING, DOUBTFUL, EVENT}
        for epoch in [epoch for epoch in values if epoch >= jump.at_s]:
            if is_accepted:
                values[epoch] = measured[epoch]
            elif is_open:
                del values[epoch]
    return values


def _is_accepted(context: DecisionContext, step: Step, station_id: str) -> bool:
    """Return whether the measured values after a step count."""
    if step.state in {BEFORE, *ACTIVE}:
        return True
    return step.state == EVENT and context.now_s >= step.known_s + find_answer_time_s(context.site, station_id)

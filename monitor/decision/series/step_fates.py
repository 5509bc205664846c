"""Determine from later epochs what became of a step.

`find_fate` returns whether the value stayed at its new position, moved on, returned, or was corrected.
`continues_as_motion` returns whether the epochs since the step are motion, or scatter of the series.
`is_back_at_start` compares the newest values with those before the step. `monitor.decision.series.steps` and
`monitor.decision.series.paired_steps` use the results.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from math import fsum
from operator import itemgetter, mul
from statistics import median
from typing import Final

from monitor.decision.records import DecisionInputs, Step
from monitor.readings.cleaned.noise import PRESENT_EPOCHS, measure_bent
from monitor.readings.cleaned.step_detector import CONTINUATION_SHARE, ERRATIC, SPIKE_REASON, TAIL_EPOCHS
from monitor.readings.cleaned.tracks import Epoch, Track
from monitor.readings.cleaned.vectors import Vector, minus, norm
from monitor.text.instants import epoch_s
from monitor.text.message import Message

# Fates of a step.
# No usable epoch has followed.
WAITS: Final = "waits"
# A later epoch is at the new position.
LASTS: Final = "lasts"
# A later epoch is at neither position: the jump was motion, or the value is erratic.
GOES_ON: Final = "goes on"
# The value returned to its earlier position.
BACK: Final = "back"
# The epoch was corrected or flagged: it agrees with the others, or does not count any more.
GONE: Final = "gone"
# No track contains the epochs around the step.
UNSEEN: Final = "unseen"

# A step was corrected away if less than this share of it remains at its epoch.
REMAINING_SHARE: Final = 0.5
# This many epochs from the step on show whether it is motion. The last of them is overdue after `OVERDUE_INTERVALS`.
MOTION_EPOCHS: Final = 3
OVERDUE_INTERVALS: Final = 1.5
# Motion exceeds the present scatter of the series by this factor.
MOTION_FACTOR: Final = 3.0


def find_fate(step: Step, tracks: Iterable[Track]) -> str:
    """Return the fate of a step, from the usable epochs after it."""
    reaching = [t for t in tracks if t.times_s and t.times_s[0] < step.at_s and contains_quantity(t, step.quantity)]
    if not reaching:
        return UNSEEN
    with_jump = [track for track in reaching if any(jump.at_s == step.at_s for jump in track.jumps)]
    if with_jump:
        return LASTS if any(track.times_s[-1] > step.at_s for track in with_jump) else WAITS
    if any(_was_set_aside(track, step, SPIKE_REASON) for track in reaching):
        return BACK
    if any(_went_elsewhere(track, step) for track in reaching):
        return GOES_ON
    return GONE if any(track.times_s[-1] > step.at_s for track in reaching) else WAITS


def _was_set_aside(track: Track, step: Step, reason: Message) -> bool:
    """Return whether the epoch of a step was set aside for a reason."""
    return any(at_s == step.at_s and set_aside_for == reason for at_s, set_aside_for in track.set_aside)


def _went_elsewhere(track: Track, step: Step) -> bool:
    """Return whether a later epoch exists, and the epoch of the step was erratic or still differs from the one before.

    If an offset has removed the step since, the epochs do not differ any more.
    """
    index = bisect_left(track.times_s, step.at_s)
    if index >= len(track.times_s):
        return False
    if track.times_s[index] > step.at_s:
        return _was_set_aside(track, step, ERRATIC)
    if index + 1 == len(track.times_s):
        return False
    return norm(minus(track.values[index], track.values[index - 1])) > REMAINING_SHARE * step.size


def continues_as_motion(step: Step, tracks: Iterable[Track], now_s: float, interval_s: float) -> bool | None:
    """Return whether a step continues as motion.

    Args:
        tracks: Tracks of the station that jumped.
        interval_s: Interval of its series.

    Returns:
        None until its third epoch was received or is overdue; False if the series only scatters. A step whose epochs
        are not among the newest of its tracks any more counts as motion, because nothing shows the contrary.
    """
    for track in tracks:
        index = bisect_left(track.recent, step.at_s, key=itemgetter(0))
        before = track.recent[max(0, index - PRESENT_EPOCHS) : index]
        since = track.recent[index:]
        if not since or since[0][0] != step.at_s or not contains_quantity(track, step.quantity):
            continue
        newest_received_s = since[-1][1]
        is_overdue = now_s - newest_received_s > OVERDUE_INTERVALS * interval_s
        if len(since) == 1 or (len(since) < MOTION_EPOCHS and not is_overdue):
            return None
        is_scattering = track.burst is not None and track.burst.begins
        if is_scattering or (len(before) >= MOTION_EPOCHS and not _moves_on(before, since)):
            return False
    return True


def _moves_on(before: Sequence[Epoch], since: Sequence[Epoch]) -> bool:
    """Return whether all epochs since a step differ from the trend before it, in one direction, beyond the scatter.

    Each epoch may go back by less than a quarter of the step. It may go on by any amount.
    """
    differences = [minus(value, _extrapolate(before[-TAIL_EPOCHS:], at_s)) for at_s, _, value in since]
    size = norm(differences[0])
    if size <= 0.0:
        return False
    # Distances in the direction of the step.
    distances = [fsum(map(mul, difference, differences[0])) / size for difference in differences]
    for farthest, distance in zip(accumulate(distances, max), distances, strict=True):
        if farthest - distance > CONTINUATION_SHARE * size:
            return False
    return min(distances) > MOTION_FACTOR * norm(measure_bent([value for _, _, value in before]))


def _extrapolate(before: Sequence[Epoch], at_s: float) -> Vector:
    """Return the value at an instant that is expected from the epochs before a step.

    It is the median of these epochs, each continued at the median rate between neighbours.
    """
    expected = []
    for axis in range(len(before[0][2])):
        points = [(epoch_s, value[axis]) for epoch_s, _, value in before]
        rate = median((after - value) / (after_s - epoch_s) for (epoch_s, value), (after_s, after) in pairwise(points))
        expected.append(median(value + rate * (at_s - epoch_s) for epoch_s, value in points))
    return tuple(expected)


def is_back_at_start(inputs: DecisionInputs, tracks: Iterable[Track], step: Step) -> bool:
    """Return whether the newest values of a station are within a quarter of the step of those before it.

    If late data were received, the detector may call an epoch a spike although the station is still at its new
    position.
    """
    names = set()
    for track in tracks:
        if contains_quantity(track, step.quantity):
            names |= {f"{track.station}.{quantity}" for quantity in track.quantity.split("+")}
    differences = []
    for name in names:
        readings = inputs.readings.get(name, ())
        index = bisect_left(readings, step.at_s, key=lambda reading: epoch_s(reading.observed_at))
        if 0 < index < len(readings) - 1:
            differences.append(readings[-1].value - readings[index - 1].value)
    return bool(differences) and norm(tuple(differences)) <= CONTINUATION_SHARE * step.size


def contains_quantity(track: Track, quantity: str) -> bool:
    """Return whether a track contains a declared quantity or one of its components. Every track contains `""`."""
    return not quantity or _contains(track.quantity, quantity)


@lru_cache(maxsize=1024)
def _contains(track_quantity: str, quantity: str) -> bool:
    return any(part == quantity or part.startswith(f"{quantity}_") for part in track_quantity.split("+"))

"""When the movement of a series is assessed: as often as its stage requires, at the readings alone.

The next assessment is that of the first reading that is later than the last one by the interval of the stage. So
assessments that were missed while the service did not run are made later, with the result of a service that never
stopped.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from monitor.api.sites import Site, slowest_cadence_s, stage_cadence
from monitor.features.movement.moving_series import MovementSeries
from monitor.features.movement.queries import MovementMemory

# The first update of a series assesses its last month, in about so many steps.
FIRST_SPAN_S: Final = 30.0 * 86400.0
FIRST_ASSESSMENTS: Final = 40


def is_due(
    site: Site,
    moving: MovementSeries,
    before: MovementMemory | None,
    newest_s: float | None,
    now_s: float,
    entries_mark: str = "",
    *,
    has_risen: bool = False,
) -> bool:
    """Return whether an update may have a new result, whatever the quality of the new readings. It reads no history.

    The arguments are those of `assess_movement`.

    Args:
        site: The site.
        moving: The series.
        before: State after the previous update; None before the first one.
        newest_s: Newest reading in epoch seconds.
        now_s: The instant in epoch seconds.
        entries_mark: See `assess_movement`.
        has_risen: See `assess_movement`.
    """
    state = before or {}
    assessed_s = state.get("assessed_s")
    if assessed_s is None:
        # A series that was never assessed and is silent stays unknown.
        return newest_s is not None and now_s - newest_s <= moving.spec.max_silence_s
    if newest_s is not None:
        if newest_s >= find_due_s(site, moving, state):
            return True
        if has_risen and newest_s > assessed_s:
            return True
    return state.get("mark", "") != entries_mark and not state.get("silent")


def may_be_silent(moving: MovementSeries, before: MovementMemory | None, now_s: float) -> bool:
    """Return whether the last assessment is so old that the series may have become silent. It reads no history."""
    state = before or {}
    assessed_s = state.get("assessed_s")
    return assessed_s is not None and not state.get("silent") and now_s - assessed_s > moving.spec.max_silence_s


def has_stage_cadence(site: Site, moving: MovementSeries) -> bool:
    """Return whether the stage decides how often a series is assessed: not if its readings are less frequent anyway."""
    return slowest_cadence_s(site) > moving.spec.interval_s


def find_due_s(site: Site, moving: MovementSeries, state: MovementMemory, *, is_first_update: bool = False) -> float:
    """Return the instant from which on the next reading is assessed, in epoch seconds."""
    every_s, _ = stage_cadence(site, (state.get("stage") or {}).get("stage"))
    if is_first_update:
        every_s = max(every_s, FIRST_SPAN_S / FIRST_ASSESSMENTS)
    half_interval_s = 0.5 * moving.spec.interval_s
    return float(state["assessed_s"]) + max(half_interval_s, every_s - half_interval_s)


def find_first(
    site: Site,
    moving: MovementSeries,
    times_s: Sequence[float],
    state: MovementMemory,
    entries_mark: str,
    *,
    has_risen: bool,
) -> int:
    """Return the first reading to assess; the number of readings if none is due.

    At the first update it is a reading of a month ago.
    """
    assessed_s = state.get("assessed_s")
    if assessed_s is None:
        return bisect_left(times_s, times_s[-1] - FIRST_SPAN_S)
    count = len(times_s)
    first = bisect_left(times_s, find_due_s(site, moving, state))
    if first < count:
        return first
    if state.get("mark", "") != entries_mark:
        return max(0, bisect_right(times_s, assessed_s) - 1)
    if has_risen and times_s[-1] > assessed_s:
        return count - 1
    return count


def find_next(
    site: Site,
    moving: MovementSeries,
    times_s: Sequence[float],
    index: int,
    state: MovementMemory,
    *,
    is_first_update: bool,
) -> int:
    """Return the reading to assess after reading `index`; the number of readings if none is due."""
    due = bisect_left(times_s, find_due_s(site, moving, state, is_first_update=is_first_update))
    count = len(times_s)
    if is_first_update and due >= count > index + 1:
        # The first update ends with the newest reading.
        due = count - 1
    return max(index + 1, due)

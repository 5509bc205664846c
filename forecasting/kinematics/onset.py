"""Onset of an acceleration, and whether the present velocity is unusual compared with the time before it."""

from collections.abc import Iterable, Sequence
from typing import Final

from forecasting.kinematics.noise import median, quantile
from forecasting.kinematics.velocity_windows import VelocityWindow, WindowVelocities, WindowVelocity
from forecasting.reasons import Reason

# Going back in time, an earlier motion starts where the velocity is higher than the lowest one by this share and by so
# many standard errors of the difference.
RISE: Final = 1.1
RISE_ERRORS: Final = 2.0
# An unusual velocity exceeds so many times the median of the past, and this quantile of the past.
TIMES_MEDIAN: Final = 2.0
QUANTILE: Final = 0.9
MIN_PAST: Final = 4
# The recent past of a window: windows that a fit may reach back, and velocities per window.
RECENT_WINDOWS: Final = 6
ENDS_PER_WINDOW: Final = 4


def find_onset(velocities: Iterable[WindowVelocity]) -> WindowVelocity | None:
    """Return the velocity at the last onset: the lowest one after which the velocity only rose.

    Going back from the newest velocity, the velocity falls. Where it is two standard errors of the difference and a
    tenth above the lowest one so far, an earlier motion begins, and the lowest one is the onset. A velocity that cannot
    be distinguished from zero ends the motion too. The onset is then the next newer velocity.

    Args:
        velocities: The newest first. They are used only as far back as the result needs.

    >>> from forecasting.kinematics.velocity_windows import WindowVelocity
    >>> find_onset(WindowVelocity(v, 0.1, float(i)) for i, v in enumerate([4.0, 2.0, 1.0, 3.0, 5.0])).rate
    1.0
    """
    lowest: WindowVelocity | None = None
    newer: WindowVelocity | None = None
    for velocity in velocities:
        if velocity.rate <= velocity.error:
            return newer or velocity
        if lowest is None or velocity.rate < lowest.rate:
            lowest = velocity
        else:
            error = (velocity.error**2 + lowest.error**2) ** 0.5
            if velocity.rate > RISE * lowest.rate + RISE_ERRORS * error:
                return lowest
        newer = velocity
    return lowest


def explain_usual(rate: float, past: Sequence[float]) -> Reason | None:
    """Return why a velocity is not higher than usual; None if it is.

    Args:
        rate: The present velocity per day.
        past: Velocities before the onset, in any order. They must not contain velocities of the acceleration itself.

    >>> print(explain_usual(9.0, [1.0, 2.0, 1.5, 1.2]), explain_usual(2.5, [1.0, 2.0, 1.5, 1.2]))
    None failure.usual: velocity=2.5, times=2.0, median=1.35
    """
    if len(past) < MIN_PAST:
        return Reason("failure.short_past")
    middle = median(past)
    if rate <= TIMES_MEDIAN * middle:
        return Reason("failure.usual", {"velocity": rate, "times": TIMES_MEDIAN, "median": middle})
    limit = quantile(sorted(past), QUANTILE)
    if rate <= limit:
        return Reason("failure.not_rare", {"velocity": rate, "percent": 100 * QUANTILE, "quantile": limit})
    return None


def list_recent_ends(window: VelocityWindow, last_cell: int) -> range:
    """Return the cells at which the windows of the recent past end, the newest first.

    They reach back six windows. Four of them per window are enough, because the velocities of windows that overlap by
    more are nearly the same.
    """
    stride = max(1, window.cells // ENDS_PER_WINDOW)
    return range(last_cell, last_cell - RECENT_WINDOWS * window.cells // stride * stride - 1, -stride)


def find_onset_s(series: WindowVelocities, window: VelocityWindow, last_cell: int) -> float | None:
    """Return the instant of the onset as the velocities of a window show it; None without any velocity."""
    velocities = (series.find_velocity(window, cell) for cell in list_recent_ends(window, last_cell))
    onset = find_onset(velocity for velocity in velocities if velocity is not None)
    return None if onset is None else onset.stamp_s

"""Noise of a series, and how long a window must be for its velocity to exceed the noise."""

from collections.abc import Sequence
from math import fsum, inf, isfinite, sqrt
from typing import Final

from forecasting.kinematics.velocity import DAY_S, MIN_READINGS

MAD_TO_SIGMA: Final = 1.4826
# Standard errors by which a velocity must exceed zero in the window that `choose_window_s` returns.
CLEAR_ERRORS: Final = 4.0


def measure_sigma(times_s: Sequence[float], values: Sequence[float], *, longest_gap_s: float | None = None) -> float:
    """Return the white noise of a series, from the distance of each reading to the line through its two neighbours.

    With even spacing this is 1.4826 median(|second difference|) / sqrt(6) (median absolute deviation: Hampel 1974, J.
    Am. Stat. Assoc. 69). With uneven spacing the neighbours are weighted by their distance. Slow motion and a few
    outliers do not change the result. Coloured noise makes it too small, so it is a lower bound.

    Args:
        times_s: Instants of the readings in seconds, ascending, shape (n,).
        values: Readings, shape (n,).
        longest_gap_s: Three readings that span more than twice this time are left out. None leaves out none.

    Returns:
        One standard deviation in the unit of the values; 0 for fewer than 3 readings.

    >>> round(measure_sigma([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0, 0.0]), 4)
    1.2105
    """
    distances = []
    longest_span_s = inf if longest_gap_s is None else 2.0 * longest_gap_s
    # Slices are a third faster than indices, and this function is called for every series.
    for t0, t1, t2, y0, y1, y2 in zip(times_s, times_s[1:], times_s[2:], values, values[1:], values[2:], strict=False):
        span_s = t2 - t0
        if span_s <= 0.0 or span_s > longest_span_s:
            continue
        before = (t2 - t1) / span_s
        after = 1.0 - before
        distances.append(abs(y1 - before * y0 - after * y2) / sqrt(1.0 + before * before + after * after))
    if not distances:
        return 0.0
    # A logger that rounds repeats its values. If half of the distances are 0, their mean square is the noise.
    return MAD_TO_SIGMA * median(distances) or sqrt(fsum(x * x for x in distances) / len(distances))


def median(values: Sequence[float]) -> float:
    """Return the median; of an even number of values, the mean of the two middle ones."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of ascending values, linear between neighbours (Hyndman and Fan 1996, type 7)."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def velocity_error(sigma: float, n: int, interval_s: float) -> float:
    """Return the standard error of a least-squares slope through n evenly spaced readings, per day.

    The usual formula is sigma / sqrt(n^3 / 12) / dt. This one is exact for n readings.

    >>> round(velocity_error(2.0, 10, 86400.0), 3)
    0.22
    """
    if n < 2:
        return inf
    return sigma / sqrt((n * n * n - n) / 12.0) / (interval_s / DAY_S)


def choose_window_s(sigma: float, interval_s: float, velocity: float, *, longest_s: float = 60.0 * DAY_S) -> float:
    """Return the shortest window in which a velocity exceeds four standard errors.

    From `velocity_error`: n = (12 (4 sigma / (v dt))^2)^(1/3). So the window is hours for a fast slope and weeks for a
    slow one, and is not a setting.

    Args:
        sigma: Noise of one reading.
        interval_s: Sampling interval in seconds.
        velocity: Velocity, unit of sigma per day; its sign does not matter.
        longest_s: Longest window in seconds, also the result for a velocity of zero.

    Returns:
        Seconds: at most `longest_s`, but at least four intervals.

    >>> choose_window_s(2.0, 86400.0, 0.88) / 86400.0
    10.0
    """
    shortest_s = MIN_READINGS * interval_s
    step = abs(velocity) * interval_s / DAY_S
    if not isfinite(step) or step <= 0.0:
        return max(shortest_s, longest_s)
    n = (12.0 * (CLEAR_ERRORS * sigma / step) ** 2) ** (1.0 / 3.0)
    window_s = interval_s * float(int(min(n, 1e9) + 0.999))
    return max(shortest_s, min(window_s, longest_s))

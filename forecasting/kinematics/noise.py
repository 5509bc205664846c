"""How noisy a series is, and how long a window must therefore be before a velocity can be told from nothing."""

from collections.abc import Sequence
from math import fsum, inf, isfinite, sqrt

from forecasting.kinematics.velocity import DAY_S

MAD_TO_SIGMA = 1.4826
FEWEST = 4  # epochs below which no line is judged


def measure_sigma(times_s: Sequence[float], values: Sequence[float], *, longest_gap_s: float | None = None) -> float:
    """White noise of a series, robustly, from how far each epoch lies off the line through its two neighbours.

    With even spacing this is 1.4826 median(|second difference|) / sqrt(6) (median absolute deviation: Hampel 1974, J.
    Am. Stat. Assoc. 69); uneven spacing weighs the neighbours by their distance. Slow motion and a few outliers leave
    it alone. Coloured noise makes it too small: it is a lower bound. `longest_gap_s`: triples that span more than twice
    this are left out; by default none. Returns one standard deviation in the unit of the values; 0 for fewer
    than 3 epochs.

    >>> round(measure_sigma([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0, 0.0]), 4)
    1.2105
    """
    off = []
    widest = inf if longest_gap_s is None else 2.0 * longest_gap_s
    # neighbours side by side: to look them up by number takes half as long again, and every series is asked
    for t0, t1, t2, y0, y1, y2 in zip(times_s, times_s[1:], times_s[2:], values, values[1:], values[2:], strict=False):
        span = t2 - t0
        if span <= 0.0 or span > widest:
            continue
        before = (t2 - t1) / span
        after = 1.0 - before
        off.append(abs(y1 - before * y0 - after * y2) / sqrt(1.0 + before * before + after * after))
    if not off:
        return 0.0
    # a logger that rounds repeats itself: then half of the misses are 0 and their mean square is the noise
    return MAD_TO_SIGMA * median(off) or sqrt(fsum(x * x for x in off) / len(off))


def median(values: Sequence[float]) -> float:
    """The middle of the values; the mean of the two middle ones of an even count."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def quantile(ordered: Sequence[float], share: float) -> float:
    """Quantile of ascending values, linear between neighbours (Hyndman and Fan 1996, type 7)."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def velocity_error(sigma: float, n: int, interval_s: float) -> float:
    """Standard error of a least-squares slope through n evenly spaced epochs, per day: sigma / sqrt(n^3 / 12) / dt.

    >>> round(velocity_error(2.0, 10, 86400.0), 3)
    0.22
    """
    if n < 2:
        return float("inf")
    # exact for n epochs; n^3 - n tends to the n^3 of the usual formula
    return sigma / sqrt((n * n * n - n) / 12.0) / (interval_s / DAY_S)


def choose_window_s(sigma: float, interval_s: float, velocity: float, *, longest_s: float = 60.0 * DAY_S) -> float:
    """The shortest window in which a velocity stands four standard errors above nothing.

    From `velocity_error`: n = (12 (4 sigma / (v dt))^2)^(1/3). A fast slope is seen in hours, a slow one in weeks:
    the window follows from the noise and is not a setting.

    Args:
        velocity: Velocity to be told, unit of the values per day; its sign does not matter.
        longest_s: Longest window, seconds; also the answer where the velocity is nothing.

    Returns:
        Seconds between `fewest` intervals and the longest window (never below `fewest` intervals).

    >>> choose_window_s(2.0, 86400.0, 0.88) / 86400.0
    10.0
    """
    least = FEWEST * interval_s
    step = abs(velocity) * interval_s / DAY_S
    if not isfinite(step) or step <= 0.0:
        return max(least, longest_s)
    n = (12.0 * (4.0 * sigma / step) ** 2) ** (1.0 / 3.0)
    whole = interval_s * float(int(min(n, 1e9) + 0.999))
    return max(least, min(whole, longest_s))

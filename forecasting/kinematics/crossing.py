"""When a forecast would reach the failure velocity: a second opinion on the failure time, from another model."""

from collections.abc import Sequence

from forecasting.kinematics.velocity import DAY_S


def cross_velocity(
    horizons_s: Sequence[float],
    q10: Sequence[float],
    q50: Sequence[float],
    q90: Sequence[float],
    value: float,
    failure_velocity: float,
) -> tuple[float, float, float] | None:
    """Where the quantiles of a displacement forecast grow as fast as the velocity at which the slope is held to fail.

    The velocity of a quantile between two targets is its increment by the time between them, stamped in the middle;
    between stamps it is linear. The 90 % quantile crosses first (the early edge), the median next, the 10 % quantile
    last; one that never crosses gives the end of the forecast, which then only says "not before". Quantiles of one
    forecast are not paths, so this is a coarse second estimator, never the only one. `failure_velocity`: positive
    velocity, unit of the values per day. Returns seconds after the newest datum (from, mid, to), ascending; None where
    the median never crosses.

    >>> cross_velocity([86400.0, 172800.0], [1.0, 2.0], [1.0, 5.0], [2.0, 10.0], 0.0, 2.0)
    (43200.0, 72000.0, 172800.0)
    """
    if not horizons_s or failure_velocity <= 0.0 or horizons_s[0] <= 0.0:
        return None
    early, mid, late = (_cross(horizons_s, q, value, failure_velocity) for q in (q90, q50, q10))
    if mid is None:
        return None
    end = horizons_s[-1]
    return min(mid, early if early is not None else mid), mid, max(mid, late if late is not None else end)


def _cross(horizons_s: Sequence[float], quantiles: Sequence[float], value: float, limit: float) -> float | None:
    before_s, before, stamp, speed = 0.0, value, 0.0, None
    for at_s, q in zip(horizons_s, quantiles, strict=True):
        if at_s <= before_s:
            continue
        now = (q - before) / (at_s - before_s) * DAY_S
        middle = (before_s + at_s) / 2.0
        if now >= limit:
            if speed is None or now == speed:
                return middle
            return stamp + (middle - stamp) * (limit - speed) / (now - speed)
        before_s, before, stamp, speed = at_s, q, middle, now
    return None

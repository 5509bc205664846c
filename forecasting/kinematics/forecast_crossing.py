"""Time of failure by a displacement forecast: when its quantiles reach the velocity that counts as failure."""

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
    """Return when the quantiles of a forecast reach a velocity.

    The velocity of a quantile between two horizons is its increment divided by the time between them, at the middle of
    that time. Between these instants it is linear. The 90 % quantile crosses first and gives the early edge, the median
    gives the middle, and the 10 % quantile the late edge. If the 10 % quantile never crosses, the late edge is the last
    horizon, and the failure may be later. Quantiles of a forecast are not paths, so this is a coarse second estimate.

    Args:
        horizons_s: Horizons in seconds, ascending, shape (h,).
        q10: Quantiles of the displacement at the horizons, shape (h,).
        q50: The same for the median.
        q90: The same for the 90 % quantile.
        value: Displacement at the newest reading.
        failure_velocity: Velocity that counts as failure, positive, unit of the values per day.

    Returns:
        Early edge, middle and late edge in seconds after the newest reading, ascending; None if the median never
        crosses.

    >>> cross_velocity([86400.0, 172800.0], [1.0, 2.0], [1.0, 5.0], [2.0, 10.0], 0.0, 2.0)
    (43200.0, 72000.0, 172800.0)
    """
    if not horizons_s or failure_velocity <= 0.0 or horizons_s[0] <= 0.0:
        return None
    mid_s = _find_crossing_s(horizons_s, q50, value, failure_velocity)
    if mid_s is None:
        return None
    early_s = _find_crossing_s(horizons_s, q90, value, failure_velocity)
    late_s = _find_crossing_s(horizons_s, q10, value, failure_velocity)
    if early_s is None:
        early_s = mid_s
    if late_s is None:
        late_s = horizons_s[-1]
    return min(mid_s, early_s), mid_s, max(mid_s, late_s)


def _find_crossing_s(
    horizons_s: Sequence[float], quantiles: Sequence[float], value: float, limit: float
) -> float | None:
    """Return when the velocity of a quantile reaches a limit, in seconds after the newest reading."""
    previous_horizon_s, previous_value = 0.0, value
    previous_stamp_s = 0.0
    previous_velocity: float | None = None
    for horizon_s, quantile in zip(horizons_s, quantiles, strict=True):
        if horizon_s <= previous_horizon_s:
            continue
        velocity = (quantile - previous_value) / (horizon_s - previous_horizon_s) * DAY_S
        stamp_s = (previous_horizon_s + horizon_s) / 2.0
        if velocity >= limit:
            if previous_velocity is None or velocity == previous_velocity:
                return stamp_s
            between_s = stamp_s - previous_stamp_s
            return previous_stamp_s + between_s * (limit - previous_velocity) / (velocity - previous_velocity)
        previous_horizon_s, previous_value = horizon_s, quantile
        previous_stamp_s, previous_velocity = stamp_s, velocity
    return None

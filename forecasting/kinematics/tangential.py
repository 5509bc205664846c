"""The improved tangential angle: how steep the displacement curve stands when steady creep is drawn at 45 degrees."""

from math import atan, degrees, isfinite

from forecasting.errors import NotEnoughDataError


def tangential_angle_deg(velocity: float, v_eq: float) -> float:
    """Angle of the displacement-time curve in degrees, atan(v / v_eq) (Xu, Tang, Li and others 2009).

    The curve S(t) is drawn as T(t) with T = S / v_eq, so that steady creep stands at 45 degrees and the unit of the
    axes no longer decides the angle. It is only as good as v_eq: a reviewed, dated parameter of the site. On a curve
    that moves in steps (rain, reservoir) it shows "critical" without a failure to come.

    Args:
        velocity: Velocity now, any unit per day.
        v_eq: Velocity of the steady stage, same unit.

    Returns:
        Degrees in -90 to 90; negative for motion backwards.

    Raises:
        NotEnoughDataError: v_eq is not positive: there is no angle without it.

    >>> round(tangential_angle_deg(2.0, 2.0), 6), round(tangential_angle_deg(11.43, 1.0), 1)
    (45.0, 85.0)
    """
    if not (isfinite(v_eq) and v_eq > 0.0):
        raise NotEnoughDataError(f"tangential angle: v_eq must be a positive velocity, not {v_eq!r}")
    return degrees(atan(velocity / v_eq))

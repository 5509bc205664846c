"""Tangential angle of the displacement-time curve (Xu, Tang, Li and others 2009)."""

from math import atan, degrees, isfinite

from forecasting.errors import NotEnoughDataError


def tangential_angle_deg(velocity: float, v_eq: float) -> float:
    """Return the angle of the displacement-time curve, atan(v / v_eq), in degrees.

    The displacement S is divided by the velocity of uniform creep, T = S / v_eq. So uniform creep has an angle of 45
    degrees, and the angle does not depend on the units of the axes. It is only as good as v_eq, which is a reviewed,
    dated parameter of the site. On a curve that moves in steps (rain, reservoir) it is large without a failure to come.

    Args:
        velocity: Velocity; negative if the motion is backwards.
        v_eq: Velocity of uniform creep in the same unit, positive.

    Returns:
        Degrees from -90 to 90.

    Raises:
        NotEnoughDataError: `v_eq` is no positive velocity.

    >>> round(tangential_angle_deg(2.0, 2.0), 6), round(tangential_angle_deg(11.43, 1.0), 1)
    (45.0, 85.0)
    """
    if not (isfinite(v_eq) and v_eq > 0.0):
        raise NotEnoughDataError(f"tangential angle: v_eq must be a positive velocity, not {v_eq!r}")
    return degrees(atan(velocity / v_eq))

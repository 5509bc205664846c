"""From east, north and up to one number where no direction is known: a norm freed of its bias."""

from collections.abc import Sequence
from math import fsum, sqrt


def norm(components: Sequence[float], sigmas: Sequence[float]) -> tuple[float, float]:
    """Length of a noisy vector with the bias of the norm removed, and its standard error.

    Noise makes every vector longer: E|x|^2 = |m|^2 + sum of variances (the length is Rice distributed: Rice 1945, Bell
    Syst. Tech. J. 24), so a still point seems to move at 1.25 sigma in the plane. The variances are taken off before
    the root, and a length below them is nothing. It has no sign: where the direction is known, a projection is better.

    Args:
        components: Displacement or velocity by axis, shape (k,).
        sigmas: One standard deviation by axis, shape (k,).

    >>> norm([3.0, 4.0], [0.0, 0.0])
    (5.0, 0.0)
    >>> norm([0.5, 0.5], [1.0, 1.0])[0]
    0.0
    """
    square = fsum(c * c for c in components)
    variance = fsum(s * s for s in sigmas)
    if square <= 0.0:
        return 0.0, sqrt(variance)
    error = sqrt(fsum((c * s) ** 2 for c, s in zip(components, sigmas, strict=True)) / square)
    return sqrt(max(0.0, square - variance)), error

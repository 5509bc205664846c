"""Length of a motion whose direction is not known, corrected for the length that noise alone has."""

from collections.abc import Sequence
from math import expm1, fsum, log, log1p, pi, sqrt
from typing import Final

# Of the probability that noise makes a signed velocity significant, this share belongs to the horizontal length, and
# the rest to the vertical motion.
HORIZONTAL_SHARE: Final = 2.0 / 3.0
# Degrees of freedom of an error that is known.
NORMAL: Final = 1e9
# An error below this share of the length does not change the length.
SMALLEST_ERROR: Final = 1e-9


def norm(components: Sequence[float], sigmas: Sequence[float]) -> tuple[float, float]:
    """Return the length of a noisy vector without its bias, and its standard error.

    Noise makes every vector longer: E|x|^2 = |m|^2 + sum of variances (the length is Rice distributed: Rice 1945, Bell
    Syst. Tech. J. 24). So a point at rest seems to move by 1.25 sigma in the plane. The variances are subtracted before
    the root, and a square below them gives 0. The length has no sign. If the direction is known, use a projection.

    Args:
        components: East, north and up.
        sigmas: Standard deviation of each component.

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


def free_of_noise(length: float, error: float, sureness: float, freedom: float = NORMAL) -> float:
    """Return a length in the plane that can be compared with a bound as a signed value is.

    Noise has a length in every direction. In the plane it exceeds r errors with the probability exp(-r^2 / 2)
    (Rayleigh), or (1 + r^2 / n)^(-n / 2) if the error was estimated with n degrees of freedom. The result exceeds
    `sureness` errors no more often than a signed value of Student's t does. This includes the vertical motion that is
    tested beside it. With a `sureness` of 0 about two variances are subtracted, the bias of a length.

    Args:
        length: Measured length.
        error: Standard error of one component.
        sureness: Standard errors by which a signed value must exceed a bound.
        freedom: Degrees of freedom of the error; `NORMAL` if it is known.

    >>> free_of_noise(3.7, 1.0, 3.0) < 3.0 < free_of_noise(3.8, 1.0, 3.0)
    True
    >>> round(free_of_noise(207.0, 1.0, 3.0), 1), free_of_noise(5.0, 0.0, 3.0)
    (207.0, 5.0)
    """
    if error <= SMALLEST_ERROR * length:
        return length
    return sqrt(max(0.0, length * length - _find_excess(sureness, freedom) * error * error))


def add_noise(length: float, error: float, sureness: float, freedom: float = NORMAL) -> float:
    """Return the measured length for which `free_of_noise` returns a given length.

    >>> round(free_of_noise(add_noise(5.0, 1.0, 3.0), 1.0, 3.0), 9)
    5.0
    """
    return sqrt(max(0.0, length * length + _find_excess(sureness, freedom) * error * error))


def _find_excess(sureness: float, freedom: float) -> float:
    """Return r^2 - m^2, where noise in the plane exceeds r errors as often as a signed value exceeds m of them.

    Student's t is converted to a normal score (Wallace 1959, Ann. Math. Stat. 30), whose tail is bounded after Birnbaum
    (1942).

    Args:
        sureness: The m errors.
        freedom: Degrees of freedom of the error.
    """
    square = freedom * log1p(sureness * sureness / freedom)
    score = sqrt(square) * (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    chance = score * score / 2.0 + log(sqrt(2.0 * pi) * (score + sqrt(score * score + 4.0)) / 2.0)
    return freedom * expm1(2.0 * (chance - log(HORIZONTAL_SHARE)) / freedom) - sureness * sureness

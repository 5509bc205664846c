"""From east, north and up to one number where no direction is known, freed of the length that noise alone makes."""

from collections.abc import Sequence
from math import expm1, fsum, log, log1p, pi, sqrt
from typing import Final

SHARE: Final = 2.0 / 3.0  # of the chance that a signed velocity has, for the horizontal; the rest is for the vertical
NORMAL: Final = 1e9  # degrees of freedom of an error that is known


def norm(components: Sequence[float], sigmas: Sequence[float]) -> tuple[float, float]:
    """Length of a noisy vector with the bias of the norm removed, and its standard error.

    Noise makes every vector longer: E|x|^2 = |m|^2 + sum of variances (the length is Rice distributed: Rice 1945, Bell
    Syst. Tech. J. 24), so a still point seems to move at 1.25 sigma in the plane. The variances are taken off before
    the root, and a length below them is nothing. It has no sign: where the direction is known, a projection is better.

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
    """The length of a vector, less what noise alone makes of it, so that it is compared as a signed value is.

    Noise has a length whichever way it points: in the plane, more than r errors with the chance exp(-r^2 / 2)
    (Rayleigh), and (1 + r^2 / n)^(-n / 2) where the error was learnt from n degrees of freedom. What is taken off the
    square makes the rest exceed `sureness` errors no more often than a signed value of Student's t does, the same of
    the vertical beside it included. Without any sureness it is about the bias of a length, two variances and more.
    `freedom`: degrees of freedom of the error; `NORMAL` where it is known.

    >>> free_of_noise(3.7, 1.0, 3.0) < 3.0 < free_of_noise(3.8, 1.0, 3.0)
    True
    >>> round(free_of_noise(207.0, 1.0, 3.0), 1), free_of_noise(5.0, 0.0, 3.0)
    (207.0, 5.0)
    """
    if error <= 1e-9 * length:
        return length
    return sqrt(max(0.0, length * length - _find_excess(sureness, freedom) * error * error))


def add_noise(length: float, error: float, sureness: float, freedom: float = NORMAL) -> float:
    """Return the measured length of which `free_of_noise` leaves a given length.

    >>> round(free_of_noise(add_noise(5.0, 1.0, 3.0), 1.0, 3.0), 9)
    5.0
    """
    return sqrt(max(0.0, length * length + _find_excess(sureness, freedom) * error * error))


def _find_excess(sureness: float, freedom: float) -> float:
    """r^2 - m^2, where noise is longer than r errors in the plane as often as a signed value exceeds m of them.

    Student's t as a normal score (Wallace 1959, Ann. Math. Stat. 30), whose tail is bounded after Birnbaum (1942).
    """
    square = freedom * log1p(sureness * sureness / freedom)
    score = sqrt(square) * (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    chance = score * score / 2.0 + log(sqrt(2.0 * pi) * (score + sqrt(score * score + 4.0)) / 2.0)
    return freedom * expm1(2.0 * (chance - log(SHARE)) / freedom) - sureness * sureness

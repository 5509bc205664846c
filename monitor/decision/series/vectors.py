"""Vectors as tuples of floats: one length and one difference for all that decides on them."""

from math import fsum, sqrt
from operator import mul, sub

Vector = tuple[float, ...]


def minus(a: Vector, b: Vector) -> Vector:
    """Difference."""
    return (a[0] - b[0],) if len(a) == 1 else tuple(map(sub, a, b))


def norm(a: Vector) -> float:
    """Euclidean length, summed exactly so that every version of Python reckons alike."""
    return abs(a[0]) if len(a) == 1 else sqrt(fsum(map(mul, a, a)))

"""Compute with vectors that are tuples of floats."""

from math import fsum, sqrt
from operator import mul, sub

Vector = tuple[float, ...]


def minus(a: Vector, b: Vector) -> Vector:
    """Return a - b."""
    return (a[0] - b[0],) if len(a) == 1 else tuple(map(sub, a, b))


def norm(a: Vector) -> float:
    """Return the Euclidean length. The exact sum gives the same result in every version of Python."""
    return abs(a[0]) if len(a) == 1 else sqrt(fsum(map(mul, a, a)))

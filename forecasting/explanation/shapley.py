"""Exact Shapley values over a handful of groups: every coalition is asked, nothing is sampled (Shapley 1953)."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from forecasting.data.series import Floats
from forecasting.explanation.groups import MOST_GROUPS


def shapley(value: Callable[[frozenset[str]], Floats], groups: Sequence[str]) -> dict[str, Floats]:
    """Share of each group in `value(all) - value(none)`; the shares add up to it.

    `phi(i) = sum over coalitions S without i of |S|! (n - |S| - 1)! / n! (value(S + i) - value(S))`.

    Args:
        value: Answer when only these groups are present, any fixed shape; asked once per coalition, 2^n times.
        groups: Names, at most six.

    Raises:
        ValueError: More than six groups, or one named twice.

    >>> made = shapley(lambda known: np.array(2.0 * ("a" in known) + ("a" in known and "b" in known)), ["a", "b"])
    >>> float(made["a"]), float(made["b"])
    (2.5, 0.5)
    """
    names = tuple(groups)
    if len(names) > MOST_GROUPS or len(set(names)) != len(names):
        raise ValueError(f"{len(names)} groups: at most {MOST_GROUPS} different ones can be computed exactly")
    count = len(names)
    asked = {
        frozenset(some): np.asarray(value(frozenset(some)), dtype=np.float64)
        for size in range(count + 1)
        for some in combinations(names, size)
    }
    out: dict[str, Floats] = {}
    for name in names:
        total = np.zeros_like(asked[frozenset()])
        for known, answer in asked.items():
            if name not in known:
                size = len(known)
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                total = total + weight * (asked[known | {name}] - answer)
        out[name] = total
    return out

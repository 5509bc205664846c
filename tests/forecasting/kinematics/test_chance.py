"""The chance of more than a bound, from the quantiles of a forecast."""

import math
import random
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from scipy.integrate import trapezoid

from forecasting.evaluation.distribution import pit
from forecasting.kinematics.chance import QUANTILES, chance_over
from tests.tables import tabulated

SHARES = [share for _, share in QUANTILES]
SCORES = [NormalDist().inv_cdf(share) for share in SHARES]


def draw_fan(seed: int) -> list[float]:
    rng = random.Random(seed)
    widths = [rng.choice((0.0, 1.0)) * rng.expovariate(0.3) for _ in range(4)]
    lowest = rng.gauss(0.0, 5.0)
    return [sum(widths[:k], lowest) for k in range(5)]


@tabulated("seed", range(20))
def test_chance_is_the_integral_of_the_density_of_the_quantiles(seed: int) -> None:
    values = [v + 0.1 * k for k, v in enumerate(draw_fan(seed))]
    # the density between two quantiles: a normal whose scores lie on the line between theirs
    x = np.linspace(values[0], values[-1], 200_001)
    score, slope = np.interp(x, values, SCORES), np.diff(SCORES) / np.diff(values)
    density = np.exp(-(score**2) / 2.0) / math.sqrt(2.0 * math.pi) * slope[np.searchsorted(values[1:-1], x)]
    for bound in np.linspace(values[0], values[-1], 9)[1:-1]:
        inside = x >= bound
        chance = chance_over(SHARES, values, float(bound))
        assert chance.low == chance.high
        assert chance.low == pytest.approx(0.025 + trapezoid(density[inside], x[inside]), abs=2e-4)
        # the same fan as where forecasts are scored
        assert chance.low == pytest.approx(1.0 - float(pit(np.array(values), np.array(bound))), abs=1e-6)


def test_chance_of_normal_quantiles_is_that_of_the_normal_distribution() -> None:
    values = [10.0 + 2.0 * z for z in SCORES]
    for bound in (6.5, 8.0, 10.0, 12.0, 13.5):
        assert chance_over(SHARES, values, bound).low == pytest.approx(1.0 - NormalDist(10.0, 2.0).cdf(bound))
    assert (chance_over(SHARES, values, 99.0).low, chance_over(SHARES, values, 99.0).high) == (0.0, 0.025)
    assert (chance_over(SHARES, values, -9.0).low, chance_over(SHARES, values, -9.0).high) == (0.975, 1.0)
    # three quantiles, as older decisions froze them, say less
    three = chance_over(SHARES[1:4], values[1:4], 99.0)
    assert (three.low, three.high) == (0.0, 0.1)


def test_chance_never_rises_with_the_bound_or_falls_with_the_quantiles() -> None:
    flat = 0
    for seed in range(300):
        values = draw_fan(seed)
        flat += any(a == b for a, b in pairwise(values))
        bounds = sorted([*values, *(random.Random(seed).uniform(-15.0, 25.0) for _ in range(12))])
        found = [chance_over(SHARES, values, b) for b in bounds]
        assert all(0.0 <= c.low <= c.high <= 1.0 for c in found)
        for near, far in pairwise(found):
            assert (far.low, far.high) <= (near.low, near.high)
            assert far.high <= near.high
        for k in range(5):
            # any quantile that rises, with those above it where it meets them
            higher = [max(v, values[k] + 1.0) if j >= k else v for j, v in enumerate(values)]
            for bound, before in zip(bounds, found, strict=True):
                after = chance_over(SHARES, higher, bound)
                assert after.low >= before.low - 1e-12
                assert after.high >= before.high - 1e-12
    assert flat > 100, "fans without width stood among them"


def test_chance_exceeds_one_half_if_the_median_exceeds_the_bound() -> None:
    for seed in range(300):
        values = draw_fan(seed)
        for bound in (values[2], values[2] - 1e-9, values[2] + 1e-9, values[2] + 3.0, values[2] - 3.0):
            assert (chance_over(SHARES, values, bound).low > 0.5) == (values[2] > bound)

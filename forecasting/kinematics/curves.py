"""Simulated collapses with a known end: Voight's law with noise, rain pulses and gaps, for tests and benchmarks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum

from forecasting.kinematics.velocity import DAY_S


@dataclass(frozen=True, slots=True)
class Collapse:
    """A displacement record that ends before a known failure."""

    times_s: Sequence[float]  # seconds since the start, shape (n,)
    values: Sequence[float]  # displacement in mm, shape (n,)
    sigma: float  # white noise put on each value, mm
    failure_s: float  # true failure, seconds since the start
    alpha: float  # exponent of Voight's law


def draw_collapse(
    seed: int,
    *,
    sigma: float,
    interval_s: float = DAY_S,
    alpha: float | tuple[float, float] = 2.0,
    rain: bool = False,
    gaps: bool = False,
) -> Collapse:
    """Draw one record: creep, then dv/dt = A v^alpha to its end.

    Drawn: length 120-300 d, velocity one week before failure 4-40 mm/day (published orange bounds lie at 2-227 mm/day:
    Crosta and Agliardi 2003), steady creep of 0.02-0.2 mm/day beneath. Rain multiplies the velocity by up to 1.6,
    dying away in 1-4 days, about every 12 days. Gaps take away 5 % of the epochs singly and one block of 3-8 %.

    Args:
        sigma: White noise, mm.
        interval_s: Sampling interval, seconds.
    """
    rng = random.Random(seed)
    length = rng.uniform(120.0, 300.0)
    fast = 4.0 * 10.0 ** rng.uniform(0.0, 1.0)
    creep = rng.uniform(0.02, 0.2)
    exponent = rng.uniform(*alpha) if isinstance(alpha, tuple) else alpha
    pulses = []
    at = rng.expovariate(1.0 / 12.0)
    while rain and at < length:
        pulses.append((at, rng.uniform(0.1, 0.6), rng.uniform(1.0, 4.0)))
        at += rng.expovariate(1.0 / 12.0)
    step = interval_s / DAY_S
    inner = max(4, round(step * 24))  # integration steps per epoch
    n = int((length - 1e-9) / step)
    times, values, total = [], [], 0.0
    for i in range(n + 1):
        times.append(i * interval_s)
        values.append(total + rng.gauss(0.0, sigma))
        for j in range(inner):
            day = (i + (j + 0.5) / inner) * step
            lead = length - day
            if lead <= 0.0:
                break
            speed = creep + fast * (lead / 7.0) ** (-1.0 / (exponent - 1.0))
            wet = 1.0 + fsum(a * exp(-(day - t) / d) for t, a, d in pulses if 0.0 <= day - t < 8.0 * d)
            total += speed * wet * step / inner
    if gaps:
        block, width = rng.uniform(0.3, 0.9) * n, rng.uniform(0.03, 0.08) * n
        kept = [i for i in range(n + 1) if rng.random() > 0.05 and not block <= i < block + width]
        times, values = [times[i] for i in kept], [values[i] for i in kept]
    return Collapse(times, values, sigma, length * DAY_S, exponent)

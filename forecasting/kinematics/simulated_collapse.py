"""Simulated collapses with a known failure time."""

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
    sigma: float  # standard deviation of the white noise, mm
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
    """Draw one record: steady creep, then dv/dt = A v^alpha until failure.

    The length is 120 to 300 days, the velocity one week before failure 4 to 40 mm/day (published orange bounds are 2 to
    227 mm/day: Crosta and Agliardi 2003), and the steady creep 0.02 to 0.2 mm/day.

    Args:
        seed: Seed of the random numbers.
        sigma: Standard deviation of the white noise, mm.
        interval_s: Sampling interval in seconds.
        alpha: Exponent of Voight's law, or its lowest and highest value.
        rain: Whether rain multiplies the velocity by up to 1.6, about every 12 days, decaying within 1 to 4 days.
        gaps: Whether 5 % of the readings are missing, and in addition one block of 3 to 8 % of them.
    """
    rng = random.Random(seed)
    length_days = rng.uniform(120.0, 300.0)
    velocity_of_last_week = 4.0 * 10.0 ** rng.uniform(0.0, 1.0)
    creep = rng.uniform(0.02, 0.2)
    exponent = rng.uniform(*alpha) if isinstance(alpha, tuple) else alpha
    pulses = []
    start_day = rng.expovariate(1.0 / 12.0)
    while rain and start_day < length_days:
        pulses.append((start_day, rng.uniform(0.1, 0.6), rng.uniform(1.0, 4.0)))
        start_day += rng.expovariate(1.0 / 12.0)
    step_days = interval_s / DAY_S
    integration_steps = max(4, round(step_days * 24))  # per reading
    count = int((length_days - 1e-9) / step_days)
    times_s, values, displacement = [], [], 0.0
    for i in range(count + 1):
        times_s.append(i * interval_s)
        values.append(displacement + rng.gauss(0.0, sigma))
        for j in range(integration_steps):
            day = (i + (j + 0.5) / integration_steps) * step_days
            lead_days = length_days - day
            if lead_days <= 0.0:
                break
            velocity = creep + velocity_of_last_week * (lead_days / 7.0) ** (-1.0 / (exponent - 1.0))
            rain_factor = 1.0 + fsum(
                size * exp(-(day - start) / decay) for start, size, decay in pulses if 0.0 <= day - start < 8.0 * decay
            )
            displacement += velocity * rain_factor * step_days / integration_steps
    if gaps:
        block_start = rng.uniform(0.3, 0.9) * count
        block_length = rng.uniform(0.03, 0.08) * count
        remaining = [
            i for i in range(count + 1) if rng.random() > 0.05 and not block_start <= i < block_start + block_length
        ]
        times_s, values = [times_s[i] for i in remaining], [values[i] for i in remaining]
    return Collapse(times_s, values, sigma, length_days * DAY_S, exponent)

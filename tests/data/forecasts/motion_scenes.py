"""Five generated records on which earlier forecasts failed: readings with noise, up to the time of issue."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.series import DAY_S, Floats


@dataclass(frozen=True, slots=True)
class Scene:
    """Readings of one series, and the horizons of the forecast. `values` and `noise` are in mm."""

    times_s: Floats
    values: Floats
    step_s: float
    horizons_s: tuple[float, ...]
    noise: float


def _collapse(seed: int, *, days: float, moved: float, rate: float, step_s: float, noise: float, way: float) -> Scene:
    """Draw creep that accelerates, with 1/v falling linearly, to `moved` mm and `rate` mm/day on the last day."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, days * DAY_S + 1.0, step_s)
    creep = 0.05
    # v = k / (tf - t), so the displacement is k log(T / (T - t)).
    # Bisection finds the remaining time that gives `moved`.
    low, high = 1e-4, days
    for _ in range(200):
        left = math.sqrt(low * high)
        reached = rate * left * math.log((days + left) / left)
        low, high = (left, high) if reached < moved - creep * days else (low, left)
    lead = days + left - t / DAY_S
    path = creep * t / DAY_S + rate * left * np.log((days + left) / lead)
    values = way * path + rng.normal(0.0, noise, t.size)
    return Scene(t, values, step_s, (DAY_S / 4, DAY_S, 7 * DAY_S), noise)


def crack(seed: int = 1) -> Scene:
    """Draw a crack meter at 138 mm that opens by 70 mm/day."""
    return _collapse(seed, days=90.0, moved=138.0, rate=70.0, step_s=DAY_S / 4, noise=0.1, way=1.0)


def extensometer(seed: int = 1) -> Scene:
    """Draw an accelerating extensometer at 118 mm."""
    return _collapse(seed, days=60.0, moved=118.0, rate=25.0, step_s=DAY_S / 4, noise=0.2, way=1.0)


def gnss(seed: int = 1) -> Scene:
    """Draw a GNSS component at -116 mm that moves 302 mm/day."""
    return _collapse(seed, days=60.0, moved=116.0, rate=302.0, step_s=DAY_S / 16, noise=2.0, way=-1.0)


def sudden(seed: int = 1) -> Scene:
    """Draw a quiet record that moves 10 mm/day on its last three days."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, 303.0) * DAY_S
    values = rng.normal(50.0, 0.3, t.size)
    values[-3:] += 10.0 * np.arange(1.0, 4.0)
    return Scene(t, values, DAY_S, (DAY_S, 7 * DAY_S, 30 * DAY_S), 0.3)


def control(seed: int = 1) -> Scene:
    """Draw a control station: white noise of 1 mm."""
    t = np.arange(0.0, 300.0) * DAY_S
    return Scene(t, np.random.default_rng(seed).normal(0.0, 1.0, t.size), DAY_S, (DAY_S, 7 * DAY_S, 30 * DAY_S), 1.0)


SCENES: Final[dict[str, Callable[[int], Scene]]] = {
    "crack at 138 mm, 70 mm/day": crack,
    "extensometer at 118 mm, accelerating": extensometer,
    "GNSS at -116 mm, 302 mm/day": gnss,
    "quiet, then 10 mm/day for 3 days": sudden,
    "control, white noise of 1 mm": control,
}

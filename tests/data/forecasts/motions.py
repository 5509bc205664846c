"""Motions drawn over rate and noise, by cadence: what a forecast must follow, and what it must leave alone."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.series import DAY_S, Floats, Panel

KINDS: Final = ("steady", "ramp", "bend", "stop", "step", "season", "white")
RATIOS: Final = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Rate per row over the noise of a reading."""


@dataclass(frozen=True, slots=True)
class Cadence:
    step_s: float
    rows: int
    steps: tuple[int, ...]
    season: float


CADENCES: Final = {
    "hourly": Cadence(3600.0, 720, (6, 24, 72), 24.0),
    "daily": Cadence(DAY_S, 240, (1, 7, 30), 365.25),
    "monthly": Cadence(30.4375 * DAY_S, 60, (1, 3), 12.0),
}


def draw_motion(kind: str, ratio: float, cadence: Cadence, seed: int, noise: float = 1.0) -> Floats:
    """One record in mm, shape (T,), its noise 1 mm unless told: after half to four fifths a bend, a stop or a step."""
    moved, _, rng = _move(kind, ratio, cadence, seed, noise)
    return np.asarray(moved + noise * rng.normal(size=cadence.rows))


def foresee(kind: str, ratio: float, cadence: Cadence, seed: int) -> Floats | None:
    """What one says who knows a motion of `draw_motion` so far without its noise, shape (T, H); None of other kinds."""
    moved, pace, _ = _move(kind, ratio, cadence, seed, 1.0)
    return None if pace is None else np.asarray(moved[:, None] + pace[:, None] * np.array(cadence.steps))


def _move(
    kind: str, ratio: float, cadence: Cadence, seed: int, noise: float
) -> tuple[Floats, Floats | None, np.random.Generator]:
    """The motion without noise, its pace as seen one row late where it changes, and what draws on."""
    rng = np.random.default_rng([KINDS.index(kind), round(10 * ratio), cadence.rows, seed])
    row, rate = np.arange(cadence.rows, dtype=np.float64), ratio * noise
    turns = 2.0 * np.pi / cadence.season
    change = rng.integers(round(0.45 * cadence.rows), round(0.8 * cadence.rows))
    moved = {
        "steady": rate * row,
        "ramp": np.cumsum(rate * (0.1 + 0.9 * row / cadence.rows)),
        "bend": np.cumsum(np.where(row < change, 0.05 * rate, rate)),
        "stop": np.cumsum(np.where(row < change, rate, 0.0)),
        "step": 0.02 * rate * row + np.where(row < change, 0.0, 10.0 * rate),
        "season": rate / turns * np.sin(turns * row + rng.uniform(0, 6)),
        "white": 0.0 * row,
    }[kind]
    late = row - 1.0 < change
    pace = {
        "bend": np.where(late, 0.05 * rate, rate),
        "stop": np.where(late, rate, 0.0),
        "step": np.full(row.shape, 0.02 * rate),
    }.get(kind)
    return moved, pace, rng


def draw_crack(bend: bool, seed: int) -> Panel:
    """A crack that opens by 45 mm/day, read hourly to .5 mm over 30 days; or by 1, and by 45 in the last ten."""
    row = np.arange(720.0)
    rate = np.where(bend & (row < 480), 1.0, 45.0) / 24.0
    values = np.cumsum(rate) + np.random.default_rng(seed).normal(0.0, 0.5, 720)
    return Panel(0.0, 3600.0, ("crack",), values[:, None])


def draw_marker(wander: float, seed: int) -> Panel:
    """A marker at 8 m/day, read hourly to 3 mm over 30 days with a tenth of the rows missing."""
    rng = np.random.default_rng(seed)
    velocity = 8000.0 / 24.0 * np.exp(np.cumsum(rng.normal(0.0, wander, 720)))
    values = np.cumsum(velocity) + rng.normal(0.0, 3.0, 720)
    values[rng.random(720) < 0.1] = np.nan
    return Panel(0.0, 3600.0, ("marker",), values[:, None])

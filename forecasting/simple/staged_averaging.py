"""An average of experts whose weights depend on how the slope moves: who is right in creep may be wrong in a rush."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.windows import trailing
from forecasting.simple.averaging import DISCOUNT, SHARPNESS, Ewa

QUIET, STEADY, RUSHING = 0, 1, 2
STAGES = ("quiet", "steady", "rushing")
SHORT_DAYS, LONG_DAYS = 14, 60
RUSH = 1.5
"""Ratio of the short to the long velocity from which a station counts as rushing."""
CLEAR = 3.0
"""Movement over the short span, in units of the noise, below which a station counts as quiet."""
BORROWED = 10.0
"""Answers of all stages together that count beside those of the stage: a stage seen for the first time starts there."""


@dataclass(frozen=True, slots=True)
class StagedEwa(Ewa):
    """`Ewa` that keeps the errors of each expert apart by the stage at issue; reads no row after an origin.

    Attributes:
        noise_mm: Noise of each station before row `first`, shape (S,).
        spans: Rows of the short and the long velocity.
    """

    noise_mm: tuple[float, ...]
    spans: tuple[int, int]

    def _choose(self, values: Floats, rows: Ints) -> Callable[[Floats, Floats, int], Floats]:
        """The average by the stage of each station at each row."""
        stage = find_stages(values, rows, np.asarray(self.noise_mm), self.spans)
        return lambda made, errors, steps: _follow(made, errors, stage, steps)


def by_stage(ewa: Ewa, panel: Panel, noise_mm: Floats) -> StagedEwa:
    """The same experts with weights by stage.

    Args:
        ewa: The average whose experts are taken.
        panel: Its record.
        noise_mm: Noise of each station, from rows before calibration, shape (S,).
    """
    noise = tuple(float(v) for v in noise_mm)
    return StagedEwa("ewa-by-stage", ewa.steps, ewa.members, ewa.first, noise, spans_of(panel.step_s))


def spans_of(step_s: float) -> tuple[int, int]:
    """Rows of the short and the long velocity."""
    return max(2, round(SHORT_DAYS * DAY_S / step_s)), max(2, round(LONG_DAYS * DAY_S / step_s))


def find_stages(values: Floats, rows: Ints, noise_mm: Floats, spans: Sequence[int]) -> Ints:
    """0 quiet, 1 steady, 2 rushing for each row and station, shape (N, S), from rows up to it."""
    short, long = spans
    found = trailing(values, rows, (short, long))
    fast, slow = np.abs(found[short].slope), np.abs(found[long].slope)
    moves = fast * short > CLEAR * noise_mm
    rushes = moves & (fast > RUSH * slow)
    return np.where(rushes, RUSHING, np.where(moves, STEADY, QUIET)).astype(np.int64)


def _follow(made: Floats, errors: Floats, stage: Ints, steps: int) -> Floats:
    """The average at every row; forecasts and errors (experts, rows, stations), stages (rows, stations)."""
    experts, rows, stations = made.shape
    column = np.arange(stations)
    out = np.full((rows, stations), np.nan)
    loss, count = np.zeros((3, experts, stations)), np.zeros((3, experts, stations))
    for t in range(rows):
        if t >= steps:
            fresh, then = errors[:, t - steps], stage[t - steps]
            known = np.isfinite(fresh)
            keep = np.where(known, DISCOUNT, 1.0)
            loss[then, :, column] = (keep * loss[then, :, column].T + np.where(known, fresh, 0.0)).T
            count[then, :, column] = (keep * count[then, :, column].T + known).T
        own, seen = loss[stage[t], :, column].T, count[stage[t], :, column].T
        total, times = loss.sum(axis=0), count.sum(axis=0)
        usual = total / np.maximum(times, 1e-12)
        mean = np.where(times > 0, (own + BORROWED * usual) / (seen + BORROWED), np.nan)
        out[t] = _mix(made[:, t], mean)
    return out


def _mix(made: Floats, mean: Floats) -> Floats:
    """Weights `exp(-30 (L / Lmin - 1))` over those that answer and were judged; all alike before any was."""
    answers = np.isfinite(made)
    judged = np.isfinite(mean) & answers
    best = np.where(judged, mean, np.inf).min(axis=0)
    plain = ~np.isfinite(best) | (best <= 0)
    ratio = np.where(judged, mean, 1.0) / np.where(plain, 1.0, best)
    weight = np.where(judged, np.exp(-SHARPNESS * np.maximum(ratio - 1.0, 0.0)), 0.0)
    weight = np.where(plain, answers.astype(np.float64), weight)
    total = weight.sum(axis=0)
    mixed = (weight * np.where(answers, made, 0.0)).sum(axis=0)
    return np.asarray(np.where(total > 0, mixed / np.where(total > 0, total, 1.0), np.nan))

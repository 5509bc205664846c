"""An average of experts whose weights depend on how the slope moves: who is right in creep may be wrong in a rush."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.windows import targets, trailing
from forecasting.simple.averaging import DISCOUNT, SHARPNESS, Ewa
from forecasting.simple.baselines import Baseline

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
class StagedEwa:
    """`Ewa` that keeps the errors of each expert apart by the stage at issue.

    Attributes:
        name: Model id.
        steps: Horizons in rows.
        members: The experts.
        first: Row from which the weights are learnt.
        noise_mm: Noise of each station before that row, shape (S,).
        spans: Rows of the short and the long velocity.
    """

    name: str
    steps: tuple[int, ...]
    members: tuple[Baseline, ...]
    first: int
    noise_mm: tuple[float, ...]
    spans: tuple[int, int]

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); reads no row after an origin."""
        out = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        if not origins.size:
            return out
        last = int(origins.max())
        rows = np.arange(min(self.first, int(origins.min())), last + 1, dtype=np.int64)
        seen = values[: last + 1]
        stage = find_stages(seen, rows, np.asarray(self.noise_mm), self.spans)
        made = np.stack([member.predict(seen, rows) for member in self.members])
        for i, h in enumerate(self.steps):
            errors = np.abs(targets(seen, rows, h) - made[..., i])
            out[:, :, i] = _follow(made[..., i], errors, stage, h)[origins - rows[0]]
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        members = [m.to_json() for m in self.members]
        return {"name": self.name, "steps": list(self.steps), "first": self.first, "members": members}


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

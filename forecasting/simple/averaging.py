"""Averages of simple forecasts: a median, and one whose weights follow each expert's recent errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import known_median, targets
from forecasting.simple.arima import fit_arima
from forecasting.simple.baselines import DAMPING, DEFAULT, Baseline, choose_level_drift, fit_lld, fit_persistence
from forecasting.simple.ets import fit_ets
from forecasting.simple.lad import fit_lad
from forecasting.simple.ridge import fit_ridge

SHARPNESS = 30.0
DISCOUNT = 0.98
WARM_UP_ROWS = 150  # rows before calibration over which the weights settle: by then an error counts for 5 %


@dataclass(frozen=True, slots=True)
class Median:
    """The median of its members, over those that answer: one that runs away moves it by a rank, not by its size."""

    name: str  # model id
    steps: tuple[int, ...]  # horizons in rows
    members: tuple[Baseline, ...]  # the fitted members

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
        return self.join([member.predict(values, origins) for member in self.members])

    def join(self, made: Sequence[Floats]) -> Floats:
        """The same from what its members answer."""
        return known_median(np.stack(made))


@dataclass(frozen=True, slots=True)
class Ewa:
    """Exponentially weighted average of experts per station and horizon (Cesa-Bianchi and Lugosi 2006).

    Weight `exp(-30 (L / Lmin - 1))` with L the mean |error| of an expert, an error k answers old counting 0.98^k. An
    error is known only when its target is: feedback comes one horizon late. An expert that does not answer has no
    weight; before any feedback all weigh alike.
    """

    name: str  # model id
    steps: tuple[int, ...]  # horizons in rows
    members: tuple[Baseline, ...]  # the fitted experts
    first: int  # row from which the weights are learnt

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); runs from row `first`, or from the first origin asked for."""
        if not origins.size:
            return np.empty((0, values.shape[1], len(self.steps)))
        last = int(origins.max())
        rows = np.arange(min(self.first, int(origins.min())), last + 1, dtype=np.int64)
        seen = values[: last + 1]
        every = self.join(seen, rows, [member.predict(seen, rows) for member in self.members])
        return np.asarray(every[origins - rows[0]])

    def join(self, values: Floats, rows: Ints, made: Sequence[Floats]) -> Floats:
        """The same from what its experts answer at consecutive rows, of which the first begins the learning."""
        experts = np.stack(made)
        out = np.empty(made[0].shape)
        for i, h in enumerate(self.steps):
            errors = np.abs(targets(values, rows, h) - experts[..., i])
            out[:, :, i] = _follow(experts[..., i], errors, h)
        return out


def _follow(made: Floats, errors: Floats, steps: int) -> Floats:
    experts, rows, stations = made.shape
    out = np.full((rows, stations), np.nan)
    loss, count = np.zeros((experts, stations)), np.zeros((experts, stations))
    for t in range(rows):
        if t >= steps:
            fresh = errors[:, t - steps]
            known = np.isfinite(fresh)
            # the discount counts answers that could be judged, so that a gap does not wipe out what was learnt
            keep = np.where(known, DISCOUNT, 1.0)
            loss = keep * loss + np.where(known, fresh, 0.0)
            count = keep * count + known
        answers = np.isfinite(made[:, t])
        mean = np.where(count > 0, loss / np.maximum(count, 1e-12), np.nan)
        judged = np.isfinite(mean) & answers
        best = np.where(judged, mean, np.inf).min(axis=0)
        ratio = np.where(judged, mean, best) / np.where(np.isfinite(best) & (best > 0), best, 1.0)
        plain = ~np.isfinite(best) | (best <= 0)
        weight = np.where(judged, np.exp(-SHARPNESS * np.maximum(np.where(plain, 1.0, ratio) - 1.0, 0.0)), 0.0)
        weight = np.where(plain, answers.astype(np.float64), weight)
        total = weight.sum(axis=0)
        mixed = (weight * np.where(answers, made[:, t], 0.0)).sum(axis=0)
        out[t] = np.where(total > 0, mixed / np.where(total > 0, total, 1.0), np.nan)
    return out


def take_median(fitted: Mapping[str, Baseline]) -> Median:
    """`median5` of forecasts that are fitted already."""
    members = tuple(fitted[name] for name in ("persistence", "lld", "lad", "arima", "ets"))
    return Median("median5", members[0].steps, members)


def fit_damped(panel: Panel, calibration: Block, steps: Sequence[int]) -> Baseline:
    """The last value and a slope whose length and damping are chosen per horizon: an expert of `ewa`."""
    default = (1, *DEFAULT[1:])
    return choose_level_drift("damped-drift", panel, calibration, steps, levels=(1,), dampings=DAMPING, default=default)


def fit_median5(panel: Panel, calibration: Block, steps: Sequence[int]) -> Median:
    """The median of persistence, lld, the least absolute regression, ARIMA and ETS."""
    return take_median({one.name: one for one in _fit_experts(panel, calibration, steps)})


def take_ewa(fitted: Mapping[str, Baseline], damped: Baseline, calibration: Block) -> Ewa:
    """`ewa` of forecasts that are fitted already; its weights are learnt from 150 rows before calibration on."""
    experts = (*(fitted[name] for name in ("persistence", "lld", "lad", "arima", "ets", "ridge")), damped)
    return Ewa("ewa", damped.steps, experts, max(0, calibration.first - WARM_UP_ROWS))


def fit_ewa(panel: Panel, calibration: Block, steps: Sequence[int]) -> Ewa:
    """The online average of persistence, lld, damped drift, the least absolute regression, ARIMA, ETS and ridge."""
    fitted = {one.name: one for one in _fit_experts(panel, calibration, steps)}
    return take_ewa(fitted, fitted["damped-drift"], calibration)


def _fit_experts(panel: Panel, calibration: Block, steps: Sequence[int]) -> list[Baseline]:
    rows = Block(0, calibration.end)
    fits = (fit_persistence, fit_lld, fit_damped, fit_lad, fit_arima, fit_ets, fit_ridge)
    return [fit(panel, calibration if fit in {fit_lld, fit_damped} else rows, steps) for fit in fits]

"""Chooses, on past data only, the simple forecast that a site and horizon ask for."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.arima import fit_arima
from forecasting.averaging import combine, fit_damped, fit_members
from forecasting.baselines import Baseline, fit_climatology, fit_drift, fit_lld, fit_persistence, fit_seasonal
from forecasting.metrics import mae
from forecasting.regression import fit_ridge
from forecasting.series import Floats, Ints, Panel
from forecasting.smoothing import fit_ets
from forecasting.splits import Block

MINIMUM_PAIRS = 30
CAUTION = 0.1
"""A candidate takes the place of lld only when its error is lower by `0.1 sqrt(h / rows of calibration)`: 0.7 % a day
ahead, 4 % a month ahead. A calibration block holds a handful of independent months, and a seasonal forecast that won
by 2 % there lost by 33 % afterwards (benchmark K, 30 d)."""
MANY_STATIONS = 500
"""Above this many stations (satellite points) only the forecasts without a fit per station are candidates."""
FITTED = ("arima", "ets", "ridge", "mean3", "ewa")
"""Learnt from every row they are given, so that their error on those rows would flatter them."""
MINIMUM_BEFORE = 20
_KEPT = 4
Fit = Callable[[Panel, Block, Sequence[int]], Baseline]
_recent: dict[str, "Auto"] = {}


@dataclass(frozen=True, slots=True)
class Auto:
    """Per horizon the simple forecast with the lowest error on calibration.

    Attributes:
        name: Model id.
        steps: Horizons in rows.
        members: The fitted candidates.
        chosen: Name of the member used, per horizon.
        errors_mm: Calibration MAE per member and horizon.
    """

    name: str
    steps: tuple[int, ...]
    members: tuple[Baseline, ...]
    chosen: tuple[str, ...]
    errors_mm: dict[str, tuple[float, ...]]

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); where the chosen member knows nothing, `lld` steps in."""
        made = {m.name: m.predict(values, origins) for m in self.members if m.name in {*self.chosen, "lld"}}
        out = np.stack([made[name][:, :, i] for i, name in enumerate(self.chosen)], axis=2)
        return np.where(np.isfinite(out), out, made["lld"])

    def member(self, name: str) -> Baseline | None:
        """The candidate of that name."""
        return next((m for m in self.members if m.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "name": self.name,
            "steps": list(self.steps),
            "chosen": list(self.chosen),
            "errors_mm": {name: list(errors) for name, errors in self.errors_mm.items()},
            "members": [member.to_json() for member in self.members],
        }


@dataclass(frozen=True, slots=True)
class Halves:
    """Two fits of one kind: the first answers before row `cut`, the second from there on. For judging alone."""

    first: Baseline
    second: Baseline
    cut: int

    @property
    def name(self) -> str:
        """Model id."""
        return self.first.name

    @property
    def steps(self) -> tuple[int, ...]:
        """Horizons in rows."""
        return self.first.steps

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
        before = (origins < self.cut)[:, None, None]
        return np.where(before, self.first.predict(values, origins), self.second.predict(values, origins))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"name": self.name, "first": self.first.to_json(), "second": self.second.to_json(), "cut": self.cut}


def fit_auto(panel: Panel, calibration: Block, steps: Sequence[int]) -> Auto:
    """Fit every other baseline and choose per horizon by MAE on the pairs that the candidate and `lld` both know.

    No candidate is judged on rows it has seen (`_unflattered`); it is served as fitted on all rows up to their end.
    `lld` stands unless another is better by more than chance allows (`CAUTION`). One that answers fewer than half of
    the pairs, or with too few pairs to judge, is not chosen, nor a yearly one that was judged over less than a whole
    year: one summer with an event makes any memory of the year before look good, or bad.
    """
    key = _digest(panel, calibration, steps)
    if key not in _recent:
        while len(_recent) >= _KEPT:
            _recent.pop(next(iter(_recent)))
        _recent[key] = _choose(panel, calibration, steps)
    return _recent[key]


def fit_candidates(panel: Panel, calibration: Block, steps: Sequence[int]) -> dict[str, Baseline]:
    """Every baseline but `auto`, those with a fit per station only where there are at most 500 stations."""
    simple = (fit_persistence, fit_drift, fit_lld, fit_seasonal, fit_climatology)
    out = {one.name: one for one in (fit(panel, calibration, steps) for fit in simple)}
    return out | (fit_members(panel, calibration, steps) if len(panel.stations) <= MANY_STATIONS else {})


def _choose(panel: Panel, calibration: Block, steps: Sequence[int]) -> Auto:
    members = fit_candidates(panel, calibration, steps)
    origins = calibration.origins
    judged = _unflattered(members, panel, calibration, steps)
    made = {name: member.predict(panel.values, origins) for name, member in judged.items()}
    chosen: list[str] = []
    errors: dict[str, list[float]] = {name: [] for name in made}
    for i, h in enumerate(steps):
        observed = calibration.targets(panel.values, origins, h)
        known = np.isfinite(observed) & np.isfinite(made["lld"][:, :, i])
        reference = observed - made["lld"][:, :, i]
        best, ratio = "lld", 1.0 - CAUTION * float(np.sqrt(min(1.0, h / max(1, origins.size))))
        for name in made:
            error = np.where(known, observed - made[name][:, :, i], np.nan)
            both = np.isfinite(error)
            errors[name].append(mae(error))
            if name == "lld" or known.sum() < MINIMUM_PAIRS or both.sum() < known.sum() / 2:
                continue
            if both.any(axis=1).sum() < getattr(members[name], "period", 0):
                continue
            against = mae(reference[both])
            relative = mae(error) / against if against > 0 else 1.0
            if relative < ratio:
                best, ratio = name, relative
        chosen.append(best)
    fitted = {name: tuple(e) for name, e in errors.items()}
    return Auto("auto", tuple(steps), tuple(members.values()), tuple(chosen), fitted)


def _unflattered(
    members: Mapping[str, Baseline], panel: Panel, calibration: Block, steps: Sequence[int]
) -> dict[str, Baseline]:
    """Stand-ins of the candidates that have not seen the rows on which they are judged.

    What learns from every row learns from those before calibration; what is chosen on calibration answers in each half
    as chosen on the other.
    """
    cut = (calibration.first + calibration.end) // 2
    early, late = Block(calibration.first, cut), Block(cut, calibration.end)

    def halved(fit: Fit) -> Baseline:
        return Halves(fit(panel, late, steps), fit(panel, early, steps), cut)

    out = {name: member for name, member in members.items() if name not in FITTED}
    out |= {"lld": halved(fit_lld), "drift": halved(fit_drift)}
    if calibration.first >= MINIMUM_BEFORE and any(name in members for name in FITTED):
        before = Block(0, calibration.first)
        learnt = [fit(panel, before, steps) for fit in (fit_arima, fit_ets, fit_ridge)]
        experts = [members["persistence"], out["lld"], halved(fit_damped), *learnt]
        out |= combine(experts, calibration)
    return out


def _digest(panel: Panel, calibration: Block, steps: Sequence[int]) -> str:
    """What the choice depends on: the same rows, block and horizons give the same answer."""
    known = np.ascontiguousarray(panel.values[: calibration.end])
    facts = (panel.step_s, panel.stations, known.shape, calibration, tuple(steps))
    return hashlib.sha256(repr(facts).encode() + known.tobytes()).hexdigest()

"""Chooses, on past data only, the simple forecast that a site and horizon ask for."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.metrics import mae
from forecasting.simple.arima import fit_arima
from forecasting.simple.averaging import combine, fit_damped, fit_members
from forecasting.simple.baselines import Baseline, fit_climatology, fit_drift, fit_lld, fit_persistence, fit_seasonal
from forecasting.simple.ets import fit_ets
from forecasting.simple.lad import fit_lad
from forecasting.simple.ridge import fit_ridge

MINIMUM_PAIRS = 30
STANDARD = "median5"
"""Stands unless another is better by more than chance allows; with very many stations, where it is not made, `lld`."""
CAUTION = 0.5
"""A candidate takes the place of the standard only when its error is lower by half a standard error of the difference.
A calibration block holds a handful of independent months: a seasonal forecast that won there by 2 % lost by 33 %
afterwards (benchmark K, 30 d)."""
MANY_STATIONS = 500
"""Above this many stations (satellite points) only the forecasts without a fit per station are candidates."""
FITTED = ("lad", "arima", "ets", "ridge", "mean3", "median3", "median5", "ewa")
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
        seconds: What fitting all members and choosing took.
    """

    name: str
    steps: tuple[int, ...]
    members: tuple[Baseline, ...]
    chosen: tuple[str, ...]
    errors_mm: dict[str, tuple[float, ...]]
    seconds: float = field(default=0.0, compare=False)

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
    `median5` stands unless another is better by more than chance allows (`CAUTION`). One that answers fewer than half
    of the pairs, or with too few pairs to judge, is not chosen, nor a yearly one that was judged over less than a whole
    year: one summer with an event makes any memory of the year before look good, or bad.
    """
    key = _digest(panel, calibration, steps)
    if key not in _recent:
        while len(_recent) >= _KEPT:
            _recent.pop(next(iter(_recent)))
        begun = time.perf_counter()
        chosen = _choose(panel, calibration, steps)
        _recent[key] = replace(chosen, seconds=time.perf_counter() - begun)
    return _recent[key]


def fit_candidates(panel: Panel, calibration: Block, steps: Sequence[int]) -> dict[str, Baseline]:
    """Every baseline but `auto`; above 500 stations only those without a fit per station."""
    simple = (fit_persistence, fit_drift, fit_lld, fit_seasonal, fit_climatology)
    out = {one.name: one for one in (fit(panel, calibration, steps) for fit in simple)}
    if len(panel.stations) > MANY_STATIONS:
        return out | {"lad": fit_lad(panel, calibration, steps)}
    return out | fit_members(panel, calibration, steps)


def _choose(panel: Panel, calibration: Block, steps: Sequence[int]) -> Auto:
    members = fit_candidates(panel, calibration, steps)
    origins = calibration.origins
    judged = _unflattered(members, panel, calibration, steps)
    made = {name: member.predict(panel.values, origins) for name, member in judged.items()}
    standard = STANDARD if STANDARD in made else "lld"
    chosen: list[str] = []
    errors: dict[str, list[float]] = {name: [] for name in made}
    for i, h in enumerate(steps):
        observed = calibration.targets(panel.values, origins, h)
        known = np.isfinite(observed) & np.isfinite(made["lld"][:, :, i])
        missed = {name: np.where(known, np.abs(observed - one[:, :, i]), np.nan) for name, one in made.items()}
        best, lowest = standard, 0.0
        for name, error in missed.items():
            errors[name].append(mae(error))
            both = np.isfinite(error)
            if name == standard or known.sum() < MINIMUM_PAIRS or both.sum() < known.sum() / 2:
                continue
            if both.any(axis=1).sum() < getattr(members[name], "period", 0):
                continue
            gap = cautious_gap(error, missed[standard], h)
            if gap < lowest:
                best, lowest = name, gap
        chosen.append(best)
    fitted = {name: tuple(e) for name, e in errors.items()}
    return Auto("auto", tuple(steps), tuple(members.values()), tuple(chosen), fitted)


def cautious_gap(error: Floats, other: Floats, steps: int) -> float:
    """Mean excess of one |error| over another plus half a standard error of that mean, as a share of the other.

    Errors `steps` rows ahead overlap, so the spread of the mean is summed over so many rows (Bartlett weights; Newey
    and West 1987), stations averaged first.

    Args:
        error: |error| of the candidate, shape (N, S), NaN where unknown.
        other: The same of the one that it must beat.
        steps: Horizon in rows.
    """
    both = np.isfinite(error) & np.isfinite(other)
    count = both.sum(axis=1)
    rows = count > 0
    against = float(other[both].mean()) if rows.any() else 0.0
    if against <= 0.0:
        return 0.0
    gaps = (np.where(both, error - other, 0.0).sum(axis=1)[rows]) / count[rows]
    middle = gaps - gaps.mean()
    reach = min(steps - 1, gaps.size - 1)
    spread = float(middle @ middle)
    for lag in range(1, reach + 1):
        spread += 2.0 * (1.0 - lag / (reach + 1)) * float(middle[lag:] @ middle[:-lag])
    return float((gaps.mean() + CAUTION * np.sqrt(max(spread, 0.0)) / gaps.size) / against)


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
    if calibration.first < MINIMUM_BEFORE:
        return out
    before = Block(0, calibration.first)
    if len(panel.stations) > MANY_STATIONS:
        out["lad"] = fit_lad(panel, before, steps)
    else:
        learnt = [fit(panel, before, steps) for fit in (fit_lad, fit_arima, fit_ets, fit_ridge)]
        experts = [members["persistence"], out["lld"], halved(fit_damped), *learnt]
        out |= combine(experts, calibration)
    return out


def _digest(panel: Panel, calibration: Block, steps: Sequence[int]) -> str:
    """What the choice depends on: the same rows, block and horizons give the same answer."""
    known = np.ascontiguousarray(panel.values[: calibration.end])
    facts = (panel.step_s, panel.stations, known.shape, calibration, tuple(steps))
    return hashlib.sha256(repr(facts).encode() + known.tobytes()).hexdigest()

"""Decides, on data the network has not learnt from, how much of it is used and whether it is shown at all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from forecasting.data.series import Floats, horizon_key
from forecasting.metrics import cautious_gap, coverage, mae, or_none, skill
from forecasting.reasons import Reason, Value, reason_to_json
from forecasting.registry import BASELINES
from forecasting.serving.experience import is_outside
from forecasting.serving.promotion import COVERAGE_80, COVERAGE_95, WORST_STATION_80
from forecasting.serving.quantiles import bounds, quantile_loss
from forecasting.serving.records import KINEMATIC, Forecast, not_shown

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
BLOCKS = 3
MINIMUM_ORIGINS = 30
LEAST_GAIN = 0.03
"""Smaller gains of a calibration block, which holds a handful of independent weeks, did not last: of 1 to 2 % on SK
nothing was left in its last half year, and 1 to 4 % were lost."""
WORST_BLOCK = -0.05
WORST_BLOCK_ROWS = 250
"""The -5 % was set for tests of about 250 issue times; the limit of a shorter block grows as its noise does."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What calibration says about one network at one horizon."""

    shown: bool  # whether the blend may be shown as the forecast
    reason: Reason
    weight: float  # share of the network in `weight * network + (1 - weight) * best`
    baseline: str  # the best simple forecast on calibration
    skill: float | None  # 1 - `mae_mm` / `baseline_mae_mm`
    score_mm: float | None  # mean score of the whole fan of the blend (`quantile_loss`): what it is judged by
    baseline_score_mm: float | None  # that of the best baseline, on the same pairs
    block_skills: tuple[float, ...]  # 1 - score / score of the best baseline on each third of the block
    mae_mm: float | None  # calibration MAE of the blend
    baseline_mae_mm: float | None  # calibration MAE of the best baseline, on the same pairs
    coverage_80: float | None  # share inside the 80 % interval
    worst_80: float | None  # the same for the worst station
    coverage_95: float | None  # share inside the 95 % interval
    origins: int  # issue times judged

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"block_skills": list(self.block_skills), "reason": reason_to_json(self.reason)}


def blend_weight(observed: Floats, simple: Floats, network: Floats) -> float:
    """The weight with the lowest MAE; ties go to the smaller weight, no pair at all gives 0."""
    errors = [mae(observed - (weight * network + (1.0 - weight) * simple)) for weight in WEIGHTS]
    return WEIGHTS[int(np.argmin(errors))] if np.isfinite(errors).all() else 0.0


def weight_of(gates: Mapping[str, Any], horizon_s: float) -> float:
    """How much of a network its gate takes at a horizon: 0 none, 1 the network alone."""
    return float(gates.get(horizon_key(horizon_s), {}).get("weight", 0.0))


def block_skills(score: Floats, other: Floats) -> tuple[float, ...]:
    """Skill over the best baseline on each third of the calibration block, in order of time.

    Args:
        score: Of each forecast, NaN where it is unknown, shape (N, S), rows in order of time.
        other: Of the best baseline, NaN at the same places.
    """
    judged = np.flatnonzero(np.isfinite(score).any(axis=1))
    skills = [skill(mae(score[part]), mae(other[part])) for part in np.array_split(judged, BLOCKS)]
    return tuple(value for value in skills if np.isfinite(value))


def decide(
    observed: Floats, quantiles: Floats, best: Floats, *, weight: float, baseline: str, horizon_s: float, steps: int = 1
) -> Gate:
    """Judge one network at one horizon on its calibration block.

    `steps`: the horizon in rows: errors of overlapping forecasts are not that many independent ones.
    """
    score, other = quantile_loss(quantiles, observed), quantile_loss(best, observed)
    pairs = np.isfinite(score) & np.isfinite(other)
    score, other, seen = (np.where(pairs, one, np.nan) for one in (score, other, observed))
    origins = int(pairs.any(axis=1).sum())
    cover, worst = coverage(*bounds(quantiles, 0.8), seen)
    own_mae, other_mae = mae(seen - quantiles[..., 2]), mae(seen - best[..., 2])
    gain = skill(mae(score), mae(other))
    shown: dict[str, Value] = {"baseline": baseline, "gain": gain, "horizon": horizon_s, "share": cover}
    gate = Gate(
        shown=True,
        reason=Reason("gate.shown", shown),
        weight=weight,
        baseline=baseline,
        skill=or_none(skill(own_mae, other_mae)),
        score_mm=or_none(mae(score)),
        baseline_score_mm=or_none(mae(other)),
        block_skills=block_skills(score, other) if origins >= MINIMUM_ORIGINS else (),
        mae_mm=or_none(own_mae),
        baseline_mae_mm=or_none(other_mae),
        coverage_80=or_none(cover),
        worst_80=or_none(worst),
        coverage_95=or_none(coverage(*bounds(quantiles, 0.95), seen)[0]),
        origins=origins,
    )
    fault = _find_fault(gate, cautious_gap(score, other, steps), horizon_s)
    return gate if fault is None else replace(gate, shown=False, reason=fault)


def choose_shown(rows: Sequence[Forecast]) -> list[Forecast]:
    """Mark exactly one row per station and horizon as the forecast that is shown.

    The kinematic one, which is there only where the present lies outside what calibration saw; else the network that
    may be shown and has the highest skill; where there is none the best baseline at hand: `auto`, then the one that
    the row names as best, then lld, persistence, drift, seasonal. Where only closed networks answered, or all that
    answered lie outside, nothing is shown. Each model brings its own kinematic row: that of the one which would be
    shown in its place stays. Besides `shown` and `reason` nothing of a row is changed.
    """
    groups: dict[tuple[str, float], list[Forecast]] = {}
    for row in rows:
        groups.setdefault((row.station, row.horizon_s), []).append(row)
    groups = {key: _keep_one_kinematic(group) for key, group in groups.items()}
    winners = {key: max(group, key=_merit) for key, group in groups.items()}
    kept = {id(row) for group in groups.values() for row in group}
    out = []
    for row in rows:
        if id(row) not in kept:
            continue
        winner = winners[row.station, row.horizon_s]
        shown = row is winner and _merit(winner)[0] >= 0
        another = not_shown(Reason("gate.another", {"model": winner.model}))
        out.append(replace(row, shown=shown, reason=another if row.shown and not shown else row.reason))
    return out


def _keep_one_kinematic(group: Sequence[Forecast]) -> list[Forecast]:
    others = [row for row in group if row.model != KINEMATIC]
    inside = max(others, key=_merit_inside).model if others else None
    first = max((row for row in group if row.model == KINEMATIC), key=lambda row: row.replaces == inside, default=None)
    return [row for row in group if row.model != KINEMATIC or row is first]


_BASELINE_ORDER = (
    *(name for name in BASELINES if name not in {"auto", "seasonal", "drift", "persistence", "lld"}),
    *("seasonal", "drift", "persistence"),
    "lld",
)


def _merit(row: Forecast) -> tuple[int, float]:
    """(2, 0) for a kinematic forecast, (-1, 0) for what lies outside experience, else as inside."""
    if row.model == KINEMATIC:
        return 2, 0.0
    return (-1, 0.0) if row.outside else _merit_inside(row)


def _merit_inside(row: Forecast) -> tuple[int, float]:
    """(1, skill) for an open network, (0, rank) for a baseline, (-1, 0) for a closed network."""
    most = len(_BASELINE_ORDER)
    if row.model == "auto":
        return 0, float(most + 1)
    if row.model in _BASELINE_ORDER:
        return 0, float(most if row.model == row.baseline else _BASELINE_ORDER.index(row.model))
    return (1, row.skill or 0.0) if row.shown or is_outside(row.reason) else (-1, 0.0)


def _find_fault(gate: Gate, gap: float, horizon_s: float) -> Reason | None:
    """The first reason not to show the network, or None; `gap` is `metrics.cautious_gap` of blend and baseline.

    An interval that is too wide costs in the score, and the next errors narrow it: only one too narrow is refused.
    """
    skills, origins, baseline = gate.block_skills, gate.origins, gate.baseline
    figures = (gate.score_mm, gate.baseline_score_mm, gate.coverage_80, gate.worst_80, gate.coverage_95)
    own, other, cover, worst, cover_95 = (float("nan") if one is None else one for one in figures)
    compared: dict[str, Value] = {"baseline": baseline, "horizon": horizon_s}
    if origins < MINIMUM_ORIGINS:
        return Reason("gate.few", {"n": origins, "horizon": horizon_s, "needed": MINIMUM_ORIGINS})
    if gate.weight == 0.0:
        return Reason("gate.nothing", compared)
    if not own < other:
        return Reason("gate.not_below", {**compared, "score": own, "other": other})
    if not gap < 0.0:
        return Reason("gate.not_clear", {**compared, "score": own, "other": other})
    if (gain := skill(own, other)) < LEAST_GAIN:
        return Reason("gate.small", {**compared, "gain": gain, "needed": LEAST_GAIN})
    if sum(value > 0 for value in skills) < 2 or len(skills) < BLOCKS:
        won = sum(value > 0 for value in skills)
        return Reason("gate.few_blocks", {**compared, "n": won, "blocks": BLOCKS})
    limit = WORST_BLOCK * float(np.sqrt(max(1.0, WORST_BLOCK_ROWS * BLOCKS / origins)))
    if min(skills) <= limit:
        return Reason("gate.bad_block", {**compared, "share": -min(skills)})
    if not cover >= COVERAGE_80:
        return Reason("gate.cover_80", {"share": cover, "horizon": horizon_s})
    if not worst >= WORST_STATION_80:
        return Reason("gate.worst_80", {"share": worst, "horizon": horizon_s})
    if not cover_95 >= COVERAGE_95:
        return Reason("gate.cover_95", {"share": cover_95, "horizon": horizon_s})
    return None

"""Settings of a network beside each other: each learns from the past, and is scored on rows that no verdict rests on.

The gate judges a network on the calibration block of its record, the newest fifth. A grid sees the rows before it
alone: it learns from their beginning and is scored on their newest fifth.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from forecasting.data.series import Floats, Panel
from forecasting.data.splits import split
from forecasting.errors import NotEnoughDataError
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.resampling import block_bootstrap
from forecasting.evaluation.scoring import Trial
from forecasting.message import Message
from forecasting.serving.records import HorizonErrors

IN_USE: Final = 0  # the place of the settings in use among those of a grid
DRAWS: Final = 9999  # at least, and
DRAWS_EACH: Final = 200  # for each comparison: five lie beyond either end of the widest interval


@dataclass(frozen=True, slots=True)
class GridRow:
    """One setting at one horizon.

    Attributes:
        cell: Its place in the grid.
        horizon_s: Horizon in seconds.
        n: Issue times.
        mae_mm: Mean absolute error.
        persistence_mae_mm: The same of persistence.
        simple_mae_mm: The same of the simple forecast.
        over_persistence_mm: Interval of the difference to persistence; below 0: better. None: too few blocks.
        over_use_mm: The same to the settings in use, and None for these themselves.
    """

    cell: int
    horizon_s: float
    n: int
    mae_mm: float
    persistence_mae_mm: float
    simple_mae_mm: float
    over_persistence_mm: tuple[float, float] | None
    over_use_mm: tuple[float, float] | None


def score_settings(
    panel: Panel, model: str, horizons_s: Sequence[float], settings: Mapping[str, Any], seed: int
) -> tuple[HorizonErrors, ...]:
    """Train a network on the past of a record and score it on the validation part.

    Args:
        panel: The whole record; of its calibration block nothing is read.
        model: Id of the network.
        horizons_s: Horizons in seconds; one that the record is too short for is left out.
        settings: Of `forecasting.neural.learner.Settings`.
        seed: Of the first weights.

    Raises:
        ForecastingError: The record is too short, or the network does not fit it.
    """
    before = panel.head(split(panel.values.shape[0]).calibration.first)
    told: list[str] = []
    trials = [*run_trials(
        before, [model, "auto"], horizons_s, folds=1, seed=seed, training=settings, on_progress=told.append
    )]  # fmt: skip
    found = [one for trial in trials if (one := _errors(trial, model)) is not None]
    if not found:
        why = next((str(line.values["text"]) for line in reversed(told) if isinstance(line, Message)), "")
        raise NotEnoughDataError(why or f"{model} answered at no horizon")
    return tuple(found)


def _errors(trial: Trial, model: str) -> HorizonErrors | None:
    """Errors on the targets that all three answer; None where there is no such target."""
    wanted = {"network": (model, "blend"), "persistence": ("persistence", "plain"), "simple": ("auto", "plain")}
    points: dict[str, Floats] = {}
    for name, (who, variant) in wanted.items():
        for answer in trial.answers:
            if (answer.model, answer.variant) == (who, variant):
                points[name] = answer.point
    if len(points) < len(wanted):
        return None
    off = {name: np.abs(point - trial.observed) for name, point in points.items()}
    known = np.logical_and.reduce([np.isfinite(one) for one in off.values()])
    count = known.sum(axis=1)
    if not count.any():
        return None
    means = {
        name: tuple(
            float(total) / int(n) if n else None
            for total, n in zip(np.where(known, one, 0).sum(axis=1), count, strict=True)
        )
        for name, one in off.items()
    }
    return HorizonErrors(trial.horizon_s, trial.steps, **means)


def compare_settings(cells: Sequence[Sequence[HorizonErrors]]) -> list[GridRow]:
    """The table of a grid; its first cell are the settings in use.

    The intervals are of 95 % for all settings and horizons together: each is as much wider as there are comparisons
    with the settings in use (Bonferroni).
    """
    use = {one.horizon_s: one for one in cells[IN_USE]}
    comparisons = max(1, sum(len(cell) for number, cell in enumerate(cells) if number != IN_USE))
    rows = []
    for number, cell in enumerate(cells):
        for one in cell:
            network, persistence, simple = (_array(part) for part in (one.network, one.persistence, one.simple))
            other = use.get(one.horizon_s)
            rows.append(
                GridRow(
                    number, one.horizon_s, int(np.isfinite(network).sum()), _mean(network), _mean(persistence),
                    _mean(simple), _interval(network - persistence, one.steps, comparisons),
                    None if number == IN_USE or other is None
                    else _interval(network - _array(other.network), one.steps, comparisons),
                )
            )  # fmt: skip
    return rows


def choose_settings(rows: Sequence[GridRow]) -> int | None:
    """The cell that is better than the settings in use by more than chance; None where there is none.

    It has the least error, relative to persistence and over all horizons, of those that answer at all of them. Its
    interval lies below 0 at one horizon at least, and above 0 at none.
    """
    horizons = {row.horizon_s for row in rows}
    of_cell: dict[int, list[GridRow]] = {}
    for row in rows:
        of_cell.setdefault(row.cell, []).append(row)
    shares = {
        cell: sum(row.mae_mm / row.persistence_mae_mm for row in mine) / len(mine) for cell, mine in of_cell.items()
        if {row.horizon_s for row in mine} == horizons and all(row.n and row.persistence_mae_mm > 0 for row in mine)
    }  # fmt: skip
    best = min(shares, key=lambda cell: (shares[cell], cell), default=IN_USE)
    ends = [row.over_use_mm for row in of_cell.get(best, ()) if row.over_use_mm is not None]
    is_better = any(high < 0.0 for _, high in ends) and not any(low > 0.0 for low, _ in ends)
    return best if best != IN_USE and is_better else None


def _array(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _interval(values: Floats, steps: int, comparisons: int) -> tuple[float, float] | None:
    if not np.isfinite(values).any():
        return None
    draws = max(DRAWS, DRAWS_EACH * comparisons)
    return block_bootstrap(values, steps, level=1.0 - 0.05 / comparisons, draws=draws)

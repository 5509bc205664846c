"""Scores of models on a test fold: over all stations, by station, by month and by stage of motion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, MONTH_S, Floats, Ints
from forecasting.evaluation.distribution import STAGES
from forecasting.evaluation.significance import diebold_mariano
from forecasting.metrics import coverage, mae, mape, pinball, rmse, skill, winkler
from forecasting.registry import SIMPLE_FORECASTS
from forecasting.serving.quantiles import QUANTILES, select_interval

REFERENCES = SIMPLE_FORECASTS
# Names of attributes of `Score` in JSON, if they differ.
_JSON_NAMES = {
    "mae_mm": "mae",
    "rmse_mm": "rmse",
    "bias_mm": "bias",
    "skill_best": "skill_best_baseline",
    "baseline": "best_baseline",
    "dm_best": "dm_best_baseline",
    "seconds": "train_s",
}


@dataclass(frozen=True, slots=True)
class ModelForecasts:
    """The forecasts of one model at the test origins of a fold, at one horizon: N origins, S stations."""

    model: str
    point: Floats  # median in mm, shape (N, S)
    quantiles: Floats | None  # shape (N, S, 5); None for a model without intervals
    seconds: float  # processor time of the training, or of all forecasts


@dataclass(frozen=True, slots=True)
class Trial:
    """The forecasts of all models on the test of one fold at one horizon: N origins, S stations."""

    fold: int  # from 0, in order of time
    horizon_s: float
    steps: int  # rows from an origin to its target
    stations: tuple[str, ...]
    target_s: Floats  # instants of the targets, epoch seconds, shape (N,)
    level: Floats  # newest value at each origin, mm, shape (N, S)
    observed: Floats  # values at the targets, mm, NaN if unknown or outside the fold, shape (N, S)
    # The simple forecast with the smallest error on the calibration block, in mm, shape (N, S), and its name.
    best_simple: Floats
    best_simple_name: str
    scale_mm: Floats  # mean |increment| of each station before the test, the unit of MASE, shape (S,)
    noise_mm: Floats  # noise of each station before the test, shape (S,)
    forecasts: tuple[ModelForecasts, ...]
    # Stage of each station at the origin as a position in `STAGES`, shape (N, S); None if it is unknown.
    stages: Ints | None = None

    def select_origins(self, rows: Ints, added: Sequence[ModelForecasts]) -> "Trial":
        """Return the trial at some of its origins, with the forecasts of more models.

        Args:
            rows: Positions of the origins in the trial.
            added: Forecasts of other models at the selected origins.
        """
        selected = [
            replace(
                forecasts,
                point=forecasts.point[rows],
                quantiles=None if forecasts.quantiles is None else forecasts.quantiles[rows],
            )
            for forecasts in self.forecasts
        ]
        return replace(
            self,
            target_s=self.target_s[rows],
            level=self.level[rows],
            observed=self.observed[rows],
            best_simple=self.best_simple[rows],
            forecasts=(*selected, *added),
            stages=None,
        )

    def find_scored_pairs(self) -> Floats:
        """Return 1 for each pair of origin and station that is scored, else 0, shape (N, S).

        A pair is scored if its target was observed and every model has a forecast. Models with a forecast for fewer
        than half of the targets are not required to have one.
        """
        is_observed = np.isfinite(self.observed)
        is_common = is_observed.copy()
        for forecasts in self.forecasts:
            has_forecast = np.isfinite(forecasts.point) & is_observed
            if has_forecast.sum() * 2 >= is_observed.sum():
                is_common &= has_forecast
        return is_common.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one model on one fold at one horizon.

    `Trial` and `ModelForecasts` describe the attributes without a comment.
    """

    model: str
    station: str | None
    month: str | None
    fold: int
    horizon_s: float
    n: int  # scored pairs, the same for every model of a fold and horizon
    mae_mm: float
    rmse_mm: float
    mase: float  # MAE divided by the mean |increment| of the station before the test (Hyndman and Koehler 2006)
    mape: float  # mean |error| / |movement|; NaN if the movements are too small
    bias_mm: float  # mean of forecast - observed
    skill_persistence: float  # 1 - MAE / MAE of persistence
    skill_line: float  # 1 - MAE / MAE of the straight line
    skill_best: float
    coverage_80: float  # share inside the 80 % interval; NaN without intervals
    worst_80: float  # lowest `coverage_80` of a station
    coverage_95: float
    width_80: float
    winkler_80: float  # interval score, mm
    pinball: float  # mean quantile loss over the five quantiles, mm
    dm_best: float  # Diebold-Mariano statistic against the best simple forecast; negative if the model is better
    dm_p: float
    baseline: str
    seconds: float
    stage: str | None = None  # stage of motion at the origin, one of `STAGES`; None for all stages
    # MAE of the reference on the same pairs, by the name of the skill
    reference_mm: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a line of the report. Numbers that are not known are None."""
        row: dict[str, Any] = {}
        for key, value in asdict(self).items():
            if key == "reference_mm":
                continue
            row[_JSON_NAMES.get(key, key)] = _round(value) if isinstance(value, float) else value
        return row | {"station": self.station or "all", "horizon": format_horizon(self.horizon_s)}


def _round(value: float) -> float | None:
    return round(value, 6) if isfinite(value) else None


def format_horizon(horizon_s: float) -> str:
    """Return a horizon as the command line writes it.

    >>> format_horizon(604800.0), format_horizon(21600.0), format_horizon(900.0)
    ('7d', '6h', '15m')
    """
    for unit, name in ((DAY_S, "d"), (3600.0, "h"), (60.0, "m")):
        if horizon_s >= unit and (horizon_s / unit).is_integer():
            return f"{horizon_s / unit:g}{name}"
    return f"{horizon_s:g}s"


def score_all(trial: Trial) -> list[Score]:
    """Return a score of each model over all stations."""
    return list(_score(trial, slice(None), np.ones(trial.target_s.size, dtype=bool), None, None))


def score_stations(trial: Trial) -> list[Score]:
    """Return a score of each model at each station."""
    all_rows = np.ones(trial.target_s.size, dtype=bool)
    scores: list[Score] = []
    for column, station in enumerate(trial.stations):
        scores += _score(trial, slice(column, column + 1), all_rows, station, None)
    return scores


def score_months(trial: Trial) -> list[Score]:
    """Return a score of each model in each month of the targets, over all stations."""
    months = np.array([datetime.fromtimestamp(target_s, tz=UTC).strftime("%Y-%m") for target_s in trial.target_s])
    scores: list[Score] = []
    for month in np.unique(months):
        scores += _score(trial, slice(None), months == month, None, str(month))
    return scores


def score_stages(trial: Trial) -> list[Score]:
    """Return a score of each model in each stage of motion at the issue, over all stations.

    It is empty if the trial has no stages.
    """
    if trial.stages is None:
        return []
    all_rows = np.ones(trial.target_s.size, dtype=bool)
    scores: list[Score] = []
    for number, stage in enumerate(STAGES):
        scores += _score(trial, slice(None), all_rows, None, None, stage, trial.stages == number)
    return scores


def _score(
    trial: Trial,
    columns: slice,
    rows: np.ndarray,
    station: str | None,
    month: str | None,
    stage: str | None = None,
    cells: np.ndarray | None = None,
) -> Iterator[Score]:
    """Yield the scores of every model for a selection of columns, rows and cells; none without a scored pair."""
    common = trial.find_scored_pairs()[:, columns][rows] > 0
    if cells is not None:
        common &= cells[:, columns][rows]
    if not common.any():
        return
    observed = trial.observed[:, columns][rows]
    best_simple = trial.best_simple[:, columns][rows]
    points = {forecasts.model: forecasts.point[:, columns][rows] for forecasts in trial.forecasts}
    best_error = np.where(common, np.abs(observed - best_simple), np.nan)
    movement = observed - trial.level[:, columns][rows]
    for forecasts in trial.forecasts:
        point = points[forecasts.model]
        is_scored = common & np.isfinite(point)
        error = np.where(is_scored, observed - point, np.nan)
        mean_error = mae(error)
        quantiles = None if forecasts.quantiles is None else forecasts.quantiles[:, columns][rows]
        references = {
            f"skill_{name}": mae((observed - points[name])[is_scored]) if name in points else float("nan")
            for name in REFERENCES
        } | {"skill_best": mae(best_error[is_scored])}
        statistic, p = diebold_mariano(np.abs(error), best_error, trial.steps)
        interval_scores = _score_intervals(quantiles, np.where(is_scored, observed, np.nan))
        yield Score(
            model=forecasts.model,
            station=station,
            month=month,
            stage=stage,
            fold=trial.fold,
            horizon_s=trial.horizon_s,
            n=int(is_scored.sum()),
            mae_mm=mean_error,
            rmse_mm=rmse(error),
            mase=mae(error / trial.scale_mm[columns]),
            mape=mape(error, movement, trial.noise_mm[columns]),
            bias_mm=float(-error[is_scored].mean()) if is_scored.any() else float("nan"),
            **{name: skill(mean_error, reference) for name, reference in references.items()},
            reference_mm=references,
            **interval_scores,
            dm_best=statistic,
            dm_p=p,
            baseline=trial.best_simple_name,
            seconds=forecasts.seconds,
        )


def _score_intervals(quantiles: Floats | None, observed: Floats) -> dict[str, float]:
    """Return the scores of a fan by their names in `Score`; NaN without a fan."""
    names = ("coverage_80", "worst_80", "coverage_95", "width_80", "winkler_80", "pinball")
    if quantiles is None or not np.isfinite(observed).any():
        return dict.fromkeys(names, float("nan"))
    low, high = select_interval(quantiles, 0.8)
    coverage_80, worst_80 = coverage(low, high, observed)
    coverage_95, _ = coverage(*select_interval(quantiles, 0.95), observed)
    losses = [pinball(observed - quantiles[..., i], level) for i, level in enumerate(QUANTILES)]
    return {
        "coverage_80": coverage_80,
        "worst_80": worst_80,
        "coverage_95": coverage_95,
        "width_80": mae(np.where(np.isfinite(observed), high - low, np.nan)),
        "winkler_80": winkler(low, high, observed, 0.8),
        "pinball": float(np.mean(losses)),
    }


def compute_scale(values: Floats) -> Floats:
    """Return the mean |increment| of each station, the unit of MASE; NaN if it is 0."""
    increments = np.abs(np.diff(values, axis=0))
    is_known = np.isfinite(increments)
    count = is_known.sum(axis=0)
    mean = np.where(is_known, increments, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where((count > 0) & (mean > 0), mean, np.nan)


def pool_scores(scores: Sequence[Score], figure: str) -> float:
    """Return a figure over all folds, weighted by the number of scored pairs. Folds without it are left out.

    The skill is 1 - MAE of all pairs / MAE of the reference on the same pairs.

    Args:
        figure: Name of an attribute of `Score`.

    Returns:
        NaN if no fold has the figure, for example because the model has no forecast in a short record.
    """
    known = [score for score in scores if score.n > 0 and np.isfinite(getattr(score, figure))]
    if not known:
        return float("nan")
    if figure.startswith("skill_"):
        error = sum(score.n * score.mae_mm for score in known)
        return skill(error, sum(score.n * score.reference_mm[figure] for score in known))
    values = [float(getattr(score, figure)) for score in known]
    return float(np.average(values, weights=[score.n for score in known]))


def compute_target_times(origins: Ints, steps: int, start_s: float, step_s: float) -> Floats:
    """Return the targets of some origins in epoch seconds. On a monthly grid they are the starts of months."""
    instants: Floats = start_s + step_s * (origins + steps).astype(np.float64)
    if step_s != MONTH_S:
        return instants
    # The rows of a grid of mean months differ by up to two days from the starts of months.
    months = (instants + 3.0 * DAY_S).astype("datetime64[s]").astype("datetime64[M]").astype("datetime64[s]")
    month_starts = months.astype(np.float64)
    return np.where(np.abs(month_starts - instants) <= 3.0 * DAY_S, month_starts, instants)


# Functions that score parts of a trial, by the value of the option --per.
DIVISIONS: Mapping[str, Callable[[Trial], list[Score]]] = {
    "station": score_stations,
    "month": score_months,
    "stage": score_stages,
}

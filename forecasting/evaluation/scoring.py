"""Turns what models answered on one test fold into scores: over all stations, station, month and stage."""

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
class Answer:
    """One model's answer on the test origins of a fold at one horizon."""

    model: str
    point: Floats  # median in mm, shape (N, S)
    quantiles: Floats | None  # quantiles, shape (N, S, 5), or None where the model gives no interval
    seconds: float  # processor time of the training or of the whole forecast


@dataclass(frozen=True, slots=True)
class Trial:
    """All models on one fold at one horizon."""

    fold: int  # from 0, in order of time
    horizon_s: float
    steps: int
    stations: tuple[str, ...]
    target_s: Floats  # instants of the targets, epoch seconds, shape (N,)
    level: Floats  # newest value known at each origin, mm, shape (N, S)
    observed: Floats  # values at the targets, mm, NaN where unknown or outside the fold, shape (N, S)
    best: Floats  # the best simple forecast, chosen on calibration, shape (N, S)
    chosen: str  # its name
    scale_mm: Floats  # mean |step| of each station before the test, the unit of MASE, shape (S,)
    noise_mm: Floats  # noise of each station, shape (S,)
    answers: tuple[Answer, ...]
    # how each station moved at the issue, a word of `STAGES` by its number, shape (N, S), or None
    stages: Ints | None = None

    def at(self, rows: Ints, own: Sequence[Answer], others: Sequence[Answer]) -> "Trial":
        """Some of its origins: of the first answers their rows, and those of others that have no more than these."""
        few = [
            replace(one, point=one.point[rows], quantiles=None if one.quantiles is None else one.quantiles[rows])
            for one in own
        ]
        return replace(
            self,
            target_s=self.target_s[rows],
            level=self.level[rows],
            observed=self.observed[rows],
            best=self.best[rows],
            answers=(*few, *others),
            stages=None,
        )

    def common(self) -> Floats:
        """Pairs that every model answers; one that answers under half of them stands aside. Shape (N, S), 0 or 1."""
        known = np.isfinite(self.observed)
        out = known.copy()
        for answer in self.answers:
            pairs = np.isfinite(answer.point) & known
            if pairs.sum() * 2 >= known.sum():
                out &= pairs
        return out.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Score:
    """One model on one fold at one horizon. Attributes without a comment are explained in `Trial` and `Answer`."""

    model: str
    station: str | None
    month: str | None
    fold: int
    horizon_s: float
    n: int  # pairs scored: the same for every model of a fold and horizon
    mae_mm: float
    rmse_mm: float
    mase: float  # MAE in units of the station's mean |step| before the test (Hyndman and Koehler 2006)
    mape: float  # mean |error| / |movement|, NaN where movements are too small for it to mean anything
    bias_mm: float  # mean of forecast - observed
    skill_persistence: float  # 1 - MAE / MAE of persistence
    skill_line: float  # 1 - MAE / MAE of the straight line
    skill_best: float
    coverage_80: float  # share inside the 80 % interval (NaN without one)
    worst_80: float  # the same of the worst station
    coverage_95: float
    width_80: float
    winkler_80: float  # interval score, mm
    pinball: float  # mean quantile loss over the five quantiles, mm
    dm_best: float  # Diebold-Mariano statistic against the best simple forecast (negative = better than it)
    dm_p: float
    baseline: str
    seconds: float
    stage: str | None = None  # how the station moved at the issue, `quiet`, `steady` or `rushing`, or None over all
    # by the name of a skill the MAE that it compares with, on the same pairs
    reference_mm: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One line of the report; numbers that do not exist are None."""
        kept = {key: value for key, value in asdict(self).items() if key != "reference_mm"}
        row: dict[str, Any] = {}
        for key, value in kept.items():
            is_float = isinstance(value, float)
            row[_JSON_NAMES.get(key, key)] = value if not is_float else round(value, 6) if isfinite(value) else None
        return row | {"station": self.station or "all", "horizon": format_horizon(self.horizon_s)}


def format_horizon(horizon_s: float) -> str:
    """A horizon as the command line writes it.

    >>> format_horizon(604800.0), format_horizon(21600.0), format_horizon(900.0)
    ('7d', '6h', '15m')
    """
    for unit, name in ((DAY_S, "d"), (3600.0, "h"), (60.0, "m")):
        if horizon_s >= unit and (horizon_s / unit).is_integer():
            return f"{horizon_s / unit:g}{name}"
    return f"{horizon_s:g}s"


def score_all(trial: Trial) -> list[Score]:
    """One score per model over all stations."""
    return list(_score(trial, slice(None), np.ones(trial.target_s.size, dtype=bool), None, None))


def score_stations(trial: Trial) -> list[Score]:
    """One score per model and station."""
    every = np.ones(trial.target_s.size, dtype=bool)
    return [s for i, name in enumerate(trial.stations) for s in _score(trial, slice(i, i + 1), every, name, None)]


def score_months(trial: Trial) -> list[Score]:
    """One score per model and month of the target, over all stations."""
    months = np.array([datetime.fromtimestamp(t, tz=UTC).strftime("%Y-%m") for t in trial.target_s])
    return [s for name in np.unique(months) for s in _score(trial, slice(None), months == name, None, str(name))]


def score_stages(trial: Trial) -> list[Score]:
    """One score per model and way of moving at the issue, over all stations; none where nobody told the stages."""
    every, stages = np.ones(trial.target_s.size, dtype=bool), trial.stages
    if stages is None:
        return []
    return [
        s for k, name in enumerate(STAGES) for s in _score(trial, slice(None), every, None, None, name, stages == k)
    ]


def _score(
    trial: Trial,
    columns: slice,
    rows: np.ndarray,
    station: str | None,
    month: str | None,
    stage: str | None = None,
    cells: np.ndarray | None = None,
) -> Iterator[Score]:
    """Scores of every model on some stations, rows and cells; silent where no pair is known."""
    common = trial.common()[:, columns][rows] > 0
    if cells is not None:
        common &= cells[:, columns][rows]
    if not common.any():
        return
    observed, best = trial.observed[:, columns][rows], trial.best[:, columns][rows]
    points = [answer.point[:, columns][rows] for answer in trial.answers]
    by_name = {a.model: p for a, p in zip(trial.answers, points, strict=True)}
    of_best = np.where(common, np.abs(observed - best), np.nan)
    moved = observed - trial.level[:, columns][rows]
    for answer, point in zip(trial.answers, points, strict=True):
        use = common & np.isfinite(point)
        error = np.where(use, observed - point, np.nan)
        own = mae(error)
        quantiles = None if answer.quantiles is None else answer.quantiles[:, columns][rows]
        references = {
            f"skill_{key}": mae((observed - by_name[key])[use]) if key in by_name else float("nan")
            for key in REFERENCES
        } | {"skill_best": mae(of_best[use])}
        statistic, p = diebold_mariano(np.abs(error), of_best, trial.steps)
        scored = _intervals(quantiles, np.where(use, observed, np.nan))
        yield Score(
            model=answer.model,
            station=station,
            month=month,
            stage=stage,
            fold=trial.fold,
            horizon_s=trial.horizon_s,
            n=int(use.sum()),
            mae_mm=own,
            rmse_mm=rmse(error),
            mase=mae(error / trial.scale_mm[columns]),
            mape=mape(error, moved, trial.noise_mm[columns]),
            bias_mm=float(-error[use].mean()) if use.any() else float("nan"),
            **{key: skill(own, value) for key, value in references.items()},
            reference_mm=references,
            **scored,
            dm_best=statistic,
            dm_p=p,
            baseline=trial.chosen,
            seconds=answer.seconds,
        )


def _intervals(quantiles: Floats | None, seen: Floats) -> dict[str, float]:
    """The scores of a fan by their names in `Score`; NaN where there is none."""
    names = ("coverage_80", "worst_80", "coverage_95", "width_80", "winkler_80", "pinball")
    if quantiles is None or not np.isfinite(seen).any():
        return dict.fromkeys(names, float("nan"))
    low, high = select_interval(quantiles, 0.8)
    cover, worst = coverage(low, high, seen)
    cover_95, _ = coverage(*select_interval(quantiles, 0.95), seen)
    width = mae(np.where(np.isfinite(seen), high - low, np.nan))
    losses = [pinball(seen - quantiles[..., i], q) for i, q in enumerate(QUANTILES)]
    return dict(
        zip(names, (cover, worst, cover_95, width, winkler(low, high, seen, 0.8), float(np.mean(losses))), strict=True)
    )


def scale_of(values: Floats) -> Floats:
    """Mean |step| between neighbouring rows per station, the unit of MASE; NaN where nothing moved."""
    moved = np.abs(np.diff(values, axis=0))
    seen = np.isfinite(moved)
    count = seen.sum(axis=0)
    mean = np.where(seen, moved, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where((count > 0) & (mean > 0), mean, np.nan)


def pooled(scores: Sequence[Score], figure: str) -> float:
    """A figure over folds, each counted by its pairs, so that all figures of a row speak of the same ones.

    A skill is 1 - the error of all pairs / that of the reference over the same; folds without a figure are left out.
    """
    # Scores without pairs weigh nothing. A model that never forecasts, such as climatology in a short record, has only
    # these, and no mean.
    found = [(s, float(getattr(s, figure))) for s in scores if s.n > 0 and np.isfinite(getattr(s, figure))]
    if not found:
        return float("nan")
    if not figure.startswith("skill_"):
        return float(np.average([value for _, value in found], weights=[s.n for s, _ in found]))
    known = [s for s, _ in found]
    return skill(sum(s.n * s.mae_mm for s in known), sum(s.n * s.reference_mm[figure] for s in known))


def rows_of(origins: Ints, steps: int, start_s: float, step_s: float) -> Floats:
    """Instants of the targets of some origins; rows of months count from the month they stand for."""
    instants: Floats = start_s + step_s * (origins + steps).astype(np.float64)
    if step_s != MONTH_S:
        return instants
    # a grid of mean months wanders by a day or two about the first of the month
    near = (instants + 3.0 * DAY_S).astype("datetime64[s]").astype("datetime64[M]").astype("datetime64[s]")
    firsts = near.astype(np.float64)
    return np.where(np.abs(firsts - instants) <= 3.0 * DAY_S, firsts, instants)


WAYS: Mapping[str, Callable[[Trial], list[Score]]] = {
    "station": score_stations,
    "month": score_months,
    "stage": score_stages,
}

"""One fold of a backtest as a job: a frozen record in, its scores out, the same wherever it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forecasting.data.series import Panel
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import Score, Trial, score_all, score_months, score_stages, score_stations

WAYS: Mapping[str, Callable[[Trial], list[Score]]] = {
    "station": score_stations, "month": score_months, "stage": score_stages,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoldAsked:
    """Arguments of `run_trials` for one of its folds.

    Attributes:
        ways: What is scored beside all stations together, of `WAYS`.
    """

    panel: Panel
    models: tuple[str, ...]
    horizons_s: tuple[float, ...]
    fold: int
    folds: int
    seed: int
    last: int | None
    training: Mapping[str, Any] | None
    learn: Panel | None
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoldScores:
    """Scores of all models of a fold, in the order of the horizons."""

    scores: tuple[Score, ...]


def score_fold(asked: FoldAsked) -> FoldScores:
    """Run the models on one fold and score them."""
    made: list[Score] = []
    for trial in run_trials(
        asked.panel, asked.models, asked.horizons_s, folds=asked.folds, seed=asked.seed, last=asked.last,
        training=asked.training, learn=asked.learn, only_fold=asked.fold,
    ):  # fmt: skip
        made += score_trial(trial, asked.ways)
    return FoldScores(tuple(made))


def score_trial(trial: Trial, ways: tuple[str, ...]) -> list[Score]:
    """Scores over all stations, then those of the other ways."""
    return [*score_all(trial), *(score for way in WAYS if way in ways for score in WAYS[way](trial))]

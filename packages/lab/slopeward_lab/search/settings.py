"""Search the training settings of a forecasting network by grid, at random, or by a Bayesian model of the scores.

A search that scores its trials on the test of a record finds settings that suit this test by chance, and reports an
error that no later forecast has. Here the newest part of the record is the test. All trials are trained and scored on
the rows before it. Only two trainings are scored on the test, after the search: the settings that are used without a
search, and the best ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from forecasting.data.series import Panel, horizon_key
from forecasting.data.splits import Split, rolling_folds
from forecasting.data.windows import last_value
from forecasting.errors import ForecastingError, NotEnoughDataError, UnknownModelError
from forecasting.metrics import mae
from forecasting.neural.learner import Settings
from forecasting.neural.pretrained import learn
from forecasting.registry import PRETRAINED, describe_unknown_model, is_network

if TYPE_CHECKING:
    import optuna

Value: TypeAlias = int | float
METHODS: Final = ("grid", "random", "bayes")


@dataclass(frozen=True, slots=True)
class Range:
    """Values of one setting."""

    values: tuple[Value, ...]  # of a grid search
    # Bounds of a random or Bayesian search. They are sampled on a logarithmic scale if `is_logarithmic`. None: a random
    # or Bayesian search chooses among `values`.
    bounds: tuple[float, float] | None = None
    is_logarithmic: bool = False

    def suggest(self, trial: "optuna.Trial", name: str, *, from_grid: bool) -> Value:
        """Return the value of this setting in a trial."""
        if from_grid or self.bounds is None:
            value: Value = trial.suggest_categorical(name, self.values)
            return value
        return trial.suggest_float(name, *self.bounds, log=self.is_logarithmic)


SPACE: Final[Mapping[str, Range]] = {
    "hidden": Range((16, 32, 64)),
    "learning_rate": Range((1e-3, 2e-3, 5e-3), (3e-4, 1e-2), is_logarithmic=True),
    "dropout": Range((0.0, 0.1, 0.3), (0.0, 0.4)),
    "weight_decay": Range((1e-3,), (1e-5, 1e-1), is_logarithmic=True),
    "batch": Range((64,)),
}
"""Settings that can be searched, fields of `forecasting.neural.learner.Settings`, with the values that are tried."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One training of a search.

    Attributes:
        number: 0 for the settings that are used without a search.
        settings: The searched settings.
        score: Mean over the horizons of the error (MAE) as a share of that of persistence; None if the training failed.
        mae_mm: Error by horizon.
        problem: Why the training failed.
    """

    number: int
    settings: Mapping[str, Value]
    score: float | None
    mae_mm: Mapping[str, float]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials, and the two trainings that were scored on the test."""

    trials: tuple[TrialResult, ...]
    best: TrialResult  # on the rows before the test
    usual_on_test: TrialResult
    best_on_test: TrialResult


def search_settings(
    panel: Panel,
    model: str,
    horizons_s: Sequence[float],
    *,
    method: str,
    trials: int,
    seed: int = 7,
    space: Mapping[str, Range] = SPACE,
    covariates: tuple[str, ...] | None = (),
    on_trial: Callable[[TrialResult], None] = lambda _: None,
) -> SearchResult:
    """Search the settings of a network.

    Args:
        panel: The record.
        model: Name of a network.
        horizons_s: Horizons in seconds.
        method: One of `METHODS`. A grid search tries all combinations of `Range.values` in random order.
        trials: Largest number of trials besides the usual settings.
        seed: Seed of the search and of every training.
        space: Settings to search.
        covariates: Drivers that the network reads; None for all drivers of the panel.
        on_trial: Called after each trial.

    Raises:
        UnknownModelError: There is no such network.
        NotEnoughDataError: The record is too short for a test and a validation before it.
        ForecastingError: The usual settings cannot be trained.
    """
    import optuna

    if not is_network(model):
        raise UnknownModelError(describe_unknown_model(model))
    if model in PRETRAINED:
        raise UnknownModelError(f"{model} starts with shipped weights, whose settings are fixed; name another network")
    test = rolling_folds(panel.values.shape[0], 1)[0]
    before_test = panel.head(test.test.first)
    validation = rolling_folds(before_test.values.shape[0], 1)[0]
    usual = Settings(seed=seed, covariates=covariates)

    def run(number: int, settings: Mapping[str, Value], record: Panel, parts: Split) -> TrialResult:
        try:
            return _train_and_score(number, record, parts, model, horizons_s, usual, settings)
        except ForecastingError as error:
            return TrialResult(number, settings, None, {}, str(error))

    usual_values: dict[str, Value] = {name: getattr(usual, name) for name in space}
    first = _train_and_score(0, before_test, validation, model, horizons_s, usual, usual_values)
    results = [first]
    on_trial(first)

    def objective(trial: optuna.Trial) -> float:
        settings = {name: value.suggest(trial, name, from_grid=method == "grid") for name, value in space.items()}
        result = run(trial.number + 1, settings, before_test, validation)
        results.append(result)
        on_trial(result)
        if result.score is None:
            raise optuna.TrialPruned(result.problem)
        return result.score

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=_make_sampler(method, space, seed))
    study.optimize(objective, n_trials=trials)
    best = min((result for result in results if result.score is not None), key=_get_score)
    return SearchResult(
        tuple(results),
        best,
        usual_on_test=run(first.number, first.settings, panel, test),
        best_on_test=run(best.number, best.settings, panel, test),
    )


def _get_score(result: TrialResult) -> float:
    return np.inf if result.score is None else result.score


def _make_sampler(method: str, space: Mapping[str, Range], seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    if method == "grid":
        return optuna.samplers.GridSampler({name: value.values for name, value in space.items()}, seed=seed)
    if method == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def _train_and_score(
    number: int,
    panel: Panel,
    parts: Split,
    model: str,
    horizons_s: Sequence[float],
    usual: Settings,
    settings: Mapping[str, Any],
) -> TrialResult:
    """Train a network on the rows before the test of `parts`, and score it on this test."""
    known = panel.head(parts.test.end)
    training, _ = learn(model, known, parts, tuple(horizons_s), replace(usual, **settings))
    origins = parts.test.origins
    medians = training.forecaster.quantiles(known.values, origins, drivers=known.drivers)[..., 2]
    newest, _ = last_value(known.values, origins)
    errors_mm: dict[str, float] = {}
    shares: list[float] = []
    for index, horizon_s in enumerate(horizons_s):
        observed = parts.test.targets(known.values, origins, known.steps(horizon_s))
        error = mae(medians[:, :, index] - observed)
        of_persistence = mae(newest - observed)
        if not np.isfinite(error) or not of_persistence > 0.0:
            raise NotEnoughDataError(f"no forecast {horizon_key(horizon_s)} s ahead can be scored before the test")
        errors_mm[horizon_key(horizon_s)] = error
        shares.append(error / of_persistence)
    return TrialResult(number, settings, float(np.mean(shares)), errors_mm)

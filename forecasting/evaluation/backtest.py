"""Compare forecasting models on one record with a rolling origin.

The training block grows from fold to fold. The calibration block and the test follow it, with an embargo of one horizon
before each of them. The tests of the folds do not overlap.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from forecasting.combination.combination import LINE, PERSISTENCE
from forecasting.combination.run import Run, run
from forecasting.data.components import group_components
from forecasting.data.features import noise_floor
from forecasting.data.series import Floats, Panel
from forecasting.data.splits import Split, rolling_folds
from forecasting.data.windows import last_value
from forecasting.errors import NotEnoughDataError
from forecasting.evaluation.distribution import find_stages
from forecasting.evaluation.scoring import ModelForecasts, Trial, compute_scale, compute_target_times, format_horizon
from forecasting.metrics import mae
from forecasting.registry import COMBINED, PRETRAINED, load
from forecasting.serving.training import drop_horizons

# Models that are part of every comparison.
ALWAYS_COMPARED: Final = (PERSISTENCE, LINE, COMBINED)
MEDIAN: Final = 2  # position in the quantiles of a forecast
Progress = Callable[[str], None]


def run_trials(
    panel: Panel,
    models: Sequence[str],
    horizons_s: Sequence[float],
    *,
    folds: int = 3,
    seed: int = 7,
    last: int | None = None,
    training: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> Iterator[Trial]:
    """Yield the forecasts of all models, fold by fold and horizon by horizon.

    The networks among `models` are experts of the combined forecast, as in the service.

    Args:
        panel: The record.
        models: Names of networks. The models in `ALWAYS_COMPARED` need not be named.
        horizons_s: Horizons in seconds.
        folds: Number of folds.
        seed: Seed of every network.
        last: Number of rows at the end of the record that the tests consist of; by default a share of the record.
        training: Arguments of `forecasting.neural.learner.Settings`, except the seed.
        on_progress: Called with a line of text before each longer step.

    Raises:
        UnknownModelError: A name is neither a network nor one of `ALWAYS_COMPARED`.
        HorizonError: A horizon is shorter than the interval of the panel.
    """
    report = on_progress or (lambda _: None)
    networks = [name for name in dict.fromkeys(models) if name not in ALWAYS_COMPARED]
    for name in networks:
        # Raises an error before any training if the name is unknown or its package is not installed.
        load(name)
    for horizon_s in horizons_s:
        # Raises an error if the horizon is shorter than the interval of the panel.
        panel.steps(horizon_s)
    # As in the service, networks read only covariates that are named. The default is none.
    settings = {"covariates": (), **(training or {}), "seed": seed}
    for fold, parts in enumerate(rolling_folds(panel.values.shape[0], folds, last=last)):
        yield from _run_fold(panel, parts, fold, networks, tuple(horizons_s), training=settings, on_progress=report)


def _run_fold(
    panel: Panel,
    parts: Split,
    fold: int,
    networks: Sequence[str],
    horizons_s: tuple[float, ...],
    *,
    training: Mapping[str, Any],
    on_progress: Progress,
) -> Iterator[Trial]:
    """Yield the trials of one fold, one for each horizon."""
    # No model reads a row after the test, and no network is trained on a row of the test.
    record = panel.head(parts.test.end)
    network_fans: dict[str, Floats] = {}
    seconds: dict[str, float] = {}
    for name in networks:
        on_progress(f"fold {fold + 1}: {name}")
        started = time.perf_counter()
        try:
            network_fans[name] = _train_and_run(name, record, parts, horizons_s, training, on_progress)
        except NotEnoughDataError as error:
            # The other models are scored without this network.
            on_progress(f"fold {fold + 1}: {name} left out: {error}")
            continue
        seconds[name] = time.perf_counter() - started
    on_progress(f"fold {fold + 1}: {COMBINED}")
    started = time.perf_counter()
    combined = run(record, horizons_s, networks=network_fans, groups=group_components(record.stations))
    seconds[COMBINED] = time.perf_counter() - started
    fans_by_model = {**combined.simple, COMBINED: combined.fans, **combined.network_fans}
    values = record.values
    origins = parts.test.origins
    level, _ = last_value(values, origins)
    before = values[: parts.test.first]
    stages = find_stages(values, origins, noise_floor(before), record.step_s)
    for index, horizon_s in enumerate(horizons_s):
        steps = record.steps(horizon_s)
        best_simple = _choose_simple(combined, parts, values, index, steps)
        forecasts = []
        for name, fans in fans_by_model.items():
            quantiles = fans[origins, :, index]
            is_network = name in network_fans
            if is_network and not np.isfinite(quantiles).any():
                # The network was not trained for this horizon.
                continue
            # The simple forecasts are made in the same run as the combined forecast.
            model_seconds = seconds[name] if is_network else seconds[COMBINED]
            forecasts.append(ModelForecasts(name, quantiles[..., MEDIAN], quantiles, model_seconds))
        yield Trial(
            fold=fold,
            horizon_s=horizon_s,
            steps=steps,
            stations=record.stations,
            target_s=compute_target_times(origins, steps, record.start_s, record.step_s),
            level=level,
            observed=parts.test.targets(values, origins, steps),
            best_simple=combined.simple[best_simple][origins, :, index, MEDIAN],
            best_simple_name=best_simple,
            scale_mm=compute_scale(before),
            noise_mm=noise_floor(before),
            forecasts=tuple(forecasts),
            stages=stages,
        )


def _train_and_run(
    name: str,
    panel: Panel,
    parts: Split,
    horizons_s: tuple[float, ...],
    training: Mapping[str, Any],
    on_progress: Progress,
) -> Floats:
    """Train a network and return its quantiles at every row, shape (T, S, H, 5).

    They are NaN before the calibration block, and for horizons that the network cannot learn.
    """
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    dropped = drop_horizons(panel, parts, horizons_s, least=1, short=name in PRETRAINED)
    for horizon_s, reason in dropped.items():
        on_progress(f"{name} is not trained for {format_horizon(horizon_s)}: {reason}")
    learned_horizons_s = tuple(horizon_s for horizon_s in horizons_s if horizon_s not in dropped)
    if not learned_horizons_s:
        raise NotEnoughDataError("no horizon can be learned")
    trained, _ = learn(name, panel, parts, learned_horizons_s, Settings(**training))
    origins = np.arange(parts.calibration.first, panel.values.shape[0], dtype=np.int64)
    quantiles = trained.forecaster.quantiles(panel.values, origins, drivers=panel.drivers)
    fans = np.full((*panel.values.shape, len(horizons_s), quantiles.shape[-1]), np.nan)
    for position, horizon_s in enumerate(trained.forecaster.recipe.horizons_s):
        fans[origins, :, horizons_s.index(horizon_s)] = quantiles[:, :, position]
    return fans


def _choose_simple(combined: Run, parts: Split, values: Floats, index: int, steps: int) -> str:
    """Return the name of the simple forecast with the smallest error on the calibration block, before the test."""
    origins = parts.calibration.origins
    observed = parts.calibration.targets(values, origins, steps)
    errors = {name: mae(observed - fans[origins, :, index, MEDIAN]) for name, fans in combined.simple.items()}
    return min(errors, key=lambda name: errors[name] if np.isfinite(errors[name]) else np.inf)

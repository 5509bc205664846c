"""Compare models on one record by rolling origin: expanding training, an embargo, tests that never overlap."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
from forecasting.evaluation.scoring import Answer, Trial, format_horizon, rows_of, scale_of
from forecasting.metrics import mae
from forecasting.registry import COMBINED, PRETRAINED, load
from forecasting.serving.training import drop_horizons

ALWAYS = (PERSISTENCE, LINE, COMBINED)
"""Models that are part of every comparison."""
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
    """Yield what every model forecasts, fold by fold and horizon by horizon.

    The networks among `models` are experts of the combined forecast, as in the service.

    Args:
        panel: The record.
        models: Names of networks; `persistence`, `line` and `combined` are always included.
        horizons_s: Horizons in seconds.
        folds: Number of tests.
        seed: Seed of every network.
        last: Score this many of the last rows, divided among the folds, instead of a share of the record.
        training: Further arguments of `forecasting.neural.learner.Settings`.
        on_progress: Called with one line before each longer step.

    Raises:
        UnknownModelError: A name is neither a network nor one of `ALWAYS`.
        HorizonError: A horizon is shorter than the interval of the panel.
    """
    report = on_progress or (lambda _: None)
    networks = [name for name in dict.fromkeys(models) if name not in ALWAYS]
    for name in networks:
        load(name)  # an unknown name, or one whose package is not installed, is reported before the work starts
    for horizon_s in horizons_s:
        panel.steps(horizon_s)  # likewise a horizon that the panel cannot have
    # as in the service, networks read only the drivers that are named
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
    # no model reads a row after the test, and no network is trained on a row inside it
    known = panel.head(parts.test.end)
    fans: dict[str, Floats] = {}
    seconds: dict[str, float] = {}
    for name in networks:
        on_progress(f"fold {fold + 1}: {name}")
        started = time.perf_counter()
        try:
            fans[name] = _train_and_run(name, known, parts, horizons_s, training, on_progress)
        except NotEnoughDataError as error:  # everything else is scored anyway
            on_progress(f"fold {fold + 1}: {name} left out: {error}")
            continue
        seconds[name] = time.perf_counter() - started
    on_progress(f"fold {fold + 1}: {COMBINED}")
    started = time.perf_counter()
    combined = run(known, horizons_s, networks=fans, groups=group_components(known.stations))
    seconds[COMBINED] = time.perf_counter() - started
    by_model = {**combined.simple, COMBINED: combined.fans, **combined.network_fans}
    values = known.values
    origins = parts.test.origins
    level, _ = last_value(values, origins)
    before = values[: parts.test.first]
    stages = find_stages(values, origins, noise_floor(before), known.step_s)
    for index, horizon_s in enumerate(horizons_s):
        steps = known.steps(horizon_s)
        chosen = _choose_simple(combined, parts, values, index, steps)
        answers = []
        for name, model_fans in by_model.items():
            quantiles = model_fans[origins, :, index]
            if name in fans and not np.isfinite(quantiles).any():
                continue  # a network that was not trained for this horizon
            answers.append(Answer(name, quantiles[..., 2], quantiles, seconds.get(name, seconds[COMBINED])))
        yield Trial(
            fold=fold,
            horizon_s=horizon_s,
            steps=steps,
            stations=known.stations,
            target_s=rows_of(origins, steps, known.start_s, known.step_s),
            level=level,
            observed=parts.test.targets(values, origins, steps),
            best=combined.simple[chosen][origins, :, index, 2],
            chosen=chosen,
            scale_mm=scale_of(before),
            noise_mm=noise_floor(before),
            answers=tuple(answers),
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
    """Train a network and return its quantiles at every row from the calibration block on, shape (T, S, H, 5)."""
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    dropped = drop_horizons(panel, parts, horizons_s, least=1, short=name in PRETRAINED)
    for horizon_s, reason in dropped.items():
        on_progress(f"{name}: {format_horizon(horizon_s)} dropped: {reason}")
    learned_s = tuple(h for h in horizons_s if h not in dropped)
    if not learned_s:
        raise NotEnoughDataError("no horizon can be learned")
    trained, _ = learn(name, panel, parts, learned_s, Settings(**training))
    origins = np.arange(parts.calibration.first, panel.values.shape[0], dtype=np.int64)
    quantiles = trained.forecaster.quantiles(panel.values, origins, drivers=panel.drivers)
    fans = np.full((*panel.values.shape, len(horizons_s), quantiles.shape[-1]), np.nan)
    for position, horizon_s in enumerate(trained.forecaster.recipe.horizons_s):
        fans[origins, :, horizons_s.index(horizon_s)] = quantiles[:, :, position]
    return fans


def _choose_simple(combined: Run, parts: Split, values: Floats, index: int, steps: int) -> str:
    """Return the simple forecast with the smaller error on the calibration block, which is before the test."""
    origins = parts.calibration.origins
    observed = parts.calibration.targets(values, origins, steps)
    errors = {name: mae(observed - fans[origins, :, index, 2]) for name, fans in combined.simple.items()}
    return min(errors, key=lambda name: errors[name] if np.isfinite(errors[name]) else np.inf)

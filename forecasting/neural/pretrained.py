"""Training of a network from shipped weights, from a checkpoint, or from random weights.

The shipped network serves records of 40 rows or more. It was trained on measured records whose licence allows it
(`forecasting/weights/*.json` names them). Its horizons are numbers of rows, independent of the interval. On a new
record, the noise of the stations and the simple forecast are those of the record, and the weights are tuned to it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forecasting.data.features import noise_floor
from forecasting.data.kinds import format_span
from forecasting.data.series import Panel
from forecasting.data.splits import Split
from forecasting.errors import CheckpointError, ForecastingError
from forecasting.measured_weights import INSTALL, find_weights
from forecasting.neural.checkpoint import read
from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network
from forecasting.neural.learner import Member, Progress, Settings
from forecasting.neural.source_scale import SourceScale
from forecasting.neural.training import Training, prepare, train_network
from forecasting.neural.tuning import fine_tune, tune
from forecasting.reasons import Reason
from forecasting.registry import PRETRAINED
from forecasting.simple.baselines import fit_level_drift

PLACE = find_weights(Path(__file__).resolve().parents[1] / "weights", "forecasts")
# Horizons of the shipped networks in rows. Others are interpolated.
STEPS = (1, 2, 3, 5, 7, 10, 14, 21, 30)
# Rows that an issue time of a training needs before it. Other rows of its window may be before the record.
LEAST_SEEN = 8
# Settings of a training that starts with trained weights.
TUNING = Settings(epochs=6, learning_rate=5e-4, patience=2)


def learn(
    model: str,
    panel: Panel,
    parts: Split,
    horizons_s: tuple[float, ...],
    settings: Settings,
    *,
    start: str | Path | None = None,
    own_start: bool = False,
    replay: Sequence[tuple[Panel, Split]] = (),
    progress: Progress | None = None,
) -> tuple[Training, str | Reason]:
    """Train a network from shipped weights, from a checkpoint, or from random weights.

    Args:
        model: Name of the network.
        panel: The record.
        parts: Blocks of the record.
        horizons_s: Horizons; of a checkpoint, those that it has are used.
        settings: Settings of the training.
        start: Checkpoint of the same network to start from.
        own_start: Whether the checkpoint is of the same site. If it does not fit any more, the network starts from
        random
            weights.
        replay: Other records that are used too, if the network starts with trained weights.
        progress: Called after each epoch.

    Returns:
        The training, and what it started from: `shipped weights`, the hash of a checkpoint, the reason why the
        checkpoint of the same site was not used, or an empty text for random weights.

    Raises:
        ForecastingError: The checkpoint does not fit.
    """
    tuning = replace(
        settings,
        epochs=min(settings.epochs, TUNING.epochs),
        learning_rate=TUNING.learning_rate,
        patience=TUNING.patience,
    )
    if model in PRETRAINED:
        shipped, _ = read_shipped(model)
        return adapt(shipped, panel, parts, horizons_s, tuning, replay=replay, progress=progress), "shipped weights"
    if start is None:
        return train_network(model, panel, parts, horizons_s, settings, progress=progress), ""
    old, card = read(start)
    if old.recipe.model != model or old.recipe.supports is not None:
        raise ForecastingError(f"{model} cannot start from the weights of {old.recipe.model} at other stations")
    difference = _describe_difference(old.recipe, panel, parts, horizons_s, settings, is_own=own_start)
    if difference:
        if not own_start:
            raise ForecastingError(difference)
        training = train_network(model, panel, parts, horizons_s, settings, progress=progress)
        return training, Reason("training.anew", {"text": difference})
    if replay and old.recipe.sources is not None:
        raise ForecastingError(f"{model} reads drivers of its own site: replay is for networks without drivers")
    training = fine_tune(old, panel, parts, tuning, replay=replay, progress=progress)
    return training, str(card["model_hash"])


def _describe_difference(
    old: Recipe, panel: Panel, parts: Split, horizons_s: tuple[float, ...], settings: Settings, *, is_own: bool
) -> str:
    """Return why a trained network does not fit a record; empty if it does.

    Args:
        is_own: Whether the network is of the same site. It must then have all horizons and drivers of the record.
    """
    if old.step_s != panel.step_s:
        trained_on, given = format_span(old.step_s), format_span(panel.step_s)
        return f"the {old.model} to start from reads a row every {trained_on}, this record has one every {given}"
    common = tuple(h for h in horizons_s if h in old.horizons_s)
    if common != old.horizons_s or (is_own and common != horizons_s):
        trained_for = ", ".join(format_span(h) for h in old.horizons_s)
        possible = ", ".join(format_span(h) for h in horizons_s)
        return f"the {old.model} to start from has the horizons {trained_for}, here they are {possible}"
    if is_own:
        settings = replace(settings, window=old.window, hidden=old.hidden)
        sources = prepare(old.model, panel, parts, old.horizons_s, settings).sources
        if _list_inputs(old.sources) != _list_inputs(sources):
            return f"the {old.model} to start from was trained with other drivers"
    return ""


def _list_inputs(sources: SourceScale | None) -> tuple[tuple[str, ...], ...]:
    return () if sources is None else (sources.names, sources.facts)


def read_shipped(model: str) -> tuple[NeuralForecaster, dict[str, Any]]:
    """Return a shipped network and its card.

    Raises:
        CheckpointError: The weights are not installed, or damaged.
    """
    path = PLACE / f"{model}.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{model} has no weights here; {INSTALL}")
    return read(path)


def settle(shipped: NeuralForecaster, panel: Panel, parts: Split, horizons_s: Sequence[float]) -> NeuralForecaster:
    """Return the shipped network with the recipe of a record.

    The simple forecast is fitted to the calibration block, and the noise to the rows before it. The weights of the head
    are interpolated to the horizons.
    """
    old = shipped.recipe
    steps = tuple(panel.steps(h) for h in horizons_s)
    # Weights of the trained steps for each new step, linear in the logarithm of the step, shape (new, trained).
    log_steps = np.log(np.asarray(old.steps, dtype=np.float64))
    weights = np.stack([np.interp(np.log(steps), log_steps, row) for row in np.eye(len(old.steps))], axis=1)
    recipe = replace(
        old,
        stations=panel.stations,
        step_s=panel.step_s,
        steps=steps,
        horizons_s=tuple(horizons_s),
        noise_mm=tuple(float(v) for v in noise_floor(panel.values[: parts.calibration.first])),
        spread=tuple(float(v) for v in np.exp(weights @ np.log(old.spread))),
        level_drift=fit_level_drift(panel, parts.calibration, steps),
    )
    network = build_network(recipe)
    states = dict(shipped.network.state_dict())
    head_weights = torch.from_numpy(weights.astype(np.float32))
    for name in ("head.linear.weight", "head.linear.bias"):
        states[name] = _mix_head(states[name], head_weights)
    network.load_state_dict(states)
    network.eval()
    return NeuralForecaster(recipe, network)


def adapt(
    shipped: NeuralForecaster,
    panel: Panel,
    parts: Split,
    horizons_s: Sequence[float],
    settings: Settings = TUNING,
    *,
    replay: Sequence[tuple[Panel, Split]] = (),
    progress: Progress | None = None,
) -> Training:
    """Tune a shipped network to a record.

    The weights stay as shipped if tuning does not lower the loss on the early-stop block. The arguments are those of
    `learn`.
    """
    old = shipped.recipe
    settings = replace(settings, window=old.window, hidden=old.hidden, dropout=old.dropout)

    def make_member(record: Panel, blocks: Split) -> tuple[NeuralForecaster, Member]:
        settled = settle(shipped, record, blocks, [record.step_s * panel.steps(h) for h in horizons_s])
        return settled, Member(settled.recipe, record.values, blocks, settings.stride, least=LEAST_SEEN)

    settled, member = make_member(panel, parts)
    member = replace(member, recipe=replace(member.recipe, horizons_s=tuple(horizons_s), seed=settings.seed))
    replayed = [make_member(record, blocks)[1] for record, blocks in replay]
    return tune(settled.network, member, replayed, settings, progress=progress)


def _mix_head(rows: Tensor, weights: Tensor) -> Tensor:
    """Return the rows of the head, (steps x quantiles, ...), interpolated to other steps."""
    rows_of_steps = rows.reshape(weights.shape[1], -1)
    mixed: Tensor = weights @ rows_of_steps
    return mixed.reshape(-1, *rows.shape[1:])

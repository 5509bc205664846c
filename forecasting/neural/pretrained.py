"""The shipped network for short records: taken to a record of 40 rows or more, tuned to it, judged like any other.

It was trained once on measured records whose licence allows it (`forecasting/weights/*.json` names them) and looks a
number of rows ahead, whatever the interval. A record adds the noise of its stations and its own `lld`, which the
network corrects, and tunes the weights.
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
from forecasting.neural.training import Training, prepare, train_network
from forecasting.neural.tuning import fine_tune, tune
from forecasting.reasons import Reason
from forecasting.registry import PRETRAINED
from forecasting.simple.baselines import fit_lld

PLACE = find_weights(Path(__file__).resolve().parents[1] / "weights", "forecasts")
STEPS = (1, 2, 3, 5, 7, 10, 14, 21, 30)
"""Rows ahead that the shipped networks answer for; what lies between is taken between."""
LEAST_SEEN = 8  # rows that an issue time of a training sees; the rest of its window may lie before the record
TUNING = Settings(epochs=6, learning_rate=5e-4, patience=2)
"""Steps of a network that begins with the weights of another."""


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
    """Train a network the way its beginning asks for: from shipped weights, from those of a checkpoint, or anew.

    Args:
        horizons_s: Horizons in seconds; of a checkpoint those that it knows are taken.
        start: Checkpoint of the same network.
        own_start: Whether it is of this very place: one that no more fits is left, and the network begins anew.
        replay: Other records that it goes on learning from; a network that begins anew has nothing to forget.

    Returns:
        The training, and what it began from: `shipped weights`, the hash of a checkpoint, the reason why an own
        checkpoint was not used, or an empty text.
    """
    tuning = replace(
        settings,
        epochs=min(settings.epochs, TUNING.epochs),
        learning_rate=TUNING.learning_rate,
        patience=TUNING.patience,
    )
    if model in PRETRAINED:
        shipped, _ = read_shipped(model)
        made = adapt(shipped, panel, parts, horizons_s, tuning, replay=replay, progress=progress)
        return made, "shipped weights"
    if start is None:
        return train_network(model, panel, parts, horizons_s, settings, progress=progress), ""
    old, card = read(start)
    if old.recipe.model != model or old.recipe.supports is not None:
        raise ForecastingError(f"{model} cannot begin with the weights of {old.recipe.model} at other stations")
    if why := _describe_unlike(old.recipe, panel, parts, horizons_s, settings, own=own_start):
        if not own_start:
            raise ForecastingError(why)
        made = train_network(model, panel, parts, horizons_s, settings, progress=progress)
        return made, Reason("training.anew", {"text": why})
    if replay and old.recipe.sources is not None:
        raise ForecastingError(f"{model} reads drivers of its own site: replay serves networks of motion alone")
    made = fine_tune(old, panel, parts, tuning, replay=replay, progress=progress)
    return made, str(card["model_hash"])


def _describe_unlike(
    old: Recipe, panel: Panel, parts: Split, horizons_s: tuple[float, ...], settings: Settings, *, own: bool
) -> str:
    """Why a network cannot go on with a record; one of the same place must also know every horizon and driver."""
    if old.step_s != panel.step_s:
        here, there = format_span(panel.step_s), format_span(old.step_s)
        return f"the {old.model} to begin with reads a row every {there}, here is one every {here}"
    known = tuple(h for h in horizons_s if h in old.horizons_s)
    if known != old.horizons_s or (own and known != horizons_s):
        looks, wanted = (", ".join(format_span(h) for h in each) for each in (old.horizons_s, horizons_s))
        return f"the {old.model} to begin with looks {looks} ahead, {wanted} can be learnt here"
    if own:
        settings = replace(settings, window=old.window, hidden=old.hidden)
        now = prepare(old.model, panel, parts, old.horizons_s, settings).sources
        before, after = (() if one is None else (one.names, one.facts) for one in (old.sources, now))
        if before != after:
            return f"the {old.model} to begin with was trained with other drivers"
    return ""


def read_shipped(model: str) -> tuple[NeuralForecaster, dict[str, Any]]:
    """A shipped network and its card."""
    path = PLACE / f"{model}.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{model} has no weights here; {INSTALL}")
    return read(path)


def settle(shipped: NeuralForecaster, panel: Panel, parts: Split, horizons_s: Sequence[float]) -> NeuralForecaster:
    """The shipped network on a record: `lld` from calibration, floors from the rows before, head at its horizons."""
    old = shipped.recipe
    steps = tuple(panel.steps(h) for h in horizons_s)
    # weights of the known steps for each asked one, linear in the logarithm, shape (asked, known)
    at = np.log(np.asarray(old.steps, dtype=np.float64))
    weights = np.stack([np.interp(np.log(steps), at, row) for row in np.eye(len(old.steps))], axis=1)
    recipe = replace(
        old,
        stations=panel.stations,
        step_s=panel.step_s,
        steps=steps,
        horizons_s=tuple(horizons_s),
        noise_mm=tuple(float(v) for v in noise_floor(panel.values[: parts.calibration.first])),
        spread=tuple(float(v) for v in np.exp(weights @ np.log(old.spread))),
        lld=fit_lld(panel, parts.calibration, steps),
    )
    network = build_network(recipe)
    states = dict(shipped.network.state_dict())
    mixed = torch.from_numpy(weights.astype(np.float32))
    for name in ("head.linear.weight", "head.linear.bias"):
        states[name] = _mix_head(states[name], mixed)
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
    """A shipped network tuned to a record; where its early-stop block says that tuning helps nothing, as it was."""
    old = shipped.recipe
    settings = replace(settings, window=old.window, hidden=old.hidden, dropout=old.dropout)

    def join(one: Panel, blocks: Split) -> tuple[NeuralForecaster, Member]:
        settled = settle(shipped, one, blocks, [one.step_s * panel.steps(h) for h in horizons_s])
        return settled, Member(settled.recipe, one.values, blocks, settings.stride, least=LEAST_SEEN)

    settled, mine = join(panel, parts)
    mine = replace(mine, recipe=replace(mine.recipe, horizons_s=tuple(horizons_s), seed=settings.seed))
    others = [join(one, blocks)[1] for one, blocks in replay]
    return tune(settled.network, mine, others, settings, progress=progress)


def _mix_head(rows: Tensor, weights: Tensor) -> Tensor:
    """Rows of the head (known steps x quantiles, ...) at other steps."""
    parts = rows.reshape(weights.shape[1], -1)
    mixed: Tensor = weights @ parts
    return mixed.reshape(-1, *rows.shape[1:])

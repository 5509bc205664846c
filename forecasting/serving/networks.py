"""Trained networks in an issue: their forward passes over a panel, and why a network does not forecast something."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.data.series import Floats, Ints, Panel, horizon_key
from forecasting.data.splits import count_rows
from forecasting.errors import CheckpointError
from forecasting.reasons import Reason, Value
from forecasting.registry import TRAINING_ROWS, is_short
from forecasting.serving.readiness import Unready, find_gaps
from forecasting.serving.records import Checkpoint, Lack

if TYPE_CHECKING:
    from forecasting.neural.forecaster import NeuralForecaster


@dataclass(frozen=True, slots=True)
class NetworkForecasts:
    """What one network forecasts from every row of a panel that it was not trained on."""

    checkpoint: Checkpoint
    # quantiles at the horizons of the issue, shape (T, S, H, 5); NaN at rows of the training and without a forecast
    fans: Floats
    drivers: tuple[str, ...]  # driver channels that the network reads
    unready: Mapping[str, Unready] = field(default_factory=dict)  # by station
    refused: Mapping[float, tuple[Reason, Lack | None]] = field(default_factory=dict)  # by horizon in seconds


def load_network(checkpoint: Checkpoint) -> "tuple[NeuralForecaster, dict[str, Any]]":
    """Return the network of a checkpoint and its card.

    Raises:
        CheckpointError: The file is missing, damaged, or has another network than it is registered for.
    """
    from forecasting.neural.checkpoint import read

    forecaster, card = read(checkpoint.path)
    if forecaster.recipe.model != checkpoint.model:
        raise CheckpointError(f"the checkpoint holds {forecaster.recipe.model}, not {checkpoint.model}")
    return forecaster, card


def run_network(
    panel: Panel, horizons_s: tuple[float, ...], checkpoint: Checkpoint, first_row: int = 0
) -> NetworkForecasts:
    """Run a network at every row from its calibration block on, which it has not seen in training.

    Args:
        panel: The record.
        horizons_s: Horizons in seconds.
        checkpoint: The network.
        first_row: Row before which no forecast is needed.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        OtherIntervalError: The network was trained on another interval.
    """
    forecaster, card = load_network(checkpoint)
    recipe = forecaster.recipe
    rows = panel.values.shape[0]
    unseen_from_s = float(card["bounds"]["calibration"][0])
    first_unseen = int(np.ceil((unseen_from_s - panel.start_s) / panel.step_s))
    first_row = min(max(first_row, first_unseen, 0), rows - 1)
    origins = np.arange(first_row, rows, dtype=np.int64)
    quantiles = read_quantiles(forecaster, panel, origins)
    fans = np.full((rows, len(panel.stations), len(horizons_s), quantiles.shape[-1]), np.nan)
    for index, horizon_s in enumerate(horizons_s):
        steps = panel.steps(horizon_s)
        if steps in recipe.steps:
            fans[first_row:, :, index] = quantiles[:, :, recipe.steps.index(steps)]
    unready = find_gaps(panel, recipe.window)
    if recipe.supports is not None:
        reason = Reason("forecast.not_trained_at", {"model": checkpoint.model})
        lack = Lack(Reason("forecast.lack.training"), panel.end_s + panel.step_s)
        unready |= {name: Unready(reason, lack) for name in panel.stations if name not in recipe.stations}
    silent_columns = [panel.stations.index(name) for name in unready]
    fans[-1, silent_columns] = np.nan
    missing_s = [h for h in horizons_s if panel.steps(h) not in recipe.steps]
    refused = {h: _refuse_horizon(panel, checkpoint.model, h, card) for h in missing_s}
    drivers = recipe.sources.names if recipe.sources else ()
    return NetworkForecasts(checkpoint, fans, drivers, unready, refused)


def read_quantiles(forecaster: "NeuralForecaster", panel: Panel, origins: Ints) -> Floats:
    """Return the quantiles of a network at the stations of a panel, shape (N, S, H, 5).

    NaN at a station that the network has no column for.
    """
    readable, floors = forecaster.on_panel(panel)
    quantiles = forecaster.quantiles(readable.values, origins, floors, readable.drivers)
    if readable.stations == panel.stations:
        return quantiles
    column_by_station = {name: i for i, name in enumerate(readable.stations)}
    order = np.array([column_by_station.get(name, -1) for name in panel.stations])
    ordered = quantiles[:, order]
    ordered[:, order < 0] = np.nan
    return ordered


def _refuse_horizon(panel: Panel, model: str, horizon_s: float, card: Mapping[str, Any]) -> tuple[Reason, Lack | None]:
    """Return why a network does not reach a horizon, and what is missing if a longer record helps."""
    needed = count_rows(panel.steps(horizon_s), short=is_short(model))
    requested: dict[str, Value] = {"model": model, "horizon": horizon_s}
    if needed > TRAINING_ROWS:
        return Reason("forecast.too_far", {**requested, "rows": TRAINING_ROWS, "step": panel.step_s}), None
    reason = Reason("forecast.not_trained_for", requested)
    rows = int(card["data"]["rows"])
    # gaps, or the shipped weights, excluded the horizon: a longer record does not help
    if horizon_key(horizon_s) in card["dropped_horizons"] and (rows >= needed or is_short(model)):
        return reason, None
    if rows < needed:
        lacking = Reason("forecast.lack.record", {"n": rows, "needed": needed, "step": panel.step_s})
    else:
        lacking = Reason("forecast.lack.training")
    earliest_s = float(card["data"]["end_s"]) + max(0, needed - rows) * panel.step_s
    return reason, Lack(lacking, earliest_s)

"""Feature groups of a network and its answer when one comes from another time: what every explanation asks."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecasting.data.features import scale_lag
from forecasting.data.series import Floats, Ints, Panel
from forecasting.neural.forecaster import NeuralForecaster, cut_drivers, cut_motion

RECENT, EARLIER, NEIGHBOURS = "recent motion", "earlier motion", "neighbours"
MOST_GROUPS = 6
MERGED = (("outlook", "rain"), ("season", "temperature"), ("image", "water"), ("temperature", "water"))
"""Which source is counted with which where a network reads more than six groups."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows to explain.

    Attributes:
        inputs: Motion of the stations, shape (N, S, W, F).
        drivers: Channels (N, W, C, 2), or None where the network reads none.
        unit_mm: What one unit of the network's answer means, shape (N, S, H).
        usual: Mean window of each station on calibration, shape (S, W, F): what stands in for absent motion.
        recent: Rows that count as recent (7 days).
        static: Fixed facts of the stations (N, S, A, 2), or None where the network reads none.
    """

    inputs: NDArray[np.float32]
    drivers: NDArray[np.float32] | None
    unit_mm: Floats
    usual: NDArray[np.float32]
    recent: int
    static: NDArray[np.float32] | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the network is asked with."""
        parts = (self.inputs, self.drivers, self.static)
        return tuple(torch.from_numpy(one) for one in parts if one is not None)


def list_groups(forecaster: NeuralForecaster) -> tuple[str, ...]:
    """The groups a network can look at, six at most: own motion of the last week and before, and its other sources."""
    recipe = forecaster.recipe
    alone = recipe.supports is None or len(recipe.stations) < 2
    return (RECENT, EARLIER, *(() if alone else (NEIGHBOURS,)), *sorted(set(name_kinds(forecaster))))


def name_kinds(forecaster: NeuralForecaster) -> tuple[str, ...]:
    """The group of each driver channel: its source; where there are too many, those of `MERGED` are told together."""
    sources = forecaster.recipe.sources
    kinds = sources.kinds if sources else ()
    for kind, into in MERGED:
        if len(set(kinds)) + 3 <= MOST_GROUPS:
            break
        kinds = tuple(into if one == kind else one for one in kinds)
    return kinds


def make_batch(
    forecaster: NeuralForecaster, panel: Panel, origins: Ints, usual: NDArray[np.float32] | None = None
) -> Batch:
    """Cut the windows that end at the origins.

    Args:
        origins: Rows, shape (N,).
        usual: Mean windows of calibration, shape (S, W, F); default is the mean of this batch.
    """
    recipe = forecaster.recipe
    lag = scale_lag(recipe.step_s, recipe.window)
    _, floors = forecaster.on_panel(panel)
    cut = cut_motion(recipe, panel.values, origins, floors)
    more = [
        one.numpy() for one in cut_drivers(recipe, panel.drivers, origins, range(len(panel.stations)), cut.scale_mm)
    ]
    drivers, static = (*more, None, None)[:2]
    mean = cut.inputs.mean(axis=0) if usual is None else usual
    return Batch(cut.inputs, drivers, cut.unit_mm, mean, lag, static)


def exchange(batch: Batch, kinds: tuple[str, ...], group: str, order: Ints, station: int | None) -> Batch:
    """The batch with one group taken from other issue times, in the order given; all else stays."""
    inputs = batch.inputs.copy()
    mine = slice(None) if station is None else slice(station, station + 1)
    drivers = batch.drivers
    if group == RECENT:
        inputs[:, mine, -batch.recent :] = batch.inputs[order][:, mine, -batch.recent :]
    elif group == EARLIER:
        inputs[:, mine, : -batch.recent] = batch.inputs[order][:, mine, : -batch.recent]
    elif group == NEIGHBOURS and station is not None:
        others = np.arange(inputs.shape[1]) != station
        inputs[:, others] = batch.inputs[order][:, others]
    elif drivers is not None:
        channels = np.array([kind == group for kind in kinds])
        drivers = drivers.copy()
        drivers[:, :, channels] = drivers[order][:, :, channels]
    return replace(batch, inputs=inputs, drivers=drivers)


def correct(forecaster: NeuralForecaster, batch: Batch) -> Floats:
    """What the network adds to the simple forecast in mm (median, before the gate's weight), shape (N, S, H)."""
    forecaster.network.eval()
    with torch.inference_mode():
        made = forecaster.network(*batch.tensors)[..., 2].numpy().astype(np.float64)
    return np.asarray(made * batch.unit_mm, dtype=np.float64)

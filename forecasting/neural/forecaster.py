"""A trained network with its recipe: stations, noise, the simple forecast that it corrects, and scales."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecasting.data.covariates import YEAR_S
from forecasting.data.driver_rows import DriverRows, in_order
from forecasting.data.features import CLIP, FEATURES, scale_lag, windows
from forecasting.data.series import Floats, Ints, Panel
from forecasting.errors import OtherIntervalError
from forecasting.neural.device import run_network
from forecasting.neural.network import QUANTILES, Network, Shape
from forecasting.neural.source_scale import SourceScale
from forecasting.registry import load
from forecasting.simple.baselines import LevelDrift
from forecasting.simple.trend import Trend, compute_trend

# Windows of one forward pass, which limits the memory.
CHUNK = 4096
# Largest unit of a correction, as a multiple of the usual ratio between the scale of a window and the expected error.
MOST_DOUBTS = 2.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything except the weights that determines a forecast; part of the checkpoint and of its hash."""

    model: str  # id of the network
    stations: tuple[str, ...]  # names, sorted
    step_s: float  # interval of the grid
    steps: tuple[int, ...]  # horizons in rows
    horizons_s: tuple[float, ...]  # horizons in seconds
    window: int  # rows of a window
    hidden: int  # width of the state
    dropout: float  # share of the state that is dropped in training
    seed: int  # seed of weights, order and dropout
    noise_mm: tuple[float, ...]  # noise of each station, the smallest scale of its windows
    spread: tuple[float, ...]  # median |residual of the simple forecast| in the unit of the correction, per horizon
    level_drift: LevelDrift  # the simple forecast that is corrected, alone or blended with the trend; `lld` in files
    supports: Any = None  # graphs as nested lists (2, S, S); None without graphs
    sources: SourceScale | None = None  # driver channels and station properties with their scale; None without drivers
    # median ratio of window scale to expected error of the trend, per horizon; None if no trend is blended in
    doubts: tuple[float, ...] | None = None

    @property
    def base(self) -> LevelDrift | Trend:
        """The forecast that the network corrects: level and slope, or the trend of each station blended with them."""
        return self.level_drift if self.doubts is None else Trend("trend", self.steps, None, self.level_drift)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        added_below = {"level_drift", "sources", "doubts"}
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in added_below}
        return (
            {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
            | {
                "lld": self.level_drift.to_json(),
                "features": list(FEATURES),
                "quantiles": list(QUANTILES),
                "unit": "mm",
                "scale_rule": "mean |7-day change| of the window, not below the station's noise",
            }
            | ({} if self.sources is None else {"sources": self.sources.to_json()})
            | ({} if self.doubts is None else {"base": self.base.name, "doubts": list(self.doubts)})
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        return cls(
            model=str(data["model"]),
            stations=tuple(data["stations"]),
            step_s=float(data["step_s"]),
            steps=tuple(int(h) for h in data["steps"]),
            horizons_s=tuple(float(h) for h in data["horizons_s"]),
            window=int(data["window"]),
            hidden=int(data["hidden"]),
            dropout=float(data["dropout"]),
            seed=int(data["seed"]),
            noise_mm=tuple(float(v) for v in data["noise_mm"]),
            spread=tuple(float(v) for v in data["spread"]),
            level_drift=LevelDrift.from_json(data["lld"]),
            supports=data["supports"],
            sources=SourceScale.from_json(data["sources"]) if "sources" in data else None,
            doubts=tuple(float(v) for v in data["doubts"]) if "doubts" in data else None,
        )


@dataclass(frozen=True, slots=True)
class NeuralForecaster:
    """A network that can forecast."""

    recipe: Recipe
    network: Network

    def quantiles(
        self, values: Floats, origins: Ints, noise_mm: Floats | None = None, drivers: DriverRows | None = None
    ) -> Floats:
        """Return quantiles in mm, shape (N, S, H, 5); NaN if there is no simple forecast.

        No row after an origin is read.

        Args:
            values: Shape (T, S). A network with graphs needs the columns of the recipe.
            origins: Issue times, shape (N,).
            noise_mm: Smallest scale of each station, shape (S,); default is that of the recipe.
            drivers: Drivers on the rows of `values`. A missing channel counts as unknown.
        """
        recipe = self.recipe
        floors = np.asarray(recipe.noise_mm) if noise_mm is None else noise_mm
        # The simple forecast is computed in parts too, because its sums over all stations would need too much memory.
        quantiles = np.empty((origins.size, values.shape[1], len(recipe.steps), len(QUANTILES)))
        parts = _split_windows(origins.size, values.shape[1], has_graph=recipe.supports is not None)
        self.network.eval()
        for rows, columns in parts:
            motion = cut_motion(recipe, values[:, columns], origins[rows], floors[columns])
            column_numbers = range(values.shape[1])[columns]
            with torch.inference_mode():
                driver_inputs = cut_drivers(recipe, drivers, origins[rows], column_numbers, motion.scale_mm)
                output = run_network(self.network, torch.from_numpy(motion.inputs), *driver_inputs)
            corrections = output.numpy().astype(np.float64) * motion.unit_mm[..., None]
            quantiles[rows, columns] = motion.base[..., None] + corrections
        return quantiles

    def on_panel(self, panel: Panel) -> tuple[Panel, Floats]:
        """Return the panel with the columns that this network reads, and the noise of each.

        A network with graphs reads the stations of its training. A missing station is a column without values. Other
        networks read any station. A station that was not in the training has the median noise of the others.

        Raises:
            OtherIntervalError: The network was trained on another interval.
        """
        recipe = self.recipe
        if abs(panel.step_s - recipe.step_s) > 1e-6 * recipe.step_s:
            raise OtherIntervalError(f"trained on an interval of {recipe.step_s:g} s, the panel has {panel.step_s:g} s")
        noise_by_station = dict(zip(recipe.stations, recipe.noise_mm, strict=True))
        names = recipe.stations if recipe.supports is not None else panel.stations
        median_noise = float(np.median(recipe.noise_mm))
        floors = np.array([noise_by_station.get(name, median_noise) for name in names])
        if names == panel.stations:
            return panel, floors
        column_by_station = {name: i for i, name in enumerate(panel.stations)}
        values = in_order(panel.values, panel.stations, names)
        drivers = panel.drivers and panel.drivers.of_stations([column_by_station.get(name, -1) for name in names])
        return Panel(panel.start_s, panel.step_s, names, values, drivers=drivers), floors


@dataclass(frozen=True, slots=True)
class CorrectedMotion:
    """Inputs of a network about the motion, and the simple forecast that it corrects, at some issue times."""

    # windows, features that the network derives from them, and the trend relative to `level_drift` if there is one;
    # shape (N, S, W, F)
    inputs: NDArray[np.float32]
    scale_mm: Floats  # scale of each window, shape (N, S)
    base: Floats  # the simple forecast, mm, shape (N, S, H)
    unit_mm: Floats  # unit of the correction, shape (N, S, H)


def cut_motion(recipe: Recipe, values: Floats, origins: Ints, noise_mm: Floats) -> CorrectedMotion:
    """Return the windows of motion that a network reads, with the simple forecast that it corrects."""
    motion = measure_motion(recipe, values, origins, noise_mm)
    derived = load(recipe.model).derive_features(motion.inputs[..., : len(FEATURES)])
    if not derived.shape[-1]:
        return motion
    parts = [motion.inputs[..., : len(FEATURES)], derived, motion.inputs[..., len(FEATURES) :]]
    return replace(motion, inputs=np.concatenate(parts, axis=-1))


def measure_motion(recipe: Recipe, values: Floats, origins: Ints, noise_mm: Floats) -> CorrectedMotion:
    """Return what `cut_motion` returns, without the features that a network derives from its windows.

    If the simple forecast contains a trend, the network also reads its difference from level and slope, in units of the
    scale of the window, because a trend uses more rows than a window has. The unit of the correction is the scale of
    the window, limited by the expected error of the trend: a motion that is faster than any in the training has a large
    scale, but its trend is not less certain.
    """
    cut = windows(values, origins, noise_mm, window=recipe.window, lag=scale_lag(recipe.step_s, recipe.window))
    scale = cut.scale_mm[..., None]
    spread = np.asarray(recipe.spread)
    level_drift = recipe.level_drift.predict(values, origins)
    trend = recipe.base
    if not isinstance(trend, Trend):
        return CorrectedMotion(cut.inputs, cut.scale_mm, level_drift, scale * spread)
    forecasts = compute_trend(values, trend.steps, trend.groups)
    expected_error = forecasts.expected_error[origins]
    base = trend.blend(forecasts.path[origins], expected_error, level_drift)
    difference = np.clip(np.nan_to_num((base - level_drift) / scale), -CLIP, CLIP).astype(np.float32)
    difference_rows = np.broadcast_to(difference[:, :, None], (*cut.inputs.shape[:3], difference.shape[-1]))
    largest_unit = np.where(
        np.isfinite(expected_error), MOST_DOUBTS * np.asarray(recipe.doubts) * expected_error, np.inf
    )
    unit_mm = np.maximum(np.minimum(scale, largest_unit), noise_mm[:, None]) * spread
    return CorrectedMotion(np.concatenate([cut.inputs, difference_rows], axis=-1), cut.scale_mm, base, unit_mm)


def cut_drivers(
    recipe: Recipe, drivers: DriverRows | None, origins: Ints, columns: Sequence[int], scale_mm: Floats
) -> tuple[Tensor, ...]:
    """Return the other inputs of a network: windows of its driver channels, and properties of stations.

    Args:
        columns: Columns of the panel that the network reads.
        scale_mm: Scale of each window, shape (N, S).

    Returns:
        Tensors of shape (N, W, C, 2) and (N, S, A, 2); none for a network without drivers.
    """
    sources = recipe.sources
    if sources is None:
        return ()
    driver_windows = torch.from_numpy(sources.cut(drivers, origins, recipe.window))
    if not sources.facts:
        return (driver_windows,)
    selected = None if drivers is None else drivers.of_stations(columns)
    return driver_windows, torch.from_numpy(sources.place(selected, scale_mm))


def build_network(recipe: Recipe) -> Network:
    """Return an untrained network for a recipe. Its weights are drawn from the random generator of torch."""
    graph: Tensor | None = None if recipe.supports is None else torch.tensor(recipe.supports, dtype=torch.float32)
    sources = recipe.sources or SourceScale()
    network_class = load(recipe.model)
    motion_features = len(FEATURES) + network_class.derived_features
    added = len(sources.names) + len(sources.facts)
    shape = Shape(
        features=motion_features + 2 * added + (0 if recipe.doubts is None else len(recipe.steps)),
        window=recipe.window,
        horizons=len(recipe.steps),
        hidden=recipe.hidden,
        dropout=recipe.dropout,
        supports=graph,
        kinds=sources.kinds,
        turns=tuple(2.0 * math.pi * step * recipe.step_s / YEAR_S for step in recipe.steps),
        steps=recipe.steps,
    )
    network: Network = network_class(shape)
    return network


def _split_windows(origins: int, stations: int, *, has_graph: bool) -> Sequence[tuple[slice, slice]]:
    """Return slices of origins and stations with about `CHUNK` windows each. A graph needs all stations together."""
    width = stations if has_graph else min(stations, CHUNK)
    height = max(1, CHUNK // max(width, 1))
    return [
        (slice(row, min(row + height, origins)), slice(column, min(column + width, stations)))
        for row in range(0, origins, height)
        for column in range(0, stations, width)
    ]

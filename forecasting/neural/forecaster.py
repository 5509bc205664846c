"""A trained network with all it needs to forecast: stations, floors, the fitted simple forecast, its weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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
from forecasting.simple.trend import Trend, recall

CHUNK = 4096  # windows per pass: bounds the memory of a large set
MOST_DOUBTS = 2.0  # times the usual share of doubt in a window's scale that the unit of a correction may hold


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything besides the weights that decides a forecast; part of the checkpoint and of its hash."""

    model: str  # id of the network
    stations: tuple[str, ...]  # names, sorted
    step_s: float  # interval of the grid
    steps: tuple[int, ...]  # horizons in rows
    horizons_s: tuple[float, ...]  # horizons in seconds
    window: int  # rows a network sees
    hidden: int  # width of its state
    dropout: float  # share dropped in training
    seed: int  # seed of weights, order and dropout
    noise_mm: tuple[float, ...]  # floor of each station's scale
    spread: tuple[float, ...]  # median |residual of the base| in the unit of a correction, per horizon
    lld: LevelDrift  # the simple forecast the network corrects, alone or where the path of the motion is in doubt
    supports: Any = None  # graphs as nested lists (2, S, S), or None
    sources: SourceScale | None = None  # driver channels, fixed facts and their scale, or None where it reads none
    doubts: tuple[float, ...] | None = None  # median window scale over doubt of the path, per horizon; None: lld alone

    @property
    def base(self) -> LevelDrift | Trend:
        """The simple forecast that the network corrects: the path of each column by itself, in doubt `lld`."""
        return self.lld if self.doubts is None else Trend("trend", self.steps, None, self.lld)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        left = {"sources", "doubts"}
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left}
        return (
            {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
            | {
                "lld": self.lld.to_json(),
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
        """Inverse of `to_json`."""
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
            lld=LevelDrift.from_json(data["lld"]),
            supports=data["supports"],
            sources=SourceScale.from_json(data["sources"]) if "sources" in data else None,
            doubts=tuple(float(v) for v in data["doubts"]) if "doubts" in data else None,
        )


@dataclass(frozen=True, slots=True)
class NeuralForecaster:
    """A network ready to forecast."""

    recipe: Recipe
    network: Network

    def quantiles(
        self, values: Floats, origins: Ints, noise_mm: Floats | None = None, drivers: DriverRows | None = None
    ) -> Floats:
        """Quantiles in mm, shape (N, S, H, 5); NaN where the base knows nothing. Reads no row after an origin.

        Args:
            values: Shape (T, S), columns as in the recipe (any columns for a network without graph).
            noise_mm: Scale floors, shape (S,); default is the recipe's.
            drivers: What may drive the slope, on the rows of `values`; a channel that is absent counts as silent.
        """
        recipe = self.recipe
        floors = np.asarray(recipe.noise_mm) if noise_mm is None else noise_mm
        # the simple forecast is made piece by piece too: its moments over every station at once would fill the memory
        out = np.empty((origins.size, values.shape[1], len(recipe.steps), len(QUANTILES)))
        parts = _parts(origins.size, values.shape[1], graph=recipe.supports is not None)
        self.network.eval()
        for rows, columns in parts:
            piece = values[:, columns]
            cut = cut_motion(recipe, piece, origins[rows], floors[columns])
            with torch.inference_mode():
                more = cut_drivers(recipe, drivers, origins[rows], range(values.shape[1])[columns], cut.scale_mm)
                scaled = run_network(self.network, torch.from_numpy(cut.inputs), *more).numpy().astype(np.float64)
            out[rows, columns] = cut.base[..., None] + scaled * cut.unit_mm[..., None]
        return out

    def on_panel(self, panel: Panel) -> tuple[Panel, Floats]:
        """The panel with the columns this network can read, and their scale floors.

        A graph network reads exactly its own stations (absent ones are silent columns); the others read any station,
        with the typical floor for one that training did not know.
        """
        recipe = self.recipe
        if abs(panel.step_s - recipe.step_s) > 1e-6 * recipe.step_s:
            raise OtherIntervalError(f"trained on an interval of {recipe.step_s:g} s, the panel has {panel.step_s:g} s")
        known = dict(zip(recipe.stations, recipe.noise_mm, strict=True))
        names = recipe.stations if recipe.supports is not None else panel.stations
        typical = float(np.median(recipe.noise_mm))
        floors = np.array([known.get(name, typical) for name in names])
        if names == panel.stations:
            return panel, floors
        column = {name: i for i, name in enumerate(panel.stations)}
        values = in_order(panel.values, panel.stations, names)
        drivers = panel.drivers and panel.drivers.of_stations([column.get(name, -1) for name in names])
        return Panel(panel.start_s, panel.step_s, names, values, drivers=drivers), floors


@dataclass(frozen=True, slots=True)
class CorrectedMotion:
    """What a network reads of a motion, and what it corrects, at some issue times."""

    inputs: NDArray[np.float32]  # windows and, of a path, where it leads, shape (N, S, W, F)
    scale_mm: Floats  # scale of each window, shape (N, S)
    base: Floats  # the simple forecast that is corrected, mm, shape (N, S, H)
    unit_mm: Floats  # unit of the correction, shape (N, S, H)


def cut_motion(recipe: Recipe, values: Floats, origins: Ints, noise_mm: Floats) -> CorrectedMotion:
    """Windows of the movement as a network reads them, with the simple forecast that it corrects.

    A path is read as well, in windows' scales from `lld`: it rests on more rows than a window has. The unit of the
    correction is the scale of the window, and no more than `MOST_DOUBTS` usual shares of it in the error to expect of
    the path: a motion faster than any that was learnt has a large scale, and its path is in no more doubt for that.
    """
    cut = windows(values, origins, noise_mm, window=recipe.window, lag=scale_lag(recipe.step_s, recipe.window))
    scale, spread = cut.scale_mm[..., None], np.asarray(recipe.spread)
    lld, path = recipe.lld.predict(values, origins), recipe.base
    if not isinstance(path, Trend):
        return CorrectedMotion(cut.inputs, cut.scale_mm, lld, scale * spread)
    found = recall(values, path.steps, path.groups)
    doubt = found.doubt[origins]
    base = path.lean(found.path[origins], doubt, lld)
    leads = np.clip(np.nan_to_num((base - lld) / scale), -CLIP, CLIP).astype(np.float32)
    rows = np.broadcast_to(leads[:, :, None], (*cut.inputs.shape[:3], leads.shape[-1]))
    most = np.where(np.isfinite(doubt), MOST_DOUBTS * np.asarray(recipe.doubts) * doubt, np.inf)
    unit_mm = np.maximum(np.minimum(scale, most), noise_mm[:, None]) * spread
    return CorrectedMotion(np.concatenate([cut.inputs, rows], axis=-1), cut.scale_mm, base, unit_mm)


def cut_drivers(
    recipe: Recipe, drivers: DriverRows | None, origins: Ints, columns: Sequence[int], scale_mm: Floats
) -> tuple[Tensor, ...]:
    """Further inputs of a network: windows of its driver channels (N, W, C, 2), facts of stations (N, S, A, 2).

    Nothing for one that reads no drivers.
    """
    sources = recipe.sources
    if sources is None:
        return ()
    windows_of = torch.from_numpy(sources.cut(drivers, origins, recipe.window))
    if not sources.facts:
        return (windows_of,)
    mine = None if drivers is None else drivers.of_stations(columns)
    return windows_of, torch.from_numpy(sources.place(mine, scale_mm))


def build_network(recipe: Recipe) -> Network:
    """An untrained network for a recipe; draws its first weights from torch's present generator."""
    graph: Tensor | None = None if recipe.supports is None else torch.tensor(recipe.supports, dtype=torch.float32)
    sources = recipe.sources or SourceScale()
    kind = load(recipe.model)
    joined = len(sources.names) + len(sources.facts)
    shape = Shape(
        features=len(FEATURES) + 2 * joined + (0 if recipe.doubts is None else len(recipe.steps)),
        window=recipe.window,
        horizons=len(recipe.steps),
        hidden=recipe.hidden,
        dropout=recipe.dropout,
        supports=graph,
        kinds=sources.kinds,
        turns=tuple(2.0 * math.pi * h * recipe.step_s / YEAR_S for h in recipe.steps),
    )
    network: Network = kind(shape)
    return network


def _parts(origins: int, stations: int, *, graph: bool) -> Sequence[tuple[slice, slice]]:
    """Pieces of at most about `CHUNK` windows; a graph is never cut across stations."""
    width = stations if graph else min(stations, CHUNK)
    height = max(1, CHUNK // max(width, 1))
    return [
        (slice(row, min(row + height, origins)), slice(column, min(column + width, stations)))
        for row in range(0, origins, height)
        for column in range(0, stations, width)
    ]

"""Explain a trained network: which inputs it uses, and how they contribute to the forecast from the last row.

The explanation is a record of plain values that is stored with the card of the network.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forecasting.data.features import scale_lag
from forecasting.data.kinds import STATION, find_covariate
from forecasting.data.series import Floats, Ints, Panel, horizon_key
from forecasting.data.splits import Split
from forecasting.metrics import mae
from forecasting.neural.forecaster import NeuralForecaster, cut_drivers, cut_motion
from forecasting.neural.source_scale import SourceScale

RECENT = "recent motion"
EARLIER = "earlier motion"
NEIGHBOURS = "neighbours"
MOST_GROUPS = 6
# Kinds of drivers that are merged into another kind if a network reads more than `MOST_GROUPS` groups.
MERGED = (("outlook", "rain"), ("season", "temperature"), ("image", "water"), ("temperature", "water"))


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows to explain."""

    inputs: NDArray[np.float32]  # motion of the stations, shape (N, S, W, F)
    drivers: NDArray[np.float32] | None  # channels, shape (N, W, C, 2); None without drivers
    unit_mm: Floats  # unit of the output, shape (N, S, H)
    # mean window of each station on the calibration block, shape (S, W, F); the baseline of integrated gradients
    usual: NDArray[np.float32]
    recent: int  # newest rows that count as recent motion (7 days)
    # properties of the stations, shape (N, S, A, 2); None without properties
    static: NDArray[np.float32] | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs of the network."""
        parts = (self.inputs, self.drivers, self.static)
        return tuple(torch.from_numpy(part) for part in parts if part is not None)


def list_groups(forecaster: NeuralForecaster) -> tuple[str, ...]:
    """Return the groups of inputs of a network, at most six.

    They are the motion of the station in the last week and before, the motion of other stations, and kinds of drivers.
    """
    recipe = forecaster.recipe
    has_neighbours = recipe.supports is not None and len(recipe.stations) >= 2
    neighbours = (NEIGHBOURS,) if has_neighbours else ()
    return (RECENT, EARLIER, *neighbours, *sorted(set(name_kinds(forecaster))))


def name_kinds(forecaster: NeuralForecaster) -> tuple[str, ...]:
    """Return the group of each driver channel: its kind, or a kind into which it is merged (`MERGED`)."""
    sources = forecaster.recipe.sources
    kinds = sources.kinds if sources else ()
    for kind, into in MERGED:
        if len(set(kinds)) + 3 <= MOST_GROUPS:
            break
        kinds = tuple(into if channel_kind == kind else channel_kind for channel_kind in kinds)
    return kinds


def make_batch(
    forecaster: NeuralForecaster, panel: Panel, origins: Ints, usual: NDArray[np.float32] | None = None
) -> Batch:
    """Return the windows that end at the origins.

    Args:
        usual: Mean windows of the calibration block, shape (S, W, F); default is the mean of this batch.
    """
    recipe = forecaster.recipe
    lag = scale_lag(recipe.step_s, recipe.window)
    _, floors = forecaster.on_panel(panel)
    motion = cut_motion(recipe, panel.values, origins, floors)
    driver_inputs = cut_drivers(recipe, panel.drivers, origins, range(len(panel.stations)), motion.scale_mm)
    drivers, static = (*(tensor.numpy() for tensor in driver_inputs), None, None)[:2]
    mean = motion.inputs.mean(axis=0) if usual is None else usual
    return Batch(motion.inputs, drivers, motion.unit_mm, mean, lag, static)


def exchange(batch: Batch, kinds: tuple[str, ...], group: str, order: Ints, station: int | None) -> Batch:
    """Return the batch with one group of inputs taken from other issue times.

    Args:
        kinds: Group of each driver channel.
        group: The group to exchange.
        order: Number of the issue time from which each issue time gets the group, shape (N,).
        station: Column of the station whose motion is exchanged; None for all.
    """
    inputs = batch.inputs.copy()
    columns = slice(None) if station is None else slice(station, station + 1)
    drivers = batch.drivers
    if group == RECENT:
        inputs[:, columns, -batch.recent :] = batch.inputs[order][:, columns, -batch.recent :]
    elif group == EARLIER:
        inputs[:, columns, : -batch.recent] = batch.inputs[order][:, columns, : -batch.recent]
    elif group == NEIGHBOURS and station is not None:
        others = np.arange(inputs.shape[1]) != station
        inputs[:, others] = batch.inputs[order][:, others]
    elif drivers is not None:
        channels = np.array([kind == group for kind in kinds])
        drivers = drivers.copy()
        drivers[:, :, channels] = drivers[order][:, :, channels]
    return replace(batch, inputs=inputs, drivers=drivers)


def correct(forecaster: NeuralForecaster, batch: Batch) -> Floats:
    """Return the correction of the simple forecast by the network (median), mm, shape (N, S, H)."""
    forecaster.network.eval()
    with torch.inference_mode():
        medians = forecaster.network(*batch.tensors)[..., 2].numpy().astype(np.float64)
    return np.asarray(medians * batch.unit_mm, dtype=np.float64)


def permutation_importance(
    error: Callable[[str | None, Ints], Floats], groups: Sequence[str], count: int, *, repeats: int, seed: int
) -> dict[str, Floats]:
    """Return by how much the error rises if a group is exchanged between issue times, the mean of several repeats.

    A value near 0 means that the group is not used, or that another group has the same information. A value below 0
    means that the forecast was better without it at these issue times. With few issue times this is chance.

    Args:
        error: Returns the error with a group exchanged in an order, shape (H,); without exchange for None.
        groups: Names of the groups.
        count: Number of issue times.
        repeats: Number of orders.
        seed: Seed of the orders.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(count) for _ in range(repeats)]
    error_without_exchange = error(None, np.arange(count))
    importance = {}
    for group in groups:
        rises = [error(group, order) - error_without_exchange for order in orders]
        importance[group] = np.asarray(np.mean(rises, axis=0), dtype=np.float64)
    return importance


NOT_A_CAUSE = "not a cause: what the network uses, not what moves the slope"
# Largest number of stations of which maps are stored.
MOST_STATIONS = 32


def read_maps(forecaster: NeuralForecaster, batch: Batch) -> list[dict[str, Any]]:
    """Return the attention weights and graphs of a network, averaged over the windows of a batch.

    Most networks have none.
    """
    network: Any = forecaster.network.eval()
    inputs, *driver_inputs = batch.tensors
    maps: list[dict[str, Any]] = []
    with torch.inference_mode():
        network(inputs, *driver_inputs)
        attention: Any = getattr(network, "attention", None)
        if isinstance(attention, nn.Module):
            maps.append(_make_map("attention over rows", attention.weights.mean(dim=0), "oldest row first"))  # type: ignore[operator]
        elif callable(attention):
            drivers, static = (*driver_inputs, None, None)[:2]
            rows = network.with_drivers(inputs, network.drop_sources(inputs, drivers), static)
            newest = attention(rows.flatten(0, 1))[:, -1].mean(dim=0)
            maps.append(_make_map("attention of the newest patch over patches of rows", newest, "oldest first"))
        names = ", ".join(forecaster.recipe.stations)
        order = f"row uses column, in the order {names}"
        is_small = len(forecaster.recipe.stations) <= MOST_STATIONS
        weights = getattr(network, "weights", None)
        if isinstance(weights, Tensor) and weights.ndim == 4 and is_small:
            maps.append(_make_map("attention between stations", weights.mean(dim=(0, 1)), order))
        learned_graph: Any = getattr(network, "adjacency", None)
        if callable(learned_graph) and is_small:
            maps.append(_make_map("learned graph", learned_graph(), order))
        if forecaster.recipe.supports is not None and is_small:
            graph = torch.tensor(forecaster.recipe.supports, dtype=torch.float64).abs().sum(dim=0)
            maps.append(_make_map("given graphs, added", graph, order))
    return maps


def _make_map(kind: str, values: Tensor, order: str) -> dict[str, Any]:
    rounded = np.round(values.detach().numpy().astype(np.float64), 5).tolist()
    return {"kind": kind, "order": order, "values": rounded, "note": NOT_A_CAUSE}


# Largest error of the sum of the parts, as a share of the difference.
COMPLETENESS = 0.01
# Differences up to this are 0.
NOTHING = 1e-9
# Nodes of the integration. More are used if the error is too large.
NODES = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Attribution:
    """How much each input contributes to the difference between a window and a baseline.

    Attributes:
        parts: One array per input, of its shape. Their sum is `difference`.
        difference: Output at the window minus output at the baseline.
        completeness_error: |sum of parts - difference| / |difference|; the absolute error if the difference is 0.
        complete: Whether the error is below `COMPLETENESS`. Otherwise the parts must not be used.
    """

    parts: tuple[Floats, ...]
    difference: float
    completeness_error: float
    complete: bool


def integrate(answer: Callable[..., Tensor], inputs: Sequence[Tensor], baselines: Sequence[Tensor]) -> Attribution:
    """Return integrated gradients by Gauss-Legendre integration (Sundararajan et al. 2017).

    The number of nodes increases until the sum of the parts is within 1 % of the difference. The parts of a forecast
    without gradients, such as that of a random forest, are 0.

    Args:
        answer: Output (K,) for batches (K, ...) of every input.
        inputs: The window.
        baselines: The baseline of each input.
    """
    gaps = [end - start for end, start in zip(inputs, baselines, strict=True)]
    with torch.no_grad():
        at_window = answer(*(part.unsqueeze(0) for part in inputs))[0]
        at_baseline = answer(*(part.unsqueeze(0) for part in baselines))[0]
        difference = float(at_window - at_baseline)
    parts: list[Tensor] = []
    error = float("inf")
    for count in NODES:
        abscissas, node_weights = np.polynomial.legendre.leggauss(count)
        positions = torch.from_numpy((abscissas + 1.0) / 2.0)
        weights = torch.from_numpy(node_weights / 2.0)
        points = [
            (start.unsqueeze(0) + positions.reshape(-1, *[1] * gap.ndim) * gap).requires_grad_()
            for start, gap in zip(baselines, gaps, strict=True)
        ]
        total = answer(*points).sum()
        # Trees have no gradient, and neither has a network whose output is constant.
        gradients: Sequence[Tensor | None] = [None] * len(points)
        if total.requires_grad:
            gradients = torch.autograd.grad(total, points, allow_unused=True)
        parts = [
            torch.zeros_like(gap) if gradient is None else gap * torch.tensordot(weights, gradient, dims=1)
            for gap, gradient in zip(gaps, gradients, strict=True)
        ]
        absolute_error = abs(float(sum(part.sum() for part in parts)) - difference)
        error = absolute_error / abs(difference) if abs(difference) > NOTHING else absolute_error
        if error < COMPLETENESS or not total.requires_grad:
            break
    return Attribution(tuple(part.numpy() for part in parts), difference, error, error < COMPLETENESS)


OF = "what the network adds to the simple forecast in mm (median)"
# Windows of one explanation that the network reads, which takes a second or two for a small network.
BUDGET = 12_000
# Stations that are explained, issue times, and orders of the permutation.
MOST_TARGETS = 4
MOST_ORIGINS = 48
REPEATS = 3
# Features that are masks of observed values.
_MASKS = slice(2, 4)


class Explainer:
    """Explains a network at the windows of a batch.

    Args:
        targets: Columns of the stations that are explained.
    """

    def __init__(self, forecaster: NeuralForecaster, panel: Panel, batch: Batch, targets: list[int]) -> None:
        self.forecaster = forecaster
        self.panel = panel
        self.batch = batch
        self.targets = targets
        self.kinds = name_kinds(forecaster)
        self.has_graph = forecaster.recipe.supports is not None
        self.groups = list_groups(forecaster)

    def correct_exchanged(self, group: str | None, order: Ints) -> Floats:
        """Return the correction with one group from other issue times, shape (N, targets, H)."""
        if group is None:
            return correct(self.forecaster, self.batch)[:, self.targets]
        if not self.has_graph:
            exchanged = exchange(self.batch, self.kinds, group, order, None)
            return correct(self.forecaster, exchanged)[:, self.targets]
        corrections = []
        for station in self.targets:
            exchanged = exchange(self.batch, self.kinds, group, order, station)
            corrections.append(correct(self.forecaster, exchanged)[:, station])
        return np.stack(corrections, axis=1)

    def gradients(self, station: int, horizon: int) -> dict[str, Any]:
        """Return integrated gradients of the newest window, by group and by row.

        The baseline has the usual values and the same masks as the window.
        """
        network = copy.deepcopy(self.forecaster.network).double().eval()
        batch = self.batch
        ends = [torch.from_numpy(batch.inputs[-1].astype(np.float64))]
        usual = torch.from_numpy(batch.usual.astype(np.float64)) * (ends[0][..., 2:3] > 0).double()
        usual[..., _MASKS] = ends[0][..., _MASKS]
        starts = [usual]
        if batch.drivers is not None:
            ends.append(torch.from_numpy(batch.drivers[-1].astype(np.float64)))
            starts.append(ends[1].clone())
            starts[1][..., 0] = 0.0
        if batch.static is not None:
            ends.append(torch.from_numpy(batch.static[-1].astype(np.float64)))
            starts.append(ends[2])
        unit = float(batch.unit_mm[-1, station, horizon])

        def answer(*inputs: Tensor) -> Tensor:
            median: Tensor = network(*inputs)[:, station, horizon, 2]
            return median * unit

        attribution = integrate(answer, ends, starts)
        motion = attribution.parts[0].sum(axis=-1)
        by_group = {RECENT: motion[station, -batch.recent :].sum(), EARLIER: motion[station, : -batch.recent].sum()}
        if NEIGHBOURS in self.groups:
            by_group[NEIGHBOURS] = np.delete(motion, station, axis=0).sum()
        by_row = motion.sum(axis=0)
        if len(attribution.parts) > 1:
            channels = attribution.parts[1].sum(axis=-1)
            by_row = by_row + channels.sum(axis=1)
            for kind in sorted(set(self.kinds)):
                by_group[kind] = channels[:, [channel_kind == kind for channel_kind in self.kinds]].sum()
        return {
            "difference_mm": _round(attribution.difference),
            "by_group_mm": {name: _round(value) for name, value in by_group.items()},
            "by_row_mm": [_round(value) for value in by_row],
            "completeness_error": float(f"{attribution.completeness_error:.2g}"),
            "complete": attribution.complete,
        }


def explain(forecaster: NeuralForecaster, panel: Panel, parts: Split, *, seed: int = 7) -> dict[str, Any]:
    """Return the explanation that is stored with the card of a network.

    Args:
        panel: The record of its training.
        parts: Blocks of the record. Importance is computed on the calibration block, which the weights do not depend
        on. seed: Seed of the permutations.
    """
    recipe = forecaster.recipe
    driver_list = list_drivers(recipe.sources, panel)
    has_graph = recipe.supports is not None
    has_many_stations = has_graph and len(panel.stations) > 4 * MOST_TARGETS
    targets = _select_evenly(np.arange(len(panel.stations)), 1 if has_many_stations else MOST_TARGETS)
    if not has_graph:
        # a network that reads each station separately does not need the others
        names = tuple(panel.stations[s] for s in targets)
        drivers = panel.drivers and panel.drivers.of_stations(targets)
        panel = Panel(panel.start_s, panel.step_s, names, panel.values[:, targets], drivers=drivers)
        targets = np.arange(len(names))
    groups = list_groups(forecaster)
    windows_of_issue = len(targets) * (len(panel.stations) if has_graph else 1)
    block = parts.calibration
    usable = block.origins[block.origins >= recipe.window - 1]
    most_origins = min(4 * MOST_ORIGINS, BUDGET // (windows_of_issue * REPEATS * max(1, len(groups))))
    origins = np.asarray(_select_evenly(usable, max(8, most_origins)))
    columns = [int(column) for column in targets]
    explainer = Explainer(forecaster, panel, make_batch(forecaster, panel, origins), columns)
    base = recipe.base.predict(panel.values, origins)[:, columns]
    observed = [block.targets(panel.values, origins, step)[:, columns] for step in recipe.steps]

    def error(group: str | None, order: Ints) -> Floats:
        forecasts = base + explainer.correct_exchanged(group, order)
        return np.array([mae(observed[i] - forecasts[:, :, i]) for i in range(len(recipe.steps))])

    importance = permutation_importance(error, groups, len(origins), repeats=REPEATS, seed=seed)
    permutation_mm = {
        horizon_key(horizon_s): {group: _round(importance[group][i]) for group in groups}
        for i, horizon_s in enumerate(recipe.horizons_s)
    }
    return {
        "of": OF,
        "note": f"importance is {NOT_A_CAUSE}",
        "drivers": driver_list,
        "groups": list(groups),
        "stations": [panel.stations[column] for column in columns],
        "calibration": {"issue_times": len(origins), "permutation_mm": permutation_mm},
        "forecast": explain_forecast(forecaster, panel, panel.values.shape[0] - 1, explainer.batch.usual, columns),
        "maps": read_maps(forecaster, explainer.batch),
    }


def list_drivers(sources: SourceScale | None, panel: Panel) -> list[dict[str, Any]]:
    """Return the drivers of a network with the share of each that is missing in a record.

    It is the share of rows for a series, and the share of stations for a property of stations (kind `station`).
    """
    if sources is None:
        return []
    rows = sources.raw(panel.drivers, np.arange(panel.values.shape[0]), 1)[:, 0] if panel.drivers else None
    first_channels: dict[str, tuple[str, int]] = {}
    for i, (name, kind) in enumerate(zip(sources.names, sources.kinds, strict=True)):
        first_channels.setdefault(find_covariate(name), (kind, i))
    series = [
        {"name": name, "kind": kind, "missing": 1.0 if rows is None else _round(float(np.isnan(rows[:, i]).mean()))}
        for name, (kind, i) in first_channels.items()
    ]
    mask = replace(sources, motion=None).place(panel.drivers, np.ones((1, len(panel.stations))))[0, ..., 1]
    return series + [
        {"name": name, "kind": STATION, "missing": _round(1.0 - float(mask[:, i].mean()))}
        for i, name in enumerate(sources.static)
    ]


def explain_forecast(
    forecaster: NeuralForecaster, panel: Panel, origin: int, usual: NDArray[np.float32], columns: list[int]
) -> dict[str, Any]:
    """Return the correction and its integrated gradients for the forecast from one row, by station and horizon.

    Args:
        origin: The row.
        usual: Mean windows of the calibration block, shape (S, W, F).
        columns: Columns of the stations that are explained.
    """
    recipe = forecaster.recipe
    batch = make_batch(forecaster, panel, np.array([origin], dtype=np.int64), usual)
    explainer = Explainer(forecaster, panel, batch, columns)
    corrections = correct(forecaster, batch)
    stations = {}
    for column in columns:
        stations[panel.stations[column]] = {
            horizon_key(horizon_s): {
                "correction_mm": _round(corrections[0, column, i]),
                "gradients": explainer.gradients(column, i),
            }
            for i, horizon_s in enumerate(recipe.horizons_s)
        }
    return {"issued_s": panel.start_s + panel.step_s * origin, "stations": stations}


def _select_evenly(rows: Ints, most: int) -> Ints:
    """Return at most `most` rows, evenly spaced."""
    if rows.size <= most:
        return rows
    return np.asarray(rows[np.unique(np.linspace(0, rows.size - 1, most).round().astype(np.int64))])


def _round(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None

"""One JSON-ready record per trained network: what it uses, and why it says what it says at the last row."""

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

RECENT, EARLIER, NEIGHBOURS = "recent motion", "earlier motion", "neighbours"
MOST_GROUPS = 6
MERGED = (("outlook", "rain"), ("season", "temperature"), ("image", "water"), ("temperature", "water"))
"""Which source is counted with which where a network reads more than six groups."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows to explain."""

    inputs: NDArray[np.float32]  # motion of the stations, shape (N, S, W, F)
    drivers: NDArray[np.float32] | None  # channels (N, W, C, 2), or None where the network reads none
    unit_mm: Floats  # what one unit of the network's answer means, shape (N, S, H)
    # mean window of each station on calibration, shape (S, W, F): what stands in for absent motion
    usual: NDArray[np.float32]
    recent: int  # rows that count as recent (7 days)
    # fixed facts of the stations (N, S, A, 2), or None where the network reads none
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

    `usual`: mean windows of calibration, shape (S, W, F); default is the mean of this batch.
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
    """What the network adds to the simple forecast in mm (median), shape (N, S, H)."""
    forecaster.network.eval()
    with torch.inference_mode():
        made = forecaster.network(*batch.tensors)[..., 2].numpy().astype(np.float64)
    return np.asarray(made * batch.unit_mm, dtype=np.float64)


def permutation_importance(
    error: Callable[[str | None, Ints], Floats], groups: Sequence[str], count: int, *, repeats: int, seed: int
) -> dict[str, Floats]:
    """Rise of the error when a group is exchanged between issue times, mean over repeats.

    Near 0: the group is not used, or another tells the same. Below 0: the forecast was better without it on these issue
    times, which on few of them is chance. `error`: error with a group exchanged in the order given (None: nothing
    exchanged), shape (H,).
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(count) for _ in range(repeats)]
    plain = error(None, np.arange(count))
    return {
        group: np.asarray(np.mean([error(group, order) - plain for order in orders], axis=0), dtype=np.float64)
        for group in groups
    }


NOT_A_CAUSE = "not a cause: where the network looks, not what moves the slope"
MOST_STATIONS = 32


def read_maps(forecaster: NeuralForecaster, batch: Batch) -> list[dict[str, Any]]:
    """Every map of a network after one pass over a batch, means over its windows; an empty list for most networks."""
    network: Any = forecaster.network.eval()
    inputs, *more = batch.tensors
    out: list[dict[str, Any]] = []
    with torch.inference_mode():
        network(inputs, *more)
        attention: Any = getattr(network, "attention", None)
        if isinstance(attention, nn.Module):
            out.append(_map("attention over rows", attention.weights.mean(dim=0), "oldest row first"))  # type: ignore[operator]
        elif callable(attention):
            drivers, static = (*more, None, None)[:2]
            rows = network.with_drivers(inputs, network.drop_sources(inputs, drivers), static)
            looks = attention(rows.flatten(0, 1))[:, -1].mean(dim=0)
            out.append(_map("attention of the newest patch over patches of rows", looks, "oldest first"))
        names = ", ".join(forecaster.recipe.stations)
        order = f"row looks at column, in the order {names}"
        small = len(forecaster.recipe.stations) <= MOST_STATIONS
        weights = getattr(network, "weights", None)
        if isinstance(weights, Tensor) and weights.ndim == 4 and small:
            out.append(_map("attention between stations", weights.mean(dim=(0, 1)), order))
        learned: Any = getattr(network, "adjacency", None)
        if callable(learned) and small:
            out.append(_map("learned graph", learned(), order))
        if forecaster.recipe.supports is not None and small:
            given = torch.tensor(forecaster.recipe.supports, dtype=torch.float64).abs().sum(dim=0)
            out.append(_map("given graphs, added", given, order))
    return out


def _map(kind: str, values: Tensor, order: str) -> dict[str, Any]:
    rounded = np.round(values.detach().numpy().astype(np.float64), 5).tolist()
    return {"kind": kind, "order": order, "values": rounded, "note": NOT_A_CAUSE}


COMPLETENESS = 0.01
NOTHING = 1e-9  # differences up to this count as none
NODES = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Attribution:
    """What each input adds on the way from the baseline to the window."""

    parts: tuple[Floats, ...]  # one array per input, of its shape; they add up to `difference`
    difference: float  # answer at the window minus answer at the baseline
    completeness_error: float  # |sum of parts - difference| / |difference|; the absolute error where nothing differs
    complete: bool  # whether that is below 1 %; where it is not, the parts must not be read


def integrate(answer: Callable[..., Tensor], inputs: Sequence[Tensor], baselines: Sequence[Tensor]) -> Attribution:
    """Integrate the gradient by Gauss-Legendre, with more nodes until the parts add up within 1 %.

    `answer`: takes batches (K, ...) of every input, gives (K,).
    """
    gaps = [end - start for end, start in zip(inputs, baselines, strict=True)]
    with torch.no_grad():
        ends, starts = ([part.unsqueeze(0) for part in some] for some in (inputs, baselines))
        difference = float(answer(*ends)[0] - answer(*starts)[0])
    parts: list[Tensor] = []
    error = float("inf")
    for count in NODES:
        places, weights = np.polynomial.legendre.leggauss(count)
        along, share = torch.from_numpy((places + 1.0) / 2.0), torch.from_numpy(weights / 2.0)
        points = [
            (start.unsqueeze(0) + along.reshape(-1, *[1] * gap.ndim) * gap).requires_grad_()
            for start, gap in zip(baselines, gaps, strict=True)
        ]
        slopes = torch.autograd.grad(answer(*points).sum(), points, allow_unused=True)
        parts = [
            torch.zeros_like(gap) if slope is None else gap * torch.tensordot(share, slope, dims=1)
            for gap, slope in zip(gaps, slopes, strict=True)
        ]
        missed = abs(float(sum(part.sum() for part in parts)) - difference)
        error = missed / abs(difference) if abs(difference) > NOTHING else missed
        if error < COMPLETENESS:
            break
    return Attribution(tuple(part.numpy() for part in parts), difference, error, error < COMPLETENESS)


OF = "what the network adds to the simple forecast in mm (median)"
BUDGET = 12_000  # windows that one explanation may pass through the network: a second or two for a small one
MOST_TARGETS = 4
MOST_ORIGINS = 48
REPEATS = 3
_MASKS = slice(2, 4)  # the features that say what was observed; the others are values


class Asking:
    """One network with the windows it is asked about.

    `targets`: columns of the stations that are explained.
    """

    def __init__(self, forecaster: NeuralForecaster, panel: Panel, batch: Batch, targets: list[int]) -> None:
        self.forecaster, self.panel, self.batch, self.targets = forecaster, panel, batch, targets
        self.kinds = name_kinds(forecaster)
        self.tied = forecaster.recipe.supports is not None
        self.groups = list_groups(forecaster)

    def exchanged(self, group: str | None, order: Ints) -> Floats:
        """The correction with one group from other issue times, shape (N, targets, H)."""
        if group is None:
            return correct(self.forecaster, self.batch)[:, self.targets]
        return self._each(lambda station: exchange(self.batch, self.kinds, group, order, station))

    def _each(self, change: Any) -> Floats:
        if not self.tied:
            return correct(self.forecaster, change(None))[:, self.targets]
        return np.stack([correct(self.forecaster, change(s))[:, s] for s in self.targets], axis=1)

    def gradients(self, station: int, horizon: int) -> dict[str, Any]:
        """Integrated gradients of the newest window, by group and by row.

        The way leads from the usual values, with the masks as they are: what is observed is not moved.
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
            made: Tensor = network(*inputs)[:, station, horizon, 2]
            return made * unit

        found = integrate(answer, ends, starts)
        motion = found.parts[0].sum(axis=-1)
        others = np.delete(motion, station, axis=0)
        share = {RECENT: motion[station, -batch.recent :].sum(), EARLIER: motion[station, : -batch.recent].sum()}
        if NEIGHBOURS in self.groups:
            share[NEIGHBOURS] = others.sum()
        rows = motion.sum(axis=0)
        if len(found.parts) > 1:
            channels = found.parts[1].sum(axis=-1)
            rows = rows + channels.sum(axis=1)
            share |= {kind: channels[:, [k == kind for k in self.kinds]].sum() for kind in sorted(set(self.kinds))}
        return {
            "difference_mm": _round(found.difference),
            "by_group_mm": {name: _round(value) for name, value in share.items()},
            "by_row_mm": [_round(value) for value in rows],
            "completeness_error": float(f"{found.completeness_error:.2g}"),
            "complete": found.complete,
        }


def explain(forecaster: NeuralForecaster, panel: Panel, parts: Split, *, seed: int = 7) -> dict[str, Any]:
    """The record that is stored with a model card.

    `parts`: its blocks; importance is taken on calibration, which it has not learnt from.
    """
    recipe = forecaster.recipe
    read = list_drivers(recipe.sources, panel)
    tied = recipe.supports is not None
    wide = tied and len(panel.stations) > 4 * MOST_TARGETS
    targets = _spread_out(np.arange(len(panel.stations)), 1 if wide else MOST_TARGETS)
    if not tied:
        # a network that reads each station by itself needs no other one
        names = tuple(panel.stations[s] for s in targets)
        drivers = panel.drivers and panel.drivers.of_stations(targets)
        panel = Panel(panel.start_s, panel.step_s, names, panel.values[:, targets], drivers=drivers)
        targets = np.arange(len(names))
    groups = list_groups(forecaster)
    cost = len(targets) * (len(panel.stations) if tied else 1)
    block = parts.calibration
    usable = block.origins[block.origins >= recipe.window - 1]
    many = _spread_out(usable, max(8, min(4 * MOST_ORIGINS, BUDGET // (cost * REPEATS * max(1, len(groups))))))
    columns = [int(s) for s in targets]
    asking = Asking(forecaster, panel, make_batch(forecaster, panel, np.asarray(many)), columns)
    base = recipe.base.predict(panel.values, np.asarray(many))[:, columns]
    came = [block.targets(panel.values, np.asarray(many), h)[:, columns] for h in recipe.steps]

    def error(group: str | None, order: Ints) -> Floats:
        made = base + asking.exchanged(group, order)
        return np.array([mae(came[i] - made[:, :, i]) for i in range(len(recipe.steps))])

    rises = permutation_importance(error, groups, len(many), repeats=REPEATS, seed=seed)
    keys = [horizon_key(h) for h in recipe.horizons_s]
    return {
        "of": OF,
        "note": f"importance is {NOT_A_CAUSE}",
        "drivers": read,
        "groups": list(groups),
        "stations": [panel.stations[s] for s in columns],
        "calibration": {
            "issue_times": len(many),
            "permutation_mm": {k: {g: _round(rises[g][i]) for g in groups} for i, k in enumerate(keys)},
        },
        "forecast": explain_forecast(forecaster, panel, panel.values.shape[0] - 1, asking.batch.usual, columns),
        "maps": read_maps(forecaster, asking.batch),
    }


def list_drivers(sources: SourceScale | None, panel: Panel) -> list[dict[str, Any]]:
    """What a network reads beside the movement, and the share of each that is missing in the record.

    Of a series the share of rows, of a fixed fact (kind `station`) the share of stations.
    """
    if sources is None:
        return []
    rows = sources.raw(panel.drivers, np.arange(panel.values.shape[0]), 1)[:, 0] if panel.drivers else None
    first: dict[str, tuple[str, int]] = {}
    for i, (name, kind) in enumerate(zip(sources.names, sources.kinds, strict=True)):
        first.setdefault(find_covariate(name), (kind, i))
    out = [
        {"name": name, "kind": kind, "missing": 1.0 if rows is None else _round(float(np.isnan(rows[:, i]).mean()))}
        for name, (kind, i) in first.items()
    ]
    known = replace(sources, motion=None).place(panel.drivers, np.ones((1, len(panel.stations))))[0, ..., 1]
    return out + [
        {"name": name, "kind": STATION, "missing": _round(1.0 - float(known[:, i].mean()))}
        for i, name in enumerate(sources.static)
    ]


def explain_forecast(
    forecaster: NeuralForecaster, panel: Panel, origin: int, usual: NDArray[np.float32], columns: list[int]
) -> dict[str, Any]:
    """Integrated gradients of the forecast from one row."""
    recipe = forecaster.recipe
    batch = make_batch(forecaster, panel, np.array([origin], dtype=np.int64), usual)
    asking = Asking(forecaster, panel, batch, columns)
    every = correct(forecaster, batch)
    out: dict[str, Any] = {"issued_s": panel.start_s + panel.step_s * origin, "stations": {}}
    for column in columns:
        out["stations"][panel.stations[column]] = {
            horizon_key(horizon_s): {
                "correction_mm": _round(every[0, column, i]),
                "gradients": asking.gradients(column, i),
            }
            for i, horizon_s in enumerate(recipe.horizons_s)
        }
    return out


def _spread_out(rows: Ints, most: int) -> Ints:
    if rows.size <= most:
        return rows
    return np.asarray(rows[np.unique(np.linspace(0, rows.size - 1, most).round().astype(np.int64))])


def _round(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None

"""One JSON-ready record per trained network: what it uses, and why it says what it says at the last row."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecasting.data.kinds import STATION, find_covariate
from forecasting.data.series import Floats, Ints, Panel, horizon_key
from forecasting.data.splits import Split
from forecasting.explanation.gradients import integrate
from forecasting.explanation.groups import (
    EARLIER,
    NEIGHBOURS,
    RECENT,
    Batch,
    correct,
    exchange,
    list_groups,
    make_batch,
    name_kinds,
)
from forecasting.explanation.maps import NOT_A_CAUSE, read_maps
from forecasting.explanation.permutation import permutation_importance
from forecasting.metrics import mae
from forecasting.neural.forecaster import NeuralForecaster
from forecasting.neural.source_scale import SourceScale

OF = "what the network adds to the simple forecast in mm (median, before the gate's weight)"
BUDGET = 12_000  # windows that one explanation may pass through the network: a second or two for a small one
MOST_TARGETS = 4
MOST_ORIGINS = 48
REPEATS = 3
_MASKS = slice(2, 4)  # the features that say what was observed; the others are values


class Asking:
    """One network with the windows it is asked about.

    Args:
        forecaster: The network.
        panel: Its stations, in its order.
        batch: The windows.
        targets: Columns of the stations that are explained.
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

    Args:
        parts: Its blocks; importance is taken on calibration, which it has not learnt from.
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
    """Integrated gradients of the forecast from one row.

    Args:
        usual: Mean windows of calibration, shape (S, W, F).
    """
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
    """At most so many of the rows, evenly spread, the last among them."""
    if rows.size <= most:
        return rows
    return np.asarray(rows[np.unique(np.linspace(0, rows.size - 1, most).round().astype(np.int64))])


def _round(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None

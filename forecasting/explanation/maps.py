"""Where a network looks: attention, graphs and gates it has, each with the words that it is no cause."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.explanation.groups import Batch
from forecasting.neural.forecaster import NeuralForecaster

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
        out += [_map(kind, looks, order) for kind, looks, order in network.maps()]
        gates = getattr(network, "gates", None)
        if isinstance(gates, dict) and gates:
            openings = torch.stack([gates[name] for name in sorted(gates)])
            out.append(_map("opening of the gates", openings, ", ".join(sorted(gates))))
    return out


def _map(kind: str, values: Tensor, order: str) -> dict[str, Any]:
    rounded = np.round(values.detach().numpy().astype(np.float64), 5).tolist()
    return {"kind": kind, "order": order, "values": rounded, "note": NOT_A_CAUSE}

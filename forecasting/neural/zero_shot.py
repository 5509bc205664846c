"""A pretrained forecaster of others, run by its own package; its files: `forecasting.data.zero_shot`."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy.special import ndtri
from torch import nn

from forecasting.data.series import Floats, Ints
from forecasting.data.windows import last_value
from forecasting.neural.network import QUANTILES

FEWEST: Final = 8  # observations that it needs
CHUNK: Final = 64  # windows at once


def build(layout: Any) -> nn.Module:
    """The network that a configuration describes; ModuleNotFoundError without its package."""
    from fracast._core.model import build_from_cfg

    core, head = build_from_cfg({key: layout[key] for key in ("model", "pyramid")})
    return nn.ModuleDict({"core": core, "head": head})


def predict(network: nn.Module, layout: Any, steps: Sequence[int], values: Floats, origins: Ints) -> Floats:
    """Quantiles in mm, shape (N, S, H, 5); NaN where fewer than `FEWEST` rows of its window were observed."""
    from fracast import FracastModel

    parts: Any = network
    model = FracastModel(parts["core"], parts["head"], layout)
    newest, _ = last_value(values, origins)
    at = np.array(steps) - 1
    out = np.full((origins.size, values.shape[1], at.size, len(QUANTILES)), np.nan)
    rows = np.arange(-model.context_length + 1, 1)
    for first in range(0, newest.size, CHUNK):
        n, s = np.unravel_index(np.arange(first, min(first + CHUNK, newest.size)), newest.shape)
        places = origins[n][:, None] + rows
        seen = np.where(places >= 0, values[np.maximum(places, 0), s[:, None]], np.nan) - newest[n, s][:, None]
        ready = np.isfinite(seen).sum(axis=1) >= FEWEST
        if ready.any():
            seen[:, -1] = 0.0  # where the last row is a gap its newest value stands there
            made = model.forecast_batch(seen[ready], horizon=int(at.max()) + 1)[:, at]
            out[n[ready], s[ready]] = _take_levels(made, model.quantiles) + newest[n, s][ready][:, None, None]
    return out


def _take_levels(made: Floats, levels: Sequence[float]) -> Floats:
    """Its quantiles (N, H, Q) at ours: between two by their normal scores, beyond the outermost as those widen."""
    known, wanted = ndtri(np.asarray(levels)), ndtri(np.asarray(QUANTILES))
    held = np.clip(wanted, known[0], known[-1])
    weights = np.stack([np.interp(held, known, row) for row in np.eye(known.size)])
    times = np.divide(wanted, held, out=np.ones_like(held), where=np.abs(held) > 1e-9)
    inner = np.asarray(made, dtype=np.float64) @ weights
    middle = inner[..., len(QUANTILES) // 2, None]
    return np.sort(middle + (inner - middle) * times, axis=-1)

"""Complete ensemble empirical mode decomposition with adaptive noise (Torres et al. 2011), with a fixed seed."""

from functools import lru_cache

import numpy as np

from forecasting.data.series import Floats
from slopeward_lab.decompositions.emd import first_modes, have_modes, peel

COPIES = 20
NOISE = 0.2
SEED = 7


@lru_cache(maxsize=64)
def draw_grains(rows: int) -> tuple[Floats, ...]:
    """The noise for a record of some length, then its modes, each (copies, rows): drawn from seed and length alone."""
    noise = np.random.default_rng(SEED).normal(size=(COPIES, rows))
    peeled = [peel(one) for one in noise]
    modes = np.zeros((max(map(len, peeled)), COPIES, rows))
    for i, waves in enumerate(peeled):
        modes[: len(waves), i] = waves
    return noise, *modes


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Modes from slow to fast, the residual first, parts of shape (K, n).

    Noise is drawn for as many rows as are known and scaled by their spread: nothing of it depends on later rows.
    """
    del period
    parts = split_together(values[None])[0]
    return ("trend", *(f"mode {i}" for i in range(len(parts) - 1, 0, -1))), parts


def split_together(series: Floats) -> Floats:
    """Return the residual and the modes from slow to fast of several series of one length, (C, n) -> (C, K, n).

    K is the largest number of modes. A series with fewer has zeros between its residual and its slowest mode.
    """
    deviation = series.std(axis=1, keepdims=True)
    size = np.where(deviation > 0.0, deviation, 1.0)
    grains = draw_grains(series.shape[1])
    remaining = series / size
    modes: list[Floats] = []
    active = np.flatnonzero(deviation[:, 0] > 0.0)
    for k in range(max(1, int(np.log2(series.shape[1])) - 1)):
        active = active[have_modes(remaining[active])]
        if not active.size:
            break
        strength = NOISE if k == 0 else NOISE * remaining[active].std(axis=1)[:, None, None]
        grain = grains[k] if k < len(grains) else np.zeros((COPIES, series.shape[1]))
        copies = remaining[active, None] + strength * grain
        drawn, _ = first_modes(copies.reshape(-1, series.shape[1]))
        mean = drawn.reshape(copies.shape).mean(axis=1)
        has_mode = mean.any(axis=1)
        active = active[has_mode]
        mode = np.zeros_like(remaining)
        mode[active] = mean[has_mode]
        modes.append(mode)
        remaining = remaining - mode
    return size[:, None] * np.stack([remaining, *modes[::-1]], axis=1)

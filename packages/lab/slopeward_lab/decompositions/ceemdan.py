"""Complete ensemble empirical mode decomposition with adaptive noise (Torres et al. 2011), with a fixed seed."""

from functools import lru_cache

import numpy as np

from forecasting.data.series import Floats
from slopeward_lab.decompositions.emd import first_modes, has_mode, peel

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
    size = float(values.std())
    if size == 0.0:
        return ("trend",), values[None].copy()
    grains = draw_grains(values.size)
    left, modes = values / size, []
    for k in range(max(1, int(np.log2(values.size)) - 1)):
        strength = NOISE if k == 0 else NOISE * float(left.std())
        grain = grains[k] if k < len(grains) else np.zeros((COPIES, values.size))
        drawn, _ = first_modes(left + strength * grain)
        mean = drawn.mean(axis=0)
        if not has_mode(left) or not np.any(mean):
            break
        modes.append(mean)
        left = left - mean
    names = ("trend", *(f"mode {i}" for i in range(len(modes), 0, -1)))
    return names, size * np.stack([left, *modes[::-1]])

"""Complete ensemble empirical mode decomposition with adaptive noise (Torres et al. 2011), with a fixed seed."""

from functools import lru_cache

import numpy as np

from forecasting.data.series import Floats
from forecasting.decomposition.emd import first_mode, peel

COPIES = 20
NOISE = 0.2
SEED = 7


@lru_cache(maxsize=64)
def _grains(rows: int) -> tuple[Floats, tuple[Floats, ...]]:
    """The noise for a record of some length and its modes: drawn from the seed and the length alone."""
    noise = np.random.default_rng(SEED).normal(size=(COPIES, rows))
    return noise, tuple(peel(one) for one in noise)


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Modes from slow to fast, the residual first, parts of shape (K, n).

    Noise is drawn for as many rows as are known and scaled by their spread: nothing of it depends on later rows.
    """
    del period
    size = float(values.std())
    if size == 0.0:
        return ("trend",), values[None].copy()
    noise, waves = _grains(values.size)
    left, modes = values / size, []
    for k in range(max(1, int(np.log2(values.size)) - 1)):
        strength = NOISE if k == 0 else NOISE * float(left.std())
        drawn = []
        for one, peeled in zip(noise, waves, strict=True):
            grain = one if k == 0 else peeled[k - 1] if k - 1 < len(peeled) else np.zeros(values.size)
            mode = first_mode(left + strength * grain)
            drawn.append(np.zeros(values.size) if mode is None else mode)
        mean = np.mean(drawn, axis=0)
        if first_mode(left) is None or not np.any(mean):
            break
        modes.append(mean)
        left = left - mean
    names = ("trend", *(f"mode {i}" for i in range(len(modes), 0, -1)))
    return names, size * np.stack([left, *modes[::-1]])

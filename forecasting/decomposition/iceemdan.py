"""Improved CEEMDAN (Colominas, Schlotthauer and Torres 2014): what is averaged over the copies is their local mean.

A wave is then what a mean lacks of the one before, so less noise stays in the waves, and none is made up at first.
"""

import numpy as np

from forecasting.data.series import Floats
from forecasting.decomposition.ceemdan import COPIES, NOISE, draw_grains, order_parts
from forecasting.decomposition.emd import first_modes, has_mode


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Modes from slow to fast, the residual first, parts of shape (K, n); noise as in `ceemdan`."""
    del period
    size = float(values.std())
    if size == 0.0:
        return ("trend",), values[None].copy()
    waves = draw_grains(values.size)[1:]
    left, modes = values / size, []
    for k in range(max(1, int(np.log2(values.size)) - 1)):
        if not has_mode(left):
            break
        grain = waves[k] if k < len(waves) else np.zeros((COPIES, values.size))
        if k == 0:
            grain = grain / grain.std(axis=1, keepdims=True)
        noisy = left + NOISE * float(left.std()) * grain
        rest = (noisy - first_modes(noisy)[0]).mean(axis=0)
        modes.append(left - rest)
        left = rest
    return order_parts(modes, left, size)

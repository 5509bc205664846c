"""Variational mode decomposition (Dragomiretskiy and Zosso 2014): narrow waves found together, not one by one."""

import numpy as np

from forecasting.data.series import Floats

MODES = 3
TIGHTNESS = 2000.0
ROUNDS = 200
TOLERANCE = 1e-7


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Trend (the slowest mode with the mean), two waves and the rest, parts of shape (4, n)."""
    del period
    n = values.size
    straight = np.linspace(values[0], values[-1], n)
    mirrored = np.concatenate(
        [(values - straight)[: n // 2][::-1], values - straight, (values - straight)[n - n // 2 :][::-1]]
    )
    spectrum = np.fft.rfft(mirrored)
    bands = np.fft.rfftfreq(mirrored.size)
    modes = np.zeros((MODES, spectrum.size), dtype=np.complex128)
    centres = 0.5 * np.arange(MODES) / MODES
    for _ in range(ROUNDS):
        before = modes.copy()
        for k in range(MODES):
            others = modes.sum(axis=0) - modes[k]
            modes[k] = (spectrum - others) / (1.0 + 2.0 * TIGHTNESS * (bands - centres[k]) ** 2)
            power = np.abs(modes[k]) ** 2
            if power.sum() > 0 and k > 0:
                centres[k] = float((bands * power).sum() / power.sum())
        change = float((np.abs(modes - before) ** 2).sum())
        if change <= TOLERANCE * max(float((np.abs(before) ** 2).sum()), 1e-300):
            break
    order = np.argsort(centres, kind="stable")
    made = np.fft.irfft(modes[order], n=mirrored.size, axis=-1)[:, n // 2 : n // 2 + n]
    made[0] = made[0] + straight
    rest = values - made.sum(axis=0)
    return ("trend", *(f"mode {i}" for i in range(1, MODES)), "rest"), np.concatenate([made, rest[None]])

"""Variational mode decomposition (Dragomiretskiy and Zosso 2014): narrow bands of frequency, found together.

The functions decompose many series of one length at once, because a network needs the parts of thousands of windows.
`vmdpy`, a translation of the authors' program, decomposes one series per call and takes about 17 times as long for
windows of 60 rows. `packages/lab/tests/decompositions/test_vmd.py` compares the modes with those of vmdpy.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import Floats

MODES: Final = 4
"""Modes with the slow part, whose centre stays at frequency 0."""
BANDWIDTH_PENALTY: Final = 2000.0
"""Alpha of the paper, with frequencies in cycles per row."""
ROUNDS: Final = 200
TOLERANCE: Final = 1e-7
"""Change of all modes, as a share of their energy, at which the iteration ends."""


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Return the slow part and the modes from slow to fast, parts of shape (`MODES`, n)."""
    del period
    names = ("trend", *(f"mode {number}" for number in range(MODES - 1, 0, -1)))
    return names, split_together(values[None])[0]


def split_together(series: Floats) -> Floats:
    """Return the slow part and the modes from slow to fast of several series, (C, n) -> (C, `MODES`, n).

    The straight line from the first to the last value is subtracted first and is added to the slow part, because the
    series is mirrored at both ends. What all modes leave out is added to the fastest, so that the sum is the series.
    """
    rows = series.shape[1]
    half = rows // 2
    line = np.linspace(series[:, 0], series[:, -1], rows, axis=1)
    detrended = series - line
    mirrored = np.concatenate(
        [detrended[:, :half][:, ::-1], detrended, detrended[:, rows - half :][:, ::-1]],
        axis=1,
    )
    frequencies = np.fft.rfftfreq(mirrored.shape[1]).astype(np.float64)
    spectra, centres = _iterate(np.fft.rfft(mirrored, axis=1), frequencies)
    order = np.argsort(centres, axis=1, kind="stable")
    modes = np.fft.irfft(spectra, n=mirrored.shape[1], axis=-1)[..., half : half + rows]
    modes = np.take_along_axis(modes, order[..., None], axis=1)
    modes[:, 0] += line
    modes[:, -1] += series - modes.sum(axis=1)
    return modes


def _iterate(spectra: NDArray[np.complex128], frequencies: Floats) -> tuple[NDArray[np.complex128], Floats]:
    """Return the spectra of the modes (C, `MODES`, F) and their centres (C, `MODES`).

    A series whose modes have converged is not changed any more, so that its modes do not depend on the other series.
    """
    count = spectra.shape[0]
    modes = np.zeros((count, MODES, frequencies.size), dtype=np.complex128)
    centres = np.tile(0.5 * np.arange(MODES) / MODES, (count, 1))
    active = np.arange(count)
    for _ in range(ROUNDS):
        before = modes[active]
        changed = before.copy()
        centre = centres[active]
        for k in range(MODES):
            others = changed.sum(axis=1) - changed[:, k]
            width = 1.0 + BANDWIDTH_PENALTY * np.square(frequencies - centre[:, k, None])
            changed[:, k] = (spectra[active] - others) / width
            power = np.square(np.abs(changed[:, k]))
            total = power.sum(axis=1)
            if k > 0:
                mean = (power * frequencies).sum(axis=1) / np.where(total > 0.0, total, 1.0)
                centre[:, k] = np.where(total > 0.0, mean, centre[:, k])
        modes[active] = changed
        centres[active] = centre
        change = np.square(np.abs(changed - before)).sum(axis=(1, 2))
        energy = np.square(np.abs(before)).sum(axis=(1, 2))
        active = active[change > TOLERANCE * energy]
        if not active.size:
            break
    return modes, centres

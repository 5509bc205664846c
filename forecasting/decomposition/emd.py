"""Empirical mode decomposition (Huang et al. 1998): waves peeled off by the mean of two envelopes, finest first.

Ours is one spline a sifting and no further dependency; its fastest mode is that of EMD-signal to .1 % but for the fifty
rows at each end, where both mirror by other rules (`test_beside_libraries.py`).
"""

import numpy as np

from forecasting.data.series import Floats

SIFTS = 10
"""A fixed number of siftings (Wu and Huang 2009): the answer then depends on the data by no stopping threshold."""
MIRRORED = 2


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Modes from slow to fast, the residual first, parts of shape (K, n)."""
    del period
    modes = peel(values)
    residual = values - modes.sum(axis=0) if modes.size else values
    names = ("trend", *(f"mode {i}" for i in range(len(modes), 0, -1)))
    return names, np.concatenate([residual[None], modes[::-1]])


def peel(values: Floats, most: int | None = None) -> Floats:
    """Modes from fast to slow, shape (K, n); K may be 0."""
    left = values.astype(np.float64)
    found: list[Floats] = []
    limit = max(1, int(np.log2(max(values.size, 2))) - 1) if most is None else most
    while len(found) < limit:
        mode = first_mode(left)
        if mode is None:
            break
        found.append(mode)
        left = left - mode
    return np.stack(found) if found else np.empty((0, values.size))


def first_mode(values: Floats) -> Floats | None:
    """The fastest wave of a series, or None where it has fewer than two extremes of a kind."""
    mode = values
    for sift in range(SIFTS):
        middle = _middle(mode)
        if middle is None:
            return None if sift == 0 else mode
        mode = mode - middle
    return mode


def _middle(values: Floats) -> Floats | None:
    """Mean of the upper and the lower envelope."""
    upper, lower = _envelope(values), _envelope(-values)
    return None if upper is None or lower is None else 0.5 * (upper - lower)


def _envelope(values: Floats) -> Floats | None:
    """Cubic spline through the maxima, mirrored at both ends (Rilling et al. 2003)."""
    inner = values[1:-1]
    peaks = 1 + np.flatnonzero((inner > values[:-2]) & (inner >= values[2:]))
    if peaks.size < 2:
        return None
    last = values.size - 1
    before, after = peaks[:MIRRORED], peaks[-MIRRORED:]
    places = np.concatenate([-before[::-1], peaks, 2 * last - after[::-1]])
    heights = np.concatenate([values[before][::-1], values[peaks], values[after][::-1]])
    return _spline(places.astype(np.float64), heights, values.size)


def _spline(x: Floats, y: Floats, rows: int) -> Floats:
    """Natural cubic spline through (x, y) at 0, 1, ... rows - 1; x rises and reaches beyond both ends."""
    from scipy.linalg.lapack import dptsv

    gap = np.diff(x)
    slope = np.diff(y) / gap
    bend = np.zeros(x.size)
    # the middle equations of the second derivatives; those of the ends are 0
    bend[1:-1] = dptsv(2.0 * (gap[:-1] + gap[1:]), gap[1:-1].copy(), 6.0 * np.diff(slope))[2]
    at = np.arange(rows, dtype=np.float64)
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, gap.size - 1)
    t = at - x[k]
    rise = slope[k] - gap[k] * (2.0 * bend[k] + bend[k + 1]) / 6.0
    made: Floats = y[k] + t * (rise + t * (0.5 * bend[k] + t * (bend[k + 1] - bend[k]) / (6.0 * gap[k])))
    return made

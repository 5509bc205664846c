"""Empirical mode decomposition (Huang et al. 1998): waves peeled off by the mean of two envelopes, finest first.

Ours needs no further dependency and sifts many series together. Its fastest mode is that of EMD-signal to .1 % but for
the fifty rows at each end, where both mirror by other rules (`test_beside_libraries.py`).
"""

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import Floats, Ints

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


def peel(values: Floats) -> Floats:
    """Modes from fast to slow, shape (K, n); K may be 0."""
    left = values.astype(np.float64)
    found: list[Floats] = []
    limit = max(1, int(np.log2(max(values.size, 2))) - 1)
    while len(found) < limit:
        mode = first_mode(left)
        if mode is None:
            break
        found.append(mode)
        left = left - mode
    return np.stack(found) if found else np.empty((0, values.size))


def split_together(series: Floats) -> Floats:
    """Return the residual and the modes from slow to fast of several series of one length, (C, n) -> (C, K, n).

    K is the largest number of modes. A series with fewer has zeros between its residual and its slowest mode. The
    modes of each series are the same to the bit as those of `peel`.
    """
    remaining = series.astype(np.float64)
    modes: list[Floats] = []
    for _ in range(max(1, int(np.log2(max(series.shape[1], 2))) - 1)):
        mode, has_modes = first_modes(remaining)
        if not has_modes.any():
            break
        modes.append(mode)
        remaining = remaining - mode
    return np.stack([remaining, *modes[::-1]], axis=1)


def first_mode(values: Floats) -> Floats | None:
    """The fastest wave of a series, or None where it has fewer than two extremes of a kind."""
    modes, found = first_modes(values[None])
    return modes[0] if found[0] else None


def have_modes(series: Floats) -> NDArray[np.bool_]:
    """Return whether each series has two extremes of each kind, (C, n) -> (C,)."""
    return _middles(series)[1]


def first_modes(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The fastest wave of each of several series of one length, all sifted together; to the bit as one by one.

    Returns the waves (C, n), and which there are: 0 where a series has fewer than two extremes of a kind.
    """
    middles, found = _middles(values)
    modes, rows = np.zeros_like(values), np.flatnonzero(found)
    left = values[found] - middles
    for _ in range(SIFTS - 1):
        if not rows.size:
            break
        middles, known = _middles(left)
        if not known.all():
            modes[rows[~known]] = left[~known]
            left, rows = left[known], rows[known]
        left = left - middles
    modes[rows] = left
    return modes, found


def _middles(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Means of the upper and the lower envelope of those series that have both, and which have."""
    both = np.concatenate([values, -values])
    peaks = np.zeros(both.shape, dtype=bool)
    inner = both[:, 1:-1]
    peaks[:, 1:-1] = (inner > both[:, :-2]) & (inner >= both[:, 2:])
    enough = peaks.sum(axis=1) >= MIRRORED
    known = enough[: len(values)] & enough[len(values) :]
    if not known.any():
        return values[:0], known
    if not known.all():
        twice = np.concatenate([known, known])
        both, peaks = both[twice], peaks[twice]
    envelopes = _envelopes(both, peaks)
    half = len(envelopes) // 2
    return 0.5 * (envelopes[:half] - envelopes[half:]), known


def _envelopes(values: Floats, peaks: NDArray[np.bool_]) -> Floats:
    """Cubic splines through the maxima of each series (C, n), mirrored at both ends (Rilling et al. 2003).

    The knots of all series stand one after the other, so that one call solves for them all.
    """
    knots = peaks.sum(axis=1) + 2 * MIRRORED
    end = np.cumsum(knots) - 1
    first, last = end - knots + 1, values.shape[1] - 1
    row, place = np.nonzero(peaks)
    x, y = np.zeros((2, int(end[-1]) + 1))
    own = np.arange(place.size) + MIRRORED * (2 * row + 1)
    x[own], y[own] = place, values[row, place]
    for i in range(MIRRORED):
        inside = first + 2 * MIRRORED - 1 - i
        x[first + i], y[first + i] = -x[inside], y[inside]
        inside = end - (2 * MIRRORED - 1) + i
        x[end - i], y[end - i] = 2 * last - x[inside], y[inside]
    # two knots lie before row 0 and two behind the last one: the piece of a row follows from the maxima before it
    piece = first[:, None] + MIRRORED - 1 + np.cumsum(peaks, axis=1)
    return _splines(x, y, end, piece)


def _splines(x: Floats, y: Floats, end: Ints, piece: Ints) -> Floats:
    """Natural cubic splines, shape (C, n), at 0, 1, ... n - 1.

    Args:
        x: Knots of all splines, rising within each.
        piece: The knot before each row, shape (C, n).
    """
    from scipy.linalg.lapack import dptsv

    gap, rise = np.diff(x), np.diff(y)
    gap[end[:-1]] = 1.0  # between two splines: not used
    slope = rise / gap
    # equations of the second derivatives; those at both ends of a spline are 0, and nothing ties two splines
    right = 6.0 * np.diff(slope)
    main, off_diagonal = 2.0 * (gap[:-1] + gap[1:]), gap[1:-1].copy()
    ends = np.concatenate([end[:-1], end[:-1] + 1]) - 1
    right[ends], main[ends] = 0.0, 1.0
    for k in (-1, 0, 1):
        off_diagonal[end[:-1] - 1 + k] = 0.0
    bend = np.zeros(x.size)
    bend[1:-1] = dptsv(main, off_diagonal, right)[2]
    low, more = bend[:-1], np.diff(bend)
    steep = slope - gap * (2.0 * low + bend[1:]) / 6.0
    t = np.arange(piece.shape[1], dtype=np.float64) - x[piece]
    made: Floats = t * more[piece] / (6.0 * gap)[piece]
    made += (0.5 * low)[piece]
    made *= t
    made += steep[piece]
    made *= t
    made += y[piece]
    return made

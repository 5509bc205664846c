"""Do two images show the same place and the same season? Guards that stand before every word on change."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLOCK_PX = 256
BLOCKS_MOST = 12
# Share of a block that both images must show.
SHOWN = 0.7
# A peak this many standard deviations above the correlation's own scatter is no accident: on blocks of one ground two
# seasons apart it stood at 9 to 17, on blocks that do not match at 4 to 5.
PEAK_Z = 7.5
# Blocks that lie farther than this from their median shift do not count, pixels.
AGREE_PX = 2.0
# Distortion is measured on so many blocks along each side, of at least so many pixels; so many must have a clear peak.
# Blocks of a small image overlap.
DISTORTION_BLOCKS = 4
DISTORTION_SIDE_PX = 64
DISTORTION_LEAST = 6
DISTORTION_ROUNDS = 3

ReadPair = Callable[[int, int, int, int], tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class ImageShift:
    """How the older image must be moved to lie on the newer one, pixels of the newer grid."""

    columns: float  # to the right
    rows: float  # down
    blocks: int  # how many blocks agree on it

    @property
    def px(self) -> float:
        """Length of the shift."""
        return float(np.hypot(self.columns, self.rows))


Edges = dict[tuple[int, int], tuple[NDArray[np.bool_], NDArray[np.float64]]]
"""Of one image: place of a block -> where it was valid, and its edges."""


def measure_shift(read: ReadPair, width: int, height: int, kept: Edges | None = None) -> ImageShift | None:
    """Measure the shift between two images by the cross-correlation of their edges, block by block.

    Edges (the gradient's length, cut at its 95th percentile) survive a change of light and season that brightness does
    not. The peak is refined by a parabola.

    Args: see `list_shifts`.

    Returns:
        The median shift of the blocks with a clear peak; None where there is no such block: it could not be measured.
    """
    near = list_agreeing(list_shifts(read, width, height, kept))
    if not len(near):
        return None
    columns, rows = np.median(near, axis=0)
    return ImageShift(round(float(columns), 2), round(float(rows), 2), len(near))


def measure_distortion(read: ReadPair, width: int, height: int) -> float | None:
    """Measure how far apart two images are at their corners beyond their common shift: rotation, scale or shear.

    A linear model is fitted to the shifts of blocks.

    Args: see `list_shifts`.

    Returns:
        The largest departure at a corner, pixels; None where too few blocks have a clear peak.
    """
    extent = min(width, height)
    side = min(BLOCK_PX, max(DISTORTION_SIDE_PX, extent // DISTORTION_BLOCKS))
    if extent < 2 * side:
        return None
    columns, rows = (
        np.linspace(0, length - side, DISTORTION_BLOCKS).astype(int).tolist() for length in (width, height)
    )
    found = []
    for row in rows:
        for column in columns:
            newer, older, valid = read(column, row, side, side)
            if valid.mean() < SHOWN:
                continue
            inner = ndimage.binary_erosion(valid, iterations=3, border_value=1)
            peak = _find_peak(_edges(newer, inner), _edges(older, inner), inner)
            if peak is not None:
                found.append((column + side / 2, row + side / 2, *peak))
    blocks = np.array(found, np.float64).reshape(-1, 4)
    places = np.column_stack([np.ones(len(blocks)), blocks[:, 0] / width - 0.5, blocks[:, 1] / height - 0.5])
    kept = np.ones(len(blocks), bool)
    model: NDArray[np.float64] = np.zeros((3, 2))
    for _ in range(DISTORTION_ROUNDS):
        if kept.sum() < DISTORTION_LEAST or np.linalg.matrix_rank(places[kept]) < 3:
            return None
        model = np.asarray(np.linalg.lstsq(places[kept], blocks[kept, 2:], rcond=None)[0], np.float64)
        residuals = np.hypot(*(blocks[:, 2:] - places @ model).T)
        kept = residuals <= max(1.0, 3.0 * float(np.median(residuals)))
    corners = np.array([(a, b) for a in (-0.5, 0.5) for b in (-0.5, 0.5)])
    return float(np.hypot(*(corners @ model[1:]).T).max())


def list_agreeing(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those shifts of blocks that agree with their median, n x 2; none where they are not the majority."""
    if not len(shifts):
        return shifts
    near = shifts[np.hypot(*(shifts - np.median(shifts, axis=0)).T) <= AGREE_PX]
    return near if len(near) * 2 > len(shifts) else shifts[:0]


def list_shifts(read: ReadPair, width: int, height: int, kept: Edges | None = None) -> NDArray[np.float64]:
    """Measure the shift (columns, rows) of each block that has a clear peak, n x 2.

    Args:
        read: `read(column, row, width, height)` of newer values, older values, and where both are valid.
        kept: edges of the newer image, which is laid on several others; what is found is added.
    """
    side = min(BLOCK_PX, width, height)
    found = list[tuple[float, float]]()
    kept = {} if kept is None else kept
    for column, row in _choose_blocks(read, width, height, side) if side >= 32 else ():
        newer, older, valid = read(column, row, side, side)
        inner = ndimage.binary_erosion(valid, iterations=3, border_value=1)
        known = kept.get((column, row))
        if known is None or not np.array_equal(known[0], inner):
            known = kept[column, row] = inner, _edges(newer, inner)
        peak = _find_peak(known[1], _edges(older, inner), inner)
        if peak is not None:
            found.append(peak)
    return np.array(found, np.float64).reshape(-1, 2)


def _choose_blocks(read: ReadPair, width: int, height: int, side: int) -> list[tuple[int, int]]:
    columns = np.unique(np.linspace(0, width - side, max(1, round(width / side))).astype(int))
    rows = np.unique(np.linspace(0, height - side, max(1, round(height / side))).astype(int))
    places = [(int(c), int(r)) for r in rows for c in columns]
    stride = max(1, len(places) // (4 * BLOCKS_MOST))
    shown = []
    for column, row in places[::stride]:
        share = float(read(column, row, side, side)[2].mean())
        if share >= SHOWN:
            shown.append((share, column, row))
    step = max(1, len(shown) // BLOCKS_MOST)
    return [(c, r) for _, c, r in shown[::step]][:BLOCKS_MOST]


def _edges(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    smooth = ndimage.gaussian_filter(np.asarray(values, np.float64), 1.0)
    down, across = np.gradient(smooth)
    strength = np.hypot(down, across)
    if not valid.any():
        return np.asarray(strength)
    return np.asarray(np.minimum(strength, np.percentile(strength[valid], 95)))


def _find_peak(
    newer: NDArray[np.float64], older: NDArray[np.float64], valid: NDArray[np.bool_]
) -> tuple[float, float] | None:
    side = newer.shape[0]
    weights = np.outer(np.hanning(side), np.hanning(side)) * valid
    if weights.sum() <= 0:
        return None
    one, other = ((x - np.average(x, weights=weights)) * weights for x in (newer, older))
    product = np.fft.rfft2(one) * np.conj(np.fft.rfft2(other))
    surface = np.fft.irfft2(product, s=one.shape)
    scatter = float(surface.std())
    row, column = (int(i) for i in np.unravel_index(int(np.argmax(surface)), surface.shape))
    if scatter <= 0 or (surface[row, column] - surface.mean()) / scatter < PEAK_Z:
        return None
    down = _refine(surface[(row - 1) % side, column], surface[row, column], surface[(row + 1) % side, column])
    across = _refine(surface[row, (column - 1) % side], surface[row, column], surface[row, (column + 1) % side])
    signed = [i - side if i >= side / 2 else i for i in (column, row)]
    return signed[0] + across, signed[1] + down


def _refine(before: float, peak: float, after: float) -> float:
    bend = before - 2 * peak + after
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def median_ratios(
    newer: NDArray[np.floating], older: NDArray[np.floating], valid: NDArray[np.bool_]
) -> tuple[float, ...] | None:
    """Return per band the median of the newer over that of the older, over pixels valid in both (bands x ...)."""
    if not valid.any():
        return None
    tops, bottoms = (np.median(values[..., valid], axis=-1, overwrite_input=True) for values in (newer, older))
    if (bottoms <= 0).any() or (tops <= 0).any():
        return None
    return tuple(round(float(a / b), 3) for a, b in zip(tops, bottoms, strict=True))

"""A scene on pixels of another size: means, rims, and the same answer whatever window asks."""

import numpy as np
import pytest
from affine import Affine

from detection.imagery.raster.grid import Grid
from detection.imagery.scene.resized import resample

RNG = np.random.default_rng(3)
GROUND = RNG.random((3, 61, 47), np.float32)
EVERY = np.ones(GROUND.shape[1:], bool)


def bring(values, valid, right, down, window=None):
    """Onto pixels `right` times as wide and `down` times as high; the whole ground when no window is asked for."""
    height, width = valid.shape
    a, b, d, e = 1.8, 0.6, 0.6, -1.8  # turned by 18 degrees
    source = Grid(Affine(a, b, 500, d, e, 900), "", width, height)
    moved = Affine(a * right, b * down, 500, d * right, e * down, 900)
    target = Grid(moved, "", int(-(-width // right)), int(-(-height // down)))

    def read(column, row, wide, high):
        assert min(column, row) >= 0 and column + wide <= width and row + high <= height  # noqa: PT018
        rows, columns = slice(row, row + high), slice(column, column + wide)
        return values[:, rows, columns], valid[rows, columns]

    return resample(read, source, target, window or (0, 0, target.width, target.height))


@pytest.mark.parametrize("step", [2, 3])
def test_larger_pixels_are_the_means_of_those_below_them(step):
    found, valid = bring(GROUND[:, : 15 * step, : 10 * step], EVERY[: 15 * step, : 10 * step], step, step)
    blocks = GROUND[:, : 15 * step, : 10 * step].reshape(3, 15, step, 10, step)
    np.testing.assert_allclose(found, blocks.mean(axis=(2, 4)), atol=1e-6)
    assert valid.all()


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.5), (0.41, 0.8), (1.5, 1.5), (1.7, 0.6), (2.4, 2.4)])
def test_a_slope_stays_the_slope_that_it_is(right, down):
    """Pixels in the middle have the value of their place, whatever their size along either axis."""
    slope = np.add.outer(np.arange(61) * 0.25, np.arange(47) * 0.5)[None].astype(np.float32)
    found, valid = bring(slope, EVERY, right, down)
    rows, columns = (
        ((np.arange(side) + 0.5) * step - 0.5) for side, step in zip(found.shape[1:], (down, right), strict=True)
    )
    inner = np.ix_(*((2 < place) & (place < side - 4) for place, side in ((rows, 61), (columns, 47))))
    np.testing.assert_allclose(found[0][inner], np.add.outer(rows * 0.25, columns * 0.5)[inner], atol=0.02 + right / 4)
    if max(right, down) <= 2:
        np.testing.assert_allclose(found[0][inner], np.add.outer(rows * 0.25, columns * 0.5)[inner], atol=1e-4)
    assert valid.all()


@pytest.mark.parametrize("step", [0.4167, 0.5, 1.5, 2.0, 2.6])
def test_every_window_gives_the_same_bits(step):
    valid = RNG.random(EVERY.shape) > 0.3
    whole, known = bring(GROUND, valid, step, step)
    height, width = known.shape
    for column, row, wide, high in ((0, 0, 7, 5), (3, 4, width - 5, 9), (width - 6, height - 3, 6, 3)):
        found, there = bring(GROUND, valid, step, step, (column, row, wide, high))
        rows, columns = slice(row, row + high), slice(column, column + wide)
        np.testing.assert_array_equal(found, whole[:, rows, columns])
        np.testing.assert_array_equal(there, known[rows, columns])


@pytest.mark.parametrize("step", [0.4167, 0.5, 1.5, 2.0, 2.6])
def test_nodata_counts_in_no_pixel_and_takes_none_away(step):
    valid = EVERY.copy()
    valid[:, :20], valid[40:] = False, False
    values = np.where(valid, np.float32(0.5), np.float32(-9999))
    found, known = bring(np.stack([values]), valid, step, step)
    np.testing.assert_allclose(found[0][known], 0.5, atol=1e-6)
    assert not found[0][~known].any()
    there, _ = bring(valid[None].astype(np.float32), EVERY, step, step)
    assert known[there[0] > 0.99].all()  # what lies on valid pixels alone
    assert not known[there[0] == 0].any()

"""Tiles own each pixel once, joins leave no trace, and components do not depend on the strips they were read in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from detection.imagery.raster.components import EIGHT, Labelling
from detection.imagery.raster.tiling import STRIDE, cut

sides = st.integers(1, 700)


@settings(max_examples=150, deadline=None)
@given(
    width=sides,
    height=sides,
    tile=st.integers(1, 20).map(lambda n: n * 16),
    halo=st.integers(0, 8).map(lambda n: n * 16),
)
def test_every_pixel_has_one_owner(width, height, tile, halo):
    owners = np.zeros((height, width), np.uint16)
    for part in cut(width, height, tile, halo):
        assert (
            part.own_column % STRIDE
            == part.own_row % STRIDE
            == part.read_column % STRIDE
            == part.read_row % STRIDE
            == 0
        )
        assert part.read_column >= 0
        assert part.read_row >= 0
        assert part.read_column + part.read_width <= width
        assert part.read_row + part.read_height <= height
        rows, columns = part.crop
        read = np.zeros((part.read_height, part.read_width), np.uint16)
        read[rows, columns] = 1
        assert read.sum() == part.own_width * part.own_height
        owners[
            part.read_row : part.read_row + part.read_height, part.read_column : part.read_column + part.read_width
        ] += read
    assert (owners == 1).all()


@pytest.mark.parametrize(("tile", "halo"), [(8, 0), (40, 0), (64, 8), (64, -16)])
def test_origins_off_the_stride_are_refused(tile, halo):
    with pytest.raises(ValueError, match="multiples of 16"):
        list(cut(100, 100, tile, halo))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    share=st.floats(0.1, 0.7),
    strip=st.integers(1, 41),
)
def test_components_do_not_depend_on_the_strips(seed, width, height, share, strip):
    steps = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8) * 150

    def read(column, row, wide, high):
        return steps[row : row + high, column : column + wide]

    found = Labelling(read, width, height, 100, strip).components
    labels, number = ndimage.label(steps >= 100, structure=EIGHT)
    assert len(found) == number
    assert sum(component.pixels for component in found) == np.count_nonzero(labels)
    assert [(c.first_row, c.first_column) for c in found] == sorted((c.first_row, c.first_column) for c in found)
    for component in found:
        body = labels == labels[component.first_row, component.first_column]
        rows, columns = np.nonzero(body)
        assert component.pixels == body.sum()
        assert (component.first_row, component.first_column) == (rows[0], columns[0])
        assert (component.left, component.top, component.right, component.bottom) == (
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        )

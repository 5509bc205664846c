"""Outlines of pixels hold these alone, in order, and are valid, whatever touches at its corners."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from detection.imagery.raster.components import outline_pixels

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda shape: arrays(bool, shape))


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_outlines_cover_the_pixels_and_are_valid(mask):
    labels, number = ndimage.label(mask)
    found = outline_pixels(mask)
    assert len(found) == number
    for label, outline in enumerate(found, start=1):
        assert outline.is_valid
        rows, columns = np.nonzero(labels == label)
        assert outline.area == len(rows)
        assert shapely.contains_xy(outline, columns + 0.5, rows + 0.5).all()

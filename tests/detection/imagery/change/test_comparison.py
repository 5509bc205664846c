"""The steps of a comparison that do not depend on its measure, with a measure that subtracts two arrays."""

import numpy as np
import pytest
import rasterio

from detection.imagery.change.comparison import ClassifiedBlock, Comparison, PixelClass
from detection.imagery.footprints.polygons import OutlineRule
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.overlay import burn, shapes_of, to_pixels

SIZE, PIXEL_M, LIMIT = 48, 10.0, 2.0
RULE = OutlineRule(0.5, 900.0, 0.0, "test")


class DifferenceMeasure:
    """Newer less older; NaN is nodata, and an older value above 90 cannot rise by the limit."""

    name = "difference"
    unit = "m"
    limit = LIMIT
    layers = ("ground",)

    def __init__(self, newer, older, *, is_graded=False):
        self.newer = newer
        self.older = older
        self.is_graded = is_graded

    def classify(self, column, row, width, height):
        window = np.s_[row : row + height, column : column + width]
        difference = self.newer[window] - self.older[window]
        classes = np.full(difference.shape, PixelClass.UNCHANGED, np.uint8)
        classes[self.older[window] > 90] = PixelClass.OUT_OF_REACH
        classes[difference >= self.limit] = PixelClass.GAINED
        classes[difference <= -self.limit] = PixelClass.LOST
        classes[np.isnan(difference)] = PixelClass.NODATA
        strength = None
        if self.is_graded:
            steps = np.clip(100 * np.nan_to_num(np.abs(difference)) / self.limit, 0, 200).astype(np.uint8)
            strength = np.where(classes == PixelClass.NODATA, np.uint8(255), steps)
        return ClassifiedBlock(classes[None], strength)


@pytest.fixture
def surfaces():
    """Ground that rose by 3 on 40 pixels and fell by 3 on 60, 96 pixels of nodata and 48 out of reach."""
    older = np.zeros((SIZE, SIZE))
    newer = older.copy()
    newer[5:9, 5:15] = 3.0
    newer[9:15, 5:15] = -3.0
    newer[:, :2] = np.nan
    older[:, -1] = newer[:, -1] = 95.0
    return newer, older


@pytest.mark.parametrize("is_graded", [True, False])
def test_gain_and_loss_are_outlined_apart(surfaces, tmp_path, is_graded):
    grid = grid_around(8.9, 46.2, SIZE, PIXEL_M)
    comparison = Comparison(grid, DifferenceMeasure(*surfaces, is_graded=is_graded), tmp_path / "pixels.tif")
    comparison.classify_pixels()
    for pixel_class, rows in ((PixelClass.GAINED, slice(5, 9)), (PixelClass.LOST, slice(9, 15))):
        (outline,) = comparison.find_outlines(pixel_class, RULE)
        expected = np.zeros((SIZE, SIZE), bool)
        expected[rows, 5:15] = True
        (shape,) = to_pixels(shapes_of([outline.geometry]), grid)
        assert (burn(shape, (0, 0, SIZE, SIZE)) == expected).all()
        assert outline.mean_probability == (pytest.approx(0.75) if is_graded else 1.0)


def test_pixels_count_as_compared_only_if_a_change_would_have_been_found(surfaces):
    grid = grid_around(8.9, 46.2, SIZE, PIXEL_M)
    comparison = Comparison(grid, DifferenceMeasure(*surfaces))
    comparison.classify_pixels()
    assert comparison.compared_share() == round(1 - 3 / SIZE, 6)
    areas = comparison.measure_areas()["ground"]
    assert (areas.new_m2, areas.known_m2, areas.gone_m2) == pytest.approx((4000, 0, 6000), rel=0.002)
    assert areas.joint_share == comparison.compared_share()


def test_file_contains_the_classes_and_names_the_measure(surfaces, tmp_path):
    (tmp_path / "work").mkdir()
    grid = grid_around(8.9, 46.2, SIZE, PIXEL_M)
    comparison = Comparison(grid, DifferenceMeasure(*surfaces), tmp_path / "work" / "pixels.tif")
    comparison.classify_pixels()
    comparison.write(tmp_path / "change.tif", {"SCENE_HASH": "s"})
    with rasterio.open(tmp_path / "change.tif") as source:
        values = source.read(1)
        tags = source.tags()
        assert source.descriptions == ("ground",)
    assert [int((values == code).sum()) for code in (1, 2, 3, 4, 255)] == [40, 0, 60, 48, 96]
    expected = {"MEASURE": "difference", "UNIT": "m", "LIMIT": "2", "SCENE_HASH": "s"}
    assert {key: tags[key] for key in expected} == expected

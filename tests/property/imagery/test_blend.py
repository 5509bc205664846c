"""Tiles process each pixel exactly once. Components and outlines are valid and do not depend on strips and windows."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from detection.imagery.footprints import polygons
from detection.imagery.footprints.polygons import STEPS, OutlineRule, find_footprints
from detection.imagery.footprints.probabilities import MappingRun, TilingPlan, map_blended, map_scene, measure_flips
from detection.imagery.raster.components import EIGHT, NODATA, Labelling, outline_pixels
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.tiling import STRIDE, cut_tiles
from detection.imagery.scene.radiometry import RadiometricStretch

PLACE = grid_around(141.95, 42.73, 8, 10.0)
PLAIN = RadiometricStretch(np.ones(1, np.float32))


class Field:
    """A scene in memory with invalid pixels."""

    def __init__(self, values: np.ndarray, valid: np.ndarray) -> None:
        self.values, self.valid = values.astype(np.float32), valid
        self.grid = Grid(PLACE.transform, PLACE.crs_wkt, values.shape[1], values.shape[0])

    def read(self, column, row, width, height):
        assert width > 0 < height
        assert 0 <= column <= column + width <= self.grid.width
        assert 0 <= row <= row + height <= self.grid.height
        window = slice(row, row + height), slice(column, column + width)
        return self.values[window][None], self.valid[window]


class Identity:
    """A network that answers with its input, and leans on where it stands in its tile by `lean`."""

    def __init__(self, lean: float = 0.0, classes: int = 1) -> None:
        self.lean, self.classes = lean, classes

    def class_probabilities(self, tile, valid, own=np.s_[:, :], again=False):
        height, width = valid.shape
        slope = np.add.outer(np.linspace(-1, 1, height), np.linspace(-1, 1, width)).astype(np.float32)
        likely = np.clip(tile[0] + self.lean * slope, 0, 1)
        return np.stack([likely / (1 + number) for number in range(self.classes)])[:, *own]


def collect(field, network, plan, classes=1):
    out = np.full((classes, field.grid.height, field.grid.width), 7, np.uint8)
    owners = np.zeros(out.shape[1:], int)

    def write(steps, column, row):
        out[:, row : row + steps.shape[1], column : column + steps.shape[2]] = steps
        owners[row : row + steps.shape[1], column : column + steps.shape[2]] += 1

    shares = []
    pixels = map_scene(MappingRun(field, network, PLAIN, plan, classes), write, shares.append)
    assert (owners == 1).all()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert pixels == np.count_nonzero(field.valid)
    return out


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    tile=st.sampled_from([64, 128, 192]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_blend_writes_every_pixel_once_and_its_weights_sum_to_one(width, height, tile, seed):
    rng = np.random.default_rng(seed)
    field = Field(rng.random((height, width)), rng.random((height, width)) < 0.9)
    out = collect(field, Identity(), TilingPlan("hann", tile, 0, 16))[0]
    wanted = np.where(field.valid, np.rint(field.values * np.float32(STEPS)), NODATA)
    assert np.abs(out.astype(int) - wanted).max() <= 1  # A value half-way between two steps may be rounded to either.


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    tile=st.integers(1, 12).map(lambda n: n * 16),
    halo=st.integers(0, 4).map(lambda n: n * 16),
    classes=st.integers(1, 3),
)
def test_a_crop_writes_every_pixel_once(width, height, tile, halo, classes):
    values = np.linspace(0, 1, width * height).reshape(height, width)
    field = Field(values, np.ones((height, width), bool))
    out = collect(field, Identity(classes=classes), TilingPlan("crop", tile, halo, 16), classes)
    for number in range(classes):
        wanted = np.rint(field.values / (1 + number) * np.float32(STEPS))
        assert np.abs(out[number].astype(int) - wanted).max() <= 1


def test_flip_rate_detects_a_network_that_depends_on_the_tile():
    rng = np.random.default_rng(3)
    field = Field(np.clip(0.5 + 0.05 * rng.standard_normal((300, 260)), 0, 1), np.ones((300, 260), bool))
    plan = TilingPlan("hann", 128, 0, 16)
    rates = []
    for lean in (0.0, 0.1):
        first = collect(field, Identity(lean), plan)[0]

        def read(column, row, width, height, first=first):
            return first[row : row + height, column : column + width]

        rate, pixels = measure_flips(MappingRun(field, Identity(lean), PLAIN, plan, 1), read, 100)
        assert pixels == 300 * 260
        rates.append(rate)
    assert rates[0] < 0.002
    assert rates[1] > 0.01


def test_a_region_is_blended_as_in_the_whole():
    rng = np.random.default_rng(4)
    field = Field(rng.random((400, 400)), np.ones((400, 400), bool))
    run = MappingRun(field, Identity(0.3), PLAIN, TilingPlan("hann", 64, 0, 16), 1)
    whole = np.concatenate([steps[0] for steps, *_ in map_blended(run, (0, 0, 400, 400))])
    part = np.concatenate([steps[0] for steps, *_ in map_blended(run, (96, 130, 100, 120))])
    inner = part[:-32, :-32].astype(int)  # Only tiles outside the region would contribute to pixels further out.
    assert np.abs(inner - whole[130:250, 96:196][:-32, :-32]).max() <= 1


@pytest.mark.soak
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.3, 0.7), hole_px=st.sampled_from([0.0, 3.0, 40.0]))
def test_strips_and_windows_outline_the_same(seed, share, hole_px):
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((130, 24)) < share, rng.integers(100, 201, (130, 24)), 20).astype(np.uint8)
    steps[rng.random((130, 24)) < 0.02] = NODATA
    grid = Grid(PLACE.transform, PLACE.crs_wkt, 24, 130)

    def read(column, row, width, height):
        return steps[row : row + height, column : column + width]

    def outline():
        options = {"threshold": 0.5, "minimum_area_m2": 0.0, "minimum_hole_m2": hole_px * 100, "identity": "a"}
        return list(find_footprints(read, grid, OutlineRule(**options)))

    known = outline()
    limits = polygons.LARGE_BOX_PX, polygons.Labelling
    try:
        polygons.LARGE_BOX_PX = 0
        polygons.Labelling = lambda *given: limits[1](*given, 64)
        large = outline()
    finally:
        polygons.LARGE_BOX_PX, polygons.Labelling = limits
    assert len(large) == len(known)
    for one, other in zip(known, large, strict=True):
        first, second = shapely.geometry.shape(one.geometry), shapely.geometry.shape(other.geometry)
        assert second.is_valid
        assert first.symmetric_difference(second).area <= 1e-3 * first.area
        keys = ("polygon_id", "mean_probability", "max_probability", "touches_edge", "touches_nodata", "hugs_nodata")
        assert [getattr(one, key) for key in keys] == [getattr(other, key) for key in keys]
        assert one.area_m2 == pytest.approx(other.area_m2)


sides = st.integers(1, 700)


@settings(max_examples=60, deadline=None)
@given(
    width=sides,
    height=sides,
    tile=st.integers(1, 20).map(lambda n: n * 16),
    halo=st.integers(0, 8).map(lambda n: n * 16),
)
def test_every_pixel_has_one_owner(width, height, tile, halo):
    owners = np.zeros((height, width), np.uint16)
    for part in cut_tiles(width, height, tile, halo):
        assert not any(at % STRIDE for at in (part.own_column, part.own_row, part.read_column, part.read_row))
        assert part.read_column >= 0
        assert part.read_row >= 0
        assert part.read_column + part.read_width <= width
        assert part.read_row + part.read_height <= height
        rows, columns = part.crop
        read = np.zeros((part.read_height, part.read_width), np.uint16)
        read[rows, columns] = 1
        assert read.sum() == part.own_width * part.own_height
        owners[part.read_row :, part.read_column :][: part.read_height, : part.read_width] += read
    assert (owners == 1).all()


@pytest.mark.parametrize(("tile", "halo"), [(8, 0), (40, 0), (64, 8), (64, -16)])
def test_origins_off_the_stride_are_refused(tile, halo):
    with pytest.raises(ValueError, match="multiples of 16"):
        list(cut_tiles(100, 100, tile, halo))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    share=st.floats(0.0, 0.9),
    block_rows=st.integers(1, 41),
)
def test_components_of_blocks_are_those_of_one_label_of_the_whole_mask(seed, width, height, share, block_rows):
    rng = np.random.default_rng(seed)
    steps = (rng.random((height, width)) < share).astype(np.uint8) * 150
    steps[rng.random((height, width)) < 0.05] = NODATA

    def read(column, row, wide, high):
        return steps[row : row + high, column : column + wide]

    labelling = Labelling(read, width, height, 100, block_rows)
    labels, number = ndimage.label((steps >= 100) & (steps != NODATA), structure=EIGHT)
    first_pixels = sorted(tuple(np.argwhere(labels == label)[0]) for label in range(1, number + 1))
    assert [(c.first_row, c.first_column) for c in labelling.components] == first_pixels
    block_labels = np.concatenate([block for _, block, _ in labelling.read_labels()])
    assert np.array_equal(block_labels > 0, labels > 0)
    for position, component in enumerate(labelling.components, start=1):
        body = labels == labels[component.first_row, component.first_column]
        assert np.array_equal(block_labels == position, body)
        rows, columns = np.nonzero(body)
        assert component.pixels == body.sum()
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert (component.left, component.top, component.right, component.bottom) == box
        drawn = np.zeros_like(body)
        for row, pixels, values in labelling.read_component(component):
            window = slice(row, row + len(pixels)), slice(component.left, component.right)
            drawn[window] = pixels
            assert np.array_equal(values, steps[window])
        assert np.array_equal(drawn, body)


MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda shape: arrays(bool, shape))


@settings(max_examples=60, deadline=None)
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

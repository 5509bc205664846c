"""Bands less their mean nearby, over their spread nearby: no offset, factor or stretch is left, and no joins."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from detection.imagery.data.generate import draw_scene
from detection.imagery.data.patches import IGNORED, hold_arrays
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.scene.moments import LOCAL_STANDARD
from detection.imagery.scene.radiometry import measure_stretch
from detection.imagery.training.domain import find_doubts

COLOURS = ("B4", "B3", "B2")
PLACE = grid_around(141.95, 42.73, 8, 10.0)
WATER = np.array([400.0, 450.0, 500.0])[:, None, None]
CARD = {"name": "own", "bands": list(COLOURS), "radiometry": {"stretch": LOCAL_STANDARD, "block_px": 32}, "tile_px": 64}
DOMAIN = {"bands": list(COLOURS), "pixel_size_m": 10.0, "median": [[9.0, 9.1]] * 3, "spread": [[0.1, 0.2]] * 3}
DOMAIN |= {"correlation_least": 0.5, "smoothness_least": 0.5}


class Field:
    in_tiles = False
    spectral_types = frozenset({"float32"})

    def __init__(self, values: np.ndarray, valid: np.ndarray | None = None, names=COLOURS, pixel_m=10.0) -> None:
        self.values, self.names = values.astype(np.float32), names
        self.valid = np.ones(values.shape[1:], bool) if valid is None else valid
        place = grid_around(141.95, 42.73, 8, pixel_m) if pixel_m else Grid(PLACE.transform, "", 8, 8)
        self.grid = Grid(place.transform, place.crs_wkt, values.shape[2], values.shape[1])

    def read(self, column, row, width, height):
        window = slice(row, row + height), slice(column, column + width)
        return self.values[(slice(None), *window)], self.valid[window]

    def stretched(self):
        return measure_stretch(self, CARD).apply(self.values, 0, 0)


@pytest.fixture(scope="module")
def ground():
    scene = draw_scene(5, 96, scars=1)
    return np.stack([scene.bands[name] for name in COLOURS]).astype(np.float32)


@settings(max_examples=8, deadline=None)
@example(factors=(30.0, 25.0, 30.0), offsets=(0, 0, 0))
@given(factors=st.tuples(*[st.floats(0.01, 50)] * 3), offsets=st.tuples(*[st.integers(0, 5000)] * 3))
def test_no_factor_and_no_offset_of_any_band_is_left(ground, factors, offsets):
    bent = ground * np.array(factors)[:, None, None] + np.array(offsets)[:, None, None]
    # factors may make bright ground white: what looks like a cloud is left out
    assume(measure_stretch(Field(bent), CARD).cloud_share == measure_stretch(Field(ground), CARD).cloud_share)
    assert Field(bent).stretched() == pytest.approx(Field(ground).stretched(), abs=2e-2)
    whole = np.ones((1, *ground.shape[1:]), np.uint8)
    plain, other = (hold_arrays(one[None].astype(np.float32), whole, COLOURS) for one in (ground, bent))
    assert other.standardise(()).read(0).image == pytest.approx(plain.standardise(()).read(0).image, abs=2e-2)


def test_a_scene_of_one_block_is_a_patch_of_the_training_and_tiles_have_no_joins(ground):
    part = ground[:, :32, :32]
    patch = hold_arrays(part[None], np.zeros((1, 32, 32), np.uint8), COLOURS).standardise(()).read(0).image
    assert Field(part).stretched() == pytest.approx(patch, abs=1e-4)
    assert patch.std(axis=(1, 2)) == pytest.approx(1, abs=1e-4)
    again = hold_arrays(patch[None], np.zeros((1, 32, 32), np.uint8), COLOURS).standardise(()).read(0).image
    assert again == pytest.approx(patch, abs=1e-5)
    field = Field(ground)
    stretch, whole = measure_stretch(field, CARD), field.stretched()
    assert stretch.apply(ground[:, 17:60, 30:95], 30, 17) == pytest.approx(whole[:, 17:60, 30:95], abs=1e-6)
    valid = np.ones(ground.shape[1:], bool)
    valid[:, :20] = valid[70:] = False
    empty, wild = (Field(np.where(valid, ground, fill), valid).stretched() for fill in (0, 60_000))
    assert np.array_equal(empty[:, valid], wild[:, valid])
    assert np.isfinite(empty).all()


def test_calm_water_stays_calm_also_where_it_is_most_of_a_scene(ground):
    calm = np.tile(ground, (1, 2, 2))
    calm[:, :96, :96] = WATER + np.random.default_rng(0).normal(0, 1, (3, 96, 96))
    assert np.abs(Field(calm).stretched()[:, 16:48, 16:48]).max() < 1
    coast = np.tile(ground, (1, 3, 3))
    coast[:, :, 64:] = WATER + np.random.default_rng(0).normal(0, 1, (3, 288, 224))
    assert np.abs(Field(coast).stretched()[:, :, 96:]).max() < 1


def test_terrain_keeps_its_unit_and_what_is_not_known_is_the_mean(ground):
    named = ("B4", "B3", "slope")
    field = Field(ground, names=named)
    found = measure_stretch(field, {**CARD, "bands": list(named)}).apply(ground, 0, 0)
    assert np.array_equal(found[2], ground[2])
    image, mask = ground.copy(), np.zeros(ground.shape[1:], np.uint8)
    image[:, :10], mask[:10] = 0, IGNORED
    mask[40] = IGNORED  # seen, though nobody knows the truth
    shown = hold_arrays(image[None], mask[None], named).standardise(("slope",)).read(0).image
    assert not shown[:2, :10].any()
    assert shown[:2, 40].any()
    assert np.array_equal(shown[2], image[2])


def test_clouds_say_nothing_of_the_ground_beside_them(ground):
    cloudy = ground.copy()
    cloudy[:, 40:80, 40:80] = 9000
    clear = np.ones(ground.shape[1:], bool)
    clear[40:80, 40:80] = False
    stretch = measure_stretch(Field(cloudy), CARD)
    assert stretch.cloud_share == pytest.approx(1600 / 96**2)
    beside = np.zeros((96, 96), bool)
    for column, row, width, height in stretch.cloudy:
        beside[row : row + height, column : column + width] = True
    assert beside[16:96, 16:96].all(), "the cells of the cloud, 32 to 80, and one around them"
    assert not beside[:16].any()
    assert measure_stretch(Field(ground), CARD).cloudy == ()
    masked = measure_stretch(Field(cloudy, clear), CARD)
    assert masked.cloud_share == 0
    found, wanted = (one.apply(cloudy, 0, 0)[:, clear] for one in (stretch, masked))
    assert np.array_equal(found, wanted)
    sheet = np.full_like(ground, 9000) + ground / 100
    assert measure_stretch(Field(sheet), CARD).cloud_share == 1  # nothing but cloud: it keeps its own


def test_light_and_offset_are_no_doubt_and_clouds_are_found_through_an_offset(ground):
    card = {**CARD, "domain": DOMAIN}
    low = ground - ground.min() + 20  # with dark water
    cloudy = low.copy()
    cloudy[:, 60:90, 60:90] = 9000
    found = []
    for counts in (low * 0.5, low + 1000, cloudy, cloudy + 1000):
        field = Field(counts)
        stretch = measure_stretch(field, card)
        doubts = find_doubts(field, stretch, card)
        # beside a cloud of 2 % of the scene and more brightness is asked for
        assert any("brightness" in doubt for doubt in doubts) == (counts.max() >= 9000), doubts
        found.append((stretch.offset, stretch.find_clouds(stretch.apply(counts, 0, 0), counts, 0, 0)))
    assert [one[0] for one in found] == [0, 1000, 0, 1000]
    assert [one[1] is not None for one in found] == [False, False, True, True]
    assert np.array_equal(found[2][1], found[3][1])
    seeing = {**card, "normalisation": {"value_range": [[0, 1]] * 3}}
    seeing |= {"radiometry": {"stretch": "reflectance", "scale": 1e-4}}
    field = Field(ground + 1000)
    stretch = measure_stretch(field, seeing, 1e-4)
    assert find_doubts(field, stretch, {**seeing, "domain": {**DOMAIN, "median": [[0, 1]] * 3}})


@pytest.mark.parametrize("stretch", ["local-max", LOCAL_STANDARD])
@pytest.mark.parametrize("pixel_m", [0.05, 0.3, 1.2, 3.0, 8.6, 10.0, 20.0, 30.0, 100.0, None])
def test_white_clouds_are_looked_for_at_the_pixel_sizes_they_were_measured_at(ground, stretch, pixel_m):
    """In finer pixels what is bright and white is pale debris: it stays ground."""
    pale = ground.copy()
    pale[:, 40:70, 20:60] = np.array([0.62, 0.60, 0.58])[:, None, None] * 1e4
    field = Field(pale, pixel_m=pixel_m)
    found = measure_stretch(field, {**CARD, "radiometry": {"stretch": stretch, "block_px": 32}})
    clouds = found.find_clouds(found.apply(pale, 0, 0), pale, 0, 0)
    if pixel_m in {8.6, 10.0, 20.0, 30.0}:
        assert clouds[45:65, 25:55].all()
    else:
        assert clouds is None
        assert (found.cloud_share, found.cloudy) == (0, ())

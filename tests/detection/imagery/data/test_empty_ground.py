"""Scenes without landslides as patches for training and evaluation."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from detection.imagery.data.catalogue import check_data, open_empty_ground
from detection.imagery.data.empty_ground import read_empty_ground
from detection.imagery.data.patches import IGNORED
from detection.imagery.errors import DataError, TrainingRecipeError

BANDS = ("B4", "B3", "B2")
TILE_PX = 16


@pytest.fixture
def scene(tmp_path):
    """Return the values of a scene of 3 x 4 tiles whose last column of tiles has no data, and its folder."""
    values = np.random.default_rng(0).integers(200, 3000, (3, 3 * TILE_PX, 4 * TILE_PX)).astype(np.uint16)
    values[:, :, 3 * TILE_PX :] = 0
    values[:, :4, :4] = 0
    height, width = values.shape[1:]
    profile = {"driver": "GTiff", "width": width, "height": height, "dtype": "uint16", "crs": "EPSG:32654"}
    transform = Affine(10, 0, 500_000, 0, -10, 4_700_000)
    with rasterio.open(tmp_path / "city.tif", "w", **profile, count=3, nodata=0, transform=transform) as raster:
        raster.write(values)
    for number, band in enumerate(values, 1):
        with rasterio.open(tmp_path / f"b{number}.tif", "w", **profile, count=1, transform=transform) as raster:
            raster.write(band, 1)
    return values, tmp_path


def test_tiles_alternate_between_training_and_evaluation(scene):
    values, folder = scene
    entry = {"name": "city", "files": ["city.tif"]}
    train, evaluation = read_empty_ground(entry, BANDS, TILE_PX, folder, is_rendered=False)
    assert train.names == ("city/0-0", "city/0-2", "city/1-1", "city/2-0", "city/2-2")
    assert evaluation.names == ("city/0-1", "city/1-0", "city/1-2", "city/2-1")
    np.testing.assert_array_equal(evaluation.read(0).image, values[:, :TILE_PX, TILE_PX : 2 * TILE_PX])


def test_pixels_without_data_are_ignored_and_all_others_are_no_landslide(scene):
    _, folder = scene
    train, _ = read_empty_ground({"name": "city", "files": ["city.tif"]}, BANDS, TILE_PX, folder, is_rendered=False)
    patch = train.read(0)
    expected = np.zeros((TILE_PX, TILE_PX), np.uint8)
    expected[:4, :4] = IGNORED
    np.testing.assert_array_equal(patch.mask, expected)
    assert (patch.image[:, :4, :4] == 0).all()


def test_rendered_tiles_have_the_stretch_of_landslide4sense(scene):
    values, folder = scene
    entry = {"name": "city", "files": ["city.tif"]}
    _, evaluation = read_empty_ground(entry, BANDS, TILE_PX, folder, is_rendered=True)
    tile = values[:, :TILE_PX, TILE_PX : 2 * TILE_PX].astype(np.float32)
    np.testing.assert_array_equal(evaluation.read(0).image, np.floor(255 * tile / tile.max()).astype(np.uint8))


def test_one_file_per_band_gives_the_same_tiles_as_one_file_of_all_bands(scene):
    _, folder = scene
    one_file = {"name": "city", "files": ["city.tif"]}
    three_files = {"name": "city", "files": ["b1.tif", "b2.tif", "b3.tif"]}
    for first, second in zip(
        read_empty_ground(one_file, BANDS, TILE_PX, folder, is_rendered=True),
        read_empty_ground(three_files, BANDS, TILE_PX, folder, is_rendered=True),
        strict=True,
    ):
        assert first.fingerprint() == second.fingerprint()


def test_scenes_of_a_recipe_are_joined_and_repeated(scene):
    _, folder = scene
    entries = [{"name": "city", "files": ["city.tif"], "repeat": 3}, {"name": "again", "files": ["city.tif"]}]
    data = {"source": "landslide4sense-rgb", "empty_ground": entries}
    opened = open_empty_ground(data, BANDS, TILE_PX, folder)
    assert opened.repeats == (3,) * 5 + (1,) * 5
    assert opened.train.names[4:6] == ("city/2-2", "again/0-0")
    assert {name: len(patches) for name, patches in opened.evaluation.items()} == {"city": 4, "again": 4}


def test_recipe_without_such_scenes_adds_nothing():
    opened = open_empty_ground({"source": "generated"}, BANDS, TILE_PX, None)
    assert (opened.train, opened.repeats, opened.evaluation) == (None, (), {})


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (["absent.tif"], TrainingRecipeError, "no such file"),
        (["b1.tif", "b2.tif"], DataError, "2 bands in all files, expected 3"),
        (["note.txt"], DataError, "not readable as a raster"),
    ],
)
def test_unusable_files_are_refused(scene, files, error, message):
    _, folder = scene
    (folder / "note.txt").write_text("no raster")
    with pytest.raises(error, match=message):
        read_empty_ground({"name": "city", "files": files}, BANDS, TILE_PX, folder, is_rendered=False)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "city"}], "needs name and files"),
        ([{"name": "city", "files": ["a.tif"], "weight": 2}], "unknown key data.empty_ground.weight"),
        ([{"name": "city", "files": ["a.tif"], "repeat": 0}], "repeat must be at least 1"),
        ([{"name": "city", "files": ["a.tif"]}, {"name": "city", "files": ["b.tif"]}], "the same name"),
    ],
)
def test_recipe_is_checked(entries, message):
    with pytest.raises(TrainingRecipeError, match=message):
        check_data({"source": "landslide4sense-rgb", "empty_ground": entries}, "recipe.toml")

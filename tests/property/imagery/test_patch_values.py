"""Patches of the user are converted to the values to which a scene with the same numbers is converted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.imagery.data import folder
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.file_values import MIN_BRIGHTEST, convert_to_values
from detection.imagery.data.patches import as_values, make_patches
from detection.imagery.errors import DataError, TrainingRecipeError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.scene.radiometry import measure_stretch
from detection.imagery.scene.reader import open_scene
from detection.imagery.scene.scene import read_scene

BANDS = ("B4", "B3", "B2")
SIDE = 24
GRID = grid_around(8.9, 46.2, SIDE, 10.0)
# Brightest number of each data type.
MOST = {"uint8": 255, "uint16": 12_000, "int16": 12_000, "float32": 1.5}
NODATA = 0


def write_tile(root: Path, numbers: np.ndarray, header_scale: float = 1.0, header_offset: float = 0.0) -> Path:
    """Write one tile with its mask below `train`, and return the file of the image."""
    image, mask = (root / "train" / kind / "20240506.tif" for kind in ("images", "masks"))
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_geotiff(image, numbers, GRID, descriptions=BANDS, nodata=NODATA)
    write_geotiff(mask, np.zeros((1, SIDE, SIDE), np.uint8), GRID)
    with rasterio.open(image, "r+") as target:
        target.scales = [header_scale] * len(BANDS)
        target.offsets = [header_offset] * len(BANDS)
    return image


def read_scene_values(image: Path, radiometry: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a file that is read as a scene, and where they are valid."""
    scene = read_scene(image)
    normalisation = {"value_range": [[0, 9]] * len(BANDS)}
    card = {"name": "any", "bands": list(BANDS), "radiometry": radiometry, "normalisation": normalisation}
    with open_scene(scene, BANDS) as reader:
        counts, valid = reader.read(0, 0, SIDE, SIDE)
        scale = radiometry.get("scale")
        stretch = measure_stretch(reader, card, scale)
        return stretch.apply(counts, 0, 0), valid


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(sorted(MOST)),
    scale=st.sampled_from((1.0, 1e-4, 1 / 255, 0.01, 2.75e-5)),
    header=st.sampled_from(((1.0, 0.0), (1e-4, 0.0), (1e-4, -0.1), (2.75e-5, -0.2), (0.5, 3.0))),
    seed=st.integers(0, 2**16),
)
def test_patch_has_the_values_of_a_scene_with_the_same_numbers(tmp_path_factory, dtype, scale, header, seed):
    rng = np.random.default_rng(seed)
    numbers = (rng.uniform(0.1, 1.0, (3, SIDE, SIDE)) * MOST[dtype]).astype(dtype)
    numbers[:, 3:5, 7] = NODATA
    root = tmp_path_factory.mktemp("tiles")
    image = write_tile(root, numbers, *header)
    radiometry = {"stretch": "reflectance", "scale": scale}
    expected, valid = read_scene_values(image, radiometry)
    data = {"source": "folder", "test_part": "train"}
    if np.quantile(expected[:, valid], 0.99) < MIN_BRIGHTEST:
        with pytest.raises(DataError, match=r"set `scale = 1` in \[data\]"):
            open_data(data, BANDS, 0, root, radiometry)
        return
    patches, _ = open_data(data, BANDS, 0, root, radiometry)
    values = as_values(patches.read(0).image)
    np.testing.assert_allclose(values[:, valid], expected[:, valid], rtol=1e-5, atol=1e-7)
    assert (patches.read(0).mask[~valid] == 255).all()


@pytest.mark.parametrize("dtype", sorted(MOST))
def test_local_max_divides_a_patch_by_its_brightest_value_as_a_scene(tmp_path, dtype):
    numbers = (np.random.default_rng(4).uniform(0.1, 0.9, (3, SIDE, SIDE)) * MOST[dtype]).astype(dtype)
    radiometry = {"stretch": "local-max", "block_px": SIDE}
    expected, _ = read_scene_values(write_tile(tmp_path, numbers), radiometry)
    patches, _ = open_data({"source": "folder", "test_part": "train"}, BANDS, 0, tmp_path, radiometry)
    np.testing.assert_allclose(as_values(patches.read(0).image), expected, rtol=1e-5)


def test_pictures_of_eight_bits_stay_bytes_and_terrain_is_not_scaled():
    picture = make_patches(np.full((1, 3, 8, 8), 90, np.uint8), np.zeros((1, 8, 8), np.uint8), BANDS)
    converted = convert_to_values(picture, {"stretch": "reflectance", "scale": 0.00392156862745098})
    assert converted.read(0).image.dtype == np.uint8
    counts = make_patches(np.full((1, 2, 8, 8), 30, np.uint16), np.zeros((1, 8, 8), np.uint8), ("B4", "slope"))
    values = convert_to_values(counts, {"stretch": "reflectance", "scale": [1e-3, 7.0]}).read(0).image
    assert values[:, 0, 0].tolist() == pytest.approx([0.03, 30.0])
    unchanged = convert_to_values(counts, {"stretch": "local-standard", "block_px": 8}).read(0).image
    assert unchanged[:, 0, 0].tolist() == [30, 30]


def test_reflectance_that_would_be_scaled_again_is_refused_with_the_remedy(tmp_path):
    reflectance = np.random.default_rng(2).uniform(0.02, 0.4, (3, SIDE, SIDE)).astype(np.float32)
    write_tile(tmp_path, reflectance)
    counts = {"stretch": "reflectance", "scale": 1e-4}
    data = {"source": "folder", "test_part": "train"}
    with pytest.raises(DataError, match=r"darker than ground.*set `scale = 1` in \[data\]"):
        open_data(data, BANDS, 0, tmp_path, counts)
    patches, _ = open_data({**data, "scale": 1}, BANDS, 0, tmp_path, counts)
    np.testing.assert_array_equal(patches.read(0).image, reflectance)
    with pytest.raises(TrainingRecipeError, match=r"data\.scale must be a number above 0"):
        open_data({**data, "scale": "1"}, BANDS, 0, tmp_path, counts)


def test_patches_with_another_number_of_bands_are_refused(tmp_path):
    write_tile(tmp_path, np.full((3, SIDE, SIDE), 900, np.uint16), 1e-4, -0.1)
    patches = replace(folder.read(tmp_path, "train"), bands=("B4", "B3"))
    with pytest.raises(DataError, match="expected 2 bands"):
        patches.read(0)

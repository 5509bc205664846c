"""The radiometric match: by strips whatever the size, counts stay counts and reflectances stay fractions."""

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio

from detection.imagery.change import histogram_match
from detection.imagery.change.histogram_match import match_scene, write_match
from detection.imagery.errors import NoValidPixelsError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.scene.scene import read_scene


def write(folder, image, day):
    folder.mkdir()
    grid = replace(grid_around(8.9, 46.2, 100, 10.0), width=image.shape[1], height=image.shape[0])
    write_geotiff(folder / "B4.tif", image[None], grid, nodata=0)
    at = datetime(2026, 5, day, tzinfo=UTC).isoformat()
    (folder / "scene.toml").write_text(f'acquired_at = {at}\ncomplete = true\n[bands]\nB4 = "B4.tif"\n')
    return read_scene(folder)


def trace(older, newer, folder):
    tracemalloc.start()
    found = match_scene(older, newer, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak


@pytest.fixture
def ground():
    """Counts of a tall strip of land: several strips of rows, the last one not full."""
    rng = np.random.default_rng(3)
    image = rng.integers(400, 3000, (2300, 300)).astype(np.uint16)
    image[:90, :200] = 0  # nodata
    return image


def test_a_band_is_matched_by_strips_and_says_on_how_many_pixels(ground, tmp_path, monkeypatch):
    newer = write(tmp_path / "newer", ground, 12)
    dimmed = np.where(ground > 0, np.rint(ground * 0.5 + 40), 0).astype(np.uint16)
    older = write(tmp_path / "older", dimmed, 7)
    monkeypatch.setattr(histogram_match, "SAMPLE", 20_000)
    (copy, factors), peak = trace(older, newer, tmp_path / "matched")
    low = write(tmp_path / "low-newer", ground[:1100], 12), write(tmp_path / "low-older", dimmed[:1100], 7)
    assert peak < 1.2 * trace(low[1], low[0], tmp_path / "low")[1], "what is held grows with the height"
    told = factors["B4"]
    assert (told["gain"], told["offset"]) == (pytest.approx(2.0, abs=0.02), pytest.approx(-80.0, abs=20))
    assert told["every_px"] == 5
    shown = int((ground[::5, ::5] > 0).sum())
    assert told["sampled_px"] == shown
    with rasterio.open(copy / "B4.tif") as raster:
        matched, dtype = raster.read(1), raster.dtypes[0]
    assert dtype == "uint16"
    assert ((matched == 0) == (ground == 0)).all(), "what was hidden stays hidden, what was shown stays shown"
    assert np.abs(matched.astype(int) - ground)[ground > 0].max() <= 25
    again = match_scene(older, newer, tmp_path / "again")[0]
    assert (again / "B4.tif").read_bytes() == (copy / "B4.tif").read_bytes()


def test_reflectances_stay_fractions_and_pictures_of_eight_bits_stay_such(ground, tmp_path):
    newer = write(tmp_path / "newer", (ground[:600] / 1e4).astype(np.float32), 12)
    older = write(tmp_path / "older", (ground[:600] / 2e4).astype(np.float32), 7)
    copy, factors = match_scene(older, newer, tmp_path / "matched")
    assert factors["B4"]["gain"] == pytest.approx(2.0, abs=1e-3)
    with rasterio.open(copy / "B4.tif") as raster:
        matched, dtype = raster.read(1), raster.dtypes[0]
    assert dtype == "float32"
    assert np.abs(matched - ground[:600] / 1e4).max() < 1e-3
    light = (ground[:600] // 12).astype(np.uint8)
    newer, older = write(tmp_path / "light", light, 12), write(tmp_path / "dark", light // 2, 7)
    copy = read_scene(match_scene(older, newer, tmp_path / "bytes")[0])
    with rasterio.open(copy.bands["B4"].path) as raster:
        assert raster.dtypes == ("uint8",)
        assert np.abs(raster.read(1).astype(int) - light)[light // 2 > 0].max() <= 4
    mixed = write(tmp_path / "mixed", light.astype(np.uint16), 7)
    with rasterio.open(match_scene(mixed, newer, tmp_path / "again")[0] / "B4.tif") as raster:
        assert raster.dtypes == ("uint16",)


def test_the_copy_is_in_the_values_of_the_newer_scene_and_what_cannot_be_matched_is_told(ground, tmp_path):
    newer, older = write(tmp_path / "newer", ground[:600], 12), write(tmp_path / "older", ground[:600] // 2, 7)
    copy = read_scene(match_scene(older, replace(newer, gain=0.275, offset=-2000.0), tmp_path / "matched")[0])
    assert (copy.gain, copy.offset) == (1.0, -2000.0)
    with rasterio.open(copy.bands["B4"].path) as raster:
        matched = raster.read(1)
    assert np.abs(matched - 0.275 * ground[:600])[ground[:600] > 1].max() < 2
    flat = write(tmp_path / "flat", np.full((600, 300), 700, np.uint16), 7)
    with pytest.raises(NoValidPixelsError, match="flat"):
        match_scene(flat, newer, tmp_path / "none")
    hidden = write(tmp_path / "hidden", np.where(ground[:600] == 0, 700, 0).astype(np.uint16), 7)
    with pytest.raises(NoValidPixelsError, match="shares no valid pixel"):
        match_scene(hidden, newer, tmp_path / "none")


def test_the_record_names_the_match(tmp_path):
    (tmp_path / "run.json").write_text('{"scene_hash": "s"}')
    write_match(tmp_path, {"B4": {"gain": 2.0, "offset": 1.0, "sampled_px": 10, "every_px": 1}})
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["scene_hash"], record["matched"]["B4"]["gain"]) == ("s", 2.0)

"""Two images of one slope: shifts with errors that cover the truth, and the radiometric match by strips."""

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from detection.imagery.change import histogram_match
from detection.imagery.change.histogram_match import match_scene, write_match
from detection.imagery.change.tracking import TrackingRequest, list_rows, track
from detection.imagery.errors import NoValidPixelsError, SceneError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.scene.scene import read_scene
from tests.data.surveys.images import LAY_OFF_M, PLACE, SIZE, SLID_M, still_and_slid, write_pair, write_still
from tests.data.surveys.rasters import write_folder

ASKED = TrackingRequest(most_m=1.0, window_px=32, step_px=22)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("images"))


def test_vectors_and_their_errors(pair, tmp_path):
    older, newer, grid = pair
    places = {"P1": PLACE, "far": (9.9, 46.2)}
    found = track(older, newer, replace(ASKED, places=places, out_dir=tmp_path, stable=write_still(tmp_path, grid)))
    assert (found.older_at, found.newer_at) == (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
    assert found.shift_m == pytest.approx(LAY_OFF_M, abs=3 * found.shift_error_m + 1e-4)
    assert found.lost_places == {"far": "at the rim"}
    at = np.array([grid.pixel_of(v.longitude, v.latitude) for v in found.vectors])
    moved, errors = (
        np.array([[getattr(v, f"{axis}{end}") for axis in ("east", "north")] for v in found.vectors])
        for end in ("_m", "_error_m")
    )
    still, slid = still_and_slid(*at.T)
    inside = np.abs(moved[still]) < 1.96 * errors[still]
    assert 0.9 < inside.mean() <= 1
    assert np.std(moved[still]) == pytest.approx(np.median(errors), rel=0.3)
    significant = np.array([v.significant for v in found.vectors])
    assert significant[still].mean() < 0.1
    assert significant[slid].all()
    assert (np.abs(moved[slid] - SLID_M) < 4 * errors[slid]).all()
    assert found.vectors[0].name == "P1"
    rows = list(list_rows(found))
    assert rows[0]["length_m"] == pytest.approx(np.hypot(*SLID_M), abs=0.02)
    assert rows[0]["azimuth_deg"] == pytest.approx(116.6, abs=3)
    assert json.loads((tmp_path / "track.json").read_text())["newer_at"].startswith("2026-06-01")


def test_without_stable_ground_what_moved_as_a_whole_is_not_taken_away(pair):
    older, newer, _ = pair
    found = track(older, newer, ASKED)
    assert found.shift_m == (0, 0)
    assert found.error_m > max(LAY_OFF_M) * 0.9
    assert any("either it lay off or this ground moved" in line for line in found.warnings)


def test_errors_follow_stable_ground_when_images_warp(pair, tmp_path):
    """An orthophoto that is bent by a few centimetres scatters more than its pixels say."""
    older, _, grid = pair
    with rasterio.open(older) as source:
        values = source.read(1)
    rows, columns = np.indices(values.shape).astype(float)
    bends = [rows + 0.5 * np.sin(columns / 20), columns + 0.5 * np.sin(rows / 17)]
    bent = ndimage.map_coordinates(values, bends, order=3)
    write_geotiff(tmp_path / "20260602.tif", bent[None], grid)
    mask = np.ones((1, SIZE, SIZE), np.uint8)
    write_geotiff(tmp_path / "stable.tif", mask, grid)
    found = track(older, tmp_path / "20260602.tif", replace(ASKED, stable=tmp_path / "stable.tif"))
    assert found.raised > 3
    errors = np.array([[v.east_error_m, v.north_error_m] for v in found.vectors])
    moved = np.array([[v.east_m, v.north_m] for v in found.vectors])
    assert (np.abs(moved) < 1.96 * errors).mean() > 0.9


def test_what_cannot_be_found_again(pair, tmp_path):
    older, newer, grid = pair
    rng = np.random.default_rng(1)
    few = replace(ASKED, step_px=90)
    for name, values in (
        ("noise", rng.normal(100, 20, (1, SIZE, SIZE))),
        ("flat", np.full((1, SIZE, SIZE), 7.0)),
        ("stripes", np.tile(100 + 50 * np.sin(np.arange(SIZE) / 2), (SIZE, 1))[None]),
    ):
        write_geotiff(tmp_path / f"{name}.tif", values.astype(np.float32), grid)
    with pytest.raises(NoValidPixelsError, match="correlates too little"):
        track(older, tmp_path / "noise.tif", few)
    with pytest.raises(NoValidPixelsError, match="no texture"):
        track(tmp_path / "flat.tif", newer, few)
    with pytest.raises(NoValidPixelsError, match=r"looks alike elsewhere|left the search"):
        track(tmp_path / "stripes.tif", tmp_path / "stripes.tif", few)
    with pytest.raises(NoValidPixelsError, match=r"left the search|correlates too little"):
        track(older, newer, replace(ASKED, most_m=0.1, step_px=400, places={"P1": PLACE}, window_px=64))


def test_wrong_wishes_are_one_line(pair, tmp_path):
    older, newer, grid = pair
    for asked, line in (
        (replace(ASKED, most_m=100.0), "at most 200 are searched"),
        (replace(ASKED, window_px=8), "16 to 256"),
        (replace(ASKED, step_px=1), "take a wider step"),
    ):
        with pytest.raises(SceneError, match=line):
            track(older, newer, asked)
    write_geotiff(tmp_path / "none.tif", np.zeros((1, SIZE, SIZE), np.uint8), grid)
    with pytest.raises(SceneError, match="0 windows lie on stable ground"):
        track(older, newer, replace(ASKED, stable=tmp_path / "none.tif", step_px=60))


def write(folder, image, day):
    grid = replace(grid_around(8.9, 46.2, 100, 10.0), width=image.shape[1], height=image.shape[0])
    return read_scene(write_folder(folder, {"B4": image}, grid, at=f"2026-05-{day:02}T00:00:00Z"))


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

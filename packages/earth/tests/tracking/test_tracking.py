"""Test image tracking: shifts of two images of one slope, with errors that cover the truth."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from detection.imagery.errors import NoValidPixelsError, SceneError
from detection.imagery.raster.raster import write_geotiff
from slopeward_earth.tracking.tracking import TrackingRequest, list_rows, track
from tests.data.surveys.images import LAY_OFF_M, PLACE, SIZE, SLID_M, still_and_slid, write_pair, write_still

ASKED = TrackingRequest(most_m=1.0, window_px=32, step_px=22)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("images"))


@pytest.mark.soak
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


@pytest.mark.soak
def test_without_stable_ground_what_moved_as_a_whole_is_not_taken_away(pair):
    older, newer, _ = pair
    found = track(older, newer, ASKED)
    assert found.shift_m == (0, 0)
    assert found.error_m > max(LAY_OFF_M) * 0.9
    assert any("either it lay off or this ground moved" in line for line in found.warnings)


@pytest.mark.soak
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

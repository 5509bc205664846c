"""Numbers that stand for "no value" among points of velocity are left out and reported."""

import csv

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detection.imagery.errors import SceneError
from detection.imagery.raster.reading.fills import has_fill_form
from slopeward_earth.insar.velocity_points import grid_points

FILLS = [-9999.0, 9999.9, 1e20, -32768.0, 999.99, -99999.0, 3.4028234663852886e38, 8888.0]


def write_points(path, velocities, sigmas=None):
    rng = np.random.default_rng(2)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["longitude", "latitude", "velocity", "velocity_std"])
        for k, velocity in enumerate(velocities):
            place = 8.9 + rng.uniform(0, 0.01), 46.2 + rng.uniform(0, 0.01)
            rows.writerow([*place, repr(float(velocity)), "" if sigmas is None else repr(float(sigmas[k]))])
    return path


def read_cells(gridded):
    with rasterio.open(gridded.velocity) as source:
        return source.read(1, masked=True).filled(np.nan)


def draw_velocities(seed=1, count=600):
    velocities = np.random.default_rng(seed).normal(0.0, 1.0, count)
    velocities[:60] -= 25.0
    return velocities.round(2)


@pytest.mark.parametrize("fill", FILLS)
def test_fill_changes_no_cell_and_is_reported(tmp_path, fill):
    velocities = draw_velocities()
    empty, filled = velocities.copy(), velocities.copy()
    empty[::25], filled[::25] = np.nan, fill
    (tmp_path / "a").mkdir()
    expected = read_cells(grid_points(write_points(tmp_path / "empty.csv", empty), 100.0, tmp_path / "a"))
    gridded = grid_points(write_points(tmp_path / "filled.csv", filled), 100.0, tmp_path)
    np.testing.assert_array_equal(read_cells(gridded), expected)
    assert f"24 points of 600 have the velocity {fill:.7g}" in gridded.warnings[0]


def test_two_fills_of_one_file_are_left_out(tmp_path):
    velocities = draw_velocities()
    velocities[::25], velocities[1::50] = -9999.0, 9999.9
    gridded = grid_points(write_points(tmp_path / "a.csv", velocities), 100.0, tmp_path)
    assert np.nanmax(np.abs(read_cells(gridded))) < 35.0
    assert len([line for line in gridded.warnings if "no value" in line]) == 2


def test_fill_of_the_errors_is_no_error(tmp_path):
    sigmas = np.full(600, 1.5)
    sigmas[::40] = -9999.0
    assert grid_points(write_points(tmp_path / "a.csv", draw_velocities(), sigmas), 100.0, tmp_path).sigma is None


def test_repeated_velocity_far_from_all_others_is_asked_for(tmp_path):
    velocities = draw_velocities()
    velocities[::50] = -777.0
    path = write_points(tmp_path / "a.csv", velocities)
    with pytest.raises(SceneError, match=r"12 points have the velocity -777.*--fill=-777, or --fill=none"):
        grid_points(path, 100.0, tmp_path)
    assert np.nanmin(read_cells(grid_points(path, 100.0, tmp_path, "-777"))) > -35.0
    assert np.nanmin(read_cells(grid_points(path, 20.0, tmp_path, "none"))) == -777.0
    with pytest.raises(SceneError, match="expected a number or none"):
        grid_points(path, 100.0, tmp_path, "nothing")


def _has_repeated_extreme(velocities):
    return any(
        velocities.count(number) >= 5 and all(abs(number) > 3 * abs(other) for other in velocities if other != number)
        for number in set(velocities)
    )


@pytest.mark.soak
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-300.0, 300.0).map(lambda v: round(v, 1)), min_size=30, max_size=60))
def test_plain_velocities_are_all_used(tmp_path, velocities):
    """No velocity that is not a fill number is dropped."""
    path = write_points(tmp_path / "a.csv", velocities)
    try:
        gridded = grid_points(path, 5.0, tmp_path)
    except SceneError:
        gridded = grid_points(path, 5.0, tmp_path, "none")
        assert _has_repeated_extreme(velocities)
    assert not [line for line in gridded.warnings if "points" in line]
    cells = read_cells(gridded)
    assert np.nanmin(cells) >= min(velocities) - 1e-3
    assert np.isfinite(cells).sum() > 0.8 * len(velocities)


def test_numbers_near_a_fill_are_none():
    assert all(has_fill_form(fill) for fill in FILLS)
    assert not any(has_fill_form(number) for number in (-99.0, 990.0, 9989.9, 1000.0, 98.9, -9.99, 99.99))

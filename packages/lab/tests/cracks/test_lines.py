"""Cracks have the length, width and azimuth that they were drawn with, on every grid and across tiles."""

import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine

from detection.imagery.raster.areas import pixel_sides_m
from detection.imagery.raster.grid import Grid, local_utm
from detection.imagery.raster.overlay import burn
from slopeward_lab.cracks.lines import find_cracks
from slopeward_lab.cracks.skeleton import find_skeleton, thin

SIDE = 400
UTM = pyproj.CRS.from_epsg(32632).to_wkt()
C, S = 0.05 * math.cos(math.radians(30)), 0.05 * math.sin(math.radians(30))
PLACES = {
    "square": (0.05, 0, 5e5, 0, -0.05, 5.1e6),
    "not square": (0.05, 0, 5e5, 0, -0.08, 5.1e6),
    "rotated": (C, S, 5e5, S, -C, 5.1e6),
    "south up": (0.05, 0, 5e5, 0, 0.05, 5.1e6),
}
GRIDS = {name: Grid(Affine(*place), UTM, SIDE, SIDE) for name, place in PLACES.items()}
GRIDS["degrees"] = Grid(Affine(5e-7, 0, 9.0, 0, -5e-7, 60.0), pyproj.CRS.from_epsg(4326).to_wkt(), SIDE, SIDE)


def draw(*outlines):
    """A map of certain pixels."""
    marked = np.zeros((SIDE, SIDE), bool)
    for outline in outlines:
        marked |= burn(outline, (0, 0, SIDE, SIDE))
    return np.where(marked, 200, 0).astype(np.uint8)


def find(steps, grid=GRIDS["square"]):
    return find_cracks(lambda c, r, w, h: steps[r : r + h, c : c + w], grid, 100, "scene:model")


def lay(grid, points_m, width_m):
    """A line, in metres right and down from the middle of the grid, as an outline in its pixels."""
    wide, high = pixel_sides_m(grid)
    outline = shapely.LineString(points_m).buffer(width_m / 2, cap_style="flat")
    return shapely.transform(outline, lambda m: m / (wide, high) + SIDE / 2 + 0.13)  # no edge through middles of pixels


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(("angle", "width_m"), [(0, 0.25), (20, 0.4), (45, 0.3), (90, 0.4), (110, 0.6), (161, 0.2)])
def test_a_straight_crack_has_its_length_width_and_azimuth_in_metres(name, angle, width_m):
    grid = GRIDS[name]
    way = np.array([math.sin(math.radians(angle)), -math.cos(math.radians(angle))])
    (found,) = find(draw(lay(grid, [-2 * way, 2 * way], width_m)), grid)
    pixel = max(pixel_sides_m(grid))
    assert found.length_m == pytest.approx(4.0, abs=1.5 * pixel)
    assert found.width_m == pytest.approx(width_m, abs=0.3 * pixel + 0.02 * width_m)
    assert found.width_m <= found.greatest_width_m < found.width_m + pixel
    # by the ground, whatever the grid: through a system of metres that is not the grid's
    into = pyproj.Geod(ellps="WGS84")
    ends = np.array(found.geometry["coordinates"])
    true = into.inv(*ends[0], *ends[-1])
    assert found.length_m == pytest.approx(true[2], rel=2e-3)
    assert abs((found.azimuth_deg - true[0] + 90) % 180 - 90) < 0.3
    if name == "square":
        turned = pyproj.Proj(local_utm(grid)).get_factors(9.0, 46.05).meridian_convergence
        assert abs((found.azimuth_deg - angle - turned + 90) % 180 - 90) < 1.5


def test_two_that_cross_are_two_and_a_branch_is_one_more():
    grid = GRIDS["square"]
    cross = [lay(grid, [(-4, -3), (4, 3)], 0.3), lay(grid, [(-4, 2), (4, -1)], 0.2)]
    one, other = sorted(find(draw(*cross)), key=lambda crack: -crack.length_m)
    assert one.length_m == pytest.approx(10.0, abs=0.1)
    assert other.length_m == pytest.approx(math.hypot(8, 3), abs=0.1)
    assert (one.width_m, other.width_m) == (pytest.approx(0.3, abs=0.03), pytest.approx(0.2, abs=0.03))
    branched = find(draw(lay(grid, [(-4, 0), (4, 0)], 0.25), lay(grid, [(0, 0), (2, 3)], 0.2)))
    assert [round(one.length_m, 1) for one in sorted(branched, key=lambda one: -one.length_m)] == [
        pytest.approx(8.0, abs=0.1),
        pytest.approx(math.hypot(2, 3), abs=0.2),
    ]


def test_a_bent_crack_that_widens_is_measured_along_itself():
    line = shapely.LineString([(-6, 0), (0, 0), (0, 6)])
    parts = [(line, 0.2), (shapely.LineString([(0, 2), (0, 6)]), 0.6)]
    (found,) = find(draw(*(lay(GRIDS["square"], part.coords, width) for part, width in parts)))
    assert found.length_m == pytest.approx(12.0, abs=0.25)
    assert found.greatest_width_m == pytest.approx(0.6, abs=0.04)
    assert found.width_m == pytest.approx((8 * 0.2 + 4 * 0.6) / 12, abs=0.03)


@pytest.mark.soak
def test_tiles_leave_no_trace():
    rng = np.random.default_rng(4)
    walks = [np.cumsum(rng.normal(0, 2, (90, 2)) + rng.uniform(-2, 2, 2), axis=0) + 200 for _ in range(6)]
    steps = draw(*(shapely.LineString(walk).buffer(rng.uniform(1, 5)) for walk in walks))

    def read(column, row, width, height):
        return steps[row : row + height, column : column + width]

    whole, cut = (find_skeleton(read, (SIDE, SIDE), 100, (0.05, 0.08), tile) for tile in (SIDE, 70))
    for name in whole.__slots__:
        assert np.array_equal(getattr(whole, name), getattr(cut, name)), name


def test_blobs_specks_and_nodata_are_no_cracks():
    grid = GRIDS["square"]
    blob = lay(grid, [(-3, -3), (3, -3)], 5)
    assert find(draw(blob, lay(grid, [(-2, 4), (-1.8, 4)], 0.1), shapely.Point(300, 300).buffer(8))) == []
    steps = draw(lay(grid, [(-4, 0), (4, 0)], 0.3))
    steps[:, :200] = 255
    (found,) = find(steps)
    assert found.length_m == pytest.approx(4.0, abs=0.1)
    assert found.to_json().keys() == {
        *("crack_id", "length_m", "width_m", "greatest_width_m", "azimuth_deg", "mean_probability", "touches_edge"),
        "geometry",
    }


def test_a_grid_without_a_place_gives_lines_in_pixels():
    (found,) = find(draw(lay(GRIDS["square"], [(-4, 0), (4, 0)], 0.3)), Grid(Affine.identity(), "", SIDE, SIDE))
    assert (found.length_m, found.width_m, found.azimuth_deg) == (None, None, None)
    assert found.geometry["coordinates"][0] == pytest.approx([120, 200], abs=1)


def test_thinning_keeps_what_hangs_together():
    from scipy import ndimage

    rng = np.random.default_rng(1)
    body = ndimage.gaussian_filter(rng.standard_normal((200, 200)), 3) > 0.01
    lines = thin(body)
    eight = np.ones((3, 3))
    assert ndimage.label(lines, eight)[1] == ndimage.label(body, eight)[1]
    assert not (lines & ~body).any()
    assert not ndimage.binary_erosion(lines, np.ones((2, 2))).any()

"""Ground at 180 degrees: areas, measures and distances are those of the same ground elsewhere."""

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.footprints.proximity import list_distances
from detection.imagery.raster.areas import pixel_area_m2
from detection.imagery.raster.grid import grid_around


def find(lon, *, geographic):
    """Two footprints of 10,000 and 6,000 m2 by the grid, the second one around its middle."""
    steps = np.zeros((60, 60), np.uint8)
    steps[10:20, 10:20] = steps[28:34, 25:35] = 150
    grid = grid_around(lon, 10.0, 60, 10.0, geographic=geographic)
    rule = OutlineRule(0.5, 900.0, 900.0, "x")
    return grid, list(find_footprints(lambda c, r, w, h: steps[r : r + h, c : c + w], grid, rule))


def distance_m(geometry, place):
    return list_distances([geometry], {"here": place})[0][0][0]


@pytest.mark.parametrize("geographic", [False, True])
@pytest.mark.parametrize("lon", [180.0, 179.9999, -179.9999, -180.0])
def test_a_footprint_across_the_line_is_as_large_as_elsewhere(lon, geographic):
    grid, found = find(lon, geographic=geographic)
    other, elsewhere = find(179.9 if lon > 0 else -179.9, geographic=geographic)
    assert pixel_area_m2(grid) == pytest.approx(pixel_area_m2(other), rel=3e-3)
    assert len(found) == len(elsewhere) == 2
    for here, there in zip(found, elsewhere, strict=True):
        for name in ("area_m2", "length_m", "width_m", "perimeter_m"):
            assert getattr(here, name) == pytest.approx(getattr(there, name), rel=5e-3), name
    crossing = shape(found[1].geometry)
    assert (crossing.geom_type, crossing.is_valid) == ("MultiPolygon", True)
    assert crossing.bounds[0] >= -180
    assert crossing.bounds[2] <= 180
    assert abs(found[1].centroid[0]) == pytest.approx(180.0, abs=5e-4)
    assert abs(found[1].centroid[0]) <= 180


def test_a_station_across_the_line_is_near():
    east = shapely.geometry.mapping(shapely.box(-180.0, 10.0, -179.999, 10.001))
    assert distance_m(east, (179.999, 10.0005)) == pytest.approx(109.5, abs=0.2)
    assert distance_m(east, (-179.9995, 10.0005)) == 0.0
    both = shapely.geometry.mapping(
        shapely.MultiPolygon([shapely.box(-180.0, 10.0, -179.999, 10.001), shapely.box(179.999, 10.0, 180.0, 10.001)])
    )
    assert distance_m(both, (179.9995, 10.0005)) == 0.0
    assert distance_m(both, (-179.9985, 10.0005)) == pytest.approx(54.8, abs=0.2)
    assert distance_m(both, (-0.0005, 10.0005)) > 1e7, "nor is a ring stretched round the earth"


def test_many_outlines_are_measured_as_each_by_itself():
    """Polygons of one part and of several, with holes, and places inside, in a hole, beside and far away."""
    square = [[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]
    hole = [[0.5, 0.5], [1.5, 0.5], [1.5, 1.5], [0.5, 1.5], [0.5, 0.5]]
    other = [[5, 0], [6, 0], [6, 1], [5, 0]]
    geometries = [{"type": "Polygon", "coordinates": rings} for rings in ([square, hole], [other])]
    geometries.insert(1, {"type": "MultiPolygon", "coordinates": [[square], [other]]})
    places = {"in": (0.2, 0.2), "hole": (1.0, 1.0), "beside": (2.5, 1.0), "far": (9.0, 3.0), "corner": (5.0, 0.0)}
    found = list_distances(geometries, places)
    assert found == [list_distances([one], places)[0] for one in geometries]
    assert {name: away for away, name in found[0]}["hole"] == 0.0, "outer rings only"
    degree_m = np.radians(1.0) * 6_371_008.8
    for one, geometry in zip(found, geometries, strict=True):
        assert one == sorted(one)
        outer = shapely.union_all([shapely.Polygon(part.exterior) for part in shapely.get_parts(shape(geometry))])
        for away, name in one:  # at the equator a degree is as long to the north as to the east
            assert away == pytest.approx(outer.distance(shapely.Point(places[name])) * degree_m, rel=2e-3)
    assert (list_distances([], places), list_distances(geometries, {})) == ([], [[], [], []])

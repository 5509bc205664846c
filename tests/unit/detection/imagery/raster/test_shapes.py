"""Whatever geometry comes in: its ground is taken or named, and rings keep their roles whichever way they run."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, box

from detection.imagery.raster.reading.shapes import join_rings, take_outlines


def ring(x0, y0, x1, y1, *, against=False):
    points = [(x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0)]
    return np.array(points[::-1] if against else points, float)


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.permutations(range(4)))
def test_rings_mean_the_same_whichever_way_and_in_which_order_they_come(ways, order):
    boxes = [(0, 0, 10, 10), (2, 2, 8, 8), (4, 4, 6, 6), (20, 20, 21, 21)]  # ground, hole, island, another part
    rings = [ring(*boxes[k], against=ways[k]) for k in order]
    assert join_rings(rings).area == 100 - 36 + 4 + 1


def test_a_hole_at_the_rim_stays_a_hole():
    for reaches in (0, -1):
        assert join_rings([ring(0, 0, 10, 10), ring(reaches, 2, 4, 6, against=True)]).area == 84
    assert join_rings([ring(0, 0, 10, 10), ring(0, 0, 10, 10)]).area == 100
    rim = shapely.Polygon(ring(0, 0, 10, 10), [ring(0, 2, 4, 6)])
    assert not rim.is_valid
    assert take_outlines([rim]).shapes[0].area == 84
    assert shapely.make_valid(rim).area == 100  # what the other way of mending makes of it


KINDS = {
    "polygon": lambda b: b,
    "several": lambda b: MultiPolygon([b]),
    "collection": lambda b: GeometryCollection([b, Point(0, 0)]),
    "nested": lambda b: GeometryCollection([GeometryCollection([b])]),
    "closed line": lambda b: LineString(b.exterior.coords),
    "ring": lambda b: b.exterior,
    "crossing": lambda b: shapely.Polygon([*b.exterior.coords[:4], b.exterior.coords[0]]),
    "open line": lambda b: LineString(b.exterior.coords[:3]),
    "point": lambda b: b.centroid,
    "none": lambda _: None,
    "empty": lambda _: shapely.Polygon(),
}
TAKEN = {"polygon", "several", "collection", "nested", "closed line", "ring", "crossing"}


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12))
def test_what_goes_in_is_taken_or_counted(kinds):
    given_ = [KINDS[kind](box(3 * k, 0, 3 * k + 1, 1)) for k, kind in enumerate(kinds)]
    taken = take_outlines(given_)
    assert [one is not None for one in taken.shapes] == [kind in TAKEN for kind in kinds]
    assert all(one.is_valid and one.area == 1 for one in taken.shapes if one is not None)
    lost = sum(kind not in TAKEN for kind in kinds)
    assert any(line.startswith(f"{lost} of {len(kinds)} geometries are left out") for line in taken.notes) == bool(lost)
    assert any("closed lines" in line for line in taken.notes) == bool({"closed line", "ring"} & set(kinds))


def test_points_stay_where_they_are_asked_for():
    assert take_outlines([Point(1, 1)], points=True).shapes[0] == Point(1, 1)
    assert take_outlines([Point(1, 1)]).shapes[0] is None

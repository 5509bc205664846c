"""Boxes of footprints: around all of an outline, on both sides of 180 degrees, and in the pixels of their scene."""

import json

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import shape

from detection.imagery.footprints.boxes import Picture, frame, to_coco
from detection.imagery.footprints.polygons import find_footprints
from detection.imagery.raster.grid import Grid

GRIDS = {
    "degrees": Grid(Affine(9e-5, 0, 141.89, 0, -9e-5, 42.77), pyproj.CRS.from_epsg(4326).to_wkt(), 90, 60),
    "utm": Grid(Affine(10, 0, 5.4e5, 0, -10, 4.7e6), pyproj.CRS.from_epsg(32654).to_wkt(), 90, 60),
    "turned": Grid(Affine(9.6, 2.6, 5.4e5, 2.6, -9.6, 4.7e6), pyproj.CRS.from_epsg(32654).to_wkt(), 90, 60),
    "across 180 degrees": Grid(Affine(0.001, 0, 179.955, 0, -0.001, 1.0), pyproj.CRS.from_epsg(4326).to_wkt(), 90, 60),
    "no place": Grid(Affine.identity(), "", 90, 60),
}


def found_on(grid, steps):
    def read(column, row, width, height):
        return steps[row : row + height, column : column + width]

    return list(find_footprints(read, grid, threshold=0.5, minimum_area_m2=0.0, minimum_hole_m2=0.0, identity="scene"))


@pytest.mark.parametrize("name", GRIDS)
def test_a_coco_box_is_that_of_the_pixels_on_any_grid(name):
    steps = np.zeros((60, 90), np.uint8)
    steps[5:12, 3:30], steps[9:40, 28:31], steps[50:60, 40:70], steps[52:55, 45:50] = 160, 180, 120, 0
    grid = GRIDS[name]
    footprints = found_on(grid, steps)
    parts = [(one.geometry, one.kind, {"score": one.mean_probability}) for one in footprints]
    coco = json.loads(json.dumps(to_coco([Picture("scene", grid, {"date_captured": "2026-05-12"}, parts)])))
    (image,) = coco["images"]
    assert (image["file_name"], image["width"], image["height"]) == ("scene", 90, 60)
    labels, _ = ndimage.label(steps > 99, np.ones((3, 3)))
    truth = sorted((c.start, r.start, c.stop - c.start, r.stop - r.start) for r, c in ndimage.find_objects(labels))
    boxes = sorted(tuple(one["bbox"]) for one in coco["annotations"])
    assert np.allclose(boxes, truth, atol=0.02)
    areas = sorted(one["area"] for one in coco["annotations"])
    # the hole counts in no area
    assert np.allclose(areas, sorted(np.bincount(labels.ravel())[1:]), atol=0.5)
    assert {one["category_id"] for one in coco["annotations"]} == {1}
    assert coco["categories"] == [{"id": 1, "name": "landslide", "supercategory": "ground"}]
    assert all(len(ring) >= 8 for one in coco["annotations"] for ring in one["segmentation"])


def test_each_class_is_a_category_and_each_scene_an_image():
    geometry = {"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 4], [1, 4], [1, 1]]]}
    grid = GRIDS["no place"]
    pictures = [
        Picture("one", grid, {}, [(geometry, "landslide", {}), (geometry, "crack", {})]),
        Picture("two", grid, {}, [(geometry, "crack", {})]),
        Picture("empty", grid, {}, []),
    ]
    coco = to_coco(pictures)
    assert [one["name"] for one in coco["categories"]] == ["landslide", "crack"]
    told = [(one["id"], one["image_id"], one["category_id"], one["bbox"]) for one in coco["annotations"]]
    assert told == [(1, 1, 1, [1, 1, 4, 3]), (2, 1, 2, [1, 1, 4, 3]), (3, 2, 2, [1, 1, 4, 3])]
    assert [one["id"] for one in coco["images"]] == [1, 2, 3]


places = st.tuples(st.floats(-179, 179, allow_nan=False), st.floats(-80, 80, allow_nan=False))


@given(st.tuples(places, places, places), st.floats(0.01, 5))
def test_a_rectangle_holds_its_outline_and_touches_it_on_all_sides(corners, size):
    west, south = corners[0]
    ring = [[west + size * x / 360, south + size * y / 160] for x, y in corners]
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    box = frame(geometry)
    assert box["type"] == "Polygon"
    assert shape(box).bounds == pytest.approx(shape(geometry).bounds, abs=1e-12)
    assert shape(box).exterior.is_ccw or shape(box).area == 0


def test_a_footprint_across_180_degrees_has_two_small_rectangles():
    steps = np.zeros((60, 90), np.uint8)
    steps[20:30, 30:60] = 160
    (one,) = found_on(GRIDS["across 180 degrees"], steps)
    box = shape(frame(one.geometry))
    assert box.geom_type == "MultiPolygon"
    assert box.area == pytest.approx(0.03 * 0.01, rel=1e-6)

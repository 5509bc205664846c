"""Footprints in COCO format contain exactly the detected pixels, and their ids are stable."""

import json

import numpy as np
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from detection.imagery.footprints.coco import CocoInstances
from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.raster.components import EIGHT
from detection.imagery.raster.grid import LONLAT, Grid, grid_around

HERE = grid_around(141.95, 42.73, 8, 10.0)
DEGREES = 8.983152841195215e-05
PLACES = {
    "metres": (HERE.transform, HERE.crs_wkt),
    "turned": (HERE.transform @ Affine.rotation(30.0), HERE.crs_wkt),
    "degrees": (Affine(DEGREES, 0, 141.89, 0, -DEGREES, 42.77), LONLAT.to_wkt()),
    "fine": (Affine(0.05, 0, *HERE.transform[2:4], -0.05, HERE.transform[5]), HERE.crs_wkt),
    "nowhere": (Affine.identity(), ""),
}
SIDES = st.integers(1, 14)
RING = np.pad(np.zeros((3, 3), bool), 2, constant_values=True)


def decode(annotation, height, width):
    """Return the pixels of an annotation as the format defines them."""
    drawn = annotation["segmentation"]
    if isinstance(drawn, dict):
        counts = drawn["counts"]
        values = np.arange(len(counts)) % 2 == 1
        assert drawn["size"] == [height, width]
        return np.repeat(values, counts).reshape(width, height).T
    mask = np.zeros((height, width), bool)
    middles = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for ring in drawn:
        mask |= shapely.contains_xy(shapely.Polygon(np.reshape(ring, (-1, 2))), *middles)
    return mask


def make_instances(mask, place, name="a.tif", into=None):
    grid = Grid(*PLACES[place], mask.shape[1], mask.shape[0])
    steps = np.where(mask, 180, 20).astype(np.uint8)
    rule = OutlineRule(threshold=0.5, minimum_area_m2=0.0, minimum_hole_m2=0.0, identity="scene")
    found = find_footprints(lambda c, r, w, h: steps[r : r + h, c : c + w], grid, rule)
    polygons = [one.to_json() for one in found]
    made = CocoInstances() if into is None else into
    result = {"scene_hash": "5c", "acquired_at": "2026-05-07T00:00:00+00:00", "classes": ["landslide"]}
    made.add(name, result | {"polygons": polygons}, grid)
    return made, polygons


@settings(deadline=None)
@given(
    arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))), st.sampled_from(sorted(set(PLACES) - {"nowhere"}))
)
@example(np.zeros((3, 4), bool), "metres")
@example(np.ones((3, 4), bool), "metres")
@example(RING, "turned")
@example(np.pad(RING, 3), "degrees")
@example(np.eye(6, dtype=bool), "fine")
@example(np.array([[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]], bool), "degrees")
@example(np.array([[1, 1], [0, 1], [1, 0], [0, 1], [1, 1]], bool)[:, [0, 1, 1]] > 0, "degrees")
def test_instances_are_the_pixels_found(mask, place):
    made, polygons = make_instances(mask, place)
    labels, number = ndimage.label(mask, EIGHT)
    assert len(made.annotations) == len(polygons) == number
    seen = set()
    for annotation, polygon in zip(made.annotations, polygons, strict=True):
        pixels = decode(json.loads(json.dumps(annotation)), *mask.shape)
        (label,) = set(labels[pixels].tolist())
        np.testing.assert_array_equal(pixels, labels == label)
        seen.add(label)
        rows, columns = np.nonzero(pixels)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["bbox"] == box == polygon["box_px"]
        assert (annotation["area"], annotation["iscrowd"], annotation["score"]) == (pixels.sum(), 0, 0.9)
        # An outline cannot represent holes, so shapes with holes are run-length encoded.
        parts, count = ndimage.label(pixels)  # of parts that touch at a corner each has an outline
        grounds = [np.pad(parts != part, 1, constant_values=True) for part in range(1, count + 1)]
        has_holes, may_have = (any(ndimage.label(one, how)[1] > 1 for one in grounds) for how in (EIGHT, None))
        # a hole that touches the ground around at a corner alone is a bend of the outline, or a ring of its own
        assert has_holes <= isinstance(annotation["segmentation"], dict) <= may_have
    assert len(seen) == number


def test_small_footprints_without_position_have_an_area_in_pixels():
    made, _ = make_instances(np.pad(RING, 2), "nowhere")
    (one,) = made.annotations
    assert (one["bbox"], one["area"]) == ([2, 2, 7, 7], 40)


def test_ids_depend_on_content_and_name_and_each_image_is_listed_once(tmp_path):
    mask = np.pad(np.ones((2, 3), bool), 1)
    made, _ = make_instances(mask, "metres")
    make_instances(mask, "metres", into=made)
    make_instances(mask, "metres", "b.tif", into=made)
    made.write(tmp_path / "found.json")
    told = json.loads((tmp_path / "found.json").read_text())
    assert set(told) == {"info", "licenses", "images", "categories", "annotations"}
    assert [one["file_name"] for one in told["images"]] == ["a.tif", "b.tif"]
    assert told["categories"] == [{"id": 1, "name": "landslide", "supercategory": "landslide"}]
    ids = [one["id"] for key in ("images", "annotations") for one in told[key]]
    assert (len(set(ids)), max(ids) < 2**53) == (4, True)
    assert [one["image_id"] for one in told["annotations"]] == [one["id"] for one in told["images"]]
    assert make_instances(mask, "degrees")[0].images == told["images"][:1], "the same next time"

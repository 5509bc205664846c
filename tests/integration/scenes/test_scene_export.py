"""`slopeward scenes export`: outlines, boxes, and boxes in pixels of the scenes whose maps are kept."""

import json
from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
from affine import Affine

from detection.imagery.footprints.polygons import find_footprints
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import writing_geotiff
from monitor.cli.main import run_verb
from monitor.config.service import parse_site
from monitor.store.alerting.sites import save_site
from monitor.store.scenes.arrivals import Footprint, SceneRow, save_scene
from tests.data.drawn_scenes import SITE

TAKEN = datetime(2026, 5, 12, 10, tzinfo=UTC)
GRID = Grid(Affine(10, 0, 5.4e5, 0, -10, 4.7e6), pyproj.CRS.from_epsg(32654).to_wkt(), 60, 40)
BOXES = ([5.0, 4.0, 20.0, 6.0], [30.0, 20.0, 8.0, 15.0])


@pytest.fixture
def call(database, database_url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    steps = np.zeros((40, 60), np.uint8)
    for left, top, width, height in np.array(BOXES, int):
        steps[top : top + height, left : left + width] = 160
    found = list(
        find_footprints(
            lambda c, r, w, h: steps[r : r + h, c : c + w], GRID, threshold=0.5, minimum_area_m2=0.0,
            minimum_hole_m2=0.0, identity="scene",
        )
    )  # fmt: skip
    with database.write() as c:
        save_site(c, parse_site(SITE, "bench.toml"), "test", "test", TAKEN)
        for name in ("kept", "swept"):
            folder = tmp_path / name
            row = SceneRow(name * 12, "bench", name, TAKEN, "post", f"inbox/{name}", TAKEN, "done", out_dir=str(folder))
            rows = [
                Footprint(
                    name * 12, "m" * 64, one.polygon_id, "bijie", "single", one.area_m2, one.mean_probability,
                    one.geometry, *one.bbox, None, None,
                )
                for one in found
            ]  # fmt: skip
            save_scene(c, row, rows, TAKEN)
    (tmp_path / "kept").mkdir()
    with writing_geotiff(tmp_path / "kept" / "mask.tif", GRID, "uint8", nodata=255) as write:
        write((steps > 0).astype(np.uint8), 0, 0)

    def run(*options):
        status = run_verb(["scenes", "export", "--site", "bench", *options])
        said = capsys.readouterr()
        return status, [json.loads(line) for line in said.out.splitlines()], said.err

    return run


def test_footprints_come_as_outlines_as_boxes_and_in_pixels(call, tmp_path):
    status, (outlines,), _ = call()
    assert (status, outlines["type"], len(outlines["features"])) == (0, "FeatureCollection", 4)
    status, features, _ = call("--format", "boxes", "--json")
    assert (status, len(features)) == (0, 4)
    for feature in features:
        ring = np.array(feature["geometry"]["coordinates"][0])
        told = [feature["properties"][key] for key in ("min_lon", "min_lat", "max_lon", "max_lat")]
        assert np.allclose([*ring.min(axis=0), *ring.max(axis=0)], told, atol=1e-9)

    status, (coco,), said = call("--format", "coco")
    assert (status, [one["file_name"] for one in coco["images"]]) == (3, ["kept"])
    assert "swept: its map is not kept any more" in said
    assert np.allclose(sorted(one["bbox"] for one in coco["annotations"]), sorted(BOXES), atol=0.02)
    assert [one["score"] for one in coco["annotations"]] == [0.8, 0.8]
    (tmp_path / "kept" / "mask.tif").rename(tmp_path / "kept" / "prob.tif")  # the mask is not made yet, or cannot be
    (tmp_path / "kept" / "not-made.json").write_text("{}")
    assert call("--format", "coco")[:2] == (3, [coco])
    (tmp_path / "kept" / "prob.tif").rename(tmp_path / "kept" / "mask.tif")
    (tmp_path / "kept" / "mask.tif").write_bytes(b"no raster")
    status, printed, said = call("--format", "coco")
    assert (status, printed, said.count("left out")) == (4, [], 2)
    assert call("--format", "yolo")[0] == 2

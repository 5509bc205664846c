"""`slopeward scenes export`: the outlines of all footprints as GeoJSON."""

import json
from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
from affine import Affine

from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.raster.grid import Grid
from monitor.cli.main import run_verb
from monitor.config.service import parse_site
from monitor.store.alerting.sites import save_site
from monitor.store.scenes.arrivals import save_scene
from tests.conftest import ON_BOTH
from tests.data.drawn_scenes import SITE
from tests.data.store_rows import footprint_row, scene_row

TAKEN = datetime(2026, 5, 12, 10, tzinfo=UTC)
GRID = Grid(Affine(10, 0, 5.4e5, 0, -10, 4.7e6), pyproj.CRS.from_epsg(32654).to_wkt(), 60, 40)
BOXES = ((5, 4, 20, 6), (30, 20, 8, 15))


@pytest.fixture
def call(database, database_url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    steps = np.zeros((40, 60), np.uint8)
    for left, top, width, height in BOXES:
        steps[top : top + height, left : left + width] = 160
    rule = OutlineRule(0.5, 0.0, 0.0, "scene")
    found = list(find_footprints(lambda c, r, w, h: steps[r : r + h, c : c + w], GRID, rule))
    with database.write() as c:
        save_site(c, parse_site(SITE, "bench.toml"), "test", "test", TAKEN)
        for name in ("one", "two"):
            rows = [
                footprint_row(name * 12, one.polygon_id, one.bbox, area_m2=one.area_m2, geometry=one.geometry)
                for one in found
            ]
            save_scene(c, scene_row(name * 12, TAKEN, name=name, role="post", path=f"inbox/{name}"), rows, TAKEN)

    def run(*options):
        status = run_verb(["scenes", "export", "--site", "bench", *options])
        said = capsys.readouterr()
        return status, [json.loads(line) for line in said.out.splitlines()], said.err

    return run


@ON_BOTH
def test_footprints_come_as_one_collection_or_one_a_line(call):
    status, (outlines,), _ = call()
    assert (status, outlines["type"], len(outlines["features"])) == (0, "FeatureCollection", 4)
    status, features, _ = call("--json")
    assert (status, features) == (0, outlines["features"])
    for feature in features:
        ring = np.array(feature["geometry"]["coordinates"][0])
        told = [feature["properties"][key] for key in ("min_lon", "min_lat", "max_lon", "max_lat")]
        assert np.allclose([*ring.min(axis=0), *ring.max(axis=0)], told, atol=1e-9)

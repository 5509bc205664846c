"""Footprints keep the class of the model, in rows and views, go back to a worker, and are exported as GeoJSON."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
from affine import Affine
from sqlalchemy import text

from detection.imagery.change.records import FootprintChange, PlacedOutline
from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.raster.grid import Grid
from monitor.cli.main import run_verb
from monitor.config.service import parse_site
from monitor.jobs.scenes.rows import list_footprints, load_dates, row_of, run_of, save_judgements
from monitor.jobs.scenes.tasks import DateAssessment, ReadScene
from monitor.store.alerting.sites import save_site
from monitor.store.scenes.arrivals import save_scene
from tests.conftest import ON_BOTH
from tests.data.drawn_scenes import SITE, of_drawings
from tests.data.store_rows import footprint_row, scene_row

TAKEN = datetime(2026, 5, 12, 10, tzinfo=UTC)


def outline(number, kind="landslide"):
    west = 141.95 + 0.002 * number
    ring = [[west, 42.73], [west + 0.001, 42.73], [west + 0.001, 42.731], [west, 42.73]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    return PlacedOutline(f"p{number}", kind, shape, (west, 42.73, west + 0.001, 42.731), 900.0 + number, 0.8)


@pytest.fixture
def answer():
    word = FootprintChange("single", None, None, None, "p", TAKEN, "s" * 64, None)
    polygons = (outline(0, "crack"), outline(1), outline(2))
    told = {"compared": [], "pixels": {}, "warnings": [], "outputs": {}}
    judgement = DateAssessment("s" * 64, {one.polygon_id: word for one in polygons}, (), told)
    facts = {"scene_hash": "s" * 64, "acquired_at": TAKEN, "role": "post", "valid_share": 1.0, "crs": "EPSG:32654"}
    facts |= {"pixel_area_m2": 100.0, "threshold": 0.5, "minimum_area_m2": 900.0, "outputs": {"prob": "prob.tif"}}
    facts |= {"model_hash": "m" * 64, "model": "two-classes", "classes": ("landslide", "crack"), "weights_path": "-"}
    return ReadScene(polygons=polygons, judgements=(judgement,), warnings=(), card={}, **facts)


def store(database, answer, text=SITE, **change):
    """A site, and the rows of an answer; returns the site."""
    site = parse_site(of_drawings(text), "bench.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", TAKEN)
        row = row_of(answer, site, "scene", "inbox/scene", "scenes/scene", TAKEN)
        save_scene(c, replace(row, **change), list_footprints(answer, site), TAKEN)
    return site


@ON_BOTH
def test_rows_hold_the_class_of_the_model(database, answer):
    run = run_of(answer, "print", {})
    site = store(database, answer, run=run)
    with database.write() as c:
        save_judgements(c, answer, site, TAKEN)
    expected = {"p0": "crack", "p1": "landslide", "p2": "landslide"}
    with database.read() as c:
        for view in ("scene_polygons", "scene_changes"):
            rows = c.execute(text(f"SELECT polygon_id, class FROM {view} WHERE site = 'bench'")).all()
            assert dict(tuple(r) for r in rows) == expected
        (date,) = load_dates(c, "bench")
    assert {p.polygon_id: p.kind for p in date.polygons} == expected
    assert run["classes"] == ["landslide", "crack"]


def test_a_scene_that_an_older_version_stored_is_still_a_date(database, answer):
    """It knew no classes, doubts, copies and versions."""
    run = run_of(answer, "print", {})
    store(database, answer, run={k: run[k] for k in ("model_hash", "outputs", "threshold", "minimum_area_m2")})
    with database.read() as c:
        (date,) = load_dates(c, "bench")
    assert (date.classes, date.doubtful, date.doubts, date.prints) == (("landslide",), (), (), ("",))
    assert len(date.polygons) == 3


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

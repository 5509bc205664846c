"""Scenes at several dates through the watched folder: what changed, since when, what is said."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyproj
import pytest
from affine import Affine
from sqlalchemy import and_, func, select, text

from detection.imagery.change.records import FootprintChange, PlacedOutline
from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import write_geotiff
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluation_tables import decision
from monitor.alerts.queries.evaluations import load_decision
from monitor.alerts.tables import alert
from monitor.api.scenes import DateAssessment, ReadScene
from monitor.cli.main import run_command
from monitor.features.scenes import inbox, rows, worker
from monitor.features.scenes.queries.arrivals import save_scene
from monitor.features.scenes.rows import describe_run, list_footprints, load_dates, make_scene_row, save_judgements
from monitor.features.scenes.tables import scene, scene_change, scene_footprint
from monitor.models.tables import model as model_table
from monitor.readings.tables import observation, series
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, save_site
from monitor.text.message import plain_to_messages
from tests.data.drawn_scenes import (
    SITE,
    add_site,
    arrive,
    draw,
    may,
    of_drawings,
    polygons,
    prove_outlines,
    request_scene,
)
from tests.data.feature_rows import footprint_row, scene_row
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

MAY_7, MAY_12, MAY_17 = (may(day) for day in (7, 12, 17))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The same three dates for every test, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    dates = (("a", MAY_7, None), ("b", MAY_12, 1.0), ("c", MAY_17, 1.6))
    return folder, [draw(folder / name, at, growth, size_px=128) for name, at, growth in dates]


def counts(database):
    tables = (scene, scene_footprint, scene_change, observation, model_table)
    with database.read() as c:
        return {x.name: c.execute(select(func.count()).select_from(x)).scalar() for x in tables}


@pytest.fixture
def no_built_ground(monkeypatch):
    """The generated ground has roads beside its scars, which would make every outline advice."""
    monkeypatch.setattr("detection.imagery.scene.built_ground.LEAST_GREY_SHARE", 2.0)


@pytest.mark.usefixtures("no_built_ground")
def test_a_slope_that_fails_further_from_date_to_date(database, config, drawn):
    (folder, truth), site = drawn, add_site(database)
    for name, at in (("a", MAY_7), ("b", MAY_12), ("c", MAY_17)):
        arrive(config, folder / name, name)
        said = inbox.run(database, config, site, at + timedelta(hours=3))
        assert "failed" not in said, said
    before = counts(database)
    again = inbox.run(database, config, site, MAY_17 + timedelta(hours=4))
    assert (again, counts(database)) == ("nothing is due", before)

    first, second = polygons(database)
    assert ([p["change"] for p in (first, second)], second["parent_id"]) == (["new", "grown"], first["polygon_id"])
    assert first["parent_id"] is None
    grown = truth[2]["scars"][0]["area_m2"] - truth[1]["scars"][0]["area_m2"]
    assert (second["grown_m2"], second["nearest_station"]) == (pytest.approx(grown, rel=0.25), "G1")
    assert second["since_at"].startswith("2026-05-12T10:00")
    assert second["first_seen_at"].startswith("2026-05-12T10:00")

    check_series(database, first["polygon_id"])
    prove_outlines(database, site, MAY_7)
    assert evaluate_site(database, site, MAY_17 + timedelta(hours=4), "tick").level == 1
    with database.read() as c:
        reason = c.execute(select(alert.c.reason).where(alert.c.ledger == "hazard")).scalar_one()
        evidence = c.execute(text("SELECT evidence FROM alert_history WHERE ledger = 'hazard'")).scalar()
    sentence = f"grew by {second['grown_m2']:,.0f} m² since 12 May, nearest station {second['distance_m']:,.0f} m"
    assert sentence in reason
    assert second["polygon_id"] in evidence
    assert_recomputes(database)


def assert_recomputes(database):
    with database.read() as c:
        ids = c.execute(select(decision.c.id)).scalars().all()
        assert ids
        for one in ids:
            row = load_decision(c, one)
            assert recompute(row, load_site_source(c, row.config_sha256)).differences == ()


def check_series(database, root):
    """Places become ordinary series: of the station, and of the line that began with a footprint."""
    asked = "SELECT station, quantity, unit, observed_at, received_at, value FROM observation_history"
    rows = ask(database, lambda c: c.execute(text(asked)).all())
    found = {(r.station, r.quantity, r.observed_at[:10]): r for r in rows}
    (landslide,) = {r.station for r in rows} - {"G1"}
    assert (landslide, {r.unit for r in rows}) == (f"F-{root[:12]}", {"1"})
    days = ("2026-05-07", "2026-05-12")
    ndvi = [found[landslide, "ndvi", day].value for day in days]
    assert ndvi[0] > 0.5 > 0.3 > ndvi[1], "green before, bare soil after"
    assert [found[landslide, "scene_probability", day].value > 0.5 for day in days] == [False, True]
    assert found["G1", "ndvi", days[0]].value > found["G1", "ndvi", days[1]].value
    assert {found["G1", "ndvi", day].received_at[:16] for day in days} == {f"{day}T13:00" for day in days}


@pytest.mark.soak
def test_where_no_network_reads_a_scene_the_index_finds_change_that_never_counts(database, config, drawn):
    """Also against a date that a network has read; and the network's test stands as it stood."""
    site = add_site(database)
    arrive(config, drawn[0] / "a", "a")
    inbox.run(database, config, site, MAY_7)
    site = add_site(database, SITE + '[scenes]\nweights = "index"\n')
    arrive(config, drawn[0] / "b", "b")
    assert "1 new or grown" in inbox.run(database, config, site, MAY_12)
    (found,) = polygons(database)
    assert (found["model"], found["change"], found["caution"]) == ("index", "new", "no network was used")
    with database.read() as c:
        (run,) = c.execute(select(scene.c.run).where(scene.c.name == "b")).scalars()
        taken = and_(observation.c.series_id == series.c.id, observation.c.observed_at == MAY_12)
        quantities = set(c.execute(select(series.c.quantity).join(observation, taken)).scalars())
    run = plain_to_messages(run)
    assert run["doubts"] == ["no network was used"]
    assert any("change of an index between dates goes on alone, as advice" in line for line in run["warnings"])
    assert quantities == {"ndvi"}
    prove_outlines(database, site, MAY_12)
    assert evaluate_site(database, site, MAY_12 + timedelta(hours=1), "tick").level == 0


def test_many_dates_of_radar_leave_the_optical_ones_to_be_compared(monkeypatch):
    kept = [("optical", may(1), "network"), *((f"sar{n:02}", may(n), "sar") for n in range(2, 31))]
    monkeypatch.setattr(
        rows,
        "load_scenes",
        lambda *_: [scene_row(name, at, out_dir="x", run={"model_hash": model}) for name, at, model in kept],
    )
    names = [row.scene_hash for row in rows.list_done(None, "bench")]
    assert names == [*(f"sar{n:02}" for n in range(30, 6, -1)), "optical"]


def test_radar_scene_without_package_names_what_to_install(config, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "find_method", lambda _scene: None)
    folder = tmp_path / "sar-01"
    folder.mkdir()
    grid = grid_around(11.0, 46.0, 8, 10.0)
    write_geotiff(folder / "VV.tif", np.full((1, 8, 8), -9.0, np.float32), grid)
    (folder / "scene.toml").write_text(
        f'acquired_at = {may(1).isoformat()}\ncomplete = true\n[bands]\nVV = "VV.tif"\n[sar]\norbit = "ascending"\n'
    )
    result = worker.read_one(request_scene(folder, tmp_path / "out"))
    assert "change between radar scenes needs slopeward-earth, which is not installed: pip install" in result.waiting
    assert not result.may_arrive


def test_dates_of_radar_are_not_compared_by_index(monkeypatch):
    def compare(_own, dates, _out, **_options):
        raise LookupError(*(date.scene_hash for date in dates))

    monkeypatch.setattr(worker, "compare_by_index", compare)
    dates = [SimpleNamespace(scene_hash=name, model=name) for name in ("sar", "optical")]
    asked = SimpleNamespace(dates=dates, out_dir=None)
    with pytest.raises(LookupError) as told:
        worker._read_by_index({}, SimpleNamespace(scene_hash="own"), asked, [], ())
    assert told.value.args == ("optical",)


# ---- footprints keep the class of the model, in rows and views, go back to a worker ---------------------------------
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
        row = make_scene_row(answer, site, "scene", "inbox/scene", "scenes/scene", TAKEN)
        save_scene(c, replace(row, **change), list_footprints(answer, site), TAKEN)
    return site


@ON_BOTH
def test_rows_hold_the_class_of_the_model(database, answer):
    run = describe_run(answer, "print", {})
    tell(database, save_judgements, answer, store(database, answer, run=run), TAKEN)
    expected = {"p0": "crack", "p1": "landslide", "p2": "landslide"}
    with database.read() as c:
        for view in ("scene_polygons", "scene_changes"):
            rows = c.execute(text(f"SELECT polygon_id, class FROM {view} WHERE site = 'bench'")).all()
            assert dict(tuple(r) for r in rows) == expected
        (date,) = load_dates(c, "bench")
    assert ({p.polygon_id: p.kind for p in date.polygons}, run["classes"]) == (expected, ["landslide", "crack"])


def test_a_scene_that_an_older_version_stored_is_still_a_date(database, answer):
    """It knew no classes, doubts, copies and versions."""
    run = describe_run(answer, "print", {})
    store(database, answer, run={k: run[k] for k in ("model_hash", "outputs", "threshold", "minimum_area_m2")})
    (date,) = ask(database, load_dates, "bench")
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
        status = run_command(["scenes", "export", "bench", *options])
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

"""Footprints keep the class of the model, in rows and views, and go back to a worker: as dates, and as known ground."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from detection.imagery.change.records import FootprintChange, PlacedOutline
from monitor.config.service import load_service, parse_site
from monitor.jobs.scenes import inbox
from monitor.jobs.scenes.rows import list_footprints, load_dates, row_of, run_of, save_judgements
from monitor.jobs.scenes.tasks import DateAssessment, ReadScene, SceneResult
from monitor.store.alerting.sites import save_site
from monitor.store.scenes.arrivals import save_scene
from tests.conftest import ON_BOTH
from tests.data.drawn_scenes import SITE, of_drawings

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


@ON_BOTH
def test_rows_hold_the_class_of_the_model(database, answer):
    site = parse_site(of_drawings(SITE), "bench.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", TAKEN)
        run = run_of(answer, "print", {})
        row = replace(row_of(answer, site, "scene", "inbox/scene", "scenes/scene", TAKEN), run=run)
        save_scene(c, row, list_footprints(answer, site), TAKEN)
        save_judgements(c, answer, site, TAKEN)
    expected = {"p0": "crack", "p1": "landslide", "p2": "landslide"}
    with database.read() as c:
        for view in ("scene_polygons", "scene_changes"):
            rows = c.execute(text(f"SELECT polygon_id, class FROM {view} WHERE site = 'bench'")).all()
            assert dict(tuple(r) for r in rows) == expected
        (date,) = load_dates(c, "bench")
    assert {p.polygon_id: p.kind for p in date.polygons} == expected
    assert run["classes"] == ["landslide", "crack"]


@pytest.mark.parametrize("triage", [False, True])
def test_triage_is_told_of_all_ground_that_ever_held_a_footprint(
    database, database_url, answer, tmp_path, monkeypatch, triage
):
    (tmp_path / "slopeward.toml").write_text(
        f'[database]\nurl = "{database_url}"\n[paths]\nsites = "{tmp_path}/sites"\ninbox = "{tmp_path}/inbox"\n'
    )
    scene = tmp_path / "inbox" / "bench" / "next"
    scene.mkdir(parents=True)
    (scene / "scene.toml").write_text("")
    site = parse_site(of_drawings(SITE + ("[scenes]\ntriage = true\n" if triage else "")), "bench.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", TAKEN)
        row = row_of(answer, site, "scene", "inbox/scene", "scenes/scene", TAKEN)
        save_scene(c, row, list_footprints(answer, site), TAKEN)
    asked = []

    def note(_task, question, *_args, **_kwargs):
        asked.append(question)
        return SceneResult(error="not read here")

    monkeypatch.setattr(inbox.compute, "run", note)
    said = inbox.run(database, load_service(str(tmp_path / "slopeward.toml")), site, TAKEN)
    assert said == "next: failed: not read here"
    boxes = {one.bbox for one in answer.polygons}
    assert (asked[0].triage, set(asked[0].known)) == (("triage", boxes) if triage else (None, set()))


def test_a_scene_that_an_older_version_stored_is_still_a_date(database, answer):
    """It knew no classes, windows nobody looked at, doubts, copies and versions."""
    site = parse_site(of_drawings(SITE), "bench.toml")
    run = run_of(answer, "print", {})
    old = {k: run[k] for k in ("model_hash", "outputs", "threshold", "minimum_area_m2")}
    with database.write() as c:
        save_site(c, site, "test", "test", TAKEN)
        row = row_of(answer, site, "scene", "inbox/scene", "scenes/scene", TAKEN)
        save_scene(c, replace(row, run=old), list_footprints(answer, site), TAKEN)
    with database.read() as c:
        (date,) = load_dates(c, "bench")
    assert (date.classes, date.unseen, date.doubtful, date.doubts, date.prints) == (("landslide",), (), (), (), ("",))
    assert len(date.polygons) == 3

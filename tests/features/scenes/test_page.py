"""The page to outline landslides on: what it keeps, brings and withdraws without a script, and where it leads next."""

import json
import re

import pytest

from monitor.features.scenes import outline_files as uploads
from monitor.features.scenes.queries.outlines import load_outlines, load_unsure
from monitor.features.scenes.queries.reviews import load_reviewed
from monitor.features.scenes.queries.versions import supersede_scene
from monitor.features.scenes.tables import scene
from tests.data.filled import DRAWN as ADDRESS
from tests.data.filled import HASHES, NOW, make_drawable
from tests.data.store_rows import ask, square
from tests.markup import flatten_html
from tests.web.served import client, database, filled, log_in, token  # noqa: F401 - fixtures

SITE = "/sites/north-bench"


@pytest.fixture
def page(client, database, tmp_path):  # noqa: F811
    make_drawable(database, tmp_path)
    log_in(client)
    return client


def test_a_form_without_script_draws_brings_judges_and_withdraws(page, database):  # noqa: F811
    csrf = token(page, ADDRESS)
    given = {"csrf": csrf, "kind": "landslide", "note": " a  scar ", "geometry": json.dumps(square(8.9, 46.2))}
    assert page.post(ADDRESS, data=given).headers["location"].startswith(ADDRESS)
    made = page.post(ADDRESS, data=given | {"from_polygon": "p1"}, headers={"Accept": "application/json"})
    assert made.status_code == 201
    text = page.get(ADDRESS).text
    assert "a scar" in text
    assert "corrects footprint p1" in text
    pair = [square(west, 46.2)["coordinates"] for west in (8.907, 8.91)]
    said = {"kind": "not_landslide", "note": "a\ud800 \0road"}
    features = [
        {"type": "Feature", "properties": said, "geometry": square(8.905, 46.2)},
        {"type": "Feature", "properties": None, "geometry": {"type": "MultiPolygon", "coordinates": pair}},
    ]
    brought = {"geometry": ("a.geojson", json.dumps({"type": "FeatureCollection", "features": features}))}
    assert page.post(ADDRESS, data={"csrf": csrf, "kind": "nothing"}, files=brought).status_code == 303
    told = page.post(f"/sites/north-bench/scenes/{SCENE}/footprints/p2/accept", data={"csrf": csrf})
    assert told.status_code == 303
    number = made.json()["outline"]
    assert page.post(f"{SITE}/outlines/{number}/withdraw", data={"csrf": csrf}).status_code == 303
    with database.read() as c:
        kinds = [(one.kind, one.by) for one in load_outlines(c, "north-bench")]
        verdicts = {one.polygon_id: one.verdict for one in load_reviewed(c, "north-bench", scene_hash=SCENE)}
    assert kinds == [("nothing", "bo")] * 2 + [("not_landslide", "bo"), ("landslide", "bo"), ("landslide", "R. Mori")]
    assert verdicts == {"p1": None, "p2": "accept", "p3": None}
    api = page.get(f"/api/v1{SITE}/scenes/{SCENE}/outlines.geojson").json()["features"]
    everything = page.get(f"/api/v1{SITE}/export/outlines.geojson").json()["features"]
    assert len(api) == len(everything) == 5
    assert everything[1]["properties"]["kind"] == "landslide"


SCENE = HASHES["scene"]
REFUSED = [
    (b"{", "not GeoJSON"),
    (b"[" * 100_000, "not GeoJSON"),
    (b"[1" + b"0" * 5000 + b"]", "not GeoJSON"),
    (b"null", "not GeoJSON"),
    (json.dumps(square(8.9, 46.2) | {"crs": {"properties": {"name": "EPSG:4978"}}}).encode(), "which nobody knows"),
    (b'{"features": []}', "contains no outline"),
    (b'{"type": "MultiPolygon", "coordinates": [7]}', "an outline is a GeoJSON Polygon"),
    (json.dumps(square(10.0, 50.0)).encode(), "lies outside of the scene"),
    (json.dumps({"features": [square(8.9, 46.2), square(8.9, 50.0)]}).encode(), "outline 2 of the file"),
    (json.dumps({"properties": {"kind": "road"}, "geometry": square(8.9, 46.2)}).encode(), "none of landslide"),
    (json.dumps(square(8.9, 46.2) | {"name": "x" * 505 * 1024}).encode(), "write at most 512000 characters"),
    (json.dumps({"features": [square(8.9, 46.2)] * 501}).encode(), "500 at a time"),
]


def test_invalid_file_of_outlines_is_refused_as_a_whole(page, database):  # noqa: F811
    csrf = token(page, ADDRESS)
    for content, said in REFUSED:
        answer = page.post(ADDRESS, data={"csrf": csrf, "kind": "landslide"}, files={"geometry": ("a.json", content)})
        assert answer.status_code == (422 if "at most" in said else 409), said
        assert said in answer.text
    assert len(ask(database, load_outlines, "north-bench")) == 1


def test_rings_are_read_before_the_database_is_held(page, database, monkeypatch):  # noqa: F811
    def look(_):
        with database.write():  # as the core does meanwhile
            return False

    monkeypatch.setattr("monitor.features.scenes.queries.outlines.crosses_itself", look)
    given = {"csrf": token(page, ADDRESS), "kind": "nothing"}
    file = {"geometry": ("a.json", json.dumps(square(8.9, 46.2)))}
    assert page.post(ADDRESS, data=given, files=file).status_code == 303
    assert page.post(ADDRESS, data=given | {"geometry": json.dumps(square(8.9, 46.2))}).status_code == 303


def test_many_corners_are_refused_before_they_are_tried(monkeypatch):
    monkeypatch.setattr(uploads, "MAX_CORNERS", 9)
    with pytest.raises(Exception, match="10 corners"):
        uploads.read_collection(json.dumps({"features": [square(8.9, 46.2)] * 2}), "landslide")


def test_the_least_sure_tile_comes_first_and_looking_at_it_leads_to_the_next(page, database):  # noqa: F811
    assert "tile 1 of 2026-02-25" in page.get(f"{SITE}/outlines").text
    first = page.get(f"{SITE}/outlines/next").headers["location"]
    assert first == f"{ADDRESS}?tile=0"
    text = flatten_html(page.get(first).text)
    assert "doubt 0.93 of 1" in text
    polygon = json.loads(re.search(r'name="geometry" value="([^"]+)"', text)[1].replace("&#34;", '"'))
    assert polygon["coordinates"][0][0] == [8.898, 46.2]  # cut at the rim of the scene
    then = re.search(r'name="then" value="([^"]+)"', text)[1]
    given = {"csrf": token(page, first), "kind": "nothing", "geometry": json.dumps(polygon), "then": then}
    assert page.get(page.post(ADDRESS, data=given).headers["location"]).headers["location"] == f"{ADDRESS}?tile=1"
    assert page.get(f"{SITE}/outlines/next?after={SCENE}.1").headers["location"] == f"{SITE}/outlines"
    assert [one.is_seen for one in ask(database, load_unsure, "north-bench")] == [True, False]


def test_a_version_that_was_replaced_leads_to_the_one_that_counts_with_its_outlines(page, database):  # noqa: F811
    with database.write() as c:
        old = dict(c.execute(scene.select().where(scene.c.scene_hash == SCENE)).one()._mapping)
        c.execute(scene.insert().values(**old | {"scene_hash": "n" * 64}))
        supersede_scene(c, SCENE, "n" * 64, NOW)
    leads = page.get(ADDRESS).headers["location"]
    assert leads.startswith(f"{SITE}/scenes/{'n' * 64}/outlines?told=")
    assert "its newer version" in page.get(leads).text
    assert "R. Mori" in page.get(leads).text
    given = {"csrf": token(page, leads), "kind": "nothing", "geometry": json.dumps(square(8.9, 46.2))}
    answer = page.post(ADDRESS, data=given)
    assert (answer.status_code, "draw on the newer version" in answer.text) == (409, True)
    assert page.post(f"{SITE}/scenes/{'n' * 64}/outlines", data=given).status_code == 303


def test_only_who_may_act_on_the_site_is_shown_forms(client, database, tmp_path):  # noqa: F811
    make_drawable(database, tmp_path)
    text = client.get(ADDRESS).text
    assert 'id="drawing"' not in text
    assert "Log in</a> as operator to draw" in text
    assert "addEventListener" in client.get(re.search(r'src="(/static/outline\.js\?v=[^"]+)"', text)[1]).text
    log_in(client, "cy")
    assert 'id="drawing"' not in client.get(ADDRESS).text
    assert client.post(ADDRESS, data={"kind": "nothing", "geometry": "{}", "csrf": ""}).status_code == 403

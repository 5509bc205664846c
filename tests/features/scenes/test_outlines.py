"""Outlines of people: what is kept, what is refused, which labels they make, and which tiles wait for a look."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import insert

from detection.imagery.footprints.records import DoubtfulTile
from monitor.cli.main import run_command
from monitor.errors import NotFoundError, RefusedError
from monitor.features.scenes.queries import outlines
from monitor.features.scenes.queries.arrivals import save_scene
from monitor.features.scenes.queries.outlines import (
    add_outlines,
    add_review,
    find_bounds,
    load_labels,
    load_outlines,
    read_outline,
    read_ring,
    withdraw_outline,
)
from monitor.features.scenes.queries.reviews import load_reviewed
from monitor.features.scenes.queries.versions import supersede_scene
from monitor.features.scenes.queries.weights import mark_unproven
from monitor.models.queries.registry import add_model
from monitor.models.tables import model_proof
from monitor.storage.actor import Actor
from monitor.storage.audit import load_entries
from monitor.storage.seals import find_unsealed
from tests.data.feature_rows import footprint_row, scene_row
from tests.data.store_rows import square, tell
from tests.fixtures.databases import ON_BOTH
from tests.tables import tabulated

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
BOX = (8.90, 46.20, 8.92, 46.22)
ADA, BO = Actor("Ada"), Actor("Bo")


def add_outline(c, site, scene_hash, kind, geometry, actor, now, *, note="", **more):
    """One outline, read and kept at once; its number."""
    drawn = read_outline(kind, geometry, find_bounds(c, site, scene_hash), note)
    return add_outlines(c, site, scene_hash, [drawn], actor, now, **more)[0]


def scene(scene_hash, bounds=BOX, **other):
    run = {"outputs": {"bounds": None if bounds is None else list(bounds)}, "threshold": 0.5}
    return scene_row(scene_hash, NOW, run=run, **other)


def footprint(scene_hash, polygon_id, west, south):
    bbox = (west, south, west + 0.001, south + 0.001)
    facts = {"area_m2": 8000.0, "mean_probability": 0.6, "geometry": square(west, south)}
    return footprint_row(scene_hash, polygon_id, bbox, **facts)


@pytest.fixture
def site(database):
    with database.write() as c:
        save_scene(c, scene("one"), [footprint("one", f"p{k}", 8.901 + 0.003 * k, 46.201) for k in range(3)], NOW)
    return database


@ON_BOTH
def test_outline_is_stored_corrected_and_withdrawn_but_never_overwritten(site):
    first = tell(site, add_outline, "bench", "one", "landslide", square(8.91, 46.21), ADA, NOW, note="fresh scar")
    with site.write() as c:
        larger = square(8.91, 46.21, 0.002)
        second = add_outline(c, "bench", "one", "landslide", larger, BO, NOW + HOUR, instead_of=first)
    with site.read() as c:
        (stands,) = load_outlines(c, "bench", scene_hash="one")
        newer, older = load_outlines(c, "bench", everything=True)
        acts = [(e.action, e.actor) for e in load_entries(c, 10)][::-1]
        assert (stands.id, stands.by, stands.scene) == (second, "Bo", "one.tif")
        assert (newer, older.id, older.withdrawn_by, older.note) == (stands, first, "Bo", "fresh scar")
        assert stands.area_m2 == pytest.approx(154.33 * 222.32, rel=1e-3)
        assert acts == [("outline.add", "Ada"), ("outline.withdraw", "Bo"), ("outline.add", "Bo")]
        assert list(find_unsealed(c)) == []
    with pytest.raises(RefusedError, match="withdrawn already"), site.write() as c:
        withdraw_outline(c, "bench", first, ADA, NOW)
    with pytest.raises(NotFoundError), site.write() as c:
        withdraw_outline(c, "other", second, ADA, NOW)


TOOTHED = [[8.9 + 0.00001 * k, 46.2 + 0.0001 * (k % 2)] for k in range(outlines.MOST_CORNERS + 1)]


@tabulated(
    ("geometry", "said"),
    [
        (None, "GeoJSON Polygon"),
        ({"type": "Point", "coordinates": [8.91, 46.21]}, "GeoJSON Polygon"),
        ({"type": "Polygon", "coordinates": []}, "GeoJSON Polygon"),
        ({"type": "Polygon", "coordinates": [{}]}, "GeoJSON Polygon"),
        ({"type": "Polygon", "coordinates": [[1, 2]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[8.91, True], [8.91, 46.21], [8.911, 46.21]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[8.91, float("nan")], [8.91, 46.21], [8.911, 46.21]]]}, "lies outside"),
        ({"type": "Polygon", "coordinates": [[[10**400, 46.21], [8.91, 46.21], [8.911, 46.21]]]}, "lies outside"),
        ({"type": "Polygon", "coordinates": [[[46.21, 8.91], [46.21, 8.92], [46.22, 8.91]]]}, "lies outside"),
        ({"type": "Polygon", "coordinates": [[[8.91, 46.21], [8.911, 46.21], [8.91, 46.21]]]}, "three corners"),
        ({"type": "Polygon", "coordinates": [[[8.91, 46.2], [8.92, 46.2], [8.91, 46.21], [8.92, 46.21]]]}, "crosses"),
        ({"type": "Polygon", "coordinates": square(8.91, 46.21)["coordinates"] * 2}, "no holes"),
        ({"type": "Polygon", "coordinates": [[*TOOTHED, [8.91, 46.21]]]}, "2000 are the most"),
    ],
)
def test_invalid_polygon_is_refused_with_a_reason(geometry, said):
    with pytest.raises(RefusedError, match=said):
        read_ring(geometry, BOX)


def test_a_ring_comes_out_closed_and_counter_clockwise_without_doubled_corners():
    corners = square(8.91, 46.21)["coordinates"][0]
    clockwise = [[*corner, 812.5] for corner in corners[::-1] for _ in range(2)][:-1]
    assert sorted(read_ring({"type": "Polygon", "coordinates": [clockwise]}, BOX)[:-1]) == sorted(corners[:-1])
    ring = read_ring({"type": "Polygon", "coordinates": [clockwise]}, BOX)
    assert ring[0] == ring[-1]
    assert sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) > 0


def test_acts_need_a_person_a_scene_with_a_place_and_room(site, monkeypatch):
    tries = [
        ("one", "landslide", Actor("core", "service"), {}, "a person"),
        ("one", "road", ADA, {}, "kind 'road'"),
        ("one", "landslide", ADA, {"note": "x" * 501}, "500 characters"),
        ("one", "landslide", ADA, {"from_polygon": "p9"}, "no footprint"),
        ("one", "landslide", ADA, {"instead_of": 7}, "no outline 7"),
        ("gone", "landslide", ADA, {}, "no scene"),
        ("bare", "landslide", ADA, {}, "no picture"),
    ]
    tell(site, save_scene, scene("bare", bounds=None), [], NOW)
    for scene_hash, kind, actor, more, said in tries:
        with pytest.raises((RefusedError, NotFoundError), match=said), site.write() as c:
            add_outline(c, "bench", scene_hash, kind, square(8.91, 46.21), actor, NOW, **more)
    tell(site, add_outline, "bench", "one", "nothing", square(8.91, 46.21), ADA, NOW)
    for most, characters in ((1, 1 << 20), (9, 99)):
        monkeypatch.setattr(outlines, "MOST_OF_SCENE", most)
        monkeypatch.setattr(outlines, "MOST_TEXT", characters)
        with pytest.raises(RefusedError, match="has 1 outlines"), site.write() as c:
            add_outline(c, "bench", "one", "nothing", square(8.91, 46.21), ADA, NOW)


@ON_BOTH
def test_labels_are_all_that_people_said_each_footprint_once_by_the_newest_word(site):
    with site.write() as c:
        add_review(c, "bench", "p0", "accept", ADA, NOW)
        add_review(c, "bench", "p1", "reject", ADA, NOW)
        add_outline(c, "bench", "one", "landslide", square(8.9045, 46.2011), BO, NOW + HOUR, from_polygon="p1")
        add_outline(c, "bench", "one", "landslide", square(8.9071, 46.2011), BO, NOW, from_polygon="p2")
        add_review(c, "bench", "p2", "reject", ADA, NOW + HOUR)
        found = sorted((x.kind, x.method or "outline", json.dumps(x.geometry)) for x in load_labels(c, "bench"))
        known = {one.polygon_id: (one.verdict, one.by, one.by_outline) for one in load_reviewed(c, "bench")}
        alone = load_reviewed(c, "bench", scene_hash="one", polygon_id="p1")
    wanted = ["landslide network", "landslide outline", "not_landslide network"]
    assert ([f"{kind} {origin}" for kind, origin, _ in found], "8.9045" in found[1][2]) == (wanted, True)
    assert [(one.polygon_id, one.verdict) for one in alone] == [("p1", "redraw")]
    with site.write() as c:  # reviews go with their footprints; what people drew is said of the version that counts
        save_scene(c, scene("two", name="one.tif"), [], NOW + HOUR)
        supersede_scene(c, "one", "two", NOW + HOUR)
        left = load_labels(c, "bench")
        shown = [one.scene_hash for one in load_outlines(c, "bench", scene_hash="two")]
        with pytest.raises(RefusedError, match="delivered again"):
            add_outline(c, "bench", "one", "nothing", square(8.91, 46.21), ADA, NOW + HOUR)
        add_outline(c, "bench", "two", "nothing", square(8.91, 46.21), ADA, NOW + HOUR, instead_of=1, from_polygon="p1")
    assert (shown, {x.path for x in left}) == (["one", "one"], {"/in/two.tif"})
    assert known == {"p0": ("accept", "Ada", False), "p1": ("redraw", "Bo", True), "p2": ("reject", "Ada", False)}


def tiles_of(c):
    return [(one.tile, one.doubt, one.is_seen) for one in outlines.load_unsure(c, "bench")]


def test_a_tile_waits_until_somebody_has_drawn_or_looked_there(site):
    tiles = [DoubtfulTile((8.90 + 0.002 * k, 46.21, 8.902 + 0.002 * k, 46.212), 0.5 + 0.1 * k) for k in range(3)]
    with site.write() as c:
        # before the tiles were named
        add_outline(c, "bench", "one", "nothing", square(8.9041, 46.2101), ADA, NOW - HOUR)
        outlines.save_unsure(c, "bench", "one", "m" * 64, tiles, NOW)
    with site.write() as c:
        assert tiles_of(c) == [(0, 0.7, False), (1, 0.6, False), (2, 0.5, False)]
        add_outline(c, "bench", "one", "nothing", square(8.9041, 46.2101), ADA, NOW + HOUR)
        assert tiles_of(c) == [(0, 0.7, True), (1, 0.6, False), (2, 0.5, False)]
        outlines.save_unsure(c, "bench", "one", "n" * 64, tiles[:1], NOW + 2 * HOUR)
        assert tiles_of(c) == [(0, 0.5, False)]


def test_a_detection_leaves_the_tiles_that_learning_named_and_those_come_first(site):
    tiles = [DoubtfulTile((8.90 + 0.002 * k, 46.21, 8.902 + 0.002 * k, 46.212), 0.5 + 0.1 * k) for k in range(3)]
    with site.write() as c:
        add_model(c, "m" * 64, kind="unet", task="scene", site=None, path="m", card={}, now=NOW, reason="chosen")
        outlines.save_unsure(c, "bench", "one", "l" * 64, tiles[:2], NOW, cause=outlines.LEARNING)
        for hour in (1, 2):
            outlines.save_unsure(c, "bench", "one", "m" * 64, tiles[1:], NOW + hour * HOUR)
    with site.write() as c:
        add_outline(c, "bench", "one", "nothing", square(8.9001, 46.2101), ADA, NOW + 3 * HOUR)
        before = outlines.load_unsure(c, "bench")
    told = [("learning", 0.6, False), ("learning", 0.5, True), ("detection", 0.7, False), ("detection", 0.6, False)]
    assert ([(one.cause, one.doubt, one.is_seen) for one in before], len({one.tile for one in before})) == (told, 4)
    with site.write() as c:
        assert outlines.load_unsure(c, "bench") == before
        outlines.forget_unsure(c, "bench", outlines.LEARNING)
        assert (outlines.load_unsure(c, "bench"), list(find_unsealed(c))) == (before[2:], [])


def test_what_an_index_found_is_no_probability_and_waits_for_a_look(site, database_url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    monkeypatch.chdir(tmp_path)
    by_index = replace(footprint("two", "p9", 8.901, 46.201), model="index", mean_probability=0.99)
    with site.write() as c:
        save_scene(c, scene("two"), [by_index], NOW)
        add_review(c, "bench", "p9", "accept", ADA, NOW)
        assert [one.method for one in load_labels(c, "bench")] == ["index"]
    assert run_command(["scenes", "review", "list", "--site", "bench", "--all"]) == 0
    lines = [line.split("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["0.600 (from 0.5)"] * 3 + ["by index"]
    assert run_command(["scenes", "review", "list", "--site", "bench", "--all", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["method"], told["mean_probability"], told["unsure"]) == ("index", None, True)


def test_what_an_unproven_network_found_is_marked_where_another_one_is_proven(site):
    found = [{"method": "network", "model_hash": name} for name in "ab"] + [{"method": "sar", "model_hash": "s"}]
    proof = {"site": "bench", "kind": "scene", "subject": "outlines", "made_by": "test", "by": "Ada", "result": {}}
    proof |= {"by_kind": "person", "rows_tested": 40, "valid_until": NOW + 3 * HOUR}
    proof |= dict.fromkeys(("settings", "config_sha256", "reasons"), "")

    def list_marked(c, now):
        mark_unproven(c, "bench", found, now)
        return [one["model_hash"] for one in found if one["unproven"]]

    with site.write() as c:
        assert list_marked(c, NOW) == [], "nothing counts: the criterion itself is advice, and says so"
        for hours, weights, passed in ((0, "a", True), (0, "b", True), (1, "b", False)):
            c.execute(insert(model_proof).values(**proof, tested_at=NOW + hours * HOUR, weights=weights, passed=passed))
        assert (list_marked(c, NOW), list_marked(c, NOW + 2 * HOUR)) == ([], ["b"])
        assert list_marked(c, NOW + 4 * HOUR) == []

"""A landslide over many dates, dates that come late between others, and scenes that are delivered again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from detection.imagery.errors import NotARasterError
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluation_tables import decision
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import load_alerts
from monitor.alerts.queries.evaluations import load_decision
from monitor.alerts.tables import alert
from monitor.features.scenes import inbox, worker
from monitor.features.scenes.queries.facts import load_footprint_facts
from monitor.features.scenes.tables import scene, scene_footprint
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.sites.queries.sites import load_site_source
from monitor.storage.views import load_view
from tests.data.drawn_scenes import SITE, add_site, may, polygons, prove_outlines
from tests.data.store_rows import ask
from tests.data.surveys.drawn_dates import watch_by_hand, write_date
from tests.fixtures.databases import ON_SQLITE

HOUR = timedelta(hours=1)
SMALL, LARGE, LARGEST, OTHER = (10, 10, 30, 30), (10, 10, 40, 30), (10, 10, 50, 30), (44, 44, 60, 60)


@pytest.fixture
def config(tmp_path, database_url, monkeypatch):
    return watch_by_hand(monkeypatch, tmp_path, database_url)


@pytest.fixture
def site(database):
    return add_site(database)


def deliver(database, config, site, day, *boxes, at=None):
    """The scene of a day arrives, an hour after it was taken unless said otherwise."""
    write_date(Path(config.paths.inbox) / "bench" / f"d{day:02d}", may(day), boxes)
    said = inbox.run(database, config, site, at or may(day) + HOUR)
    assert "footprints" in said, said


def judged(database):
    """What is known today, by day."""
    g = scene_footprint.c
    with database.read() as c:
        wanted = select(scene.c.name, scene_footprint).join(scene, scene.c.scene_hash == g.scene_hash)
        return [r for r in c.execute(wanted.order_by(scene.c.acquired_at, g.min_lon)) if r.change != "withdrawn"]


def list_changes(rows):
    return [f"{r.name} {r.change}" for r in rows]


@pytest.mark.soak
def test_one_line_from_its_first_footprint_on(database, config, site):
    seen = {1: [], 3: [SMALL], 5: [LARGE], 7: [LARGE], 9: [], 11: [LARGE, OTHER], 13: [LARGEST, OTHER]}
    for day, boxes in seen.items():
        deliver(database, config, site, day, *boxes)
    rows = judged(database)
    line = [r for r in rows if r.root_id == rows[0].polygon_id]
    beside = [r for r in rows if r not in line]
    assert list_changes(line) == ["d03 new", "d05 grown", "d07 known", "d09 vanished", "d11 known", "d13 grown"]
    assert {r.first_seen_at for r in line} == {may(3)}
    new, grown, quiet, gone, back, last = line
    assert gone.mean_probability < 0.1 < 0.5 < quiet.mean_probability
    assert (grown.parent_id, quiet.parent_id, gone.parent_id) == (new.polygon_id, grown.polygon_id, quiet.polygon_id)
    assert (back.parent_id, last.parent_id) == (quiet.polygon_id, back.polygon_id), "it continues what was seen last"
    assert "not on 2026-05-09" in back.caution
    assert (last.since_at, last.caution) == (may(11), None)
    assert (list_changes(beside), {r.root_id for r in beside}) == (["d11 new", "d13 known"], {beside[0].polygon_id})

    # one series over all dates, also over those on which it was not there
    with database.read() as c:
        series_id = find_series_id(c, "bench", f"F-{new.polygon_id[:12]}", "scene_probability")
        values = load_readings(c, series_id, None, may(30), may(30))
    assert [r.observed_at.day for r in values] == [1, 3, 5, 7, 9, 11, 13]
    assert [r.value > 0.5 for r in values] == [False, True, True, True, False, True, True]


def facts(database, now):
    with database.read() as c:
        found = load_footprint_facts(c, "bench", may(1), now)
        return sorted((f.scene, f.change, datetime.fromtimestamp(f.since_s, UTC)) for f in found)


@pytest.mark.soak
def test_a_date_between_two_others_changes_what_is_known_and_not_what_was_known(database, config, site):
    deliver(database, config, site, 3)
    deliver(database, config, site, 5, SMALL)
    deliver(database, config, site, 9, LARGE)
    before = may(9) + 2 * HOUR
    known = facts(database, before)
    assert known == [("d05", "new", may(3)), ("d09", "grown", may(5))]
    prove_outlines(database, site, may(1))
    assert evaluate_site(database, site, before, "tick").level == 1
    # the growth was there two days before: it is told of that date, and the later one says nothing new
    late = may(10)
    deliver(database, config, site, 7, LARGE, at=late)
    assert facts(database, late) == [("d05", "new", may(3)), ("d07", "grown", may(5))]
    assert facts(database, before) == known, "as it was known then"
    rows = {r.name: r for r in judged(database)}
    assert (rows["d09"].change, rows["d09"].parent_id) == ("known", rows["d07"].polygon_id)
    assert {r.root_id for r in rows.values()} == {rows["d05"].polygon_id}
    with database.read() as c:
        wanted = "SELECT change, judged_at FROM scene_changes WHERE scene = 'd09' ORDER BY judged_at"
        history = c.exec_driver_sql(wanted).all()
    assert [(r.change, r.judged_at[:10]) for r in history] == [("grown", "2026-05-09"), ("known", "2026-05-10")]
    assert evaluate_site(database, site, late + HOUR, "tick").level == 1
    with database.read() as c:
        decisions = [load_decision(c, one) for one in c.execute(select(decision.c.id)).scalars()]
        assert decisions
        for row in decisions:
            assert recompute(row, load_site_source(c, row.config_sha256)).differences == ()

    # and one still earlier, between: the largest growth moves again
    deliver(database, config, site, 4, SMALL, at=may(11))
    words = [(r.name, r.change, r.since_at and r.since_at.day) for r in judged(database)]
    assert words == [("d04", "new", 3), ("d05", "known", 4), ("d07", "grown", 5), ("d09", "known", 7)]
    assert {r.root_id for r in judged(database)} == {judged(database)[0].polygon_id}


@pytest.mark.soak
def test_whatever_the_order_of_arrival_the_same_is_known_at_the_end(database, config, site):
    boxes = {1: [], 3: [SMALL], 5: [LARGE, OTHER], 7: [LARGE], 9: [LARGEST, OTHER]}
    for number, day in enumerate((5, 1, 9, 3, 7)):
        deliver(database, config, site, day, *boxes[day], at=may(10) + number * HOUR)
    rows = judged(database)
    ends = ["d03 new", "d05 grown", "d05 new", "d07 known", "d07 vanished", "d09 grown", "d09 known"]
    assert list_changes(rows) == ends
    lines = {}
    for row in rows:
        lines.setdefault(row.root_id, []).append(row.name)
    assert sorted(lines.values()) == [["d03", "d05", "d07", "d09"], ["d05", "d07", "d09"]]


def test_parts_that_grow_together_and_fall_apart_keep_one_line(database, config, site):
    left, right, both = (10, 10, 24, 30), (30, 10, 50, 30), (10, 10, 50, 30)
    deliver(database, config, site, 1)
    deliver(database, config, site, 3, left, right)
    deliver(database, config, site, 5, both)
    deliver(database, config, site, 7, left, right)
    rows = judged(database)
    assert list_changes(rows) == ["d03 new", "d03 new", "d05 grown", "d07 known", "d07 known"]
    west, east, one, *parts = rows
    assert one.parent_id == east.polygon_id, "the one with the larger common area"
    assert ({p.parent_id for p in parts}, {p.root_id for p in (one, *parts)}) == ({one.polygon_id}, {east.polygon_id})
    assert west.root_id == west.polygon_id


# boxes beside the station; what lies at `at` holds them, and the images of the three dates
SCAR, LARGER, ANEW = (36, 40, 48, 52), (34, 36, 50, 52), (30, 32, 52, 52)
DRAWN = {"a": (7, []), "b": (12, [SCAR]), "b-larger": (12, [LARGER]), "b-none": (12, []), "c": (17, [ANEW])}


@pytest.fixture
def near_site(database):
    return add_site(database, SITE + "[scenes]\nnear_m = 100.0\n")


def deliver_version(database, config, site, version, name, at):
    day, boxes = DRAWN[version]
    write_date(Path(config.paths.inbox) / "bench" / name, may(day), boxes)
    said = inbox.run(database, config, site, at)
    assert "failed" not in said, said
    return said


def states(database):
    with database.read() as c:
        rows = c.execute(select(scene.c.name, scene.c.state).order_by(scene.c.acquired_at, scene.c.received_at))
        return [tuple(r) for r in rows]


def list_facts(database, now):
    return [(f.scene, f.change) for f in ask(database, load_footprint_facts, "bench", may(1), now)]


def list_values(database, station, quantity, at, known_at):
    with database.read() as c:
        series_id = find_series_id(c, "bench", station, quantity)
        found = [] if series_id is None else load_readings(c, series_id, at - HOUR, at, known_at)
        return [(r.value, r.revision, r.flags) for r in found]


@ON_SQLITE
def test_a_version_without_the_outline_withdraws_it_and_tells_a_person(database, config, near_site):
    deliver_version(database, config, near_site, "a", "a", may(7) + HOUR)
    deliver_version(database, config, near_site, "b", "b", may(12) + HOUR)
    (first,) = polygons(database)
    prove_outlines(database, near_site, may(1))
    assert evaluate_site(database, near_site, may(12) + 2 * HOUR, "tick").level == 1
    deliver_version(database, config, near_site, "b-none", "b", may(13))
    assert (polygons(database), list_facts(database, may(13))) == ([], [])
    assert states(database) == [("a", "done"), ("b", "superseded"), ("b", "done")]
    assert inbox.run(database, config, near_site, may(13) + HOUR) == "nothing is due"
    assert evaluate_site(database, near_site, may(13) + HOUR, "tick").level == 1, "a person lowers it, or its age"
    with database.read() as c:
        told = c.execute(select(alert.c.reason, alert.c.state).where(alert.c.key == "scene-version:b")).one()
        queued = c.execute(select(notification.c.body).where(notification.c.ledger == "health")).scalars().all()
        kept = load_view(c, "scene_changes", order_by=["judged_at"], polygon_id=first["polygon_id"])
        for one in c.execute(select(decision.c.id).where(decision.c.config_sha256 != "")).scalars():
            row = load_decision(c, one)
            if "view" in row.evidence:
                assert recompute(row, load_site_source(c, row.config_sha256)).differences == ()
    assert "1 outlines that were called new or grown are withdrawn, the nearest" in told.reason
    assert told.state == "returned_unacknowledged"
    assert any("delivered again" in body for body in queued)
    withdrawn = ("withdrawn", "another version of the scene was delivered")
    assert [(row["change"], row["caution"]) for row in kept] == [("new", None), withdrawn]
    # what only the withdrawn version said is flagged from now on; what the new one says too is replaced
    series = f"F-{first['polygon_id'][:12]}"
    assert [v[2] for v in list_values(database, series, "scene_probability", may(12), may(13))] == [("bad",)]
    assert [v[2] for v in list_values(database, series, "scene_probability", may(12), may(12) + 2 * HOUR)] == [()]
    ((bare, revision, flags),) = list_values(database, "G1", "scene_probability", may(12), may(13))
    assert (bare, revision, flags) == (0.0, 1, ())
    assert list_values(database, "G1", "scene_probability", may(12), may(12) + 2 * HOUR)[0][0] > 0.2


@pytest.mark.soak
def test_the_older_version_comes_back_and_goes_again(database, config, near_site):
    """Back and forth: each delivery counts from its arrival on, and every instant keeps what it knew."""
    deliver_version(database, config, near_site, "a", "a", may(7) + HOUR)
    known = []
    for day, version in ((12, "b"), (13, "b-none"), (14, "b"), (15, "b-none"), (16, "b")):
        at = may(day) + HOUR
        deliver_version(database, config, near_site, version, "b", at)
        known.append((at, version))
        for instant, one in known:
            assert list_facts(database, instant) == ([("b", "new")] if one == "b" else []), (at, instant)
    (only,) = polygons(database)
    assert only["change"] == "new"
    g1 = {one: list_values(database, "G1", "scene_probability", may(12), at)[0][0] for at, one in known[:2]}
    assert g1["b"] > g1["b-none"]
    read = [list_values(database, "G1", "scene_probability", may(12), at)[0][0] for at, _ in known]
    assert read == [g1[one] for _, one in known]
    series = f"F-{only['polygon_id'][:12]}"
    flags = [list_values(database, series, "scene_probability", may(12), at)[0][2] for at, _ in known]
    assert flags == [(), ("bad",), (), ("bad",), ()]
    assert states(database) == [("a", "done"), ("b", "done"), ("b", "superseded")]


@pytest.mark.soak
def test_later_dates_are_judged_against_the_version_that_counts(database, config, near_site):
    deliver_version(database, config, near_site, "a", "a", may(7) + HOUR)
    deliver_version(database, config, near_site, "b", "b", may(12) + HOUR)
    deliver_version(database, config, near_site, "c", "c", may(17) + HOUR)
    first, grown = polygons(database)
    assert (grown["change"], grown["parent_id"]) == ("grown", first["polygon_id"])
    deliver_version(database, config, near_site, "b-larger", "b", may(18))
    second, still = polygons(database)
    assert (still["polygon_id"], still["parent_id"]) == (grown["polygon_id"], second["polygon_id"])
    assert (still["change"], still["grown_m2"] < grown["grown_m2"]) == ("grown", True)
    roots = rows_of(database, "root_id")
    assert roots == {first["polygon_id"]}, "the line keeps the name of its first footprint"
    deliver_version(database, config, near_site, "b-none", "b", may(19))
    (last,) = polygons(database)
    assert (last["polygon_id"], last["change"], last["since_at"][:10]) == (grown["polygon_id"], "new", "2026-05-12")


def rows_of(database, column):
    g = scene_footprint.c
    return set(ask(database, lambda c: c.execute(select(g[column]).where(g.change != "withdrawn")).scalars()))


def test_a_version_that_cannot_be_used_withdraws_nothing(database, config, near_site, monkeypatch):
    deliver_version(database, config, near_site, "a", "a", may(7) + HOUR)
    deliver_version(database, config, near_site, "b", "b", may(12) + HOUR)
    write_date(Path(config.paths.inbox) / "bench" / "b", may(12), [LARGER])

    def refuse(_payload):
        raise NotARasterError("B4.tif: an HTML page, not a raster")

    monkeypatch.setattr(worker, "detect", refuse)
    assert "failed" in inbox.run(database, config, near_site, may(13))
    assert (list_facts(database, may(13)), [p["change"] for p in polygons(database)]) == ([("b", "new")], ["new"])
    assert [a.state for a in ask(database, load_alerts, "bench", ledger="health")] == ["unacknowledged"]


def test_other_scenes_of_the_same_time_stand_beside_it(database, config, near_site):
    """Two parts of one overpass have one time; a copy that still lies there by its own name is not replaced."""
    deliver_version(database, config, near_site, "b", "west", may(12) + HOUR)
    deliver_version(database, config, near_site, "b-larger", "east", may(12) + 2 * HOUR)
    assert [state for _, state in states(database)] == ["done", "done"]
    deliver_version(database, config, near_site, "b", "west-again", may(12) + 3 * HOUR)
    deliver_version(database, config, near_site, "b-none", "west-again", may(12) + 4 * HOUR)
    assert ([state for _, state in states(database)], len(polygons(database))) == (["done", "done", "done"], 2)

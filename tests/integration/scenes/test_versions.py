"""A scene delivered again by its name and time: what its first version said is withdrawn, kept, and may come back."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from detection.imagery.errors import NotARasterError
from monitor.alerting.audit.recompute import recompute
from monitor.alerting.evaluate import evaluate_site
from monitor.jobs.scenes import inbox, worker
from monitor.store.alerting.alerts import load_alerts
from monitor.store.alerting.decisions import load_decision, load_footprint_facts
from monitor.store.alerting.sites import load_site_source
from monitor.store.readings.observations import find_series_id, load_readings
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view
from tests.conftest import ON_BOTH
from tests.data.drawn_scenes import SITE, add_site, may, polygons, prove_outlines
from tests.data.surveys.drawn_dates import watch_by_hand, write_date

HOUR = timedelta(hours=1)


# boxes beside the station; what lies at `at` holds them, and the images of the three dates
SCAR, LARGER, LARGEST = (36, 40, 48, 52), (34, 36, 50, 52), (30, 32, 52, 52)
DRAWN = {"a": (7, []), "b": (12, [SCAR]), "b-larger": (12, [LARGER]), "b-none": (12, []), "c": (17, [LARGEST])}


@pytest.fixture
def config(tmp_path, database_url, monkeypatch):
    return watch_by_hand(monkeypatch, tmp_path, database_url)


@pytest.fixture
def site(database):
    return add_site(database, SITE + "[scenes]\nnear_m = 100.0\n")


def deliver(database, config, site, version, name, at):
    day, boxes = DRAWN[version]
    write_date(Path(config.paths.inbox) / "bench" / name, may(day), boxes)
    said = inbox.run(database, config, site, at)
    assert "failed" not in said, said
    return said


def states(database):
    with database.read() as c:
        rows = c.execute(select(t.scene.c.name, t.scene.c.state).order_by(t.scene.c.acquired_at, t.scene.c.received_at))
        return [tuple(r) for r in rows]


def facts(database, now):
    with database.read() as c:
        return [(f.scene, f.change) for f in load_footprint_facts(c, "bench", may(1), now)]


def values(database, station, quantity, at, known_at):
    with database.read() as c:
        series_id = find_series_id(c, "bench", station, quantity)
        found = [] if series_id is None else load_readings(c, series_id, at - HOUR, at, known_at)
        return [(r.value, r.revision, r.flags) for r in found]


@ON_BOTH
def test_a_version_without_the_outline_withdraws_it_and_tells_a_person(database, config, site):
    deliver(database, config, site, "a", "a", may(7) + HOUR)
    deliver(database, config, site, "b", "b", may(12) + HOUR)
    (first,) = polygons(database)
    prove_outlines(database, site, may(1))
    assert evaluate_site(database, site, may(12) + 2 * HOUR, "tick").level == 1
    deliver(database, config, site, "b-none", "b", may(13))
    assert (polygons(database), facts(database, may(13))) == ([], [])
    assert states(database) == [("a", "done"), ("b", "superseded"), ("b", "done")]
    assert inbox.run(database, config, site, may(13) + HOUR) == "nothing is due"
    assert evaluate_site(database, site, may(13) + HOUR, "tick").level == 1, "a person lowers it, or its age"
    with database.read() as c:
        told = c.execute(select(t.alert.c.reason, t.alert.c.state).where(t.alert.c.key == "scene-version:b")).one()
        queued = c.execute(select(t.notification.c.body).where(t.notification.c.ledger == "health")).scalars().all()
        kept = load_view(c, "scene_changes", order_by=["judged_at"], polygon_id=first["polygon_id"])
        for one in c.execute(select(t.decision.c.id).where(t.decision.c.config_sha256 != "")).scalars():
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
    assert [v[2] for v in values(database, series, "scene_probability", may(12), may(13))] == [("bad",)]
    assert [v[2] for v in values(database, series, "scene_probability", may(12), may(12) + 2 * HOUR)] == [()]
    ((bare, revision, flags),) = values(database, "G1", "scene_probability", may(12), may(13))
    assert (bare, revision, flags) == (0.0, 1, ())
    assert values(database, "G1", "scene_probability", may(12), may(12) + 2 * HOUR)[0][0] > 0.2


def test_the_older_version_comes_back_and_goes_again(database, config, site):
    """Back and forth: each delivery counts from its arrival on, and every instant keeps what it knew."""
    deliver(database, config, site, "a", "a", may(7) + HOUR)
    known = []
    for day, version in ((12, "b"), (13, "b-none"), (14, "b"), (15, "b-none"), (16, "b")):
        at = may(day) + HOUR
        deliver(database, config, site, version, "b", at)
        known.append((at, version))
        for instant, one in known:
            assert facts(database, instant) == ([("b", "new")] if one == "b" else []), (at, instant)
    (only,) = polygons(database)
    assert only["change"] == "new"
    g1 = {one: values(database, "G1", "scene_probability", may(12), at)[0][0] for at, one in known[:2]}
    assert g1["b"] > g1["b-none"]
    read = [values(database, "G1", "scene_probability", may(12), at)[0][0] for at, _ in known]
    assert read == [g1[one] for _, one in known]
    series = f"F-{only['polygon_id'][:12]}"
    flags = [values(database, series, "scene_probability", may(12), at)[0][2] for at, _ in known]
    assert flags == [(), ("bad",), (), ("bad",), ()]
    assert states(database) == [("a", "done"), ("b", "done"), ("b", "superseded")]


def test_later_dates_are_judged_against_the_version_that_counts(database, config, site):
    deliver(database, config, site, "a", "a", may(7) + HOUR)
    deliver(database, config, site, "b", "b", may(12) + HOUR)
    deliver(database, config, site, "c", "c", may(17) + HOUR)
    first, grown = polygons(database)
    assert (grown["change"], grown["parent_id"]) == ("grown", first["polygon_id"])
    deliver(database, config, site, "b-larger", "b", may(18))
    second, still = polygons(database)
    assert (still["polygon_id"], still["parent_id"]) == (grown["polygon_id"], second["polygon_id"])
    assert (still["change"], still["grown_m2"] < grown["grown_m2"]) == ("grown", True)
    roots = rows_of(database, "root_id")
    assert roots == {first["polygon_id"]}, "the line keeps the name of its first footprint"
    deliver(database, config, site, "b-none", "b", may(19))
    (last,) = polygons(database)
    assert (last["polygon_id"], last["change"], last["since_at"][:10]) == (grown["polygon_id"], "new", "2026-05-12")


def rows_of(database, column):
    g = t.scene_footprint.c
    with database.read() as c:
        return set(c.execute(select(g[column]).where(g.change != "withdrawn")).scalars())


def test_a_version_that_cannot_be_used_withdraws_nothing(database, config, site, monkeypatch):
    deliver(database, config, site, "a", "a", may(7) + HOUR)
    deliver(database, config, site, "b", "b", may(12) + HOUR)
    write_date(Path(config.paths.inbox) / "bench" / "b", may(12), [LARGER])

    def refuse(_payload):
        raise NotARasterError("B4.tif: an HTML page, not a raster")

    monkeypatch.setattr(worker, "detect", refuse)
    assert "failed" in inbox.run(database, config, site, may(13))
    assert facts(database, may(13)) == [("b", "new")]
    assert [p["change"] for p in polygons(database)] == ["new"]
    with database.read() as c:
        assert [a.state for a in load_alerts(c, "bench", ledger="health")] == ["unacknowledged"]


def test_other_scenes_of_the_same_time_stand_beside_it(database, config, site):
    """Two parts of one overpass have one time; a copy that still lies there by its own name is not replaced."""
    deliver(database, config, site, "b", "west", may(12) + HOUR)
    deliver(database, config, site, "b-larger", "east", may(12) + 2 * HOUR)
    assert [state for _, state in states(database)] == ["done", "done"]
    deliver(database, config, site, "b", "west-again", may(12) + 3 * HOUR)
    deliver(database, config, site, "b-none", "west-again", may(12) + 4 * HOUR)
    assert [state for _, state in states(database)] == ["done", "done", "done"]
    assert len(polygons(database)) == 2

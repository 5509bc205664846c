"""Drawn scenes at several dates through the watched folder: what changed, since when, and what is said of it."""

import shutil
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import and_, func, select, text

from forecasting.message import gather
from monitor.alerting.audit.recompute import recompute
from monitor.alerting.evaluate import evaluate_site
from monitor.jobs.scenes import inbox
from monitor.store.alerting.decisions import load_decision
from monitor.store.alerting.sites import load_site_source
from monitor.store.schema import tables as t
from tests.data.crossing import cross
from tests.data.drawn_scenes import SITE, add_site, draw, make_config, may, polygons, prove_outlines, work_here

MAY_7, MAY_12, MAY_17, MAY_22 = (may(day) for day in (7, 12, 17, 22))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The same four dates for every test, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    truth = [
        draw(folder / name, at, growth, size_px=128)
        for name, at, growth in (("a", MAY_7, None), ("b", MAY_12, 1.0), ("c", MAY_17, 1.6), ("d", MAY_22, None))
    ]
    return folder, truth


@pytest.fixture
def config(tmp_path, database_url):
    return make_config(tmp_path, database_url)


@pytest.fixture
def in_this_process(monkeypatch):
    work_here(monkeypatch)


@pytest.fixture
def site(database):
    return add_site(database)


def arrive(config, drawn, name):
    target = Path(config.paths.inbox) / "bench" / name
    shutil.copytree(drawn[0] / name, target)
    return target


def counts(database):
    tables = (t.scene, t.scene_footprint, t.scene_change, t.observation, t.model)
    with database.read() as c:
        return {x.name: c.execute(select(func.count()).select_from(x)).scalar() for x in tables}


def test_a_slope_that_fails_further_from_date_to_date(database, config, site, drawn, in_this_process):
    truth = drawn[1]
    for name, at in (("a", MAY_7), ("b", MAY_12), ("c", MAY_17)):
        arrive(config, drawn, name)
        said = inbox.run(database, config, site, at + timedelta(hours=3))
        assert "failed" not in said, said
    before = counts(database)
    again = inbox.run(database, config, site, MAY_17 + timedelta(hours=4))
    assert (again, counts(database)) == ("nothing is due", before)

    first, second = polygons(database)
    assert [p["change"] for p in (first, second)] == ["new", "grown"]
    assert second["parent_id"] == first["polygon_id"]
    assert first["parent_id"] is None
    grown = truth[2]["scars"][0]["area_m2"] - truth[1]["scars"][0]["area_m2"]
    assert (second["grown_m2"], second["nearest_station"]) == (pytest.approx(grown, rel=0.25), "G1")
    assert second["since_at"].startswith("2026-05-12T10:00")
    assert second["first_seen_at"].startswith("2026-05-12T10:00")

    prove_outlines(database, site, MAY_7)
    result = evaluate_site(database, site, MAY_17 + timedelta(hours=4), "tick")
    assert result.level == 1
    with database.read() as c:
        reason = c.execute(select(t.alert.c.reason).where(t.alert.c.ledger == "hazard")).scalar_one()
        evidence = c.execute(text("SELECT evidence FROM alert_history WHERE ledger = 'hazard'")).scalar()
    sentence = f"grew by {second['grown_m2']:,.0f} m² since 12 May, nearest station {second['distance_m']:,.0f} m"
    assert sentence in reason
    assert second["polygon_id"] in evidence
    assert_recomputes(database)


def assert_recomputes(database):
    with database.read() as c:
        ids = c.execute(select(t.decision.c.id)).scalars().all()
        assert ids
        for one in ids:
            row = load_decision(c, one)
            assert recompute(row, load_site_source(c, row.config_sha256)).differences == ()


def test_a_later_scene_whose_kept_files_are_gone_stays_as_it_was_judged(database, config, site, drawn, in_this_process):
    arrive(config, drawn, "c")
    inbox.run(database, config, site, MAY_17 + timedelta(hours=3))
    shutil.rmtree(Path(config.paths.inbox).parent / "scenes" / "bench" / "c")
    arrive(config, drawn, "b")
    said = inbox.run(database, config, site, MAY_17 + timedelta(hours=5))
    assert said.startswith("b: 1 footprints")
    assert [(p["scene"], p["change"]) for p in polygons(database)] == [("b", "single"), ("c", "single")]


def test_places_become_ordinary_series(database, config, site, drawn, in_this_process):
    for name, at in (("a", MAY_7), ("b", MAY_12)):
        arrive(config, drawn, name)
        inbox.run(database, config, site, at + timedelta(hours=3))
    with database.read() as c:
        rows = c.execute(
            text("SELECT station, quantity, unit, observed_at, received_at, value FROM observation_history")
        ).all()
    found = {(r.station, r.quantity, r.observed_at[:10]): r for r in rows}
    (landslide,) = {r.station for r in rows} - {"G1"}
    root = polygons(database)[0]["polygon_id"]
    assert landslide == f"F-{root[:12]}"
    assert {r.unit for r in rows} == {"1"}
    days = ("2026-05-07", "2026-05-12")
    ndvi = [found[landslide, "ndvi", day].value for day in days]
    assert ndvi[0] > 0.5 > 0.3 > ndvi[1], "green before, bare soil after"
    assert [found[landslide, "scene_probability", day].value > 0.5 for day in days] == [False, True]
    assert found["G1", "ndvi", days[0]].value > found["G1", "ndvi", days[1]].value
    assert {found["G1", "ndvi", day].received_at[:16] for day in days} == {f"{day}T13:00" for day in days}


def test_a_scene_stored_meanwhile_is_judged_with(database, config, site, drawn, monkeypatch):
    """Two processes at once: the second finds that the scenes have changed under its worker and asks anew."""
    arrive(config, drawn, "b")
    calls = []

    def run(task, asked, *_args, **_kwargs):
        calls.append([d.name for d in asked.dates])
        if len(calls) == 1:
            entry = arrive(config, drawn, "a")
            inbox.detect_scene(database, config, site, entry, MAY_12 + timedelta(hours=3))
        return cross(task, asked)

    monkeypatch.setattr(inbox.compute, "run", run)
    monkeypatch.setattr(inbox, "hold", lambda *_, **__: nullcontext(True))  # as on two machines
    inbox.detect_scene(database, config, site, Path(config.paths.inbox) / "bench" / "b", MAY_12 + timedelta(hours=3))
    assert calls == [[], [], ["a"]]
    assert [p["change"] for p in polygons(database)] == ["new"]


@pytest.mark.usefixtures("in_this_process")
def test_where_no_network_reads_a_scene_the_index_finds_change_that_never_counts(database, config, drawn):
    """Also against a date that a network has read; and the network's test stands as it stood."""
    site = add_site(database)
    arrive(config, drawn, "a")
    inbox.run(database, config, site, MAY_7)
    site = add_site(database, SITE + '[scenes]\nweights = "index"\n')
    arrive(config, drawn, "b")
    assert "1 new or grown" in inbox.run(database, config, site, MAY_12)
    (found,) = polygons(database)
    assert (found["model"], found["change"], found["caution"]) == ("index", "new", "no network was used")
    with database.read() as c:
        (run,) = c.execute(select(t.scene.c.run).where(t.scene.c.name == "b")).scalars()
        taken = and_(t.observation.c.series_id == t.series.c.id, t.observation.c.observed_at == MAY_12)
        quantities = set(c.execute(select(t.series.c.quantity).join(t.observation, taken)).scalars())
    run = gather(run)
    assert run["doubts"] == ["no network was used"]
    assert any("change of an index between dates goes on alone, as advice" in line for line in run["warnings"])
    assert quantities == {"ndvi"}
    prove_outlines(database, site, MAY_12)
    decided = evaluate_site(database, site, MAY_12 + timedelta(hours=1), "tick")
    assert decided.level == 0

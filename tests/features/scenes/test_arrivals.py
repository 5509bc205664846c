"""Drawn scenes that arrive twice, for two sites, in another version, or from the future."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from detection.imagery.data.generate import write_scene
from monitor.features.scenes import inbox
from monitor.features.scenes.queries import facts as footprint_facts
from monitor.features.scenes.queries.arrivals import ChangeAssessment, FootprintRow, SceneRow, save_changes, save_scene
from monitor.features.scenes.queries.facts import load_footprint_facts
from monitor.features.scenes.tables import scene
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.service_state import IDLE
from monitor.text.message import plain_to_messages
from tests.data import site_text
from tests.data.drawn_scenes import arrive, of_drawings
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

MAY_7, MAY_12 = (datetime(2026, 5, day, 10, tzinfo=UTC) for day in (7, 12))
SITE = site_text.head("{id}", "Bench", latitude=42.73, longitude=141.95, timezone="Asia/Tokyo") + site_text.station(
    "{station}", site_text.series("displacement", "mm"), latitude=42.7285, longitude=141.9525
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """One ground without and with a scar, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, at, scar in (("a", MAY_7, False), ("b", MAY_12, True)):
        write_scene(folder / name, 5, with_scar=scar, size_px=96, acquired_at=at, scar_lonlat=(141.951, 42.7305))
    return folder


def make_site(database, name, station="G1", more=""):
    one = parse_site(of_drawings(SITE.format(id=name, station=station) + more), f"{name}.toml")
    tell(database, save_site, one, "test", "test", MAY_7)
    return one


def facts(database, site, now):
    return ask(database, load_footprint_facts, site.id, MAY_7 - timedelta(days=1), now)


@pytest.mark.soak
def test_the_index_beside_the_network_is_said_and_kept_as_a_file(database, config, drawn):
    site = make_site(database, "bench")
    for name in "ab":
        arrive(config, drawn / name, name, site.id)
    inbox.run(database, config, site, MAY_12 + timedelta(hours=1))
    runs = {row.name: row.run for row in ask(database, lambda c: c.execute(select(scene.c.name, scene.c.run)))}
    assert "index_outlines" not in runs["a"]["change"]["outputs"], "there is no date before"
    change = runs["b"]["change"]
    assert Path(change["outputs"]["index_outlines"]).is_file()
    said = [str(one) for one in plain_to_messages(change["warnings"])]
    assert any("by an index of red and green, beside the network: 1 (" in one for one in said), said


@pytest.mark.soak
def test_one_image_serves_two_sites(database, config, drawn):
    now = MAY_12 + timedelta(hours=3)
    north, south = make_site(database, "north"), make_site(database, "south", "S1")
    seen = {}
    for site in (north, south):
        arrive(config, drawn / "b", "b", site.id)
        inbox.run(database, config, site, now)
        seen[site.id] = facts(database, site, now)
    assert ([f.change for f in seen["north"]], facts(database, north, now)) == (["single"], seen["north"])
    assert [(f.change, f.station) for f in seen["south"]] == [("single", "S1")]
    assert (inbox.run(database, config, north, now), facts(database, north, now)) == (IDLE, seen["north"])


def test_the_elevation_model_of_a_scene_becomes_the_ground_of_the_map_once(database, config, drawn):
    site, now = make_site(database, "bench"), MAY_12 + timedelta(hours=3)
    relief = config.paths.relief_path("bench")
    arrive(config, drawn / "a", "a")
    inbox.run(database, config, site, now)
    assert relief.read_bytes().startswith(b"PMTiles")
    relief.write_bytes(b"of a person")
    arrive(config, drawn / "b", "b")
    inbox.run(database, config, site, now)
    assert relief.read_bytes() == b"of a person"


@pytest.mark.soak
def test_one_image_by_two_names_is_read_once(database, config, drawn):
    site = make_site(database, "bench")
    for name in ("first", "second"):
        arrive(config, drawn / "b", name)
    said = inbox.run(database, config, site, MAY_12 + timedelta(hours=3))
    assert said.endswith("; second: known since 2026-05-12 13:00 UTC as first, nothing new is stored")
    assert inbox.run(database, config, site, MAY_12 + timedelta(hours=4)) == IDLE
    assert inbox.run(database, config, site, MAY_12 + timedelta(hours=5)) == IDLE


@pytest.mark.soak
@pytest.mark.parametrize("door", ["compute_fingerprint", "_is_scene"])
def test_a_folder_that_may_not_be_read_stops_no_other(database, config, drawn, monkeypatch, door):
    site = make_site(database, "bench")
    for name in ("a", "b"):
        arrive(config, drawn / name, name, site.id)

    real = getattr(inbox, door)

    def look(entry):
        if entry.name == "a":
            raise PermissionError(13, "Permission denied")
        return real(entry)

    monkeypatch.setattr(inbox, door, look)
    said = inbox.run(database, config, site, MAY_12 + timedelta(hours=3))
    assert "a: failed: cannot be read (Permission denied); b: 1 footprints" in said
    assert inbox.run(database, config, site, MAY_12 + timedelta(hours=4)) == IDLE


@ON_BOTH
def test_a_decision_reads_the_nearest_outlines_by_the_newest_judgement_known_then(database, monkeypatch):
    """Order, limit and the newest of several judgements are SQL: the same on both databases."""
    site = make_site(database, "bench")
    row = SceneRow("1" * 64, "bench", "a", MAY_7, "single", "a", MAY_7, "done")
    away = {"far": 900.0, "near": 5.0, "none": None, "middle": 40.0}
    outlines = [
        FootprintRow(row.scene_hash, "m" * 64, name, "unet", "single", 100.0, 0.9, {}, 0, 0, 1, 1, "G1", metres)
        for name, metres in away.items()
    ]
    days = [MAY_7 + timedelta(days=day) for day in range(4)]
    with database.write() as c:
        save_scene(c, row, outlines, MAY_7)
        # the last of two judgements at one instant is what is known
        for at, change in ((days[2], "grown"), (days[1], "known"), (days[1], "new"), (days[3], "known")):
            save_changes(c, row.scene_hash, "m" * 64, [ChangeAssessment("near", change, since_at=MAY_7)], at)
    monkeypatch.setattr(footprint_facts, "ADVICE_LIMIT", 2)
    told = [[(f.polygon, f.change) for f in facts(database, site, at)] for at in days]
    assert told == [
        [("near", "single"), ("middle", "single")],
        [("near", "new"), ("middle", "single")],
        [("near", "grown"), ("middle", "single")],
        [("middle", "single"), ("far", "single")],
    ]

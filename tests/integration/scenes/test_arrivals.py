"""Drawn scenes that arrive twice, for two sites, in another version, or from the future."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from detection.imagery.data.generate import write_scene
from monitor.config.service import parse_site
from monitor.jobs.scenes import inbox
from monitor.store.alerting import decisions
from monitor.store.alerting.decisions import load_footprint_facts
from monitor.store.alerting.sites import save_site
from monitor.store.schema import tables as t
from tests.data.drawn_scenes import make_config, work_here

MAY_7, MAY_12 = (datetime(2026, 5, day, 10, tzinfo=UTC) for day in (7, 12))
SITE = """
[site]
id = "{id}"
name = "Bench"
latitude = 42.73
longitude = 141.95
timezone = "Asia/Tokyo"
[[station]]
id = "{station}"
latitude = 42.7285
longitude = 141.9525
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """One ground without and with a scar, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, at, scar in (("a", MAY_7, False), ("b", MAY_12, True)):
        write_scene(folder / name, 5, with_scar=scar, size_px=128, acquired_at=at, scar_lonlat=(141.951, 42.7305))
    return folder


@pytest.fixture
def config(tmp_path, database_url, monkeypatch):
    """The service's configuration; the worker's function runs in this process."""
    work_here(monkeypatch)
    return make_config(tmp_path, database_url)


def make_site(database, name, station="G1"):
    one = parse_site(SITE.format(id=name, station=station), f"{name}.toml")
    with database.write() as c:
        save_site(c, one, "test", "test", MAY_7)
    return one


def arrive(config, source, site, name):
    target = Path(config.paths.inbox) / site.id / name
    shutil.copytree(source, target)
    return target


def facts(database, site, now):
    with database.read() as c:
        return load_footprint_facts(c, site.id, MAY_7 - timedelta(days=1), now)


def test_one_image_serves_two_sites(database, config, drawn):
    now = MAY_12 + timedelta(hours=3)
    north, south = make_site(database, "north"), make_site(database, "south", "S1")
    seen = {}
    for site in (north, south):
        for name in ("a", "b"):
            arrive(config, drawn / name, site, name)
        inbox.run(database, config, site, now)
        seen[site.id] = facts(database, site, now)
    assert [f.change for f in seen["north"]] == ["new"]
    assert facts(database, north, now) == seen["north"]
    assert [(f.change, f.station) for f in seen["south"]] == [("new", "S1")]
    assert inbox.run(database, config, north, now) == "nothing new"
    assert facts(database, north, now) == seen["north"]


def test_many_large_outlines_do_not_crowd_out_the_one_beside_a_station(database, config, drawn, monkeypatch):
    site, now = make_site(database, "bench"), MAY_12 + timedelta(hours=3)
    for name in ("a", "b"):
        arrive(config, drawn / name, site, name)
    inbox.run(database, config, site, now)
    (near,) = facts(database, site, now)
    with database.write() as c:
        row = dict(c.execute(select(t.scene_footprint)).mappings().one())
        far = {"distance_m": 5000.0, "area_m2": 9e6, "change": "single"}
        c.execute(t.scene_footprint.insert(), [row | far | {"polygon_id": f"far{k}"} for k in range(3)])
    monkeypatch.setattr(decisions, "ADVICE_LIMIT", 2)
    found = facts(database, site, now)
    assert len(found) == 2
    assert near in found


def test_the_elevation_model_of_a_scene_becomes_the_ground_of_the_map_once(database, config, drawn):
    site, now = make_site(database, "bench"), MAY_12 + timedelta(hours=3)
    relief = config.paths.relief_of("bench")
    arrive(config, drawn / "a", site, "a")
    inbox.run(database, config, site, now)
    assert relief.read_bytes().startswith(b"PMTiles")
    relief.write_bytes(b"of a person")
    arrive(config, drawn / "b", site, "b")
    inbox.run(database, config, site, now)
    assert relief.read_bytes() == b"of a person"


def test_one_image_by_two_names_is_read_once(database, config, drawn):
    site = make_site(database, "bench")
    for name in ("first", "second"):
        arrive(config, drawn / "b", site, name)
    said = inbox.run(database, config, site, MAY_12 + timedelta(hours=3))
    assert said.endswith("; second: known since 2026-05-12 13:00 UTC as first, nothing new is stored")
    assert inbox.run(database, config, site, MAY_12 + timedelta(hours=4)) == "nothing new"
    assert inbox.run(database, config, site, MAY_12 + timedelta(hours=5)) == "nothing new"


def test_an_image_from_the_future_is_not_taken(database, config, drawn):
    site = make_site(database, "bench")
    arrive(config, drawn / "b", site, "b")
    said = inbox.run(database, config, site, MAY_7)
    assert "future" in said, said
    assert facts(database, site, MAY_12 + timedelta(hours=1)) == ()


@pytest.mark.parametrize("door", ["fingerprint", "_is_scene"])
def test_a_folder_that_may_not_be_read_stops_no_other(database, config, drawn, monkeypatch, door):
    site = make_site(database, "bench")
    for name in ("a", "b"):
        arrive(config, drawn / name, site, name)

    real = getattr(inbox, door)

    def look(entry):
        if entry.name == "a":
            raise PermissionError(13, "Permission denied")
        return real(entry)

    monkeypatch.setattr(inbox, door, look)
    said = inbox.run(database, config, site, MAY_12 + timedelta(hours=3))
    assert "a: failed: cannot be read (Permission denied); b: 1 footprints" in said
    assert inbox.run(database, config, site, MAY_12 + timedelta(hours=4)) == "nothing new"

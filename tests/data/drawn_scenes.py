"""Drawn scenes of one ground in a watched folder, with the worker's function in this process: shared by scene tests."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from detection.imagery.data.generate import write_scene
from monitor.api.scenes import SceneRequest
from monitor.features.scenes import inbox
from monitor.features.scenes.queries.weights import find_newest
from monitor.models.queries.proofs import OUTLINES, ModelTest, add_proof
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.sites.witnesses import list_criteria_needing_proof
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from tests.data.crossing import cross

PLACE = (141.951, 42.7305)
SITE = """
[site]
id = "bench"
name = "North bench"
latitude = 42.73
longitude = 141.95
timezone = "Asia/Tokyo"
[levels]
names = ["green", "yellow", "red"]
[[station]]
id = "G1"
latitude = 42.7285
longitude = 141.9525
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
[[criterion]]
id = "image"
kind = "scene"
level = "yellow"
role = "witness"
valid_for = "30d"
author = "test"
reason = "test"
[[recipient]]
name = "duty engineer"
channels = ["log"]
levels = ["yellow", "red"]
"""


def may(day: int) -> datetime:
    """Ten o'clock of a day in May."""
    return datetime(2026, 5, day, 10, tzinfo=UTC)


def draw(folder: Path, at: datetime, growth: float | None, **kwargs):
    """One date of one ground: without a scar, or with one that has grown by a factor."""
    where = {"scar_lonlat": PLACE, "size_px": 96} | kwargs
    return write_scene(folder, 5, with_scar=growth is not None, acquired_at=at, scar_growth=growth or 1.0, **where)


def draw_dates(folder: Path, dates: dict[str, tuple[int, float | None]]) -> Path:
    """Midnights in May of one ground by name, each without a scar or with one that has grown by a factor."""
    for name, (day, growth) in dates.items():
        facts = {"with_scar": growth is not None, "scar_growth": growth or 1.0, "size_px": 96}
        write_scene(folder / name, 5, acquired_at=datetime(2026, 5, day, tzinfo=UTC), **facts)
    return folder


def make_config(tmp_path: Path, database_url: str):
    """A service that watches `tmp_path/inbox`."""
    file = tmp_path / "slopeward.toml"
    file.write_text(
        f'[database]\nurl = "{database_url}"\n[paths]\nsites = "{tmp_path}/sites"\ninbox = "{tmp_path}/inbox"\n'
    )
    return load_service(str(file))


def work_here(monkeypatch) -> None:
    """Let scenes be read in this process, without the cost of one of their own."""
    monkeypatch.setattr(inbox.compute, "run", cross)


def of_drawings(source: str) -> str:
    """A site file that names the weights for drawn scenes, where it names none."""
    if "weights" in source:
        return source
    named = '[scenes]\nweights = "generated"\n'
    return source.replace("[scenes]\n", named) if "[scenes]\n" in source else source + named


def add_site(database, source: str = SITE):
    """Store the site that the scenes are of."""
    one = parse_site(of_drawings(source), "bench.toml")
    with database.write() as c:
        save_site(c, one, "test", "test", may(1))
    return one


def arrive(config, source: Path, name: str, site: str = "bench") -> Path:
    """Put a drawn scene into the inbox by a name, in place of what lay there by that name."""
    target = Path(config.paths.inbox) / site / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def polygons(database, **which):
    """Rows of the view scene_polygons by time of acquisition."""
    where = "".join(f" AND {k} = :{k}" for k in which)
    with database.read() as c:
        rows = c.execute(
            text(f"SELECT * FROM scene_polygons WHERE site = 'bench'{where} ORDER BY acquired_at, polygon_id"), which
        )
        return [dict(r) for r in rows.mappings()]


def prove_outlines(database: Database, site: Site, at: datetime) -> None:
    """Let the weights whose outlines are stored have passed their test at an instant."""
    (criterion,) = [one for one in list_criteria_needing_proof(site) if one.kind.facts == "footprints"]
    with database.write() as c:
        weights = find_newest(c, site.id, datetime(2100, 1, 1, tzinfo=UTC)) or ""
        passed = ModelTest("scene", OUTLINES, "slopeward scenes score", weights, (), {"f1": 0.9}, 40)
        add_proof(c, site, criterion, passed, Actor("ada"), at)


def request_scene(scene: Path, out: Path, **more: Any) -> SceneRequest:
    """What a worker is given to read one scene with the weights for drawn ones, without stations or earlier dates."""
    nothing: dict[str, Any] = {"dates": (), "versions": (), "stations": {}, "local": None}
    rule: dict[str, Any] = {"weights": "generated", "minimum_area_m2": None, "owner": "bench", "near_m": 100.0}
    return SceneRequest(scene_path=str(scene), out_dir=out, **rule, **nothing, **more)

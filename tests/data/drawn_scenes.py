"""Synthetic scenes of one place in a watched inbox, read in this process. Shared by scene tests."""

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
    """Return 10:00 UTC on a day of May 2026."""
    return datetime(2026, 5, day, 10, tzinfo=UTC)


def draw(folder: Path, at: datetime, growth: float | None, **kwargs):
    """Write a scene of one date. `growth` is the size of the scar as a factor, or None without a scar."""
    where = {"scar_lonlat": PLACE, "size_px": 96} | kwargs
    return write_scene(folder, 5, with_scar=growth is not None, acquired_at=at, scar_growth=growth or 1.0, **where)


def draw_dates(folder: Path, dates: dict[str, tuple[int, float | None]]) -> Path:
    """Write scenes at midnight in May 2026. `dates` contains the day and the growth of the scar by name."""
    for name, (day, growth) in dates.items():
        facts = {"with_scar": growth is not None, "scar_growth": growth or 1.0, "size_px": 96}
        write_scene(folder / name, 5, acquired_at=datetime(2026, 5, day, tzinfo=UTC), **facts)
    return folder


def make_config(tmp_path: Path, database_url: str):
    """Return the configuration of a service that watches `tmp_path/inbox`."""
    file = tmp_path / "slopeward.toml"
    file.write_text(
        f'[database]\nurl = "{database_url}"\n[paths]\nsites = "{tmp_path}/sites"\ninbox = "{tmp_path}/inbox"\n'
    )
    return load_service(str(file))


def work_here(monkeypatch) -> None:
    """Read scenes in this process, which saves the start of a worker."""
    monkeypatch.setattr(inbox.compute, "run", cross)


def of_drawings(source: str) -> str:
    """Return the site file with the weights for synthetic scenes, unless it names weights."""
    if "weights" in source:
        return source
    named = '[scenes]\nweights = "generated"\n'
    return source.replace("[scenes]\n", named) if "[scenes]\n" in source else source + named


def add_site(database, source: str = SITE):
    """Store the site of the scenes."""
    site_file = parse_site(of_drawings(source), "bench.toml")
    with database.write() as c:
        save_site(c, site_file, "test", "test", may(1))
    return site_file


def arrive(config, source: Path, name: str, site: str = "bench") -> Path:
    """Copy a scene into the inbox, and replace a scene of the same name."""
    target = Path(config.paths.inbox) / site / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def polygons(database, **which):
    """Return the rows of the view scene_polygons in the order of acquisition."""
    where = "".join(f" AND {k} = :{k}" for k in which)
    with database.read() as c:
        rows = c.execute(
            text(f"SELECT * FROM scene_polygons WHERE site = 'bench'{where} ORDER BY acquired_at, polygon_id"), which
        )
        return [dict(r) for r in rows.mappings()]


def prove_outlines(database: Database, site: Site, at: datetime) -> None:
    """Store a passed test of the weights of the newest outlines at an instant."""
    (criterion,) = [
        candidate for candidate in list_criteria_needing_proof(site) if candidate.kind.facts == "footprints"
    ]
    with database.write() as c:
        weights = find_newest(c, site.id, datetime(2100, 1, 1, tzinfo=UTC)) or ""
        passed = ModelTest("scene", OUTLINES, "slopeward scenes score", weights, (), {"f1": 0.9}, 40)
        add_proof(c, site, criterion, passed, Actor("ada"), at)


def request_scene(scene: Path, out: Path, **more: Any) -> SceneRequest:
    """Return the request to read one scene with the weights for synthetic scenes, without stations or earlier dates."""
    nothing: dict[str, Any] = {"dates": (), "versions": (), "stations": {}, "local": None}
    rule: dict[str, Any] = {"weights": "generated", "minimum_area_m2": None, "owner": "bench", "near_m": 100.0}
    return SceneRequest(scene_path=str(scene), out_dir=out, **rule, **nothing, **more)

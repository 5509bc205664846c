"""Scenes of a site whose file names a susceptibility map."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy import text as text_of

from detection.imagery.data.generate import write_scene
from detection.imagery.errors import SceneError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.scene.scene import hash_file, read_scene, scene_hash
from monitor.features.scenes import inbox
from monitor.features.scenes.tables import scene
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from slopeward_earth.susceptibility.picture import show, show_map
from slopeward_earth.susceptibility.records import PictureRequest, read_shown
from tests.data import site_text
from tests.data.drawn_scenes import arrive, of_drawings
from tests.data.store_rows import tell

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


@pytest.mark.soak
def test_a_susceptibility_map_stays_with_footprints_and_is_drawn_for_the_page(database, config, drawn, tmp_path):
    prior = tmp_path / "prior.tif"
    values = np.linspace(0.1, 0.9, 300, dtype=np.float32)[None, None].repeat(300, axis=1)
    write_geotiff(prior, values, grid_around(141.951, 42.7305, 300, 20.0), nodata=-1)
    site = make_site(database, "bench", more=f'[scenes]\nprior = "{prior}"\n')
    arrive(config, drawn / "b", "b")
    inbox.run(database, config, site, MAY_12 + timedelta(hours=3))
    with database.read() as c:
        rows = c.execute(text_of("SELECT susceptibility, susceptibility_map FROM scene_polygons")).all()
        run = c.execute(select(scene.c.run, scene.c.scene_hash)).one()
    assert rows
    sha256 = hash_file(prior)
    assert {row.susceptibility_map for row in rows} == {sha256}
    assert all(0.3 < row.susceptibility < 0.7 for row in rows)
    assert run.run["prior"] == {"file": "prior.tif", "sha256": sha256}
    picture = config.paths.susceptibility_path("bench")
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = read_shown(picture)
    assert shown["sha256"] == sha256
    west, south, east, north = shown["bounds"]
    assert west < 141.951 < east
    assert south < 42.7305 < north
    # another map under the same name is not taken until a person does
    write_geotiff(prior, 1 - values, grid_around(141.951, 42.7305, 300, 20.0), nodata=-1)
    with pytest.raises(SceneError, match=f"another map than the one in use .* it was {sha256[:12]}"):
        show_map(prior, picture)
    assert read_shown(picture) == shown
    assert show(PictureRequest(prior, picture)).sha256 == hash_file(prior)
    assert show_map(prior, picture)["sha256"] == hash_file(prior)
    # the same image without a map is the same scene
    assert scene_hash(read_scene(drawn / "b"), "bench") == run.scene_hash


@pytest.mark.soak
def test_a_susceptibility_map_that_is_gone_holds_no_scene_back(database, config, drawn):
    site = make_site(database, "bench", more='[scenes]\nprior = "gone.tif"\n')
    arrive(config, drawn / "b", "b")
    assert "footprints" in inbox.run(database, config, site, MAY_12 + timedelta(hours=3))
    with database.read() as c:
        run = c.execute(select(scene.c.run)).scalar_one()
        assert c.execute(text_of("SELECT count(susceptibility) FROM scene_polygons")).scalar_one() == 0
    assert [one for one in run["warnings"] if "no susceptibility" in one and "gone.tif" in one]
    assert run["prior"] is None

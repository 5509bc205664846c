"""Heights from a folder of tiles give what one file gives, with the tiles as evidence; archives are scenes too."""

import json
import shutil
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from sqlalchemy import select

from detection.imagery.data.generate import write_scene
from detection.imagery.footprints.records import MAKING
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.scene.heights import gather_heights
from detection.imagery.scene.scene import hash_file, read_scene
from monitor.cli.main import run_command
from monitor.features.scenes import inbox, worker
from monitor.features.scenes.tables import scene as scene_table
from monitor.features.scenes.tables import scene_change
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.text.message import plain_to_messages
from tests.data.drawn_scenes import PLACE, make_config, of_drawings, work_here
from tests.data.store_rows import ask, tell
from tests.data.surveys.rasters import change_raster, write_raster
from tests.features.scenes.test_arrivals import SITE

FACTS = ("geometry", "mean_slope_deg", "min_elevation_m", "max_elevation_m")
MAY_12 = datetime(2026, 5, 12, 10, tzinfo=UTC)


def forget_heights(scene: Path) -> None:
    lines = (scene / "scene.toml").read_text().splitlines(keepends=True)
    (scene / "scene.toml").write_text("".join(line for line in lines if "dem.tif" not in line))


def lay_aside(scene: Path, folder: Path) -> Path:
    """Take the elevation model of a scene away, and lay it down as two tiles beside a mask; returns the file."""
    folder.mkdir()
    whole = shutil.move(scene / "dem.tif", folder.parent / "dem.tif")
    forget_heights(scene)
    with rasterio.open(whole) as source:
        values, place = source.read(), {"crs": source.crs, "nodata": source.nodata}
        turn = source.transform
    for name, first, last in (("west", 0, 50), ("east", 50, 96)):
        move = turn @ Affine.translation(first, 0)
        write_raster(folder / f"{name}.tif", values[:, :, first:last], transform=move, **place)
    write_raster(folder / "mask.tif", np.ones(values.shape, np.uint8), crs=place["crs"], transform=turn)
    return whole


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Two dates without heights beside them, tiles of these, and the file that the tiles were cut from."""
    folder = tmp_path_factory.mktemp("ground")
    for name, day, scar in (("a", 7, False), ("b", 12, True)):
        at = datetime(2026, 5, day, tzinfo=UTC)
        write_scene(folder / name, 5, with_scar=scar, size_px=96, acquired_at=at, scar_lonlat=PLACE)
    lay_aside(folder / "b", folder / "tiles")
    (folder / "a" / "dem.tif").unlink()
    forget_heights(folder / "a")
    assert read_scene(folder / "a").dem is read_scene(folder / "b").dem is None
    return folder


def detect(capsys, *words, code=0):
    assert run_command(["scenes", "detect", *map(str, words), "--model", "generated", "--json"]) == code
    told = capsys.readouterr()
    return json.loads(told.out) if code == 0 else None, told.err


@pytest.mark.soak
def test_tiles_give_the_footprints_of_the_file_that_they_were_cut_from(ground, tmp_path, capsys):
    whole, _ = detect(capsys, ground / "b", "--dem", ground / "dem.tif", "--out", tmp_path / "w")
    tiles, err = detect(capsys, ground / "b", "--dem", ground / "tiles", "--out", tmp_path / "t")
    assert "heights from 2 tiles" in err
    facts = [{k: one[k] for k in FACTS} for one in whole["polygons"]]
    assert facts[0]["mean_slope_deg"] > 5
    assert facts == [{k: one[k] for k in FACTS} for one in tiles["polygons"]]
    digests = {path.name: hash_file(path) for path in (ground / "tiles").glob("*.tif")}
    assert tiles["dem"] == {"tiles": [{"file": f, "sha256": digests[f]} for f in ("east.tif", "west.tif")]}
    assert whole["dem"] == {"file": "dem.tif", "sha256": hash_file(ground / "dem.tif")}
    assert json.loads((tmp_path / "t" / "run.json").read_text())["dem"] == tiles["dem"]
    again, _ = detect(capsys, ground / "b", "--dem", ground / "tiles", "--out", tmp_path / "t")
    assert again["scene_hash"] == tiles["scene_hash"]
    other = shutil.copytree(ground / "tiles", tmp_path / "other")
    change_raster(other / "west.tif", lambda heights: heights + 1)
    assert detect(capsys, ground / "b", "--dem", other)[0]["scene_hash"] != tiles["scene_hash"]


@pytest.mark.soak
def test_both_dates_get_heights_and_a_folder_without_them_is_refused(ground, tmp_path, capsys):
    words = (ground / "b", "--pre", ground / "a", "--out", tmp_path / "out")
    answer, err = detect(capsys, *words, "--dem", ground / "tiles")
    assert err.count("heights from 2 tiles") == 2
    assert [one["change"] for one in answer["change"]["changes"].values()] == ["new"]
    assert json.loads((tmp_path / "out" / "pre" / "run.json").read_text())["dem"] == answer["dem"]
    plan, _ = detect(capsys, ground / "b", "--dem", ground / "tiles", "--dry-run")
    assert plan["scene"] == str(ground / "b")
    (tmp_path / "none").mkdir()
    _, err = detect(capsys, ground / "b", "--dem", tmp_path / "none", code=1)
    assert "no tile of heights shows the ground of the scene" in err


def test_an_archive_is_read_where_it_lies_and_one_that_holds_no_scene_is_one_line(ground, tmp_path, capsys):
    packed = Path(shutil.make_archive(str(tmp_path / "b"), "zip", ground / "b"))
    plain, _ = detect(capsys, ground / "b", "--out", tmp_path / "p")
    answer, err = detect(capsys, packed, "--out", tmp_path / "z")
    assert "files unpacked" in err
    assert "slopeward-detect-" not in err
    assert answer["scene"] == str(packed)
    assert (answer["scene_hash"], answer["polygons"]) == (plain["scene_hash"], plain["polygons"])
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as two:
        two.writestr("readme.txt", "x")
    (tmp_path / "torn.zip").write_bytes(packed.read_bytes()[:-400])
    for name, why in (("two.zip", "holds no product"), ("torn.zip", "cannot be unpacked"), ("no.zip", "no such file")):
        _, err = detect(capsys, tmp_path / name, code=1)
        assert why in err
        assert name in err
        assert "slopeward-detect-" not in err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.zip", "p", "torn.zip", "two.zip", "z"]


@pytest.fixture
def config(tmp_path, database_url, monkeypatch):
    work_here(monkeypatch)
    return make_config(tmp_path, database_url)


def look(database, config, scene, dem, name="b"):
    """What the service keeps of a scene at a site that names heights."""
    text = SITE.format(id="bench", station="G1") + f'[scenes]\ndem = "{dem}"\n'
    site = parse_site(of_drawings(text), "bench.toml")
    tell(database, save_site, site, "test", "test", MAY_12)
    shutil.copytree(scene, Path(config.paths.inbox) / site.id / name)
    said = inbox.run(database, config, site, MAY_12 + timedelta(hours=3))
    assert "footprints" in said, said
    return ask(database, lambda c: c.execute(select(scene_table.c.run).where(scene_table.c.name == name)).scalar_one())


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_scenes_of_a_site_get_its_heights_and_keep_which(database, config, ground):
    run = look(database, config, ground / "b", ground / "tiles")
    assert [one["file"] for one in run["dem"]["tiles"]] == ["east.tif", "west.tif"]
    assert not [one for one in plain_to_messages(run["warnings"]) if "terrain" in one]
    assert config.paths.relief_path("bench").read_bytes().startswith(b"PMTiles")
    out_dir = Path(ask(database, lambda c: c.execute(select(scene_table.c.out_dir)).scalar_one()))
    found = json.loads((out_dir / MAKING).read_text())
    assert found["terrain"] == {"covered_share": 1.0}
    assert found["polygons"][0]["mean_slope_deg"] > 5


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["gone", "elsewhere", "a corner of the scene", "one file"])
def test_heights_of_a_site_hold_no_scene_back(database, config, ground, tmp_path, kind):
    dem = tmp_path / "heights"
    if kind != "gone":
        dem.mkdir()
        place = (10.0, 45.0) if kind == "elsewhere" else (141.957, 42.735)
        write_geotiff(dem / "a.tif", np.full((1, 60, 60), 7.0, np.float32), grid_around(*place, 60, 10.0))
    run = look(database, config, ground / "b", ground / "dem.tif" if kind == "one file" else dem)
    if kind == "one file":
        assert [one["file"] for one in run["dem"]["tiles"]] == ["dem.tif"]
        return
    assert run["dem"] is None
    (said,) = [one for one in plain_to_messages(run["warnings"]) if one.startswith("no terrain: ")]
    assert {"gone": "no such file", "elsewhere": "no tile of heights"}.get(kind, "at least 50% are needed") in said


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_heights_that_a_scene_brings_come_first(database, config, ground, tmp_path):
    own = shutil.copytree(ground / "b", tmp_path / "own")
    shutil.copy2(ground / "dem.tif", own)
    manifest = own / "scene.toml"
    manifest.write_text('dem = "dem.tif"\n' + manifest.read_text())
    run = look(database, config, own, tmp_path / "gone")
    assert run["dem"] == {"file": "dem.tif", "sha256": hash_file(ground / "dem.tif")}
    assert not [one for one in plain_to_messages(run["warnings"]) if "terrain" in one]


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_date_that_is_judged_again_has_the_heights_that_it_was_read_with(database, config, ground, monkeypatch):
    given = []

    def gather(dem, path, work):
        given.append(path.name)
        return gather_heights(dem, path, work)

    monkeypatch.setattr(worker, "gather_heights", gather)
    look(database, config, ground / "b", ground / "tiles")
    look(database, config, ground / "a", ground / "tiles", "a")  # it was taken before, and comes late
    assert given == ["b", "a", "b"]
    changes = ask(database, lambda c: c.execute(select(scene_change.c.change)).scalars().all())
    assert changes == ["new"]  # alone at first, then after the date that came late

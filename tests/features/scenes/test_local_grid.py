"""A mine's own grid: files in a local system lie where `[crs] local` of the site file puts them."""

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from sqlalchemy import select

from detection.imagery.data.generate import draw_scene
from monitor.cli.main import run_command
from monitor.errors import ConfigError
from monitor.features.scenes import inbox
from monitor.features.scenes.queries.arrivals import load_scenes
from monitor.features.scenes.tables import scene_footprint
from monitor.sites.parsing import parse_site
from tests.data.drawn_scenes import SITE, add_site, make_config, may, work_here
from tests.data.surveys.rasters import AT_MINE, COLOURS, CRS, MINE, write_raster

SIZE = 96
IN_UTM = Affine(9.92, 1.26, 577_870.0, 1.26, -9.92, 4_729_510.0)


@pytest.fixture(scope="module")
def drawn():
    """Counts of three bands, red first, on ground with one scar."""
    scene = draw_scene(5, SIZE, scars=1)
    return np.stack([scene.bands[name] for name in ("B4", "B3", "B2")])


def write(path: Path, bands, day: int = 6, *, crs=MINE, transform=AT_MINE) -> Path:
    return write_raster(path, bands, COLOURS, f"2026-05-{day:02d}T00:00:00Z", crs=crs, transform=transform, nodata=0)


def detect(capsys, *words):
    code = run_command(["scenes", "detect", "--model", "generated", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def shapes(answer):
    return [{k: v for k, v in one.items() if k != "polygon_id"} for one in answer["polygons"]]


@pytest.mark.soak
def test_a_file_in_the_mines_grid_gives_the_footprints_of_the_same_image_in_utm(tmp_path, capsys, drawn):
    site = tmp_path / "bench.toml"
    site.write_text(SITE + CRS)
    local = write(tmp_path / "local.tif", drawn)
    plain = write(tmp_path / "plain.tif", drawn, crs="EPSG:32654", transform=IN_UTM)
    code, (one, other), err = detect(capsys, local, plain, "--site-file", site, "--out", tmp_path / "out")
    assert code == 0
    assert one["polygons"]
    assert (shapes(one), one["crs"]) == (shapes(other), "EPSG:32654")
    assert one["pixel_area_m2"] == pytest.approx(99.99, abs=0.02)
    assert "local.tif: in the local system mine grid, placed in EPSG:32654 by [crs] local of the site file" in err
    assert "plain.tif: in the local system" not in err
    pictures = [(tmp_path / "out" / name / "preview.png").read_bytes() for name in ("local.tif", "plain.tif")]
    assert pictures[0] == pictures[1]

    # another affine is another scene, and is mapped anew into the same folder
    site.write_text(SITE + CRS.replace("574044.0", "574144.0"))
    _, (moved,), _ = detect(capsys, local, "--site-file", site, "--out", tmp_path / "out/local.tif")
    assert moved["scene_hash"] != one["scene_hash"]
    assert moved["polygons"][0]["centroid"][0] > one["polygons"][0]["centroid"][0] + 0.001


def test_without_the_entry_one_line_says_what_to_write_and_the_batch_goes_on(tmp_path, capsys, drawn):
    local = write(tmp_path / "local.tif", drawn)
    good = write(tmp_path / "good.tif", drawn, crs="EPSG:32654", transform=IN_UTM)
    code, answers, err = detect(capsys, local, good)
    assert (code, len(answers)) == (1, 1)
    (line,) = [line for line in err.splitlines() if "local.tif" in line]
    assert "[crs] local of the site file (--site-file)" in line
    site = tmp_path / "bench.toml"
    site.write_text(SITE)
    code, _, err = detect(capsys, local, "--site-file", site)
    assert (code, "[crs] local of the site file (--site-file)" in " ".join(err.split())) == (1, True)
    site.write_text(SITE + CRS.replace("32654", "99999"))
    code, _, err = detect(capsys, local, "--site-file", site)
    assert (code, "EPSG:99999 is no coordinate reference system" in " ".join(err.split())) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('into = "EPSG:32654", affine = [1, 2, 0, 2, 4, 0]', "a e - b d not 0"),
        ('into = "UTM 54", affine = [1, 0, 0, 0, 1, 0]', "crs.local.into"),
        ('into = "EPSG:32654", affine = [1, 0, 0, 0, 1]', "crs.local.affine"),
    ],
)
def test_an_affine_that_cannot_be_meant_is_refused_with_its_key(words, said):
    with pytest.raises(ConfigError, match=said):
        parse_site(SITE + f"[crs]\nlocal = {{ {words} }}\n", "bench.toml")


@pytest.mark.soak
def test_the_watched_folder_places_compares_and_goes_on(tmp_path, database, database_url, monkeypatch, drawn):
    work_here(monkeypatch)
    monkeypatch.setattr(inbox, "SETTLED_S", 0.0)
    config = make_config(tmp_path, database_url)
    site = add_site(database, SITE + CRS)
    folder = Path(config.paths.inbox) / "bench"
    write(folder / "a.tif", drawn, 6)
    inbox.run(database, config, site, may(7))
    write(folder / "b.tif", drawn, 8)
    inbox.run(database, config, site, may(9))
    with database.read() as c:
        rows = {row.name: row for row in load_scenes(c, "bench")}
        g = scene_footprint.c
        found = c.execute(select(g.change, g.min_lon, g.min_lat, g.scene_hash)).all()
    assert {row.state for row in rows.values()} == {"done"}, [row.error for row in rows.values()]
    assert {r.change for r in found if r.scene_hash == rows["a.tif"].scene_hash} == {"single"}
    assert {r.change for r in found if r.scene_hash == rows["b.tif"].scene_hash} == {"known"}
    assert all(141.9 < r.min_lon < 142.0 and 42.6 < r.min_lat < 42.8 for r in found)
    (compared,) = rows["b.tif"].run["change"]["compared"]
    assert compared["shift_px"]["columns"] == compared["shift_px"]["rows"] == 0.0
    assert compared["cautions"] == []


@pytest.mark.soak
def test_the_verb_that_compares_places_them(tmp_path, capsys, drawn):
    site = tmp_path / "bench.toml"
    site.write_text(SITE + CRS)
    one, other = (write(tmp_path / f"{day}.tif", drawn, day) for day in (6, 8))
    words = ["scenes", "compare", "--model", "generated", str(one), str(other), "--json"]
    assert (run_command(words), "[crs] local of the site file (--site-file)" in capsys.readouterr().err) == (1, True)
    assert run_command([*words, "--site-file", str(site)]) == 0
    before, after = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert before["footprints"]
    assert {found["change"] for found in after["footprints"]} == {"known"}
    assert after["footprints"][0]["bbox"][0] == pytest.approx(141.95, abs=0.05)

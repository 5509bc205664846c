"""Differences of surfaces, as a person asks for them."""

import json

import numpy as np
import pytest

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from monitor.cli.main import run_verb
from tests.data.drawn_scenes import SITE
from tests.data.surveys.rasters import AT_MINE, COLOURS, CRS, MINE, write_raster

SIZE = 96


def test_dod_tells_volumes(tmp_path, capsys):
    grid = grid_around(8.9, 46.2, 100, 2.0)
    rng = np.random.default_rng(1)
    ground = 300 + rng.normal(0, 0.05, (100, 100))
    dug = ground.copy()
    dug[40:60, 40:60] -= 4.0
    for name, heights in (("old", ground), ("new", dug + 0.2)):
        write_geotiff(tmp_path / f"{name}.tif", heights[None].astype(np.float32), grid)
    write_geotiff(tmp_path / "stable.tif", (dug == ground)[None].astype(np.uint8), grid)
    files = [str(tmp_path / f"{name}.tif") for name in ("old", "new")]
    named = ["--stable", str(tmp_path / "stable.tif")]  # else the shift of 0.2 m could be movement, and stays
    assert run_verb(["scenes", "dod", *files, *named, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["loss"]["volume_m3"], found["gain"]["bodies"]) == (pytest.approx(4 * 40 * 40, rel=0.01), 0)
    assert run_verb(["scenes", "dod", *files, *named]) == 0
    assert "loss: 6,4" in capsys.readouterr().out
    write_geotiff(tmp_path / "far.tif", ground[None].astype(np.float32), grid_around(10.9, 46.2, 100, 2.0))
    assert run_verb(["scenes", "dod", str(tmp_path / "far.tif"), files[1]]) == 4


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    assert run_verb(["scenes", "dod", str(tmp_path / "none.tif"), str(tmp_path / "none.tif")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_surfaces_in_a_mines_own_grid_are_placed(tmp_path, capsys):
    site = tmp_path / "bench.toml"
    site.write_text(SITE + CRS)
    heights = np.random.default_rng(0).normal(300, 0.05, (2, SIZE, SIZE)).astype(np.float32)
    heights[1, 20:40, 20:40] -= 3
    surfaces = [
        write_raster(
            tmp_path / f"h{k}.tif",
            one[None].repeat(3, axis=0),
            COLOURS,
            "2026-05-06T00:00:00Z",
            crs=MINE,
            transform=AT_MINE,
            nodata=0,
        )
        for k, one in enumerate(heights)
    ]
    words = ["scenes", "dod", *map(str, surfaces), "--json"]
    assert run_verb(words) == 1
    assert "(--site)" in capsys.readouterr().err
    assert run_verb([*words, "--site", str(site)]) == 0
    assert json.loads(capsys.readouterr().out)["loss"]["area_m2"] == pytest.approx(400 * 99.99, rel=0.1)

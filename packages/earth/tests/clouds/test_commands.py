"""The verbs of point clouds as a person calls them: heights, then volumes; distances; and what each refusal costs."""

import json

import numpy as np
import pytest

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from monitor.cli.main import run_command
from tests.data.drawn_scenes import SITE
from tests.data.surveys.clouds import draw, write_cloud
from tests.data.surveys.rasters import AT_MINE, COLOURS, CRS, MINE, write_raster


def test_from_two_clouds_to_volumes_and_distances(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("monitor.cli.session.PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr("monitor.cli.session.shows_progress", lambda: True)
    rng = np.random.default_rng(4)
    for name, depth in (("old", 0.0), ("new", -0.3)):
        folder = tmp_path / name
        folder.mkdir()
        points = draw(
            rng, side_m=24.0, per_m2=15, raised=lambda x, y, d=depth: np.where(np.hypot(x - 12, y - 12) < 5, d, 0)
        )
        write_cloud(folder / "flight.laz", points[0])
    old, new = str(tmp_path / "old"), str(tmp_path / "new" / "flight.laz")
    grid = ["scenes", "clouds", "grid", "--ground", "all", "--out"]
    assert run_command([*grid, str(tmp_path / "old.tif"), old, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ground_rule"] == "all"
    assert run_command([*grid, str(tmp_path / "new.tif"), new, "--like", str(tmp_path / "old.tif")]) == 0
    told = capsys.readouterr()
    assert "points/m²" in told.out
    assert "points 100%\nheights 100%\n" in told.err
    surfaces = [str(tmp_path / "old.tif"), str(tmp_path / "new.tif")]
    assert run_command(["scenes", "dod", *surfaces, "--mmu", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sigma_from"] == "cells"
    assert abs(told["loss"]["volume_m3"] - np.pi * 25 * 0.3) < 2
    assert (
        run_command(["scenes", "clouds", "compare", old, new, "--ground", "all", "--out", str(tmp_path / "moved")]) == 0
    )
    shown = capsys.readouterr()
    assert "loss: " in shown.out
    assert "distances 100%" in shown.err
    assert "level of detection 0.0" in shown.out
    assert "INFO" not in shown.out + shown.err
    assert (tmp_path / "moved" / "m3c2.tif").is_file()


def test_refusals_are_one_line_with_their_status(tmp_path, capsys):
    points = draw(np.random.default_rng(1), per_m2=2)[0]
    noise = write_cloud(tmp_path / "noise.las", points, kind=np.full(len(points), 7, np.uint8))
    (tmp_path / "cut.laz").write_bytes(write_cloud(tmp_path / "a.laz", points).read_bytes()[:3000])
    (tmp_path / "none").mkdir()
    out = ["--out", str(tmp_path / "x.tif")]
    for cloud, status in ((noise, 4), (tmp_path / "cut.laz", 1), (tmp_path / "none", 1), (tmp_path / "gone.las", 1)):
        assert run_command(["scenes", "clouds", "grid", str(cloud), *out]) == status
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert str(cloud) in err
    assert run_command(["scenes", "clouds", "compare", str(noise), str(tmp_path / "a.laz")]) == 4
    assert not (tmp_path / "x.tif").exists()


# ---- differences of surfaces, as a person asks for them -------------------------------------------------------------
SIZE = 96


def test_dod_tells_volumes(tmp_path, capsys):
    grid = grid_around(8.9, 46.2, 100, 2.0)
    ground = 300 + np.random.default_rng(1).normal(0, 0.05, (100, 100))
    dug = ground.copy()
    dug[40:60, 40:60] -= 4.0
    for name, heights in (("old", ground), ("new", dug + 0.2)):
        write_geotiff(tmp_path / f"{name}.tif", heights[None].astype(np.float32), grid)
    write_geotiff(tmp_path / "stable.tif", (dug == ground)[None].astype(np.uint8), grid)
    files = [str(tmp_path / f"{name}.tif") for name in ("old", "new")]
    named = ["--stable", str(tmp_path / "stable.tif")]  # else the shift of 0.2 m could be movement, and stays
    assert run_command(["scenes", "dod", *files, *named, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["loss"]["volume_m3"], found["gain"]["bodies"]) == (pytest.approx(4 * 40 * 40, rel=0.01), 0)
    assert (run_command(["scenes", "dod", *files, *named]), "loss: 6,4" in capsys.readouterr().out) == (0, True)
    write_geotiff(tmp_path / "far.tif", ground[None].astype(np.float32), grid_around(10.9, 46.2, 100, 2.0))
    assert run_command(["scenes", "dod", str(tmp_path / "far.tif"), files[1]]) == 4


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    assert run_command(["scenes", "dod", str(tmp_path / "none.tif"), str(tmp_path / "none.tif")]) == 1
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
    assert (run_command(words), "(--site-file)" in capsys.readouterr().err) == (1, True)
    assert run_command([*words, "--site-file", str(site)]) == 0
    assert json.loads(capsys.readouterr().out)["loss"]["area_m2"] == pytest.approx(400 * 99.99, rel=0.1)

"""`scenes detect --pre`: one scene and the one before it, as a person calls it: words, files, exit statuses."""

import json
import shutil

import numpy as np
import pytest
import rasterio

from monitor.cli.main import run_verb
from tests.data.drawn_scenes import draw_dates


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    """One ground without a scar, with one, with a larger one; and one of no valid pixel."""
    folder = tmp_path_factory.mktemp("dates")
    draw_dates(folder, {"bare": (7, None), "scar": (12, 1.0), "larger": (17, 1.6), "healed": (22, None)})
    empty = folder / "empty"
    shutil.copytree(folder / "bare", empty)
    manifest = (empty / "scene.toml").read_text().split("[files]")[0]
    (empty / "scene.toml").write_text(f"complete = true\n{manifest.replace('2026-05-07', '2026-05-08')}")
    for file in empty.glob("B*.tif"):
        with rasterio.open(file, "r+") as raster:
            raster.write(np.zeros_like(raster.read(1)), 1)
    return folder


def detect(dates, out, scene, pre, *more):
    words = ["--pre", str(dates / pre), "--out", str(out), *more]
    return run_verb(["scenes", "detect", "--model", "generated", str(dates / scene), *words])


@pytest.mark.parametrize(("scene", "pre", "words"), [("larger", "scar", "grown"), ("healed", "larger", "vanished")])
def test_what_changed_is_told_and_written(dates, tmp_path, capsys, scene, pre, words):
    assert detect(dates, tmp_path, scene, pre) == 0
    out = capsys.readouterr()
    assert f"since the scene before: 1 {words} (" in out.out
    assert "100.0% compared" in out.out
    assert "one date only" not in out.err
    assert detect(dates, tmp_path, scene, pre, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    change = told["change"]
    found = [w["change"] for w in change["changes"].values()] + [v["change"] for v in change["vanished"]]
    assert found == [words]
    assert all((tmp_path / name).is_file() for name in ("change.tif", "change.png"))
    assert set(change["outputs"]) == {"change", "outlines", "picture"}
    (feature,) = json.loads((tmp_path / "change.geojson").read_text())["features"]
    assert feature["properties"]["change"] == words
    assert feature["geometry"]["type"] in {"Polygon", "MultiPolygon"}
    if words == "grown":
        (word,) = change["changes"].values()
        assert 0 < word["grown_m2"] < told["polygons"][0]["area_m2"]
        assert word["caution"] is None
        assert feature["properties"]["grown_m2"] == word["grown_m2"]
        before = json.loads((tmp_path / "pre" / "run.json").read_text())["polygons"]
        assert word["parent_id"] == before[0]["polygon_id"]


def test_the_given_elevation_gates_change_on_flat_ground(dates, tmp_path, capsys):
    bare = tmp_path / "scar"  # without heights of its own
    shutil.copytree(dates / "scar", bare)
    text = (bare / "scene.toml").read_text().split("[files]")[0].replace('dem = "dem.tif"\n', "")
    (bare / "scene.toml").write_text(f"complete = true\n{text}")
    with rasterio.open(bare / "dem.tif", "r+") as raster:
        raster.write(np.full_like(raster.read(1), 250.0), 1)
    words = f"scenes detect --model generated {bare} --pre {dates}/bare --out {tmp_path}/out --json".split()
    assert run_verb([*words, "--dem", str(bare / "dem.tif")]) == 0
    (word,) = json.loads(capsys.readouterr().out)["change"]["changes"].values()
    assert (word["change"], word["caution"]) == ("new", "flat ground (0 degrees)")


def test_statuses_when_the_scene_before_does_not_serve(dates, tmp_path, capsys):
    assert detect(dates, tmp_path / "order", "scar", "larger") == 1
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "taken 2026-05-17 00:00, not before" in said
    assert not (tmp_path / "order").exists(), "nothing is written"
    assert detect(dates, tmp_path / "none", "scar", "nowhere") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert detect(dates, tmp_path / "empty", "scar", "empty", "--json") == 4
    out = capsys.readouterr()
    assert "nothing to compare with" in out.err
    told = json.loads(out.out)
    assert (len(told["polygons"]), told["change"]) == (1, None), "what the scene itself shows is told all the same"
    assert detect(dates, tmp_path / "other", "empty", "bare") == 4
    assert "no pixel" not in capsys.readouterr().out


def test_a_block_of_the_scene_before_that_cannot_be_read_is_status_3(dates, tmp_path, monkeypatch, capsys):
    from detection.imagery.footprints import detect as detecting

    whole = detecting.detect

    def partly(options, *more):
        return whole(options, *more) | ({"unreadable_share": 0.2} if options.scene_path.name == "bare" else {})

    monkeypatch.setattr(detecting, "detect", partly)
    assert detect(dates, tmp_path / "partly", "scar", "bare", "--partial", "--json") == 3
    assert json.loads(capsys.readouterr().out)["change"]["changes"]

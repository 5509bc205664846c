"""The verbs that look at several dates, as a person calls them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from detection.imagery.change.histogram_match import match_scene
from detection.imagery.scene.scene import read_scene
from monitor.cli.main import run_verb
from tests.data.drawn_scenes import draw_dates


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    return draw_dates(tmp_path_factory.mktemp("dates"), {"a": (7, None), "b": (12, 1.0), "c": (17, 1.6)})


def test_compare_puts_dates_in_order_and_shows_the_index_beside_the_network(dates, tmp_path, capsys):
    paths = [str(dates / name) for name in ("c", "a", "b")]
    words = ["scenes", "compare", "--model", "generated", *paths, "--out", str(tmp_path)]
    assert run_verb([*words, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t["acquired_at"][:10] for t in told] == ["2026-05-07", "2026-05-12", "2026-05-17"]
    assert [[p["change"] for p in t["footprints"]] for t in told] == [[], ["new"], ["grown"]]
    assert (tmp_path / "2-20260517T000000" / "change.png").is_file()
    first, second, _ = told
    assert first["by_index"] is None
    by_index = second["by_index"]
    assert (by_index["model"], by_index["network_alone"], second["model"]) == ("index", [], "generated")
    (found,) = by_index["footprints"]
    assert (found["also_by_network"], found["change"], found["class"]) == (True, "new", "landslide")
    assert "as advice" in found["caution"]
    assert 0 < by_index["limit"] < 0.4
    files = second["outputs"]
    kept = [json.loads(Path(files[name]).read_text())["features"][0] for name in ("outlines", "index_outlines")]
    assert [one["id"] for one in kept] == [second["footprints"][0]["polygon_id"], found["polygon_id"]]
    assert run_verb(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("2026-05-12: generated: 1 new")
    assert lines[2].startswith("2026-05-12: by the index of red and green, as advice: 1 barer (")
    assert "), 0 of them not found by the network; 0 new or grown found by the network alone; rise of " in lines[2]
    pre = ["scenes", "detect", "--model", "generated", paths[2], "--pre", paths[1], "--out", str(tmp_path / "pair")]
    assert run_verb(pre) == 0
    assert "by the index of red and green, as advice: 1 barer" in capsys.readouterr().out


def test_one_date_that_fits_no_network_takes_it_from_no_other(dates, tmp_path, capsys, monkeypatch):
    from detection.imagery.footprints import detect

    def refuse(name):
        """Let no network fit the date of this name."""
        run = detect.detect

        def read(options, *args):
            return run(replace(options, weights="index" if options.scene_path.name == name else "generated"), *args)

        monkeypatch.setattr(detect, "detect", read)

    refuse("b")
    paths = [str(dates / name) for name in ("a", "b", "c")]
    assert run_verb(["scenes", "compare", *paths, "--out", str(tmp_path / "o"), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["model"] for one in told] == ["generated", "index", "generated"]
    assert [[p["change"] for p in one["footprints"]] for one in told] == [[], ["new"], ["new"]]
    assert told[2]["compared"][0]["acquired_at"].startswith("2026-05-07"), "the date before that a network read"
    assert told[2]["by_index"]["compared"][0]["acquired_at"].startswith("2026-05-12"), "the index needs no network"
    pre = ["scenes", "detect", paths[2], "--pre", paths[1], "--out", str(tmp_path / "pair"), "--json"]
    assert run_verb(pre) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"] == "generated"
    assert [word["change"] for word in answer["change"]["changes"].values()] == ["single"]
    assert answer["change"]["by_index"]["footprints"]


def test_without_a_network_change_of_an_index_goes_on_alone_as_advice(dates, tmp_path, capsys):
    paths = [str(dates / name) for name in ("b", "a")]
    assert run_verb(["scenes", "compare", "--model", "index", *paths, "--out", str(tmp_path), "--json"]) == 0
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["model"], first["footprints"]) == ("index", [])
    (found,) = second["footprints"]
    assert (found["change"], found["caution"]) == ("new", "no network was used")
    assert second["pixels"]["new_m2"] == pytest.approx(found["area_m2"])
    words = f"scenes detect --model index {paths[0]} --pre {paths[1]} --out {tmp_path}/o --json".split()
    assert run_verb(words) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert [one["polygon_id"] for one in answer["polygons"]] == [found["polygon_id"]]
    assert "no network was used; change of an index between dates goes on alone, as advice" in said.err
    features = json.loads((tmp_path / "o" / "change.geojson").read_text())["features"]
    assert [one["properties"]["change"] for one in features] == ["new"]
    assert run_verb([*words[:4], paths[1]]) == 4


def test_match_lays_a_dimmed_image_on_the_newer_one(dates, tmp_path, capsys):
    dim = tmp_path / "dim"
    shutil.copytree(dates / "a", dim)
    text = (dim / "scene.toml").read_text().split("[files]")[0]
    (dim / "scene.toml").write_text("complete = true\n" + text)
    for file in dim.glob("B*.tif"):
        with rasterio.open(file, "r+") as raster:
            raster.write((raster.read(1) * 0.5 + 40).astype(np.uint16), 1)
    matched, factors = match_scene(read_scene(dim), read_scene(dates / "b"), tmp_path / "matched")
    assert factors["B4"]["gain"] == pytest.approx(2.0, rel=0.1)  # the scar itself lies in the upper percentile
    with rasterio.open(matched / "B4.tif") as one, rasterio.open(dates / "a" / "B4.tif") as other:
        assert float(np.abs(one.read(1).astype(float) - other.read(1)).mean()) < 0.05 * float(other.read(1).mean())
    assert run_verb(["scenes", "compare", "--model", "generated", str(dim), str(dates / "b"), "--match", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [p["change"] for p in told[1]["footprints"]] == ["new"]
    # the light was mended; whether it was the light or the season, the images say as they came
    assert told[1]["footprints"][0]["caution"].startswith("season or radiometry differs (medians of the bands by 1.8")
    assert told[0]["matched"]["B4"]["gain"] == factors["B4"]["gain"]


def test_wrong_input_is_one_line(dates, capsys):
    assert run_verb(["scenes", "compare", "--model", "generated", str(dates / "a")]) == 1
    assert capsys.readouterr().err.strip() == "compare needs two scenes at least"

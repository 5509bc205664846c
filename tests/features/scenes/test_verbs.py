"""The verbs that look at several dates, as a person calls them: words, files, exit statuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from monitor.cli.main import run_command
from tests.data.drawn_scenes import draw_dates


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    return draw_dates(tmp_path_factory.mktemp("dates"), {"a": (7, None), "b": (12, 1.0), "c": (17, 1.6)})


@pytest.mark.soak
def test_compare_puts_dates_in_order_and_shows_the_index_beside_the_network(dates, tmp_path, capsys):
    paths = [str(dates / name) for name in ("c", "a", "b")]
    words = ["scenes", "compare", "--model", "generated", *paths, "--out", str(tmp_path)]
    assert run_command([*words, "--json"]) == 0
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
    assert run_command(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("2026-05-12: generated: 1 new")
    assert lines[2].startswith("2026-05-12: by the index of red and green, as advice: 1 barer (")
    assert "), 0 of them not found by the network; 0 new or grown found by the network alone; rise of " in lines[2]
    pre = ["scenes", "detect", "--model", "generated", paths[2], "--pre", paths[1], "--out", str(tmp_path / "pair")]
    assert run_command(pre) == 0
    assert "by the index of red and green, as advice: 1 barer" in capsys.readouterr().out


@pytest.mark.soak
def test_footprints_of_several_scenes_stand_in_one_coco_file_in_pixels(dates, tmp_path, capsys):
    kept, scenes = tmp_path / "found.json", [str(dates / name) for name in ("a", "b", "c")]
    words = ["scenes", "detect", "--model", "generated", *scenes, "--coco", str(kept), "--json"]
    assert run_command(words) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["outputs"] for one in answers] == [{}, {}, {}], "nothing but the file is kept"
    told = json.loads(kept.read_text())
    assert [(one["file_name"], one["width"], one["height"]) for one in told["images"]] == [
        (one["scene"], one["width"], one["height"]) for one in answers
    ]
    boxes = {p["polygon_id"]: p["box_px"] for one in answers for p in one["polygons"]}
    assert {one["polygon_id"]: one["bbox"] for one in told["annotations"]} == boxes != {}
    # with the other files the same, and the boxes hold what the mask has
    assert run_command([*words, "--out", str(tmp_path / "o")]) == 0
    assert json.loads(kept.read_text()) == told
    for image in told["images"]:
        with rasterio.open(tmp_path / "o" / Path(image["file_name"]).name / "mask.tif") as source:
            mask = source.read(1) == 1
        for left, top, width, height in (a["bbox"] for a in told["annotations"] if a["image_id"] == image["id"]):
            assert mask[int(top) : int(top + height), int(left) : int(left + width)].any()
    capsys.readouterr()
    assert run_command([*words[:4], scenes[1], "--coco", str(tmp_path / "other.json"), "--resample-to", "20"]) == 1
    assert "found on other pixels than those of the image" in capsys.readouterr().err
    assert not (tmp_path / "other.json").exists()
    assert run_command([*words[:4], scenes[1], "--coco", str(tmp_path / "no" / "found.json")]) == 2


@pytest.mark.soak
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
    assert run_command(["scenes", "compare", *paths, "--out", str(tmp_path / "o"), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["model"] for one in told] == ["generated", "index", "generated"]
    assert [[p["change"] for p in one["footprints"]] for one in told] == [[], ["new"], ["new"]]
    assert told[2]["compared"][0]["acquired_at"].startswith("2026-05-07"), "the date before that a network read"
    assert told[2]["by_index"]["compared"][0]["acquired_at"].startswith("2026-05-12"), "the index needs no network"
    assert (
        run_command(["scenes", "detect", paths[2], "--pre", paths[1], "--out", str(tmp_path / "pair"), "--json"]) == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"] == "generated"
    assert [word["change"] for word in answer["change"]["changes"].values()] == ["single"]
    assert answer["change"]["by_index"]["footprints"]


@pytest.mark.soak
def test_without_a_network_change_of_an_index_goes_on_alone_as_advice(dates, tmp_path, capsys):
    paths = [str(dates / name) for name in ("b", "a")]
    assert run_command(["scenes", "compare", "--model", "index", *paths, "--out", str(tmp_path), "--json"]) == 0
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["model"], first["footprints"]) == ("index", [])
    (found,) = second["footprints"]
    assert (found["change"], found["caution"]) == ("new", "no network was used")
    assert second["pixels"]["new_m2"] == pytest.approx(found["area_m2"])
    words = f"scenes detect --model index {paths[0]} --pre {paths[1]} --out {tmp_path}/o --json".split()
    assert run_command(words) == 0
    said = capsys.readouterr()
    assert [one["polygon_id"] for one in json.loads(said.out)["polygons"]] == [found["polygon_id"]]
    assert "no network was used; change of an index between dates goes on alone, as advice" in said.err
    features = json.loads((tmp_path / "o" / "change.geojson").read_text())["features"]
    assert ([one["properties"]["change"] for one in features], run_command([*words[:4], paths[1]])) == (["new"], 4)


@pytest.mark.soak
def test_outlines_on_a_dimmed_image_are_advice_because_the_season_may_differ(dates, tmp_path, capsys):
    dim = tmp_path / "dim"
    shutil.copytree(dates / "a", dim)
    (dim / "scene.toml").write_text("complete = true\n" + (dim / "scene.toml").read_text().split("[files]")[0])
    for file in dim.glob("B*.tif"):
        with rasterio.open(file, "r+") as raster:
            raster.write((raster.read(1) * 0.5 + 40).astype(np.uint16), 1)
    assert run_command(["scenes", "compare", "--model", "generated", str(dim), str(dates / "b"), "--json"]) == 0
    later = json.loads(capsys.readouterr().out.splitlines()[1])
    assert later["footprints"]
    for footprint in later["footprints"]:
        assert "season or radiometry differs (medians of the bands by 1.8" in footprint["caution"]


def test_wrong_input_is_one_line(dates, capsys):
    assert run_command(["scenes", "compare", "--model", "generated", str(dates / "a")]) == 1
    assert capsys.readouterr().err.strip() == "compare needs two scenes at least"


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
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


def detect(stages, out, scene, pre, *more):
    words = ["--pre", str(stages / pre), "--out", str(out), *more]
    return run_command(["scenes", "detect", "--model", "generated", str(stages / scene), *words])


@pytest.fixture
def no_built_ground(monkeypatch):
    """The generated ground has roads beside its scars, which would make every outline advice."""
    monkeypatch.setattr("detection.imagery.scene.built_ground.LEAST_GREY_SHARE", 2.0)


@pytest.mark.one_case_in(2)
@pytest.mark.usefixtures("no_built_ground")
@pytest.mark.parametrize(("scene", "pre", "words"), [("larger", "scar", "grown"), ("healed", "larger", "vanished")])
def test_what_changed_is_told_and_written(stages, tmp_path, capsys, scene, pre, words):
    assert detect(stages, tmp_path, scene, pre) == 0
    out = capsys.readouterr()
    assert f"since the scene before: 1 {words} (" in out.out
    assert "100.0% compared" in out.out
    assert "one date only" not in out.err
    assert detect(stages, tmp_path, scene, pre, "--json") == 0
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


@pytest.mark.soak
def test_warnings_have_one_form_in_json_and_in_the_record(stages, tmp_path, capsys):
    assert detect(stages, tmp_path, "larger", "scar", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "run.json").read_text())
    (compared,) = answer["change"]["compared"]
    lists = [answer["warnings"], record["warnings"], answer["change"]["warnings"], compared["cautions"]]
    assert answer["warnings"]
    for warning in (warning for warnings in lists for warning in warnings):
        assert list(warning) == ["code", "text", "values"]
        assert warning["text"]
    assert answer["warnings"] == record["warnings"]
    assert "doubts" not in answer
    assert "doubts" not in record
    dates = [str(stages / name) for name in ("scar", "larger")]
    assert run_command(["scenes", "compare", "--model", "generated", *dates, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == 2
    for warning in (warning for one in answers for warning in one["warnings"]):
        assert list(warning) == ["code", "text", "values"]


@pytest.mark.soak
@pytest.mark.usefixtures("no_built_ground")
def test_the_given_elevation_gates_change_on_flat_ground(stages, tmp_path, capsys):
    bare = tmp_path / "scar"  # without heights of its own
    shutil.copytree(stages / "scar", bare)
    text = (bare / "scene.toml").read_text().split("[files]")[0].replace('dem = "dem.tif"\n', "")
    (bare / "scene.toml").write_text(f"complete = true\n{text}")
    with rasterio.open(bare / "dem.tif", "r+") as raster:
        raster.write(np.full_like(raster.read(1), 250.0), 1)
    words = f"scenes detect --model generated {bare} --pre {stages}/bare --out {tmp_path}/out --json".split()
    assert run_command([*words, "--dem", str(bare / "dem.tif")]) == 0
    (word,) = json.loads(capsys.readouterr().out)["change"]["changes"].values()
    assert (word["change"], word["caution"]) == ("new", "flat ground (0 degrees)")


@pytest.mark.soak
def test_statuses_when_the_scene_before_does_not_serve(stages, tmp_path, capsys):
    assert detect(stages, tmp_path / "order", "scar", "larger") == 1
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "taken 2026-05-17 00:00, not before" in said
    assert not (tmp_path / "order").exists(), "nothing is written"
    assert (detect(stages, tmp_path / "none", "scar", "nowhere"), capsys.readouterr().err.count("\n")) == (1, 1)
    assert detect(stages, tmp_path / "empty", "scar", "empty", "--json") == 4
    out = capsys.readouterr()
    assert "nothing to compare with" in out.err
    told = json.loads(out.out)
    assert (len(told["polygons"]), told["change"]) == (1, None), "what the scene itself shows is told all the same"
    assert (detect(stages, tmp_path / "other", "empty", "bare"), "no pixel" in capsys.readouterr().out) == (4, False)


@pytest.mark.soak
def test_a_block_of_the_scene_before_that_cannot_be_read_is_status_3(stages, tmp_path, monkeypatch, capsys):
    from detection.imagery.footprints import detect as detecting

    whole = detecting.detect

    def partly(options, *more):
        return whole(options, *more) | ({"unreadable_share": 0.2} if options.scene_path.name == "bare" else {})

    monkeypatch.setattr(detecting, "detect", partly)
    assert detect(stages, tmp_path / "partly", "scar", "bare", "--partial", "--json") == 3
    assert json.loads(capsys.readouterr().out)["change"]["changes"]

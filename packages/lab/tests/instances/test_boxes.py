"""Boxes of footprints: where they lie, how they are matched with a reference, and what the command refuses."""

import json

import numpy as np
import pytest
import shapely
from shapely.geometry import mapping, shape

from detection.imagery.data.generate import write_scene
from monitor.cli.main import run_command
from slopeward_lab.instances.boxes import compute_iou, match_instances, read_instances, summarise_matches

PLACE = (141.951, 42.7305)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A drawn scene with one scar, the footprints on it, and the outline of the scar."""
    folder = tmp_path_factory.mktemp("boxes")
    truth = write_scene(folder / "scene", 5, scar_lonlat=PLACE, size_px=96)
    words = f"scenes detect {folder / 'scene'} --model generated --out {folder / 'found'}"
    assert run_command(words.split()) == 0
    (folder / "reference.geojson").write_text(
        json.dumps(make_collection(*(scar["geometry"] for scar in truth["scars"])))
    )
    return folder


def make_collection(*geometries):
    features = [{"type": "Feature", "geometry": geometry, "properties": {}} for geometry in geometries]
    return {"type": "FeatureCollection", "features": features}


def run_boxes(capsys, *words):
    capsys.readouterr()
    assert run_command(["scenes", "boxes", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_box_surrounds_its_footprint(found, capsys):
    answer = run_boxes(capsys, found / "found")
    boxes = json.loads((found / "found" / "boxes.geojson").read_text())["features"]
    outlines = json.loads((found / "found" / "landslides.geojson").read_text())["features"]
    assert len(boxes) == len(outlines) == len(answer["instances"]) > 0
    outline_of = {item["properties"]["polygon_id"]: shape(item["geometry"]) for item in outlines}
    for box in boxes:
        outline = outline_of[box["id"]]
        # The pixels are north up within a degree here, so the box has nearly the bounds of the outline.
        np.testing.assert_allclose(shape(box["geometry"]).bounds, outline.bounds, atol=2e-4)
        left, top, width, height = box["properties"]["box_px"]
        assert 0 <= left < left + width <= 96
        assert 0 <= top < top + height <= 96
    scores = [instance["score"] for instance in answer["instances"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["score"] is None


def test_scar_of_the_reference_is_matched(found, capsys):
    score = run_boxes(capsys, found / "found", "--reference", found / "reference.geojson")["score"]
    assert (score["references"], score["left_out"]) == (1, 0)
    assert score["boxes"]["recall"] == score["outlines"]["recall"] == 1.0
    assert score["boxes"]["average_precision"] == 1.0
    assert score["boxes"]["precision"] == 1 / score["instances"]


def test_landslides_that_the_scene_does_not_show_are_left_out(found, capsys, tmp_path):
    (scar,) = json.loads((found / "reference.geojson").read_text())["features"]
    far_away = mapping(shapely.affinity.translate(shape(scar["geometry"]), 1.0))
    (tmp_path / "two.geojson").write_text(json.dumps(make_collection(scar["geometry"], far_away)))
    out = tmp_path / "own.geojson"
    score = run_boxes(capsys, found / "found", "--reference", tmp_path / "two.geojson", "--out", out)["score"]
    assert (score["references"], score["left_out"], score["boxes"]["recall"]) == (1, 1, 1.0)
    assert out.is_file()


def test_text_states_precision_and_recall(found, capsys):
    assert run_command(["scenes", "boxes", str(found / "found"), "--reference", str(found / "reference.geojson")]) == 0
    text = capsys.readouterr().out
    assert "1 landslides of the reference" in text
    assert "recall 1.000, average precision 1.000" in text


def test_each_landslide_is_matched_once_by_the_highest_score():
    ranked = match_instances([0.6, 0.9, 0.8], np.array([[0.9, 0.0], [0.7, 0.0], [0.0, 0.4]]))
    assert ranked == [(0.9, True), (0.8, False), (0.6, False)]
    assert summarise_matches(ranked, 2) == {
        "matched": 1,
        "precision": pytest.approx(1 / 3),
        "recall": 0.5,
        "average_precision": 0.5,
    }


def test_scores_without_instances_or_landslides_are_undefined():
    assert summarise_matches(match_instances([], np.zeros((0, 2))), 2) == {
        "matched": 0,
        "precision": None,
        "recall": 0.0,
        "average_precision": 0.0,
    }
    assert summarise_matches(match_instances([0.5], np.zeros((1, 0))), 0) == {
        "matched": 0,
        "precision": 0.0,
        "recall": None,
        "average_precision": None,
    }


def test_intersection_over_union_of_boxes():
    first = shapely.box([0, 10], [0, 10], [2, 12], [2, 12])
    second = shapely.box([1], [0], [3], [2])
    np.testing.assert_allclose(compute_iou(first, second), [[1 / 3], [0.0]])


def test_folder_without_a_result_is_refused_with_the_command_that_makes_one(tmp_path, capsys):
    assert run_command(["scenes", "boxes", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "slopeward scenes detect SCENE --out" in message
    assert message.count("\n") == 1


def test_scene_that_no_network_read_is_refused(found, tmp_path, capsys):
    assert run_command(["scenes", "detect", str(found / "scene"), "--model", "index", "--out", str(tmp_path)]) == 4
    capsys.readouterr()
    assert run_command(["scenes", "boxes", str(tmp_path)]) == 1
    assert "no network read this scene" in capsys.readouterr().err


def test_reference_without_outlines_is_refused(found, tmp_path, capsys):
    points = make_collection({"type": "Point", "coordinates": list(PLACE)})
    (tmp_path / "points.geojson").write_text(json.dumps(points))
    words = ["scenes", "boxes", str(found / "found"), "--reference", str(tmp_path / "points.geojson")]
    assert run_command(words) == 1
    assert "no outline in it" in capsys.readouterr().err


def test_unwritable_file_is_one_line(found, tmp_path, capsys):
    out = tmp_path / "missing" / "boxes.geojson"
    assert run_command(["scenes", "boxes", str(found / "found"), "--out", str(out)]) == 1
    assert "cannot write the boxes" in capsys.readouterr().err


def test_scene_without_coordinates_has_boxes_in_pixels(found, tmp_path):
    assert read_instances(found / "found").grid.placed
    record = json.loads((found / "found" / "run.json").read_text())
    for item in record["polygons"]:
        item["geometry"] = mapping(shapely.box(3, 4, 8, 6))
    record["crs"] = "pixels"
    (tmp_path / "run.json").write_text(json.dumps(record))
    for name in record["outputs"].values():
        if isinstance(name, str):
            (tmp_path / name).write_bytes((found / "found" / name).read_bytes())
    scene = read_instances(tmp_path)
    assert scene.instances[0].box_px == (3.0, 4.0, 5.0, 2.0)
    assert shape(scene.instances[0].geometry).bounds == (3.0, 4.0, 8.0, 6.0)

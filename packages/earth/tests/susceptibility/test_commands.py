"""From a study file to a map, and below the footprints of a scene: the verbs as a person calls them."""

import json
from importlib.util import find_spec

import pytest

from monitor.cli.main import run_command
from packages.earth.tests.data.landscape import draw

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed (extra compare)")


@pytest.mark.soak
def test_a_person_trains_draws_and_lays_the_map_below_footprints(tmp_path, monkeypatch, capsys):
    from detection.imagery.data.generate import write_scene

    draw(tmp_path, seed=6, size=90)
    monkeypatch.chdir(tmp_path)
    train = ["scenes", "susceptibility", "train", "study.toml", "--learners", "logistic", "--out", "model.json"]
    assert run_command(train) == 0
    assert "AUC on left-out blocks" in capsys.readouterr().out
    draw_map = ["scenes", "susceptibility", "map", "study.toml", "--model", "model.json", "--out", "map", "--json"]
    assert run_command(draw_map) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["known_share"], json.loads((tmp_path / "map/map.json").read_text())) == (1, record)
    assert record["peak_memory_mib"] > 50
    write_scene(tmp_path / "scene", 7, center_lon=12.0, center_lat=46.0, size_px=96)
    detect = ["scenes", "detect", "--model", "generated", "scene", "--out", "found", "--json"]
    assert run_command([*detect, "--prior", "map/susceptibility.tif"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["prior"]["sha256"], found["prior"]["model_hash"]) == (record["sha256"], record["model_hash"])
    assert [one for one in found["polygons"] if 0 < one["prior"] < 1]
    # another map is another result of the same scene
    assert run_command([*detect]) == 0
    without = json.loads(capsys.readouterr().out)
    assert without["prior"] is None
    assert without["scene_hash"] == found["scene_hash"]


def test_wrong_use_is_status_2_and_what_is_missing_one_line(tmp_path, monkeypatch, capsys):
    draw(tmp_path, seed=6, size=90)
    monkeypatch.chdir(tmp_path)
    train = ["scenes", "susceptibility", "train", "study.toml", "--out", "model.json"]
    for more in (["--learners", "oracle"], ["--classes", "luck"], ["--out", "model.pkl"], ["--block-m", "0"]):
        assert run_command([*train, *more]) == 2
    assert run_command(["scenes", "susceptibility", "train", "gone.toml", "--out", "model.json"]) == 1
    assert run_command(["scenes", "susceptibility", "map", "study.toml", "--model", "gone.json", "--out", "map"]) == 1

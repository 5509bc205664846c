"""The verbs of point clouds as a person calls them: heights, then volumes; distances; and what each refusal costs."""

import json

import numpy as np

from monitor.cli.main import run_verb
from tests.data.surveys.clouds import draw, write_cloud


def test_from_two_clouds_to_volumes_and_distances(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("monitor.cli.session.PROGRESS_EVERY_S", 0.0)
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
    assert run_verb([*grid, str(tmp_path / "old.tif"), old, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ground_rule"] == "all"
    assert run_verb([*grid, str(tmp_path / "new.tif"), new, "--like", str(tmp_path / "old.tif")]) == 0
    told = capsys.readouterr()
    assert "points/m²" in told.out
    assert "points 100%\nheights 100%\n" in told.err
    surfaces = [str(tmp_path / "old.tif"), str(tmp_path / "new.tif")]
    assert run_verb(["scenes", "dod", *surfaces, "--mmu", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sigma_from"] == "cells"
    assert abs(told["loss"]["volume_m3"] - np.pi * 25 * 0.3) < 2
    assert run_verb(["scenes", "clouds", "compare", old, new, "--ground", "all", "--out", str(tmp_path / "moved")]) == 0
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
        assert run_verb(["scenes", "clouds", "grid", str(cloud), *out]) == status
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert str(cloud) in err
    assert run_verb(["scenes", "clouds", "compare", str(noise), str(tmp_path / "a.laz")]) == 4
    assert not (tmp_path / "x.tif").exists()

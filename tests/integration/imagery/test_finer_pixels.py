"""A scene finer than every network knows: `auto` reads it on the pixels of a training, and says so."""

import json

import numpy as np
import pytest

from detection.imagery.errors import DomainError, FinerError, UnfitError
from detection.imagery.footprints import choose
from detection.imagery.footprints.choose import WeightsAttempt, choose_weights
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.records import INDEX
from monitor.cli.main import run_verb
from tests.data.asked_detection import detect
from tests.data.surveys.fine_scene import write_fine


def run(capsys, *words):
    code = run_verb(["scenes", "detect", *map(str, words)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


@pytest.mark.turns
@pytest.mark.parametrize(("pixel_m", "how"), [(2.5, {}), (0.5, {}), (2.5, {"degrees": True}), (0.5, {"oblong": 4.0})])
def test_it_is_read_at_the_pixels_of_a_training_and_marked(tmp_path, capsys, pixel_m, how):
    path, out = write_fine(tmp_path / "fine.tif", pixel_m, **how), tmp_path / "out"
    code, told, said = run(capsys, path, "--out", out, "--threshold", "0.3")
    kept = json.loads((out / "run.json").read_text())
    has_m = kept["coarser_than_m"]
    assert has_m == pytest.approx(pixel_m * how.get("oblong", 1.0) ** 0.5, rel=0.2)
    line = f"read coarser: at 10 m, the scene has {has_m:.3g} m"
    assert code == 0
    assert f"read by landslide4sense-standard, {line}" in told
    assert said.count(line) == 1
    assert "resampled to" not in said
    answer = detect({"scene_path": str(path), "out_dir": str(out), "threshold": 0.3})  # what was kept
    assert (answer["resample_to_m"], answer["named"], answer["doubts"]) == (10.0, False, [line])
    assert [one["caution"] for one in answer["polygons"]] == [line] * len(answer["polygons"])
    assert answer["polygons"]
    # whoever names weights and pixels has asked for it: that is no doubt
    asked = {"weights": "landslide4sense-standard", "resample_to_m": 10.0, "threshold": 0.3}
    named = detect({"scene_path": str(path), **asked})
    assert (named["doubts"], named["coarser_than_m"]) == ([], None)
    assert [one["geometry"] for one in named["polygons"]] == [one["geometry"] for one in answer["polygons"]]


def test_where_it_cannot_the_commands_stand_there_to_copy(tmp_path, capsys):
    folder = tmp_path / "a place"
    folder.mkdir()
    path = write_fine(folder / "small.tif", 0.5, size_px=24)
    detecting = f"slopeward scenes detect '{path}' --model landslide4sense-standard --resample-to 10"
    learning = f"slopeward scenes learn '{folder}' --outlines FILE"
    code, _, said = run(capsys, path, "--model", "landslide4sense-standard")
    assert code == 1
    assert detecting in said
    assert learning in said
    assert run(capsys, *detecting.replace(f"'{path}'", "PATH").split()[3:][1:], path)[0] == 0
    code, _, said = run(capsys, path, "--dry-run")
    assert f"{learning} learns a network for such pixels" in said
    assert "24 x 24 pixels are too few" in said


@pytest.mark.parametrize("seed", range(20))
def test_the_least_coarse_reading_that_fits_is_taken(tmp_path, monkeypatch, seed):
    """Each of weights is tried on the scene's own pixels; then those too coarse for it, the finest pixels first."""
    chance = np.random.default_rng(seed)
    names = [f"w{number}" for number in range(4)]
    monkeypatch.setattr(choose, "SHIPPED", tuple(names[2:]))
    trained_m = dict(zip(names, chance.choice([0.2, 1.2, 3.0, 10.0], 4).tolist(), strict=True))
    fails = {name: chance.choice(["finer", "other", "reads"], p=[0.6, 0.3, 0.1]) for name in names}
    fits = {name: bool(chance.random() < 0.4) for name in names}
    tried = []

    def attempt(one: WeightsAttempt):
        tried.append((one.weights, one.coarser_m))
        if one.weights == INDEX or (one.coarser_m is not None and fits[one.weights]):
            return one
        if one.coarser_m is None and fails[one.weights] == "reads":
            return one
        if one.coarser_m is None and fails[one.weights] == "finer":
            raise FinerError("too fine", trained_m[one.weights])
        raise (UnfitError if seed % 2 else DomainError)("unlike")

    options = DetectionOptions(tmp_path / "x.tif", own=tuple(names[:2]))
    found = choose_weights(options, attempt)
    native = next((name for name in names if fails[name] == "reads"), None)
    coarser = sorted((trained_m[name], names.index(name)) for name in names if fails[name] == "finer" and fits[name])
    if native is not None:
        assert (found.weights, found.coarser_m) == (native, None)
    elif coarser:
        assert (found.weights, found.coarser_m) == (names[coarser[0][1]], coarser[0][0])
        assert found.apply_to(options).resample_to_m == coarser[0][0]
    else:
        assert found.weights == INDEX
        assert sum(bool(one.mend) for one in found.refused) == ("finer" in fails.values())
    assert len(set(tried)) == len(tried)
    # asked for pixels of their own, nothing else is tried
    if native is None:
        assert (
            choose_weights(
                DetectionOptions(tmp_path / "x.tif", own=tuple(names[:2]), resample_to_m=5.0), attempt
            ).weights
            == INDEX
        )

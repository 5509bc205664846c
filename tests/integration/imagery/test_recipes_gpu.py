"""The way from recipes to weights that are shipped or not, on drawn tiles; and the rule that decides."""

import json
from dataclasses import replace

import pytest
import torch

from detection.imagery.errors import RecipeError
from tests.bench.imagery import bench_imagery, bench_recipes_gpu
from tests.bench.imagery.bench_recipes_gpu import Opened, find_objections, main, smoke_plan

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_the_whole_way_on_the_processor_and_again_without_training(tmp_path, monkeypatch, capsys):
    assert main(["--smoke", "--kept", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "smoke.json").read_text())["drawn"]
    assert found["teacher"] in found["teachers"]
    assert {len(one["f1"]) for one in found["teachers"].values()} == {2}
    assert {"plain", "offset of 1000 counts", "size x 2"} < set(found["stretches"])
    assert found["verdict"] == "do not ship"  # after one pass
    assert "not better than logistic regression" in capsys.readouterr().out
    cards = [json.loads(path.read_text()) for path in (tmp_path / "drawn").glob("student-*.json")]
    assert [len(card["taught_by"]) for card in cards] == [2, 2]
    assert not list(tmp_path.rglob("*.place"))
    monkeypatch.setattr(bench_recipes_gpu, "run_recipe", None)
    (tmp_path / "smoke.json").unlink()
    assert main(["--smoke", "--kept", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "smoke.json").read_text())["drawn"] == found


def test_without_an_accelerator_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_shipped_is_what_is_better_and_steady():
    better, alike, worse = ({"interval": list(pair)} for pair in ((0.01, 0.05), (-0.01, 0.02), (-0.05, -0.01)))

    def made(mb=4.3, plain=better, moved=0.77, beside=better, shipped=alike, moved_seed=0.79):
        stretches = {
            "plain": {"f1": 0.8, "less_logistic": plain}, "size x 2": {"f1": moved, "less_logistic": beside},
        }  # fmt: skip
        return {"student": {"mb": mb, "f1": [0.8, moved_seed]}, "stretches": stretches, "less_shipped": shipped}

    plan, unknown = replace(smoke_plan(), shipped="bijie"), {"interval": None}

    assert find_objections(made(), plan) == []
    assert find_objections(made(beside=alike), plan) == []
    for change, word in (
        ({"mb": 10.1}, "MB"), ({"plain": alike}, "not better than"), ({"beside": worse}, "worse than logistic"),
        ({"moved": 0.7}, "loses 0.100"), ({"moved": 0.749}, "less than 0.75"), ({"shipped": worse}, "shipped today"),
        ({"plain": unknown}, "not better"), ({"beside": unknown}, "size x 2: too few"),
        ({"shipped": unknown}, "too few"),
        ({"shipped": {"interval": [-0.03, 0.2]}}, "may be 0.030"), ({"moved_seed": 0.7}, "seeds differ by 0.100"),
    ):  # fmt: skip
        assert any(word in line for line in find_objections(made(**change), plan)), change


def test_what_was_made_under_other_settings_is_made_anew(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(bench_recipes_gpu, "run_recipe", lambda _recipe, path, *_, **__: made.append(path.name))
    monkeypatch.setattr(bench_recipes_gpu, "load_model", str)
    plan = smoke_plan()
    for one in (plan, replace(plan, training={**plan.training, "epochs": 2}), plan):
        bench_recipes_gpu.learn(one, Opened(None, None, ()), "unet", 0.5, 20, tmp_path)
    assert made[0] == made[2] != made[1]


def test_a_place_of_other_settings_ends_the_comparison_with_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise RecipeError("a.place: is of other data or settings; remove it, or train without --resume")

    monkeypatch.setattr(bench_imagery, "KEPT", tmp_path)
    monkeypatch.setattr(bench_imagery, "open_set", lambda *_: ())
    monkeypatch.setattr(bench_imagery, "run", refuse)
    monkeypatch.setattr("sys.argv", ["bench_imagery", "--sets", "l4s", "--only", "index"])
    with pytest.raises(SystemExit, match=r"l4s index 20: a\.place: is of other data or settings; remove it$"):
        bench_imagery.main()

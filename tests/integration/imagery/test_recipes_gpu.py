"""The way from recipes to weights that are shipped or not, on drawn tiles; and the rule that decides."""

import json

import pytest
import torch

from tests.bench.imagery import bench_recipes_gpu
from tests.bench.imagery.bench_recipes_gpu import find_objections, main, smoke_plan

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_the_whole_way_on_the_processor_and_again_without_training(tmp_path, monkeypatch, capsys):
    assert main(["--smoke", "--kept", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "smoke.json").read_text())["drawn"]
    assert found["teacher"] in found["teachers"]
    assert {len(one["f1"]) for one in found["teachers"].values()} == {2}
    assert {"plain", "offset of 1000 counts", "size x 2"} < set(found["stretches"])
    assert found["verdict"] == "do not ship"  # after one pass
    assert "not better than logistic regression" in capsys.readouterr().out
    card = json.loads((tmp_path / "drawn/student.json").read_text())
    assert len(card["taught_by"]) == 2
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

    def made(mb=4.3, plain=better, moved=0.77, beside=better, shipped=alike):
        stretches = {
            "plain": {"f1": 0.8, "less_logistic": plain}, "size x 2": {"f1": moved, "less_logistic": beside},
        }  # fmt: skip
        return {"student": {"mb": mb}, "stretches": stretches, "less_shipped": shipped}

    assert find_objections(made(), smoke_plan()) == []
    assert find_objections(made(beside=alike), smoke_plan()) == []
    for change, word in (
        ({"mb": 10.1}, "MB"), ({"plain": alike}, "not better than"), ({"beside": worse}, "worse than logistic"),
        ({"moved": 0.7}, "loses 0.100"), ({"moved": 0.749}, "less than 0.75"), ({"shipped": worse}, "shipped today"),
        ({"plain": {"interval": None}}, "not better"),
    ):  # fmt: skip
        assert any(word in line for line in find_objections(made(**change), smoke_plan())), change

"""`slopeward forecast models --all`: every model there is, with what its source says of it."""

import json
import re
from pathlib import Path

import pytest
import torch

from detection.anomaly.registry import list_served
from forecasting.data.features import FEATURES
from forecasting.decomposition.components import METHODS
from forecasting.neural.network import Shape
from forecasting.neural.pretrained import PLACE
from forecasting.registry import NETWORKS, READS_DRIVERS, SERVED, load, model_ids
from monitor.cli.forecast import catalogue
from monitor.cli.main import run_verb

REFERENCE = Path(catalogue.__file__).parents[3] / "docs" / "reference" / "forecasting-models.md"
WEIGHTS = re.compile(r"^\| `([a-z0-9-]+)` \|.*\| [^|]*?([\d,]+)[^|\d]*\|$", re.MULTILINE)
STATIONS = 8


@pytest.fixture(scope="module")
def listed():
    return {row.id if row.kind != "check of readings" else f"check {row.id}": row for row in catalogue.list_models()}


def test_every_model_is_listed(listed):
    kinds = {row.kind for row in listed.values()}
    assert kinds == {"simple forecast", "network", "decomposition", "curve", "anomaly detector", "check of readings"}
    assert set(model_ids()) - {"gated"} <= set(listed)
    assert set(METHODS) <= set(listed)
    assert {name.removeprefix("check ") for name in listed} >= set(list_served())
    assert all(row.what for row in listed.values())
    for name in NETWORKS:
        assert (listed[name].reads_drivers, listed[name].served) == (name in READS_DRIVERS, name in SERVED)


def count_weights(name):
    """As shipped, or at the default sizes and a slope of eight stations."""
    if (card := PLACE / f"{name}.json").is_file():
        return json.loads(card.read_text(encoding="utf-8"))["parameters"]
    kind = load(name)
    graph = (1.0 - torch.eye(STATIONS)).expand(2, -1, -1) / STATIONS
    made = kind(Shape(len(FEATURES), 60, 3, 32, 0.1, graph if kind.needs_graph else None))
    return sum(one.numel() for one in made.parameters())


def test_the_reference_page_names_every_network_with_its_weights():
    page = {name: int(count.replace(",", "")) for name, count in WEIGHTS.findall(REFERENCE.read_text())}
    assert page == {name: count_weights(name) for name in NETWORKS}


def test_the_list_needs_no_database(capsys, monkeypatch, tmp_path, listed):
    monkeypatch.chdir(tmp_path)
    assert run_verb(["forecast", "models", "--all", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == [row.id for row in listed.values()]
    assert err.startswith("no trained models: ")
    assert run_verb(["forecast", "models"]) == 1
    assert run_verb(["forecast", "models", "--all"]) == 0
    assert re.search(r"^gru +network +reads drivers$", capsys.readouterr().out, re.MULTILINE)

"""Test `slopeward forecast models --all` and `slopeward scenes models`.

Both list every model or network with its source. The second lists paper, weights and measured scores as well.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detection.anomaly.registry import list_served
from detection.imagery.registry import CLASSIFIERS, list_segmenters
from forecasting.data.features import FEATURES
from forecasting.decomposition.components import list_methods
from forecasting.neural.network import Shape
from forecasting.neural.pretrained import PLACE
from forecasting.registry import NETWORKS, list_models, list_networks, load
from monitor.cli.main import run_command
from monitor.features.forecasts.cli import catalogue
from monitor.features.scenes.cli import models

REFERENCE = Path(catalogue.__file__).parents[4] / "docs" / "reference" / "forecasting-models.md"
WEIGHTS = re.compile(r"^\| `([a-z0-9-]+)` \|.*\| [^|]*?([\d,]+)[^|\d]*\|$", re.MULTILINE)
STATIONS = 8


@pytest.fixture(scope="module")
def listed_models():
    return {row.id if row.kind != "check of readings" else f"check {row.id}": row for row in catalogue.list_models()}


def test_every_model_is_listed(listed_models):
    kinds = {row.kind for row in listed_models.values()}
    assert kinds == {
        "forecast",
        "simple forecast",
        "network",
        "decomposition",
        "curve",
        "anomaly detector",
        "check of readings",
    }
    assert [name for name, row in listed_models.items() if row.kind == "forecast"] == ["combined"]
    assert set(list_models()) <= set(listed_models)
    assert set(list_methods()) <= set(listed_models)
    assert {name.removeprefix("check ") for name in listed_models} >= set(list_served())
    assert all(row.what for row in listed_models.values())
    for name, entry in list_networks().items():
        assert (listed_models[name].reads_drivers, listed_models[name].served) == (entry.reads_drivers, True)


def count_weights(name):
    """Return the number of weights of the shipped network, or of the default network for eight stations."""
    if (card := PLACE / f"{name}.json").is_file():
        return json.loads(card.read_text(encoding="utf-8"))["parameters"]
    kind = load(name)
    graph = (1.0 - torch.eye(STATIONS)).expand(2, -1, -1) / STATIONS
    network = kind(Shape(len(FEATURES) + kind.derived_features, 60, 3, 32, 0.1, graph if kind.needs_graph else None))
    return sum(parameter.numel() for parameter in network.parameters())


def read_reference_page():
    """Return the number of weights of each network that the reference page names."""
    return {name: int(count.replace(",", "")) for name, count in WEIGHTS.findall(REFERENCE.read_text())}


def test_reference_page_names_every_network_with_its_number_of_weights():
    page = read_reference_page()
    for name in NETWORKS:
        assert page[name] == count_weights(name), name


def test_list_of_models_needs_no_database(capsys, monkeypatch, tmp_path, listed_models):
    monkeypatch.chdir(tmp_path)
    assert run_command(["forecast", "models", "--all", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == [row.id for row in listed_models.values()]
    assert err.startswith("no trained models: ")
    assert run_command(["forecast", "models"]) == 1
    assert run_command(["forecast", "models", "--all"]) == 0
    assert re.search(r"^gru +network +reads drivers$", capsys.readouterr().out, re.MULTILINE)


def load_rows(capsys, *options):
    assert run_command(["scenes", "models", "--json", *options]) == 0
    return {row["id"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}


def test_every_network_is_listed_with_paper_parameters_and_shipped_weights(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no service file, no database
    rows_by_id = load_rows(capsys)
    cracks = rows_by_id.pop("recipe cracks")
    assert list(rows_by_id) == [*list_segmenters(), *CLASSIFIERS]
    assert (cracks["weights"], "not shipped" in cracks["reasons_against"]) == (None, True)
    assert all(
        row["paper"] and row["parameters"]["3_bands"] < row["parameters"]["14_bands"] for row in rows_by_id.values()
    )
    shipped = ["bijie", "generated", "landslide4sense"]
    assert [weights["name"] for weights in rows_by_id["unet"]["weights"]] == shipped
    (standard,) = rows_by_id["unet-efficientnet-lite0"]["weights"]
    assert standard["name"] == "landslide4sense-standard"
    assert [weights["name"] for weights in rows_by_id["drs-unet"]["weights"]] == ["generated-phase"]
    assert len(load_rows(capsys, "--all")) == len(rows_by_id) + 3


def test_every_network_has_a_score_and_scores_of_an_older_version_are_ignored(capsys):
    assert not [name for name, row in load_rows(capsys).items() if row["scores"] is None]
    row = {"f1": 0.5, "f1_range": [0.5, 0.5], "seeds": 1, "miou": 0.5, "ap50": 0.5, "cpu_s": 1.0}
    maps = {"unet": row | {"parameters": 270906}, "frrn-a": row | {"parameters": 274126}}
    content = {"measured_at": "2026-11-22", "machine": "here", "figures": {"width": 0.125}}
    content["figures"]["l4s"] = {"maps": maps, "carried": []}
    assert models._find_score("frrn-a", "l4s", {"imagery-added": content}) is None
    maps["frrn-a"]["parameters"] = 291974
    assert models._find_score("frrn-a", "l4s", {"imagery-added": content})["beside"] == "unet"


PAIR = "unet (0.010 to 0.030, one seed) at 2.0 times its processor time"


@pytest.mark.parametrize(
    ("carried", "cpu_s", "said", "against"),
    [
        ([["new", "unet", 0.02, [0.01, 0.03]]], 20.0, f"bijie: F1 0.020 above {PAIR}", None),
        ([["unet", "new", 0.02, [0.01, 0.03]]], 20.0, None, f"bijie: F1 0.020 below {PAIR}"),
        # The record contains the interval of the pair in the order of comparison. Its sign does not matter.
        ([["unet", "new", 0.02, [-0.03, -0.01]]], 20.0, None, f"bijie: F1 0.020 below {PAIR}"),
        ([], 5.0, "bijie: not distinguished from unet at 0.5 times its processor time", None),
        ([], 20.0, None, "bijie: not distinguished from unet at 2.0 times its processor time"),
    ],
)
def test_reason_for_or_against_a_network_follows_from_the_record(carried, cpu_s, said, against):
    row = {"f1": 0.5, "f1_range": [0.5, 0.5], "seeds": 1, "miou": 0.5, "ap50": 0.5}
    maps = {"unet": {**row, "cpu_s": 10.0}, "new": {**row, "cpu_s": cpu_s}}
    content = {"measured_at": "2026-11-22", "machine": "here", "figures": {"width": 0.125}}
    content["figures"]["bijie"] = {"maps": maps, "carried": carried}
    row_of_network = models._make_row("new", "segmenter", "A paper", (1, 2), [], {"imagery": content})
    assert (row_of_network.reasons_for, row_of_network.reasons_against) == (said, against)


@pytest.mark.parametrize(
    ("better", "own_percent", "is_for"),
    [(["siam", "rule"], 0.1, True), (["siam", "rule"], 0.3, False), (["rule", "siam"], 0.1, False), (None, 0.1, True)],
)
def test_two_date_network_is_recommended_if_better_without_more_false_changes(better, own_percent, is_for):
    row = {"f1": 0.5, "f1_range": [0.5, 0.5], "seeds": 1, "cpu_s": 1.0}
    maps = {"siam": row | {"false_new_percent": own_percent}, "rule": row | {"false_new_percent": 0.2, "cpu_s": 2.0}}
    carried = [[*better, 0.1, [0.05, 0.2]]] if better else []
    content = {"measured_at": "2026-11-28", "machine": "here", "figures": {"width": 0.125}}
    content["figures"]["drawn pairs"] = {"maps": maps, "carried": carried}
    row_of_network = models._make_row("siam", "segmenter", "A paper", (1, 2), [], {"two-dates": content})
    assert (row_of_network.reasons_for is not None) == is_for
    assert f"falsely new in stable pairs {own_percent} % for its 0.2 %" in (
        row_of_network.reasons_for or row_of_network.reasons_against
    )


def test_networks_are_listed_as_not_measured_without_records(capsys, monkeypatch):
    monkeypatch.setattr(models, "read_benchmark", lambda _: None)
    rows_by_id = load_rows(capsys)
    assert rows_by_id.pop("drs-unet")["scores"][0]["record"] == "its card"
    assert {row["note"] for row in rows_by_id.values()} == {"not measured"}
    assert run_command(["scenes", "models"]) == 0
    assert re.search(r"^unet +17\.263 M / 17\.269 M  not measured$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.soak
def test_list_of_networks_imports_no_torch():
    code = (
        "import sys; from monitor.cli.main import run_command; assert run_command(['scenes', 'models']) == 0; "
        "assert not {'torch', 'rasterio'} & set(sys.modules), 'loaded'"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0

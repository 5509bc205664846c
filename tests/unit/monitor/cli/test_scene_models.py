"""`slopeward scenes models`: every network with its paper, its weights and what was measured; nothing is made up."""

import json
import re
import subprocess
import sys

import pytest

from detection.imagery.registry import CLASSIFIERS, SEGMENTERS
from monitor.cli.main import run_verb
from monitor.cli.scenes import models


def rows(capsys, *options):
    assert run_verb(["scenes", "models", "--json", *options]) == 0
    return {row["id"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}


def test_every_network_is_listed_with_paper_parameters_and_weights(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no service file, no database
    found = rows(capsys)
    assert list(found) == [*SEGMENTERS, *CLASSIFIERS]
    assert all(row["paper"] and row["parameters"]["3_bands"] < row["parameters"]["14_bands"] for row in found.values())
    shipped = ["bijie", "generated", "landslide4sense-standard", "landslide4sense"]
    assert [one["name"] for one in found["unet"]["weights"]] == shipped
    assert [one["name"] for one in found["drs-unet"]["weights"]] == ["generated-phase"]
    assert len(rows(capsys, "--all")) == len(found) + 2


def test_a_score_is_that_of_the_record_and_says_what_the_images_distinguish(capsys):
    found = rows(capsys)
    (score,) = [s for s in found["sssn"]["scores"] if s["set"] == "bijie"]
    assert score["difference"]["f1"] < 0
    low, high = score["difference"]["interval"]
    assert low < score["difference"]["f1"] < high < 0
    assert found["sssn"]["reasons_for"] is None
    assert "below unet" in found["sssn"]["reasons_against"]
    folds, shipped = found["triage-resnet"]["scores"]
    assert (folds["looked_at"], folds["landslide_tiles"], shipped["recall"]) == (190, 190, 1.0)
    assert "8 of 40 empty tiles passed over" in found["triage-resnet"]["reasons_against"]
    (drawn,) = found["drs-unet"]["scores"]
    assert drawn["f1"] == 0.8262
    assert found["drs-unet"]["reasons_against"] == "generated-phase: drawn patches alone, nothing measured backs it"


def test_every_network_has_a_figure_and_none_of_one_as_it_was_built_once(capsys):
    assert not [name for name, row in rows(capsys).items() if row["scores"] is None]
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
        # the record holds the interval of the pair as it was drawn: its sign does not matter
        ([["unet", "new", 0.02, [-0.03, -0.01]]], 20.0, None, f"bijie: F1 0.020 below {PAIR}"),
        ([], 5.0, "bijie: not distinguished from unet at 0.5 times its processor time", None),
        ([], 20.0, None, "bijie: not distinguished from unet at 2.0 times its processor time"),
    ],
)
def test_what_reasons_for_a_network_follows_from_the_record(carried, cpu_s, said, against):
    row = {"f1": 0.5, "f1_range": [0.5, 0.5], "seeds": 1, "miou": 0.5, "ap50": 0.5}
    maps = {"unet": {**row, "cpu_s": 10.0}, "new": {**row, "cpu_s": cpu_s}}
    content = {"measured_at": "2026-11-22", "machine": "here", "figures": {"width": 0.125}}
    content["figures"]["bijie"] = {"maps": maps, "carried": carried}
    told = models._make_row("new", "segmenter", "A paper", (1, 2), [], {"imagery": content})
    assert (told.reasons_for, told.reasons_against) == (said, against)


def test_without_records_all_is_not_measured(capsys, monkeypatch):
    monkeypatch.setattr(models, "read_benchmark", lambda _: None)
    found = rows(capsys)
    assert found.pop("drs-unet")["scores"][0]["record"] == "its card"
    assert {row["note"] for row in found.values()} == {"not measured"}
    assert run_verb(["scenes", "models"]) == 0
    assert re.search(r"^resunet +17\.790 M / 17\.798 M  not measured$", capsys.readouterr().out, re.MULTILINE)


def test_the_list_needs_no_torch():
    code = (
        "import sys; from monitor.cli.main import run_verb; assert run_verb(['scenes', 'models']) == 0; "
        "assert not {'torch', 'rasterio'} & set(sys.modules), 'loaded'"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0

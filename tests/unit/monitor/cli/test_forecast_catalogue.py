"""`slopeward forecast models --all`: every model there is with paper, size and stored score; nothing is made up."""

import json
import re
from pathlib import Path

import pytest

from detection.anomaly.registry import CHECKS, COMPOSITES, list_served
from forecasting.decomposition.components import METHODS
from forecasting.registry import NETWORKS, READS_DRIVERS, SERVED, model_ids
from monitor.cli import benchmarks
from monitor.cli.forecast import catalogue
from monitor.cli.main import run_verb

REFERENCE = Path(catalogue.__file__).parents[3] / "docs" / "reference" / "forecasting-models.md"
WEIGHTS = re.compile(r"^\| `([a-z0-9-]+)` \|.*\| [^|]*?([\d,]+)[^|\d]*\|$", re.MULTILINE)


@pytest.fixture(scope="module")
def listed():
    return {row.id if row.kind != "check of readings" else f"check {row.id}": row for row in catalogue.list_models()}


def test_every_model_is_listed_with_paper_and_size(listed):
    kinds = {row.kind for row in listed.values()}
    assert kinds == {"simple forecast", "network", "decomposition", "curve", "anomaly detector", "check of readings"}
    assert set(model_ids()) - {"gated"} <= set(listed)
    assert set(METHODS) <= set(listed)
    assert {name.removeprefix("check ") for name in listed} >= set(list_served())
    for name in NETWORKS:
        row = listed[name]
        assert row.paper, name
        assert row.parameters > 1000
        assert (row.reads_drivers, row.served) == (name in READS_DRIVERS, name in SERVED)
    assert listed["graph-gru"].reads_graph
    assert not listed["gru"].reads_graph


def test_the_reference_page_names_every_network_with_its_weights(listed):
    page = dict(WEIGHTS.findall(REFERENCE.read_text()))
    assert set(page) == set(NETWORKS)
    assert {name: int(count.replace(",", "")) for name, count in page.items()} == {
        name: listed[name].parameters for name in NETWORKS
    }


def test_a_score_is_that_of_the_record_beside_auto(listed, monkeypatch):
    row = listed["lld"]
    assert {s["record"] for s in row.scores} == {"forecast.json"}
    assert all(s["mae_mm"] > s["auto_mae_mm"] for s in row.scores)
    old, new = {"seeds": 1, "measured_at": "2026-01-01"}, {"seeds": 1, "measured_at": "2026-02-02"}
    table = {"auto 7d": new | {"mae": 1.0}, "gru 7d": old | {"mae": 1.2}, "gru-gated 7d": old | {"mae": 0.9}}
    table |= {"lstm 7d": new | {"mae": 1.2}, "lstm-gated 7d": new | {"mae": 0.9}}
    monkeypatch.setattr(catalogue, "read_benchmark", lambda _: {"measured_at": "", "figures": {"SK": table}})
    gated = {name: [one["gated_mae_mm"] for one in catalogue._score(name)] for name in ("gru", "lstm", "tcn")}
    assert gated == {"gru": [None], "lstm": [0.9], "tcn": []}, "behind the gate of gru stood auto of another day"


def test_stored_figures_are_found_and_none_is_made_up(listed):
    kept = benchmarks.read_benchmark("imagery")
    assert kept["command"] == "make bench-imagery"
    assert kept["figures"]["bijie"]["maps"]
    assert benchmarks.read_benchmark("nothing") is None


def test_the_list_needs_no_database(capsys, monkeypatch, tmp_path, listed):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "list_models", lambda: list(listed.values()))
    assert run_verb(["forecast", "models", "--all", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == [row.id for row in listed.values()]
    assert err.startswith("no trained models: ")
    assert run_verb(["forecast", "models"]) == 1
    assert run_verb(["forecast", "models", "--all"]) == 0
    assert re.search(r"^gru +network +4,143 weights  reads drivers", capsys.readouterr().out, re.MULTILINE)


# ---- the detectors of the list of models: each with its paper and its figure on each record, beside `rules` ----
def test_every_detector_is_listed_with_paper_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["forecast", "models", "--all", "--json"]) == 0
    every = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in every if row["id"] in list_served()]
    assert sorted(row["id"] for row in rows) == sorted(list_served())
    for row in rows:
        if row["id"] in CHECKS:
            continue
        assert row["scores"], row["id"]
        assert {score["set"] for score in row["scores"]} == {"G", "K", "S", "SK"}, row["id"]
        assert row["paper"] or row["id"] in {*COMPOSITES, "slope-change", "variance"}, row["id"]


# ---- stored figures are found in the sources and in the wheel ----

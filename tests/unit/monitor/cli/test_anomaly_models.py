"""The detectors of the list of models: each with its paper and its figure on each record, beside `rules`."""

import json

import pytest

from detection.anomaly.registry import CHECKS, COMPOSITES, list_served
from monitor.cli.main import run_verb


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

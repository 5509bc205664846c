"""The list of detectors says what the stored bench says."""

import json
from pathlib import Path

from detection.anomaly.registry import CHECKS, list_served
from monitor.cli.anomaly.models import FIGURES, PAPERS, RECORDS, describe, speak_for

BENCH = Path(__file__).resolve().parents[4] / "docs" / "benchmarks" / "anomalies-bench.json"
WAYS = ("networks, one seed", "rules, one seed")


def test_every_detector_has_its_paper_and_the_figure_of_the_bench() -> None:
    stored = json.loads(BENCH.read_text(encoding="utf-8"))["figures"]
    scored = set(list_served()) - set(CHECKS)
    assert set(PAPERS) == set(FIGURES) == scored
    for place, record in enumerate(RECORDS):
        found = {row["detector"]: row for way in WAYS for row in stored[record][way]}
        for name in scored:
            assert round(found[name]["recall_at_equal_false_alarms"] or 0.0, 2) == FIGURES[name][place], (record, name)


def test_what_speaks_for_a_detector_follows_from_the_figures() -> None:
    assert speak_for("ae").startswith("nothing")
    assert describe("flatline")["recall_at_equal_false_alarms"] is None
    assert describe("residual-fan")["parameters"] == 0

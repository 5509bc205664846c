"""The calls of the anomaly job: train, score, bench; reproducible, causal, clear where they refuse."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detection.anomaly import jobs
from detection.anomaly.checkpoint import load_checkpoint
from detection.anomaly.errors import CheckpointError, InputError, ThresholdError
from detection.anomaly.kinds import name_kinds

DAY = 86400.0


def site(n=700, stations=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"G{i}": {
            "times_s": (np.arange(n) * DAY).tolist(),
            "values": np.round(0.05 * np.arange(n) + rng.normal(0, 1.5, n), 2).tolist(),
        }
        for i in range(stations)
    }


def request(folder, detector="persistence-z", **changes):
    base = {"samples": site(), "step_s": DAY, "detector": detector, "budget_per_sensor_month": 0.3, "seed": 1}
    return {**base, "folder": str(folder), **changes}


def test_persistence_scores_without_any_checkpoint():
    samples = site()
    samples["G0"]["values"][650] += 60.0
    answer = jobs.score(
        {"samples": samples, "step_s": DAY, "detector": "persistence-z", "checkpoint": None, "since_s": 600 * DAY}
    )
    alarms = [row for row in answer["scores"] if row["alerted"]]
    assert [(row["station"], row["at_s"], row["kind"]) for row in alarms] == [("G0", 650 * DAY, "spike")]
    assert all(row["at_s"] > 600 * DAY for row in answer["scores"])
    assert alarms[0]["threshold"] == jobs.CARRIED_OVER["persistence-z"]
    assert answer["model_hash"] is None
    assert "benchmark G" in answer["threshold_source"]
    json.dumps(answer, allow_nan=False)


def test_scores_see_no_future():
    samples = site()
    payload = {"samples": samples, "step_s": DAY, "detector": "persistence-z", "checkpoint": None, "since_s": None}
    before = {(r["station"], r["at_s"]): r for r in jobs.score(payload)["scores"] if r["at_s"] < 500 * DAY}
    for record in samples.values():
        record["values"][500:] = [v + 1000.0 * (k % 3) for k, v in enumerate(record["values"][500:])]
    after = {(r["station"], r["at_s"]): r for r in jobs.score(payload)["scores"] if r["at_s"] < 500 * DAY}
    assert before == after
    assert len(before) > 1000


@pytest.mark.parametrize("detector", ["persistence-z", "rules"])
def test_training_counts_its_false_alarms_within_the_budget(tmp_path, detector):
    answer = jobs.train(request(tmp_path, detector, samples=site(1500, 6)))
    card = answer["card"]
    assert 0 <= card["validation_false_alarms_per_sensor_month"] <= 0.3
    assert card["validation_months"] > 40
    assert Path(answer["checkpoint"]).stem == answer["model_hash"]
    text = json.loads(Path(answer["checkpoint"]).with_suffix(".json").read_text())
    assert text["model_hash"] == answer["model_hash"]
    scored = jobs.score(
        {**request(tmp_path, detector, samples=site(1500, 6)), "checkpoint": answer["checkpoint"], "since_s": 0}
    )
    assert scored["scores"][0]["threshold"] == card["threshold"]
    assert scored["model_hash"] == answer["model_hash"]


@pytest.mark.parametrize("detector", ["ae", "lstm-ae"])
def test_networks_train_the_same_twice_and_score_from_the_file(tmp_path, detector):
    payload = request(tmp_path, detector, samples=site(420, 2), budget_per_sensor_month=1.0)
    first, second = jobs.train(payload), jobs.train({**payload, "folder": str(tmp_path / "again")})
    assert first["model_hash"] == second["model_hash"]
    assert jobs.train({**payload, "seed": 2})["model_hash"] != first["model_hash"]
    assert first["card"]["role"] == "advice"
    assert "may_vote" in first["card"]
    ask = {**payload, "checkpoint": first["checkpoint"], "since_s": 300 * DAY}
    quiet = jobs.score(ask)["scores"]
    samples = site(420, 2)
    samples["G1"]["values"][400] += 60.0
    loud = jobs.score({**ask, "samples": samples})["scores"]
    past = [row for row in quiet if row["at_s"] < 400 * DAY]
    assert past == [row for row in loud if row["at_s"] < 400 * DAY]
    hit = next(row for row in loud if row["station"] == "G1" and row["at_s"] == 400 * DAY)
    assert hit["alerted"]
    assert hit["score"] > 2 * hit["threshold"]


def test_stuck_and_gap_are_findings_without_a_score():
    samples = site(400, 2)
    samples["G0"]["values"][350:362] = [samples["G0"]["values"][350]] * 12
    del samples["G1"]["values"][300:310], samples["G1"]["times_s"][300:310]
    answer = jobs.score(
        {"samples": samples, "step_s": DAY, "detector": "persistence-z", "checkpoint": None, "since_s": 250 * DAY}
    )
    assert {(f["station"], f["kind"]) for f in answer["findings"]} == {("G0", "stuck"), ("G1", "gap")}
    assert not any(r["station"] == "G1" and 299 * DAY < r["at_s"] < 310 * DAY for r in answer["scores"])


def test_what_cannot_be_scored_is_withheld_with_its_reason():
    samples = {
        **site(400, 1),
        "NEW": {"times_s": [0.0, DAY], "values": [1.0, 2.0]},
        "EMPTY": {"times_s": [], "values": []},
    }
    answer = jobs.score(
        {"samples": samples, "step_s": DAY, "detector": "persistence-z", "checkpoint": None, "since_s": -1}
    )
    reasons = {row["station"]: row["reason"] for row in answer["withheld"]}
    assert reasons["EMPTY"] == "no samples"
    assert "2 readings so far" in reasons["NEW"]
    assert {row["station"] for row in answer["scores"]} == {"G0"}


def test_clear_refusals(tmp_path):
    with pytest.raises(InputError, match="needs a checkpoint"):
        jobs.score({"samples": site(), "step_s": DAY, "detector": "ae", "checkpoint": None, "since_s": None})
    with pytest.raises(InputError, match="unknown detector"):
        jobs.train(request(tmp_path, "oracle"))
    with pytest.raises(InputError, match="lacks 'step_s'"):
        jobs.train({"samples": site()})
    with pytest.raises(InputError, match="windows"):
        jobs.train(request(tmp_path, "ae", samples=site(60, 1)))
    with pytest.raises(ThresholdError):
        jobs.train(request(tmp_path, samples=site(60, 1)))


def test_an_altered_or_foreign_checkpoint_is_refused(tmp_path):
    answer = jobs.train(request(tmp_path, samples=site(1500, 6)))
    path = Path(answer["checkpoint"])
    with pytest.raises(InputError, match="holds persistence-z"):
        jobs.score({**request(tmp_path, "ae"), "checkpoint": str(path), "since_s": None})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="altered"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "absent.safetensors")


def test_kinds_tell_spike_step_and_growth_from_the_past():
    assert name_kinds(np.array([0, 8, 0, 0])) == ["unknown", "spike", "unknown", "unknown"]
    assert name_kinds(np.array([0, 8, 8.5, 12])) == ["unknown", "spike", "step", "level"]
    assert name_kinds(np.array([6, -6, 6])) == ["spike", "unknown", "unknown"]


def test_bench_reports_every_detector_at_one_budget():
    answer = jobs.bench(
        {"samples": site(1500, 4), "step_s": DAY, "detectors": ["persistence-z", "rules+checks"],
         "budget_per_sensor_month": 0.3, "seeds": 1}
    )  # fmt: skip
    rows = {row["detector"]: row for row in answer["rows"]}
    assert rows["rules+checks"]["recall_by_kind"]["stuck"] == 1.0
    assert rows["rules+checks"]["recall_by_kind"]["replay"] == 1.0
    assert rows["rules+checks"]["recall"] > rows["persistence-z"]["recall"]
    assert "rules+checks" in answer["table"]


def test_scoring_by_rules_loads_no_torch():
    code = (
        "import sys; from detection.anomaly import jobs;"
        "jobs.score({'samples': {'A': {'times_s': [0.0, 1.0], 'values': [1.0, 2.0]}}, 'step_s': 1.0,"
        " 'detector': 'persistence-z', 'checkpoint': None, 'since_s': None});"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

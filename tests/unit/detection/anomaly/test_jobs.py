"""Training, scoring and comparing detectors: reproducible, causal, clear where they refuse."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from detection.anomaly import jobs
from detection.anomaly.bench import format_table, run_bench
from detection.anomaly.errors import DetectorCheckpointError, InputError, ThresholdError
from detection.anomaly.jobs import load_checkpoint
from detection.anomaly.kinds import name_kinds
from detection.anomaly.records import DetectorTraining, ScoringRequest
from detection.anomaly.windows import build_series

DAY = 86400.0


def site(n=700, stations=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"G{i}": ((np.arange(n) * DAY).tolist(), np.round(0.05 * np.arange(n) + rng.normal(0, 1.5, n), 2).tolist())
        for i in range(stations)
    }


def training(folder, detector="persistence-z", samples=None, budget=0.3, seed=1):
    return DetectorTraining(detector, site() if samples is None else samples, DAY, Path(folder), budget, seed)


def scoring(detector="persistence-z", samples=None, checkpoint=None, since_s=None):
    return ScoringRequest(detector, site() if samples is None else samples, DAY, checkpoint, since_s)


def test_persistence_scores_without_any_checkpoint():
    samples = site()
    samples["G0"][1][650] += 60.0
    answer = jobs.score(scoring(samples=samples, since_s=600 * DAY))
    alarms = [row for row in answer.scores if row.alerted]
    assert [(row.station, row.at_s, row.kind) for row in alarms] == [("G0", 650 * DAY, "spike")]
    assert all(row.at_s > 600 * DAY for row in answer.scores)
    assert alarms[0].threshold == jobs.CARRIED_OVER["persistence-z"]["persistence-z"]
    assert answer.model_hash is None
    json.dumps(answer, allow_nan=False, default=asdict)


@pytest.mark.parametrize("detector", ["persistence-z", "rules"])
def test_training_counts_its_false_alarms_within_the_budget(tmp_path, detector):
    answer = jobs.train(training(tmp_path, detector, site(1500, 6)))
    card = answer.card
    assert 0 <= card["validation_false_alarms_per_sensor_month"] <= 0.3
    assert card["validation_months"] > 40
    assert Path(answer.checkpoint).stem == answer.model_hash
    text = json.loads(Path(answer.checkpoint).with_suffix(".json").read_text())
    assert text["model_hash"] == answer.model_hash
    scored = jobs.score(scoring(detector, site(1500, 6), answer.checkpoint, 0.0))
    assert (scored.scores[0].threshold, scored.model_hash) == (card["threshold"], answer.model_hash)


@pytest.mark.parametrize("detector", ["ae"])
def test_networks_train_the_same_twice_and_score_from_the_file(tmp_path, detector):
    asked = training(tmp_path, detector, site(420, 2), budget=1.0)
    first, second = jobs.train(asked), jobs.train(replace(asked, folder=tmp_path / "again"))
    assert first.model_hash == second.model_hash
    assert jobs.train(replace(asked, seed=2)).model_hash != first.model_hash
    assert first.card["role"] == "advice"
    assert "may_vote" in first.card
    ask = scoring(detector, asked.samples, first.checkpoint, 300 * DAY)
    quiet = jobs.score(ask).scores
    samples = site(420, 2)
    samples["G1"][1][400] += 60.0
    loud = jobs.score(replace(ask, samples=samples)).scores
    assert [row for row in quiet if row.at_s < 400 * DAY] == [row for row in loud if row.at_s < 400 * DAY]
    hit = next(row for row in loud if row.station == "G1" and row.at_s == 400 * DAY)
    assert hit.alerted
    assert hit.score > 2 * hit.threshold


def test_stuck_and_gap_are_findings_without_a_score_and_what_cannot_be_scored_is_withheld():
    samples = site(400, 2)
    samples["G0"][1][350:362] = [samples["G0"][1][350]] * 12
    del samples["G1"][1][300:310], samples["G1"][0][300:310]
    answer = jobs.score(scoring(samples=samples, since_s=250 * DAY))
    assert {(f.station, f.kind) for f in answer.findings} == {("G0", "stuck"), ("G1", "gap")}
    assert not any(r.station == "G1" and 299 * DAY < r.at_s < 310 * DAY for r in answer.scores)
    samples = {**site(400, 1), "NEW": ([0.0, DAY], [1.0, 2.0]), "EMPTY": ([], [])}
    answer = jobs.score(scoring(samples=samples, since_s=-1.0))
    reasons = {row.station: row.reason for row in answer.withheld}
    assert reasons["EMPTY"] == "no samples"
    assert "2 readings so far" in reasons["NEW"]
    assert {row.station for row in answer.scores} == {"G0"}


def test_clear_refusals(tmp_path):
    with pytest.raises(InputError, match="needs a checkpoint"):
        jobs.score(scoring("ae"))
    with pytest.raises(InputError, match="unknown detector"):
        jobs.train(training(tmp_path, "oracle"))
    with pytest.raises(InputError, match="windows"):
        jobs.train(training(tmp_path, "ae", site(60, 1)))
    with pytest.raises(ThresholdError):
        jobs.train(training(tmp_path, samples=site(60, 1)))


def test_an_altered_or_foreign_checkpoint_is_refused(tmp_path):
    answer = jobs.train(training(tmp_path, samples=site(1500, 6)))
    path = Path(answer.checkpoint)
    with pytest.raises(InputError, match="holds persistence-z"):
        jobs.score(scoring("ae", checkpoint=str(path)))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DetectorCheckpointError, match="altered"):
        load_checkpoint(path)
    with pytest.raises(DetectorCheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "absent.safetensors")


def test_kinds_tell_spike_step_and_growth_from_the_past():
    assert name_kinds(np.array([0, 8, 0, 0])) == ["unknown", "spike", "unknown", "unknown"]
    assert name_kinds(np.array([0, 8, 8.5, 12])) == ["unknown", "spike", "step", "movement"]
    assert name_kinds(np.array([6, -6, 6])) == ["spike", "unknown", "unknown"]


def test_bench_reports_every_detector_at_one_budget():
    samples = {name: build_series(*one, DAY) for name, one in site(1500, 4).items()}
    found = run_bench(samples, ["persistence-z", "rules+checks"], 0.3, range(1))
    rows = {row["detector"]: row for row in found}
    assert rows["rules+checks"]["recall_by_kind"]["stuck"] == 1.0
    assert rows["rules+checks"]["recall_by_kind"]["replay"] == 1.0
    assert rows["rules+checks"]["recall"] > rows["persistence-z"]["recall"]
    assert "rules+checks" in format_table(found)


def test_scoring_by_rules_loads_no_torch():
    code = (
        "import sys; from detection.anomaly import jobs; from detection.anomaly.records import ScoringRequest;"
        "jobs.score(ScoringRequest('persistence-z', {'A': ([0.0, 1.0], [1.0, 2.0])}, 1.0));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

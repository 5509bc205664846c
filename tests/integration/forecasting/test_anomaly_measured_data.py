"""The anomaly library on measured series: budgets hold on held-out time, the real event is seen, quiet stays quiet."""

import csv
from collections import defaultdict
from datetime import UTC, datetime
from math import nan

import pytest

from detection.anomaly import jobs
from detection.anomaly.bench import run_bench
from detection.anomaly.detector import start_without_history
from detection.anomaly.records import DetectorTraining, ScoringRequest
from detection.anomaly.windows import build_series
from forecasting.data.workbook import read_sheet

DAY = 86400.0

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def japan(measured):
    samples = defaultdict(lambda: ([], []))
    with measured("benchmarks/G.csv").open() as file:
        for row in csv.DictReader(file):
            times, values = samples[row["station"]]
            times.append(datetime.fromisoformat(row["time"]).timestamp())
            values.append(float(row["value"]) if row["value"] else nan)
    return dict(samples)


@pytest.fixture(scope="module")
def baijiabao(measured):
    rows = read_sheet(measured("bazimen-baijiabao/source_sample.xlsx"))
    times = [datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() for at in rows["Time"]]
    return {"BJB": (times, rows["Total"].tolist())}


def test_threshold_keeps_its_budget_on_held_out_time(japan, tmp_path):
    card = jobs.train(DetectorTraining("persistence-z", japan, DAY, tmp_path)).card
    assert card["validation_months"] > 150
    assert card["validation_false_alarms_per_sensor_month"] <= 0.1
    assert card["heldout_months"] > 300
    assert card["heldout_alarms_per_sensor_month"] <= 0.1


def test_carried_over_threshold_is_the_one_counted_on_this_record(japan, tmp_path):
    card = jobs.train(DetectorTraining("persistence-z", japan, DAY, tmp_path, 0.025)).card
    assert card["threshold"] == pytest.approx(jobs.CARRIED_OVER["persistence-z"]["persistence-z"], abs=0.01)


def test_rules_with_checks_find_injected_faults_within_the_budget(japan):
    samples = {name: build_series(*one, DAY) for name, one in japan.items()}
    rows = {row["detector"]: row for row in run_bench(samples, ["persistence-z", "rules+checks"], 0.1, range(1))}
    rules = rows["rules+checks"]
    assert rules["recall"] >= 0.9
    assert rules["precision"] >= 0.85
    assert rules["false_alarms_per_sensor_month"] <= 0.1
    assert rules["recall_by_kind"]["stuck"] == rules["recall_by_kind"]["replay"] == 1.0
    assert rules["recall"] >= rows["persistence-z"]["recall"] + 0.4
    assert rules["recall_by_kind"]["spike"] >= 0.7


def test_a_site_without_history_finds_faults_within_the_budget(japan):
    """What a fresh site is served: thresholds that were carried over, on stations of which it has seen nothing."""
    samples = {name: build_series(*one, DAY) for name, one in japan.items()}
    ready = {"rules": start_without_history("rules", DAY)}
    row = run_bench(samples, ["rules+checks"], 0.1, range(1), ready)[0]
    assert row["recall"] >= 0.85
    assert row["false_alarms_per_sensor_month"] <= 0.1


@pytest.mark.parametrize("detector", ["persistence-z", "rules"])
def test_baijiabao_2018_is_seen_in_time_and_not_before(baijiabao, detector):
    answer = jobs.score(ScoringRequest(detector, baijiabao, DAY))
    alarms = [datetime.fromtimestamp(row.at_s, UTC) for row in answer.scores if row.alerted]
    quiet_from, event_from = datetime(2018, 1, 12, tzinfo=UTC), datetime(2018, 6, 1, tzinfo=UTC)
    assert [at for at in alarms if quiet_from <= at < event_from] == []
    assert min(at for at in alarms if at >= event_from) <= datetime(2018, 6, 8, tzinfo=UTC)

"""Windows, rules, checks and thresholds of the anomaly library."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.anomaly import jobs
from detection.anomaly.bench import format_table, run_bench
from detection.anomaly.budget import correction
from detection.anomaly.certain.checks import check_series, find_empty_cells, find_replay, find_stuck
from detection.anomaly.detector import start_without_history
from detection.anomaly.evaluation import evaluate_alarms
from detection.anomaly.faults import KINDS, Event, inject, inject_many
from detection.anomaly.jobs import load_checkpoint
from detection.anomaly.kinds import classify_shapes
from detection.anomaly.parts import LONG_AGO, PARTS, StrongestPart, score_parts
from detection.anomaly.records import (
    MONTH_S,
    RUN_GAP_S,
    DetectorCheckpointError,
    DetectorTraining,
    InputError,
    ScoringRequest,
    ThresholdError,
)
from detection.anomaly.registry import COMPOSITES, OTHER_SITES, list_detectors, load_rule
from detection.anomaly.split import split_budget
from detection.anomaly.stages import SHARE_CELLS, StuckRuns, median_of_windows
from detection.anomaly.threshold import carry_over, choose_threshold, count_runs
from detection.anomaly.windows import (
    Series,
    build_series,
    compute_scaled_residuals,
    count_needed_readings,
    residuals,
    sum_cells,
)
from tests.data.anomalies.followed_labels import follow_labels
from tests.tables import tabulated

DAY = 86400.0


def noisy(n=400, seed=0, step_s=DAY):
    rng = np.random.default_rng(seed)
    return Series(np.arange(n) * step_s, np.round(0.05 * np.arange(n) + rng.normal(0, 1.5, n), 2), step_s)


def test_series_keeps_gaps_and_the_newest_reading_of_a_cell_and_refuses_bad_times():
    series = build_series([0, 3600, 3700, 5 * 3600], [1.0, 2.0, 2.5, 6.0], 3600)
    assert series.values.tolist()[:2] == [1.0, 2.5]
    assert np.isnan(series.values[2:5]).all()
    assert series.times_s[1] == 3700
    untidy = build_series([7190, 0, 3605], [3, 1, 2], 3600)
    assert untidy.values.tolist() == [1, 2, 3], "jitter and disorder"
    for bad in (([0], [1, 2], 60), ([], [], 60), ([0], [1], 0), ([float("nan")], [1], 60), ([0, 1e13], [1, 2], 60)):
        with pytest.raises(InputError):
            build_series(*bad)


def test_median_of_windows_needs_enough_known_values():
    rows = np.array([[1.0, np.nan, 3.0, np.nan], [np.nan, np.nan, 3.0, 5.0]])
    out = median_of_windows(rows, 3, 2, 2)
    assert out[0, 0] == 2.0
    assert np.isnan(out[0, 1])
    assert np.isnan(out[1, 0])
    assert out[1, 1] == 4.0


def test_residual_uses_the_seven_days_before_and_a_flat_record_has_no_score():
    assert residuals(Series(np.arange(30) * DAY, np.arange(30.0), DAY))[20] == 4.0  # the median of 13..19
    assert not np.isfinite(compute_scaled_residuals(Series(np.arange(200) * DAY, np.ones(200), DAY))).any()


@pytest.mark.parametrize("step_s", [DAY, 3600.0])
def test_needed_readings_are_where_the_first_score_appears(step_s):
    series = noisy(400, step_s=step_s)
    first = int(np.argmax(np.isfinite(compute_scaled_residuals(series)))) + 1
    # Thinning takes the newest of each stride, so the first score may come up to one stride early.
    assert first == pytest.approx(count_needed_readings(series), abs=12)


def check_rule_sees_no_future(name):
    """Check that readings after a cell do not change the score of the cell, and that later scores do change."""
    series, rule = noisy(), load_rule(name)
    before = rule(series)
    changed = series.values.copy()
    changed[300:] += np.random.default_rng(1).normal(0, 50, 100)
    changed[310:320] = np.nan
    after = rule(Series(series.times_s, changed, DAY))
    assert np.array_equal(before[:300], after[:300], equal_nan=True)
    assert np.isfinite(before[250:300]).all()
    assert not np.array_equal(before[300:], after[300:], equal_nan=True)


def check_rule_rises(name, kind):
    """Check that a fault of a kind raises the score of a rule."""
    series, rule = noisy(), load_rule(name)
    faulty, last = inject(series, kind, 300, 1.5, np.random.default_rng(3))
    ordinary = np.nanmax(rule(series)[200:])
    assert np.nanmax(rule(faulty)[300 : last + 1]) > 1.3 * ordinary


def noisy_but(cells, values):
    """The noisy record, with other values in some cells; those of a slice are taken from the record."""
    changed = noisy().values.copy()
    changed[cells] = changed[values] if isinstance(values, slice | int) else values
    return Series(noisy().times_s, changed, DAY)


def test_a_stuck_run_is_longer_than_chance_and_does_not_lower_the_scale():
    after = compute_scaled_residuals(noisy_but(slice(300, 330), 300))[340:370]
    assert np.abs(after).max() < 1.15 * np.abs(compute_scaled_residuals(noisy())[340:370]).max()
    found = find_stuck(noisy_but(slice(200, 212), 200))
    assert [f.kind for f in found] == ["stuck"]
    assert found[0].at_s <= 205 * DAY
    rng = np.random.default_rng(2)
    coarse = np.round(rng.normal(0, 0.6, 2000))  # about two in five readings equal their predecessor
    dry = np.where(rng.random(3000) < 0.05, np.round(rng.gamma(1, 2, 3000), 1), 0.0)
    well = (noisy(), *(Series(np.arange(len(one)) * DAY, one, DAY) for one in (coarse, dry)))
    assert [find_stuck(one) for one in well] == [[], [], []]


def test_replays_and_gaps_are_found_and_gaps_have_no_scores():
    found = find_replay(noisy_but(slice(300, 312), slice(100, 112)))
    assert ([(f.kind, f.at_s) for f in found], find_replay(noisy())) == ([("replay", 307 * DAY)], [])
    found = find_empty_cells(noisy_but(slice(50, 54), np.nan))
    assert ([f.at_s for f in found], check_series(noisy(), noisy().times_s.tolist())) == ([54 * DAY], [])
    z = compute_scaled_residuals(noisy_but(slice(200, 240), np.nan))
    assert np.isnan(z[200:241]).all(), "nor where nothing is known in the seven days before"


def test_the_end_of_a_record_has_the_same_scores_as_the_whole():
    rng = np.random.default_rng(3)
    table = np.round(rng.normal(0, 1.5, (5, 1500)), 2)
    for row, resolution in enumerate([0.01, 0.3, 1.0, 2.0]):
        table[row] = np.round(table[row] / resolution) * resolution
    for begin in range(60, 1470, 47):
        table[:, begin : begin + begin % 30] = table[:, begin, None]
    table[rng.random(table.shape) < 0.05] = np.nan
    cut = 2 * SHARE_CELLS + 30  # a run may begin before the cut
    later = StuckRuns(5).feed(table[:, -1500 + 300 :], 0)[:, cut:]
    assert np.array_equal(later, StuckRuns(5).feed(table, 0)[:, 300 + cut :])
    rng = np.random.default_rng(5)
    values = np.round(np.cumsum(rng.normal(0.1, 0.02, 3100)) + rng.normal(0, 1, 3100), 2)
    values[:600] = np.round(values[:600] / 3.0) * 3.0
    for begin in range(700, 3050, 40):
        values[begin : begin + 5] = values[begin]
    whole, cut = (score_parts({"A": Series(np.arange(3100)[-n:] * DAY, values[-n:], DAY)}) for n in (3100, 2500))
    for part in PARTS:
        assert cut[part]["A"][-100:] == pytest.approx(whole[part]["A"][-100:], abs=1e-6)


def test_amounts_in_a_cell_are_summed_and_cells_without_a_reading_are_unknown():
    rain = sum_cells([0, 600, 3 * 3600, 3 * 3600 + 60], [1.0, 2.0, np.nan, 4.0], 3600)
    assert rain.values[[0, 3]].tolist() == [3.0, 4.0]
    assert np.isnan(rain.values[1:3]).all()


def test_a_tail_is_fitted_if_the_budget_allows_too_few_alarms_to_count():
    rng = np.random.default_rng(1)
    times = np.arange(600) * DAY
    rows = [rng.exponential(1.0, 600) for _ in range(4)]
    found = choose_threshold(rows, [times] * 4, DAY, 0.02)
    assert found.method == "pot"
    # Exponential scores: one alarm in 1,522 readings is at log(1,522) = 7.3.
    assert 5.5 < found.value < 9.5


@pytest.mark.parametrize(
    ("rows", "budget"), [([np.full(100, np.nan)], 0.1), ([np.arange(9.0)], 0.1), ([np.ones(9)], 0)]
)
def test_a_threshold_that_cannot_be_stated_is_refused(rows, budget):
    with pytest.raises(ThresholdError):
        choose_threshold(rows, [np.arange(len(rows[0])) * DAY], DAY, budget)


@tabulated("kind", sorted(KINDS))
def test_injection_changes_its_cells_and_nothing_before(kind):
    series = noisy()
    faulty, last = inject(series, kind, 250, 1.5, np.random.default_rng(0))
    assert np.array_equal(faulty.values[:250], series.values[:250])
    assert np.array_equal(faulty.times_s[:250], series.times_s[:250])
    inside = slice(250, last + 1)
    of_values = not np.array_equal(faulty.values[inside], series.values[inside], equal_nan=True)
    of_times = not np.array_equal(faulty.times_s[inside], series.times_s[inside])
    assert (of_values, of_times) == (kind != "timing", kind == "timing")
    again, _ = inject(series, kind, 250, 1.5, np.random.default_rng(0))
    assert np.array_equal(again.values, faulty.values, equal_nan=True)


def test_events_are_in_the_test_part_and_do_not_overlap():
    samples = {f"S{i}": noisy(1800, i) for i in range(4)}
    _, events = inject_many(samples, 0.67, 1)
    assert len(events) >= 15
    for name in samples:
        mine = [e for e in events if e.station == name]
        assert all(e.first >= 0.67 * 1800 for e in mine)
        assert all(a.quiet_until < b.first for a, b in pairwise(mine))


def test_evaluation_counts_events_runs_and_false_alarms():
    series = noisy(400)
    events = [Event("A", "step", 300, 306, 350), Event("A", "spike", 380, 380, 380)]
    raised = np.zeros(400)
    raised[[302, 303, 340, 365]] = 1  # right, the same run, aftermath (ignored), false
    outcome = evaluate_alarms({"A": series}, {"A": raised}, events, 0.5)
    assert (outcome.found, outcome.events, outcome.runs, outcome.correct_runs, outcome.precision) == (1, 2, 2, 1, 0.5)
    assert outcome.delays_days == (2.0,)
    assert count_runs(np.array([0.0, RUN_GAP_S, 3 * RUN_GAP_S])) == 2, "runs merge within seven days"


def network(stations=5, n=700, shared=6.0, at=500):
    """Stations on one reference, which jumps once, and one of them alone an equal jump later."""
    rng = np.random.default_rng(8)
    common = rng.normal(0, 1.0, n) + np.where(np.arange(n) >= at, shared, 0.0)
    return {f"G{k}": Series(np.arange(n) * DAY, common + rng.normal(0, 0.7, n), DAY) for k in range(stations)}


def test_a_common_change_is_explained_and_that_of_one_station_is_not():
    samples = network()
    values = samples["G2"].values.copy()
    values[600] += 6.0
    samples["G2"] = Series(samples["G2"].times_s, values, DAY)
    left = score_parts(samples, {"level"})["level"]
    alone = score_parts({"G2": samples["G2"]}, {"level"})["level"]["G2"]
    assert alone[500] > 3.0
    assert max(left[name][500] for name in left) < 3.0
    assert left["G2"][600] > 1.15 * alone[600]
    assert max(left[name][600] for name in left if name != "G2") < 3.0


def test_two_stations_explain_nothing_and_series_share_one_grid():
    samples = network(2)
    together = score_parts(samples, {"level"})["level"]
    assert np.array_equal(together["G0"], score_parts({"G0": samples["G0"]})["level"]["G0"], equal_nan=True)
    late = {name: s if name != "G4" else Series(s.times_s[200:], s.values[200:], DAY) for name, s in network().items()}
    assert score_parts(late, {"level"})["level"]["G4"][300] < 3.0


@pytest.mark.parametrize("part", sorted(PARTS))
def test_later_readings_do_not_change_the_scores_of_parts(part):
    samples = network()
    before = score_parts(samples, {part})[part]
    late = np.arange(700) >= 450
    changed = {n: Series(s.times_s, np.where(late, -7.0 * s.values, s.values), DAY) for n, s in samples.items()}
    after = score_parts(changed, {part})[part]
    assert all(np.array_equal(before[name][:450], after[name][:450], equal_nan=True) for name in samples)
    assert np.isfinite(before["G0"][300:450]).all()


@pytest.mark.soak
def test_the_budget_is_spent_on_parts_that_find_faults():
    assert COMPOSITES["rules"] == tuple(PARTS)
    assert not set(PARTS) & ({*list_detectors()} - {*COMPOSITES})
    samples = {f"S{k}": noisy(1500, k) for k in range(5)}
    found = split_budget(samples, 0.67, 0.2, carry_over("rules", DAY, 0.2, OTHER_SITES))
    scored = score_parts(samples, found)
    months = 5 * 1005 * DAY / (30.4375 * DAY)
    runs = 0
    for name, series in samples.items():
        over = np.zeros(1500, dtype=bool)
        for part, threshold in found.items():
            over |= np.nan_to_num(scored[part][name], nan=0.0) > threshold.value
        runs += count_runs(series.times_s[:1005][over[:1005]])
    assert runs <= 0.2 * months
    assert set(found) & {"drift", "bend"}  # nothing else finds a drift
    assert "noise" in found  # nor a burst of noise


def test_a_short_record_gives_each_part_an_equal_share_or_is_refused():
    found = split_budget({f"S{k}": noisy(500, k) for k in range(3)}, 0.67, 0.05, {})
    assert {one.method for one in found.values()} == {"pot"}
    with pytest.raises(ThresholdError):
        split_budget({"S": noisy(60)}, 0.67, 0.05, {})


LABELS = st.sampled_from([True, False, None])
ALARMS = st.lists(st.builds(correction.Alarm, st.floats(1.0, 3.0), LABELS, st.booleans()), max_size=40)


@settings(max_examples=80, deadline=None)
@given(ALARMS, st.floats(0.5, 200.0), st.floats(0.01, 1.0), st.floats(correction.LOWEST, correction.HIGHEST))
def test_a_factor_changes_by_one_step_at_most_within_its_bounds(alarms, months, budget, before):
    after = correction.choose_factor(alarms, months, budget, before)
    assert correction.LOWEST <= after <= correction.HIGHEST
    assert before * (1.0 - correction.STEP) - 1e-9 <= after <= before * (1.0 + correction.STEP) + 1e-9
    rate = correction.measure_rate(alarms, months)
    if correction.count_labels(alarms) < correction.MIN_LABELS:
        assert rate is None
        assert after == before
        return
    assert rate.low <= rate.value <= rate.high
    everything = [correction.Alarm(a.score, is_false=False) for a in alarms]
    assert correction.choose_factor(everything, months, budget, before) <= after, "what is confirmed raises nothing"


def make(seed, cells=500, stations=8):
    rng = np.random.default_rng(seed)
    times = np.arange(cells) * DAY
    samples = {f"G{n}": Series(times, rng.normal(0.0, 1.0, cells), DAY) for n in range(stations)}
    # one alarm in a month where one in ten is allowed, many of them little above the threshold
    scored = {n: np.where(rng.random(cells) < 1 / 30, 1.0 + rng.exponential(0.15, cells), 0.5) for n in samples}
    return samples, scored


def test_labels_bring_false_alarms_towards_the_budget():
    samples, scored = make(3)
    raised = follow_labels(scored, samples, [], 0.2, 0.1)
    late = {n: s.times_s >= 300 * DAY for n, s in samples.items()}
    alarmed = {n: row > 1.0 for n, row in scored.items()}
    runs = [sum(count_runs(s.times_s[late[n] & one[n]]) for n, s in samples.items()) for one in (alarmed, raised)]
    assert runs[1] < 0.5 * runs[0]
    changed = {n: np.where(np.arange(500) >= 350, 2.0, row) for n, row in scored.items()}
    again = follow_labels(changed, samples, [], 0.2, 0.1)
    assert all(np.array_equal(again[n][:350], raised[n][:350]) for n in samples)


def test_confirmed_alarms_raise_no_threshold():
    samples, scored = make(4)
    events = [Event(n, "drift", 0, 499, 499) for n in samples]
    raised = follow_labels(scored, samples, events, 0.2, 0.1)
    begin = int(500 * 0.2)
    assert all(np.array_equal(raised[n][begin:], scored[n][begin:] > 1.0) for n in samples)


def site(n=700, stations=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"G{i}": ((np.arange(n) * DAY).tolist(), np.round(0.05 * np.arange(n) + rng.normal(0, 1.5, n), 2).tolist())
        for i in range(stations)
    }


def training(folder, detector="rules", samples=None, budget=0.3, seed=1):
    return DetectorTraining(detector, site() if samples is None else samples, DAY, Path(folder), budget, seed)


def scoring(detector="rules", samples=None, checkpoint=None, since_s=None):
    return ScoringRequest(detector, site() if samples is None else samples, DAY, checkpoint, since_s)


def test_rules_score_without_a_checkpoint():
    samples = site()
    samples["G0"][1][650] += 60.0
    answer = jobs.score(scoring(samples=samples, since_s=600 * DAY))
    alarms = [row for row in answer.scores if row.alerted]
    first = alarms[0]
    assert (first.station, first.at_s, first.kind) == ("G0", 650 * DAY, "spike")
    assert {row.station for row in alarms} == {"G0"}
    assert max(row.at_s for row in alarms) < 665 * DAY
    assert all(row.at_s > 600 * DAY for row in answer.scores)
    assert alarms[0].threshold == 1.0, "scores are in multiples of the thresholds of the parts"
    assert answer.model_hash is None
    json.dumps(answer, allow_nan=False, default=asdict)


@pytest.mark.parametrize("detector", ["rules", pytest.param("ae", marks=pytest.mark.soak)])
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


@pytest.mark.soak
@pytest.mark.parametrize("detector", ["ae"])
def test_networks_score_from_the_file(tmp_path, detector):
    asked = training(tmp_path, detector, site(420, 2), budget=1.0)
    first = jobs.train(asked)
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


def test_checks_find_stuck_and_gaps_and_unusable_series_have_no_scores():
    samples = site(400, 2)
    samples["G0"][1][350:362] = [samples["G0"][1][350]] * 12
    del samples["G1"][1][300:310], samples["G1"][0][300:310]
    found = {name: check_series(build_series(*one, DAY), one[0]) for name, one in samples.items()}
    kinds = {(name, fault.kind) for name, faults in found.items() for fault in faults if fault.at_s > 250 * DAY}
    assert kinds == {("G0", "stuck"), ("G1", "gap")}
    answer = jobs.score(scoring(samples=samples, since_s=250 * DAY))
    assert not any(r.station == "G1" and 299 * DAY < r.at_s < 310 * DAY for r in answer.scores)
    samples = {**site(400, 1), "NEW": ([0.0, DAY], [1.0, 2.0]), "EMPTY": ([], [])}
    answer = jobs.score(scoring(samples=samples, since_s=-1.0))
    assert {row.station for row in answer.scores} == {"G0"}


def test_card_counts_validation_alarms_and_months_on_the_same_record():
    # Without a checkpoint the thresholds come from other sites, and no months are stored with them.
    card = jobs.measure_card(scoring(samples=site(700, 1)), 0.3)
    longer = jobs.measure_card(scoring(samples=site(1400, 1)), 0.3)
    assert card["validation_months"] == pytest.approx(0.17 * 700 * DAY / MONTH_S, rel=0.05)
    assert longer["validation_months"] == pytest.approx(2 * card["validation_months"], rel=0.05)
    assert 0 <= longer["validation_false_alarms_per_sensor_month"] <= 1
    with pytest.raises(InputError, match="no series to measure"):
        jobs.measure_card(scoring(samples={}), 0.3)


def test_bad_requests_are_refused_with_a_reason(tmp_path):
    with pytest.raises(InputError, match="needs a checkpoint"):
        jobs.score(scoring("ae"))
    with pytest.raises(InputError, match="unknown detector"):
        jobs.train(training(tmp_path, "oracle"))
    with pytest.raises(InputError, match="windows"):
        jobs.train(training(tmp_path, "ae", site(60, 1)))
    with pytest.raises(ThresholdError):
        jobs.train(training(tmp_path, samples=site(60, 1)))


@pytest.mark.soak
def test_altered_or_foreign_checkpoint_is_refused(tmp_path):
    answer = jobs.train(training(tmp_path, samples=site(1500, 6)))
    path = Path(answer.checkpoint)
    with pytest.raises(InputError, match="belongs to rules"):
        jobs.score(scoring("ae", checkpoint=str(path)))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DetectorCheckpointError, match="was changed"):
        load_checkpoint(path)
    with pytest.raises(DetectorCheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "absent.safetensors")


def test_kinds_follow_from_earlier_readings_alone():
    assert classify_shapes(np.array([0, 8, 0, 0])) == ["unknown", "spike", "unknown", "unknown"]
    assert classify_shapes(np.array([0, 8, 8.5, 12])) == ["unknown", "spike", "step", "movement"]
    assert classify_shapes(np.array([6, -6, 6])) == ["spike", "unknown", "unknown"]


@pytest.mark.soak
def test_bench_reports_every_detector_at_one_budget():
    samples = {name: build_series(*one, DAY) for name, one in site(1500, 4).items()}
    found = run_bench(samples, ["rules", "rules+checks"], 0.3, range(1))
    rows = {row["detector"]: row for row in found}
    assert rows["rules+checks"]["recall_by_kind"]["stuck"] == 1.0
    assert rows["rules+checks"]["recall_by_kind"]["replay"] == 1.0
    assert rows["rules+checks"]["recall"] > rows["rules"]["recall"]
    assert "rules+checks" in format_table(found)


def test_scoring_by_rules_loads_no_torch():
    code = (
        "import sys; from detection.anomaly import jobs; from detection.anomaly.records import ScoringRequest;"
        "jobs.score(ScoringRequest('rules', {'A': ([0.0, 1.0], [1.0, 2.0])}, 1.0));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


CELLS = 200
LIMITS = {"level": 5.0, "creep": 20.0}


def alarms(level=(), creep=(), stuck=(), rows=1, step_s=DAY, cells=CELLS, notified_above=1.0, dismissed=None):
    """Cells of the first row that alarm, given cells and scores in thresholds of two parts."""
    table = {part: np.full((rows, cells), 0.1) for part in LIMITS}
    for part, scored in (("level", level), ("creep", creep)):
        for cell, score in scored:
            table[part][0, cell] = score * LIMITS[part]
    held = np.zeros((rows, cells), dtype=bool)
    held[0, list(stuck)] = True
    strongest = StrongestPart(rows, step_s, LIMITS, notified_above)
    if dismissed is not None:
        strongest.dismiss(*(np.full(rows, cell) for cell in dismissed))
    score, _ = strongest.feed(table, held, 0, cells)
    assert rows == 1 or not (score[1:] > 1.0).any()
    return np.flatnonzero(score[0] > 1.0).tolist()


def test_an_echo_in_the_long_lines_is_no_new_alarm():
    assert alarms(level=[(50, 1.5)], creep=[(90, 1.4)]) == [50]
    assert alarms(level=[(50, 1.5)], creep=[(111, 1.4)]) == [50, 111]  # the lines of 60 days have passed it


def test_a_dismissed_alarm_has_no_echo():
    assert alarms(level=[(50, 1.5)], creep=[(90, 1.4)], dismissed=(50, LONG_AGO)) == [50, 90]
    assert alarms(level=[(50, 1.5), (60, 1.5)], creep=[(90, 1.4)], dismissed=(50, LONG_AGO)) == [50, 60]
    false = {"level": [(50, 1.5), (70, 1.5)], "creep": [(90, 1.4)]}
    assert alarms(**false, dismissed=(70, LONG_AGO, 50)) == [50, 70], "the first one stands"
    assert alarms(**false, dismissed=(70, LONG_AGO)) == [50, 70, 90]
    stuck = range(45, 58)
    assert alarms(creep=[(80, 1.5)], stuck=stuck, dismissed=(57, LONG_AGO)) == [], "another alarm was dismissed"
    assert alarms(creep=[(80, 1.5)], stuck=stuck, dismissed=(48, 50)) == [80], "it goes on after the word"
    assert alarms(creep=[(80, 1.5)], stuck=stuck, dismissed=(48, 57)) == [80]
    twice = [*range(30, 40), *range(45, 58)]
    assert alarms(creep=[(80, 1.5)], stuck=twice, dismissed=(57, 57, LONG_AGO, 39)) == [], "the first stretch stands"
    assert alarms(creep=[(80, 1.5)], stuck=twice, dismissed=(57, 57)) == [80]


def test_stronger_continuing_and_short_window_alarms_are_no_echoes():
    assert (alarms(level=[(50, 1.5)], creep=[(90, 2.1)]), alarms(level=[(50, 1.5), (90, 1.4)])) == ([50, 90], [50, 90])
    assert alarms(creep=[(90, 1.4)]) == [90]
    going_on = [(cell, 1.2) for cell in range(57, 99, 7)]
    assert alarms(level=[(50, 1.5)], creep=going_on) == [50, *(cell for cell, _ in going_on)]
    assert alarms(level=[(50, 1.5)], creep=[(100, 1.4), (115, 1.4)]) == [50, 115]


def test_the_jump_after_a_stuck_run_is_an_echo_for_a_limited_time():
    assert alarms(level=[(60, 1.5)], stuck=range(45, 58)) == []
    assert alarms(level=[(66, 1.5)], stuck=range(45, 58)) == [66]
    assert alarms(creep=[(80, 1.5)], stuck=range(45, 58)) == []
    again = [cell for first in (20, 65, 110, 155) for cell in range(first, first + 12)]
    assert alarms(creep=[(85, 1.5), (100, 1.5), (190, 1.5)], stuck=again) == [100, 190]
    assert alarms(creep=[(150, 1.5)], stuck=[*range(20, 32), *range(95, 107)]) == []  # well for 62 days: as the first
    assert alarms(level=[(130, 1.5)], stuck=range(20, 125)) == []


def test_other_series_have_no_echoes_and_an_echo_keeps_its_score():
    table = {part: np.full((2, CELLS), 0.1) for part in LIMITS}
    table["level"][0, 50], table["creep"][1, 90] = 9.0, 30.0
    score, which = StrongestPart(2, DAY, LIMITS).feed(table, np.zeros((2, CELLS), dtype=bool), 0, CELLS)
    assert (np.argwhere(score > 1.0).tolist(), which[0, 50], which[1, 90]) == ([[0, 50], [1, 90]], 0, 1)
    table = {part: np.full((1, CELLS), 0.1) for part in LIMITS}
    table["level"][0, 50], table["creep"][0, 90] = 9.0, 30.0
    strongest = StrongestPart(1, DAY, LIMITS)
    strongest.feed(table, np.zeros((1, CELLS), dtype=bool), 0, CELLS)
    assert np.flatnonzero(np.isfinite(strongest.echoes[0])).tolist() == [90]
    assert (strongest.echoes[0, 90], strongest.echo_parts[0, 90]) == (1.5, 1)


def test_echoes_of_fast_and_slow_series_and_of_alarms_that_were_not_shown():
    """Of readings each minute the long lines are a day: alarms of a week are one, so nothing is left to be hidden."""
    assert alarms(level=[(50, 1.5)], creep=[(1600, 1.4)], step_s=60.0, cells=2000) == [50, 1600]
    # Labels raised the threshold: a score below it is shown to nobody.
    said = {"level": [(50, 1.2)], "creep": [(90, 1.4)]}
    assert (alarms(**said, notified_above=1.3), alarms(**said, notified_above=1.1)) == ([50, 90], [50])
    assert alarms(level=[(50, 1.5)], creep=[(90, 1.4)], stuck=range(80, 85), notified_above=None) == [50, 90]
    # Every 15 days: the next reading of one that alarms is no echo, though a week has passed.
    assert alarms(creep=[(k, 1.5) for k in range(50, 56)], step_s=15 * DAY) == [*range(50, 56)]
    assert alarms(creep=[(50, 1.5), (52, 1.5)], step_s=15 * DAY) == [50]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_blocks_with_open_cells_give_the_same_as_the_whole_record(size):
    rng = np.random.default_rng(size)
    table = {part: limit * rng.exponential(0.35, (4, CELLS)) for part, limit in LIMITS.items()}
    table["creep"][1, 20:40] = np.nan
    held = rng.random((4, CELLS)) > 0.98
    whole, which = StrongestPart(4, DAY, LIMITS).feed(table, held, 0, CELLS)
    running = StrongestPart(4, DAY, LIMITS)
    for first in range(0, CELLS - size - 2, size):
        cells = slice(first, first + size + 2)  # two of them stay open
        score, part = running.feed({p: t[:, cells] for p, t in table.items()}, held[:, cells], first, size)
        np.testing.assert_array_equal(score, whole[:, cells])
        np.testing.assert_array_equal(part, which[:, cells])


def test_a_step_alarms_once():
    detector = start_without_history("rules", DAY)
    limits = {part: one.value for part, one in detector.thresholds.items()}
    once, echoes = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        samples = {f"S{k}": Series(np.arange(500) * DAY, rng.normal(0, 1, 500), DAY) for k in range(6)}
        samples["S0"].values[380:] += 12.0
        by, found = score_parts(samples), np.flatnonzero(detector.score(samples)["S0"][380:470] > 1.0)
        assert found[0] < 2
        once += not (np.diff(found) > 7).any()
        every = np.any([by[part]["S0"][380:470] > limit for part, limit in limits.items()], axis=0)
        echoes += bool((np.diff(np.flatnonzero(every)) > 7).any())
    assert once == 12
    assert echoes > 0  # what the parts say without the rule


@pytest.mark.filterwarnings("error")
def test_a_threshold_of_zero_counts_as_one():
    strongest = StrongestPart(1, DAY, {"level": 0.0, "creep": 20.0}, None)
    table = {"level": np.array([[0.0, 0.4, 3.0]]), "creep": np.array([[0.0, 2.0, 10.0]])}
    score, which = strongest.feed(table, np.zeros((1, 3), dtype=bool), 0, 3)
    assert (score.tolist(), which[0, 2]) == ([[0.0, 0.4, 3.0]], 0)

"""Windows, rules, checks and thresholds of the anomaly library: causal, exact, honest about what they cannot know."""

from itertools import pairwise

import numpy as np
import pytest

from detection.anomaly.certain.checks import check_series, find_empty_cells, find_replay, find_stuck
from detection.anomaly.errors import InputError, ThresholdError
from detection.anomaly.evaluation import evaluate_alarms
from detection.anomaly.faults import KINDS, Event, inject, inject_many
from detection.anomaly.parts import PARTS, score_parts
from detection.anomaly.records import RUN_GAP_S
from detection.anomaly.registry import COMPOSITES, DRAWN_TO, NETWORKS, RULES, load_rule
from detection.anomaly.split import split_budget
from detection.anomaly.stages import SHARE_CELLS, StuckRuns, median_of_windows
from detection.anomaly.threshold import carry_over, choose_threshold, count_runs
from detection.anomaly.windows import Series, build_series, fewest_readings, residuals, scaled_residuals, stack_windows

DAY = 86400.0


def noisy(n=400, seed=0, step_s=DAY):
    rng = np.random.default_rng(seed)
    return Series(np.arange(n) * step_s, np.round(0.05 * np.arange(n) + rng.normal(0, 1.5, n), 2), step_s)


def test_series_keeps_gaps_takes_the_newest_of_a_cell_and_refuses_what_it_cannot_place():
    series = build_series([0, 3600, 3700, 5 * 3600], [1.0, 2.0, 2.5, 6.0], 3600)
    assert series.values.tolist()[:2] == [1.0, 2.5]
    assert np.isnan(series.values[2:5]).all()
    assert series.times_s[1] == 3700
    untidy = build_series([7190, 0, 3605], [3, 1, 2], 3600)
    assert untidy.values.tolist() == [1, 2, 3], "jitter and disorder"
    for bad in (([0], [1, 2], 60), ([], [], 60), ([0], [1], 0), ([float("nan")], [1], 60), ([0, 1e13], [1, 2], 60)):
        with pytest.raises(InputError):
            build_series(*bad)


def test_median_of_windows_ignores_unknown_and_demands_enough():
    rows = np.array([[1.0, np.nan, 3.0, np.nan], [np.nan, np.nan, 3.0, 5.0]])
    out = median_of_windows(rows, 3, 2, 2)
    assert out[0, 0] == 2.0
    assert np.isnan(out[0, 1])
    assert np.isnan(out[1, 0])
    assert out[1, 1] == 4.0


def test_residual_is_against_the_seven_days_before_and_a_flat_record_has_no_score():
    assert residuals(Series(np.arange(30) * DAY, np.arange(30.0), DAY))[20] == 4.0  # the median of 13..19
    assert not np.isfinite(scaled_residuals(Series(np.arange(200) * DAY, np.ones(200), DAY))).any()


@pytest.mark.parametrize("step_s", [DAY, 3600.0])
def test_fewest_readings_is_where_the_first_score_appears(step_s):
    series = noisy(400, step_s=step_s)
    first = int(np.argmax(np.isfinite(scaled_residuals(series)))) + 1
    # Thinning takes the newest of each stride, so the first score may come up to one stride early.
    assert first == pytest.approx(fewest_readings(series), abs=12)


@pytest.mark.parametrize("name", sorted(RULES))
def test_rules_see_no_future(name):
    series, rule = noisy(), load_rule(name)
    before = rule(series)
    changed = series.values.copy()
    changed[300:] += np.random.default_rng(1).normal(0, 50, 100)
    changed[310:320] = np.nan
    after = rule(Series(series.times_s, changed, DAY))
    assert np.array_equal(before[:300], after[:300], equal_nan=True)
    assert np.isfinite(before[250:300]).all()
    assert not np.array_equal(before[300:], after[300:], equal_nan=True)


FAULTS = "persistence-z spike, persistence-z step, robust-z spike, ewma drift, slope-change accel, variance burst"


@pytest.mark.parametrize(("name", "kind"), [one.split() for one in FAULTS.split(", ")])
def test_each_rule_rises_on_the_fault_it_is_for(name, kind):
    series, rule = noisy(), load_rule(name)
    faulty, last = inject(series, kind, 300, 1.5, np.random.default_rng(3))
    ordinary = np.nanmax(rule(series)[200:])
    assert np.nanmax(rule(faulty)[300 : last + 1]) > 1.3 * ordinary


def noisy_but(cells, values):
    """The noisy record, with other values in some cells; those of a slice are taken from the record."""
    changed = noisy().values.copy()
    changed[cells] = changed[values] if isinstance(values, slice | int) else values
    return Series(noisy().times_s, changed, DAY)


def test_stuck_needs_the_run_that_chance_cannot_make_and_teaches_no_little_noise():
    after = scaled_residuals(noisy_but(slice(300, 330), 300))[340:370]
    assert np.abs(after).max() < 1.15 * np.abs(scaled_residuals(noisy())[340:370]).max()
    found = find_stuck(noisy_but(slice(200, 212), 200))
    assert [f.kind for f in found] == ["stuck"]
    assert found[0].at_s <= 205 * DAY
    rng = np.random.default_rng(2)
    coarse = np.round(rng.normal(0, 0.6, 2000))  # about two in five readings equal their predecessor
    dry = np.where(rng.random(3000) < 0.05, np.round(rng.gamma(1, 2, 3000), 1), 0.0)
    well = (noisy(), *(Series(np.arange(len(one)) * DAY, one, DAY) for one in (coarse, dry)))
    assert [find_stuck(one) for one in well] == [[], [], []]


def test_replays_and_gaps_are_certain_and_nothing_is_scored_where_nothing_was_seen():
    found = find_replay(noisy_but(slice(300, 312), slice(100, 112)))
    assert ([(f.kind, f.at_s) for f in found], find_replay(noisy())) == ([("replay", 307 * DAY)], [])
    found = find_empty_cells(noisy_but(slice(50, 54), np.nan))
    assert ([f.at_s for f in found], check_series(noisy(), noisy().times_s.tolist())) == ([54 * DAY], [])
    z = load_rule("persistence-z")(noisy_but(slice(200, 240), np.nan))
    assert np.isnan(z[200:241]).all(), "nor where nothing is known in the seven days before"


def test_a_record_that_is_cut_has_the_stuck_readings_and_the_scores_of_the_whole():
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


def test_windows_for_networks_need_their_newest_cell_and_enough_of_the_rest():
    values = np.arange(40.0)
    values[35], values[5:25] = np.nan, np.nan
    index, rows, mask = stack_windows(values, 30, coverage=0.3)
    assert 35 not in index
    assert rows.shape == mask.shape == (len(index), 30)
    assert len(stack_windows(values, 30, coverage=0.7)[0]) == 0


def test_tail_is_fitted_where_nothing_can_be_counted():
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
def test_no_threshold_is_invented(rows, budget):
    with pytest.raises(ThresholdError):
        choose_threshold(rows, [np.arange(len(rows[0])) * DAY], DAY, budget)


@pytest.mark.parametrize("kind", sorted(KINDS))
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


def test_events_lie_in_the_test_part_and_do_not_overlap():
    samples = {f"S{i}": noisy(1800, i) for i in range(4)}
    _, events = inject_many(samples, 0.67, 1)
    assert len(events) >= 15
    for name in samples:
        mine = [e for e in events if e.station == name]
        assert all(e.first >= 0.67 * 1800 for e in mine)
        assert all(a.quiet_until < b.first for a, b in pairwise(mine))


def test_judging_counts_events_runs_and_false_alarms_without_adjustment():
    series = noisy(400)
    events = [Event("A", "step", 300, 306, 350), Event("A", "spike", 380, 380, 380)]
    raised = np.zeros(400)
    raised[[302, 303, 340, 365]] = 1  # right, the same run, aftermath (ignored), false
    outcome = evaluate_alarms({"A": series}, {"A": raised}, events, 0.5)
    assert (outcome.found, outcome.events, outcome.runs, outcome.right, outcome.precision) == (1, 2, 2, 1, 0.5)
    assert outcome.delays_days == (2.0,)
    assert count_runs(np.array([0.0, RUN_GAP_S, 3 * RUN_GAP_S])) == 2, "runs merge within seven days"


def network(stations=5, n=700, shared=6.0, at=500):
    """Stations on one reference, which jumps once, and one of them alone an equal jump later."""
    rng = np.random.default_rng(8)
    common = rng.normal(0, 1.0, n) + np.where(np.arange(n) >= at, shared, 0.0)
    return {f"G{k}": Series(np.arange(n) * DAY, common + rng.normal(0, 0.7, n), DAY) for k in range(stations)}


def test_what_all_stations_do_is_explained_and_what_one_does_is_not():
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


def test_two_stations_explain_nothing_and_a_later_one_is_laid_on_the_same_days():
    samples = network(2)
    together = score_parts(samples, {"level"})["level"]
    assert np.array_equal(together["G0"], score_parts({"G0": samples["G0"]})["level"]["G0"], equal_nan=True)
    late = {name: s if name != "G4" else Series(s.times_s[200:], s.values[200:], DAY) for name, s in network().items()}
    assert score_parts(late, {"level"})["level"]["G4"][300] < 3.0


@pytest.mark.parametrize("part", sorted(PARTS))
def test_parts_see_no_future(part):
    samples = network()
    before = score_parts(samples, {part})[part]
    late = np.arange(700) >= 450
    changed = {n: Series(s.times_s, np.where(late, -7.0 * s.values, s.values), DAY) for n, s in samples.items()}
    after = score_parts(changed, {part})[part]
    assert all(np.array_equal(before[name][:450], after[name][:450], equal_nan=True) for name in samples)
    assert np.isfinite(before["G0"][300:450]).all()


def test_the_budget_goes_to_the_parts_that_are_worth_it_of_those_that_score():
    assert COMPOSITES["rules"] == tuple(PARTS)
    assert not set(PARTS) & {*RULES, *NETWORKS}
    samples = {f"S{k}": noisy(1500, k) for k in range(5)}
    found = split_budget(samples, 0.67, 0.2, carry_over("rules", DAY, 0.2, DRAWN_TO))
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


def test_a_record_too_short_to_count_on_gives_each_part_an_equal_share_or_says_so():
    found = split_budget({f"S{k}": noisy(500, k) for k in range(3)}, 0.67, 0.05, {})
    assert {one.method for one in found.values()} == {"pot"}
    with pytest.raises(ThresholdError):
        split_budget({"S": noisy(60)}, 0.67, 0.05, {})

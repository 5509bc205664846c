"""A threshold follows labels slowly, within bounds, and without seeing what comes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.anomaly.budget import correction
from detection.anomaly.faults import Event
from detection.anomaly.threshold import count_runs
from detection.anomaly.windows import Series
from tests.data.anomalies.followed_labels import follow_labels

DAY = 86400.0
LABELS = st.sampled_from([True, False, None])
ALARMS = st.lists(st.builds(correction.Alarm, st.floats(1.0, 3.0), LABELS, st.booleans()), max_size=40)


@settings(max_examples=200, deadline=None)
@given(ALARMS, st.floats(0.5, 200.0), st.floats(0.01, 1.0), st.floats(correction.LOWEST, correction.HIGHEST))
def test_a_factor_moves_by_one_step_at_most_within_its_bounds(alarms, months, budget, before):
    after = correction.choose_factor(alarms, months, budget, before)
    assert correction.LOWEST <= after <= correction.HIGHEST
    assert before * (1.0 - correction.STEP) - 1e-9 <= after <= before * (1.0 + correction.STEP) + 1e-9
    rate = correction.measure_rate(alarms, months)
    if correction.count_labels(alarms) < correction.FEWEST_LABELS:
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


def test_labels_bring_false_alarms_towards_the_budget_and_see_no_future():
    samples, scored = make(3)
    raised = follow_labels(scored, samples, [], 0.2, 0.1)
    late = {n: s.times_s >= 300 * DAY for n, s in samples.items()}
    alarmed = {n: row > 1.0 for n, row in scored.items()}
    runs = [sum(count_runs(s.times_s[late[n] & one[n]]) for n, s in samples.items()) for one in (alarmed, raised)]
    assert runs[1] < 0.5 * runs[0]
    changed = {n: np.where(np.arange(500) >= 350, 2.0, row) for n, row in scored.items()}
    again = follow_labels(changed, samples, [], 0.2, 0.1)
    assert all(np.array_equal(again[n][:350], raised[n][:350]) for n in samples)


def test_alarms_that_are_right_raise_no_threshold():
    samples, scored = make(4)
    events = [Event(n, "drift", 0, 499, 499) for n in samples]
    raised = follow_labels(scored, samples, events, 0.2, 0.1)
    begin = int(500 * 0.2)
    assert all(np.array_equal(raised[n][begin:], scored[n][begin:] > 1.0) for n in samples)

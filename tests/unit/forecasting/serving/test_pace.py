"""Intervals stretch while a station moves faster than usual, and count overlapping errors by their spans."""

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.serving.conformal import ConformalState, feedback, margin, relax_score, replay, stretch_margin, update
from forecasting.serving.experience import MOST_STRETCH, PACE_FEWEST, see_pace
from forecasting.serving.issue import WIDER
from forecasting.serving.jobs import forecast
from forecasting.serving.quantiles import conform, repeat_point


def creep(rows=300, seed=1, noise=1.0, faster=0):
    """Two stations that creep; the first moves ten times faster over its last rows."""
    rng = np.random.default_rng(seed)
    values = 0.2 * np.arange(rows, dtype=float)[:, None] + rng.normal(0.0, noise, (rows, 2))
    if faster:
        values[-faster:, 0] += 2.0 * np.arange(1.0, faster + 1.0)
    return values


def test_an_unusual_pace_stretches_and_a_usual_one_does_not():
    values = creep(faster=10)
    near, far = (see_pace(values, np.arange(240, 300)).stretch_over(h) for h in (1, 7))
    assert (far[:40] < 1.6).all()
    assert np.median(far[:40]) == 1.0
    assert far[-1, 0] > 2.0
    assert far[-1, 1] < 1.3
    assert (near <= far + 1e-12).all(), "noise of a reading hides the pace the more, the nearer the target"
    assert ((near >= 1.0) & (far <= MOST_STRETCH)).all()


def test_nothing_after_an_origin_is_read():
    values = creep()
    changed = values.copy()
    changed[280:] += 500.0
    rows = np.arange(200, 300)
    before, after = (see_pace(v, rows).stretch_over(7) for v in (values, changed))
    np.testing.assert_array_equal(before[:80], after[:80])
    assert (before[80:] != after[80:]).any()
    alone = see_pace(values, rows[-1:]).stretch_over(7)
    np.testing.assert_array_equal(alone, before[-1:])
    few = see_pace(values, rows[-10:]).stretch_over(7)
    np.testing.assert_array_equal(few[-1:], alone)


def test_a_short_or_silent_record_is_never_stretched():
    values = creep(60, faster=10)
    assert (see_pace(values[: PACE_FEWEST - 1], np.arange(10, PACE_FEWEST - 1)).stretch_over(7) == 1.0).all()
    values[5:] = np.nan
    assert (see_pace(values, np.array([59])).stretch_over(7) == 1.0).all()
    assert (see_pace(np.zeros((100, 1)), np.array([99])).stretch_over(7) == 1.0).all()


def test_an_interval_widens_before_a_miss_can_be_known():
    values = creep(faster=10)
    rows = np.arange(100, 300)
    fan = repeat_point(values[rows])
    margins = conform(fan, values, rows, 30).margins[0.8]
    assert margins[-1, 0] > 1.5 * margins[-15, 0]
    assert margins[-1, 1] < 1.3 * margins[-15, 1]


def test_stretched_intervals_still_hold_as_often_as_they_say():
    rng = np.random.default_rng(5)
    fast = rng.random((2000, 3)) < 0.2
    stretch = np.where(fast, 3.0, 1.0)
    for size in (1.0, 3.0):  # the pace says nothing of the errors, or all
        observed = rng.normal(0.0, np.where(fast, size, 1.0))
        ((margins, _),) = replay(np.abs(observed), steps=1, nominals=(0.8,), stretch=stretch)
        inside = (np.abs(observed) <= margins)[400:]
        assert inside.mean() == pytest.approx(0.8, abs=0.02)
        assert inside[fast[400:]].mean() > 0.75


def test_errors_of_a_slide_do_not_widen_the_quiet_months_behind_it():
    rng = np.random.default_rng(6)
    stretch = np.where((np.arange(600) >= 200) & (np.arange(600) < 260), 4.0, 1.0)[:, None]
    errors = np.abs(rng.normal(size=(600, 1))) * stretch
    ((told, _),) = replay(errors, steps=7, nominals=(0.8,), stretch=stretch)
    ((quiet, _),) = replay(errors / stretch, steps=7, nominals=(0.8,))
    ((wide, _),) = replay(errors, steps=7, nominals=(0.8,))
    np.testing.assert_allclose(told, quiet * stretch)
    assert wide[270, 0] > 1.5 * told[270, 0], "an interval that takes errors as they are is wider"


def test_what_is_scored_live_leads_to_the_state_that_a_replay_finds():
    rng = np.random.default_rng(8)
    stretch = 1.0 + 3.0 * (rng.random((200, 1)) < 0.2)
    observed = rng.normal(size=(200, 1)) * stretch
    ((margins, (last,)),) = replay(np.abs(observed), steps=1, nominals=(0.8,), stretch=stretch)
    state = ConformalState.fresh(0.8, 1)
    for t in range(199):
        told = float(stretch_margin(margin(state), stretch[t, 0]))
        if t >= 20:
            assert told == pytest.approx(margins[t, 0])
            issued = {0.8: (-told, told, told)}
            state = feedback(issued, observed[t, 0], {0.8: state}, stretch[t, 0])[0.8]
        else:
            state = update(state, float(relax_score(abs(observed[t, 0]), stretch[t, 0])))
    assert (state.scores, state.alpha) == (pytest.approx(last.scores), pytest.approx(last.alpha))


def test_a_margin_that_takes_away_is_left_alone():
    assert stretch_margin(-2.0, 3.0) == -2.0
    assert np.isnan(stretch_margin(float("nan"), 3.0))


def test_overlapping_errors_count_by_their_spans():
    few = ConformalState(0.8, 0.01, 0.2, tuple(np.arange(1.0, 41.0)), 40)
    assert margin(few, 1) < margin(few, 7) == margin(few, 30) <= 40.0
    many = ConformalState(0.8, 0.01, 0.2, tuple(np.arange(1.0, 401.0)), 400)
    assert margin(many, 30) == pytest.approx(margin(many, 1), rel=0.02)


def test_an_issue_stretches_what_its_states_say_and_says_so():
    """The state is a function of past forecasts alone; the pace of the record at the moment of issue."""
    values = creep(200, faster=4)
    panel = Panel(0.0, DAY_S, ("A", "B"), values)
    made = forecast(panel, "persistence", (7 * DAY_S,))
    kept = forecast(panel, "persistence", (7 * DAY_S,), conformal=made.conformal)
    # rows are kept apart from the kinematic ones that may stand beside them
    rows = {r.station: r for r in kept.rows if r.model == "persistence"}
    stretch = see_pace(values, np.array([199])).stretch_over(7)[0]
    assert stretch[0] > 1.25 > stretch[1]
    for s, name in enumerate(panel.stations):
        state = made.conformal[f"{name}|604800|0.8"]
        assert rows[name].margins["0.8"] == pytest.approx(float(stretch_margin(margin(state, 7), stretch[s])))
    again = {r.station: r.margins for r in made.rows if r.model == "persistence"}
    assert again == {name: row.margins for name, row in rows.items()}
    assert WIDER in rows["A"].reason or "outside experience" in rows["A"].reason
    assert WIDER not in rows["B"].reason

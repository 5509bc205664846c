"""A record with gaps is forecast all the same: wider, and marked as what it is.
Where the present lies outside what calibration saw, the kinematic forecast steps in; within it nothing changes.
Intervals stretch while a station moves faster than usual, and count overlapping errors by their spans.
"""

from dataclasses import replace
from itertools import pairwise
from math import erfc, sqrt

import numpy as np
import pytest

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Panel, panel_from_samples
from forecasting.data.splits import Block
from forecasting.kinematics.extrapolation import extrapolate, normal_below
from forecasting.reasons import Reason, split_reason
from forecasting.serving.conformal import ConformalState, feedback, margin, relax_score, replay, stretch_margin, update
from forecasting.serving.experience import PACE_FEWEST, compare_drivers, compare_motion, see_pace
from forecasting.serving.issue import FEWEST_ROWS, OBSERVED_SHARE, WIDER, WINDOW, find_silent
from forecasting.serving.jobs import forecast
from forecasting.serving.kinematic import TAKES_OVER, see_motion, step_in
from forecasting.serving.path import MOVED, lay_paths
from forecasting.serving.quantiles import conform, repeat_point
from forecasting.serving.shown import choose_shown
from forecasting.simple.auto import fit_auto
from monitor.text.reasons import convert_reason
from tests.data.forecast_rows import row as make_row
from tests.data.forecasts import motion_scenes
from tests.data.forecasts.absurdity import Fan, find_absurd, see_present
from tests.fixtures.soak import with_soak

ROWS = 300
MARK = "record with gaps"


def draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice([0.0, 0.1, 1.0]) * np.arange(ROWS) + rng.normal(0, 1, ROWS)


def cut(values: np.ndarray, seed: int) -> np.ndarray:
    """The same with gaps in its last 60 rows: strewn, in one piece, or every other row; the newest row is there."""
    rng, out = np.random.default_rng(1000 + seed), values.copy()
    recent = np.arange(ROWS - WINDOW, ROWS - 1)
    lost = int(rng.integers(2, WINDOW - 3))
    kind = seed % 3
    if kind == 0:
        out[rng.choice(recent, lost, replace=False)] = np.nan
    elif kind == 1:
        first = int(rng.integers(ROWS - WINDOW, ROWS - lost))
        out[first : min(first + lost, ROWS - 1)] = np.nan
    else:
        out[recent[:: int(rng.integers(2, 4))]] = np.nan
    return out


def issue(values: np.ndarray, model: str = "auto"):
    return forecast(Panel(0.0, DAY_S, ("A",), values[:, None]), model, [DAY_S, 7 * DAY_S])


@pytest.mark.parametrize("seed", [*range(9), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(9, 30))])
def test_a_record_with_gaps_is_forecast_wider_and_marked(seed: int) -> None:
    values = draw(seed)
    gappy = cut(values, seed)
    whole, made = issue(values), issue(gappy)
    assert [r.horizon_s for r in made.rows] == [r.horizon_s for r in whole.rows]
    is_gappy = int(np.isfinite(gappy[-WINDOW:]).sum()) < OBSERVED_SHARE * WINDOW
    for row, before in zip(made.rows, whole.rows, strict=True):
        assert (MARK in convert_reason(row.reason)) == is_gappy
        assert not is_gappy or row.q90 - row.q10 > before.q90 - before.q10


@pytest.mark.parametrize("rows", [FEWEST_ROWS - 1, FEWEST_ROWS + 3, 41])
def test_a_young_record_needs_as_many_rows_as_its_interval(rows: int) -> None:
    values = np.full(ROWS, np.nan)
    values[-rows:] = draw(1)[-rows:]
    made = issue(values, "persistence")
    near = [row for row in made.rows if row.horizon_s == DAY_S]
    assert len(near) == (rows > FEWEST_ROWS)
    assert not any(MARK in convert_reason(row.reason) for row in near), "it is short, not gappy"
    if not near:
        (told,) = {
            (convert_reason(one.reason), convert_reason(one.lack.reason))
            for one in made.withheld
            if one.horizon_s == DAY_S
        }
        assert told == (f"record too short: {rows} of 21 rows of 1 d", f"{rows} observations; 21 are needed")


def test_a_network_states_its_own_need() -> None:
    gappy = draw(2)
    gappy[-45:-15] = np.nan
    panel = Panel(0.0, DAY_S, ("A",), gappy[:, None])
    assert {name: convert_reason(one) for name, one in find_silent(panel)[0].items()} == {
        "A": "gaps: 30 of the last 60 rows of 1 d observed, not 42"
    }


def lay(values, step_s=DAY_S, **more):
    return Panel(0.0, step_s, ("A",), np.asarray(values, dtype=float)[:, None], **more)


def quiet(rows=300, seed=1, noise=1.0):
    return np.random.default_rng(seed).normal(0.0, noise, rows)


def sudden(days, rate=10.0, seed=1):
    values = quiet(seed=seed, noise=0.3)
    values[-days:] += rate * np.arange(1.0, days + 1.0)
    return values


def collapse(rows=240, lead=12.0, way=1.0, seed=3):
    """Rows up to `lead` days before a failure by Voight's law with exponent 2."""
    ahead = lead + np.arange(rows - 1.0, -1.0, -1.0)
    return way * -30.0 * np.log(ahead / ahead[0]) + np.random.default_rng(seed).normal(0.0, 0.5, rows)


def row(panel, model="lld", horizon_s=DAY_S, **more):
    value = float(panel.values[-1, 0])
    named = dict.fromkeys(("q025", "q10", "q50", "q90", "q975", "baseline_q50", "data_value"), value)
    times = {"issued_s": panel.end_s, "target_s": panel.end_s + horizon_s, "data_until_s": panel.end_s}
    return replace(
        make_row(model, horizon_s=horizon_s, reason=Reason("forecast.simple", {"model": model})),
        **times,
        **named,
        **more,
    )


@pytest.mark.parametrize("name", list(motion_scenes.SCENES))
def test_no_forecast_of_the_five_scenes_is_absurd(name):
    scene = motion_scenes.SCENES[name](1)
    panel = panel_from_samples({"S": (scene.times_s, scene.values)}, scene.step_s)
    made = forecast(panel, "auto", scene.horizons_s)
    shown = [one for one in choose_shown(made.rows) if one.shown]
    present = see_present(scene.times_s.tolist(), scene.values.tolist(), noise=scene.noise)
    assert present is not None
    assert shown, "the shortest horizon at least is answered"
    fans = [Fan(one.horizon_s, one.q025, one.q10, one.q50, one.q90, one.q975) for one in shown]
    assert find_absurd(fans, present) == {}
    moves = not name.startswith("control")
    assert {one.model for one in shown} == {"kinematic" if moves else "auto"}
    if moves:
        assert all(
            convert_reason(one.reason).startswith("outside experience: ") and one.replaces == "auto" for one in shown
        )
        silent = {w.reason.code for w in made.withheld if w.model == "kinematic"}
        assert silent <= {"forecast.window_ends"}


def test_the_next_reading_of_a_fast_slope_lies_in_its_interval():
    held = []
    for seed in range(12):
        values = collapse(lead=6.0, seed=seed)
        low, _, high = extrapolate(values[:-2], [1])[0, 1:4]
        held.append(low <= values[-2] <= high)
    assert np.mean(held) >= 0.7


@pytest.mark.parametrize("values", [collapse(), collapse(way=-1.0), sudden(3), quiet(), np.zeros(80)])
def test_quantiles_are_in_order_and_widen_with_the_horizon(values):
    made = extrapolate(values, [1, 2, 4, 8, 16, 32, 64])
    assert np.isfinite(made).all()
    assert (np.diff(made, axis=1) >= -1e-9).all()
    assert (np.diff(made[:, 3] - made[:, 1]) >= -1e-9).all()


def test_the_forecast_of_the_mirrored_motion_is_mirrored():
    assert extrapolate(-collapse(), [1, 7]) == pytest.approx(-extrapolate(collapse(), [1, 7])[:, ::-1], abs=1e-6)


def test_the_normal_distribution_of_the_table_is_that_of_the_error_function():
    z = np.concatenate([np.linspace(-9.5, 9.5, 20001), [-1e300, 1e300]])
    assert np.abs(normal_below(z) - [0.5 * erfc(-v / sqrt(2.0)) for v in z.tolist()]).max() < 1e-15
    assert np.isnan(normal_below(np.array([np.nan]))).all()


@pytest.mark.parametrize("size", [1e121, 1e155, 1e308])
def test_values_beyond_all_bounds_give_no_kinematic_forecast_and_the_reason(size):
    with np.errstate(over="raise", invalid="raise"):
        assert np.isnan(extrapolate(np.linspace(size, 1.1 * size, 100), [1, 7])).all()
        assert np.isfinite(extrapolate(np.linspace(1e110, 1.1e110, 100), [1, 7])).all()
    panel = lay(sudden(7, rate=size / 7.0))
    with np.errstate(all="ignore"):
        made, (held,) = step_in(panel, None, [row(panel, "auto")], 7)
    assert ([one.model for one in made], held.reason) == (["auto"], Reason("forecast.boundless"))


def test_a_gap_is_left_out_and_too_few_rows_give_nothing():
    values = collapse()
    values[-12:-9] = np.nan
    assert np.isfinite(extrapolate(values, [1, 7])).all()
    assert np.isnan(extrapolate(np.array([1.0, 2.0, 3.0]), [1])).all()


def test_a_motion_that_was_never_seen_is_outside_and_the_reason_says_how_far():
    (found,) = compare_motion(lay(sudden(3)), 7)
    assert found.novelty > 5.0
    assert convert_reason(found.reason).startswith("outside experience: velocity ")
    assert convert_reason(found.reason).endswith(" times the largest in calibration")


def test_noise_one_wild_reading_and_a_short_record_are_not_outside():
    shares = [compare_motion(lay(quiet(seed=seed)), 7)[0].novelty for seed in range(60)]
    assert np.mean(np.array(shares) > 1.0) < 0.03
    wild = quiet()
    wild[-1] += 50.0
    assert compare_motion(lay(wild), 7)[0].reason is None
    assert compare_motion(lay(sudden(3)[-80:]), 7)[0].novelty is None


def test_a_still_logger_that_begins_to_move_is_outside():
    values = np.full(300, 4.2)
    values[-3:] += [1.0, 2.0, 3.0]
    assert compare_motion(lay(values), 7)[0].novelty > 1.0
    assert compare_motion(lay(np.full(300, 4.2)), 7)[0].reason is None


def test_the_present_alone_is_judged_by_rows_before_it():
    values = sudden(3)
    late = np.concatenate([values, values[-1] + quiet(40, seed=9)])
    assert compare_motion(lay(values), 7) == compare_motion(lay(late).head(values.size), 7)


def test_record_rain_closes_the_models_that_read_it_and_no_other():
    rain = np.random.default_rng(2).gamma(0.3, 8.0, 300)
    rain[-1] = 4.0 * rain[:-1].max()
    drivers = DriverRows(("R1.rain_mm.sum_1d",), ("rain",), rain[:, None])
    panel = lay(quiet(), drivers=drivers)
    why = "outside experience: R1.rain_mm.sum_1d 4.0 times the largest in calibration"
    assert convert_reason(compare_drivers(panel.drivers, 7).reason) == why
    ((one,), _) = step_in(panel, panel.drivers, [row(panel, "arima")], 7)
    assert not one.shown
    assert convert_reason(one.reason) == f"not shown: {why}"
    ((other,), _) = step_in(panel, None, [row(panel, "auto")], 7)
    assert other.shown
    assert [r.model for r in choose_shown([one, other]) if r.shown] == ["auto"]


def test_it_stands_in_for_every_model_once_and_says_for_which():
    panel = lay(sudden(3))
    network = row(panel, "gru", model_hash="f" * 64, shown=False)
    made = (row(panel), row(panel, "auto"), network)
    chosen = choose_shown([one for each in made for one in step_in(panel, None, [each], 7)[0]])
    assert [one.model for one in chosen] == ["lld", "auto", "kinematic", "gru"]
    (shown,) = [one for one in chosen if one.shown]
    assert (shown.model, shown.replaces, shown.model_hash) == ("kinematic", "auto", None)
    closed = [one for one in chosen if one.model in {"lld", "auto"}]
    assert all(convert_reason(one.reason).startswith("not shown: outside experience: ") for one in closed)


def test_inside_nothing_changes_but_that_it_is_said():
    panel = lay(quiet())
    before = row(panel)
    assert step_in(panel, None, [before], 7) == ([replace(before, novelty=compare_motion(panel, 7)[0].novelty)], [])


def find_jumps(seed: int) -> tuple[float, float]:
    """What a served median moved from row to row beyond either of its parts, of what lies between them; of a switch."""
    rng = np.random.default_rng(seed)
    rate = np.full(280, 0.2)
    rate[240:262] = 3.0 + 9.0 * rng.random()  # it begins, and it ends
    values = np.cumsum(rate) + rng.normal(0.0, 0.5, 280)
    found: list[list[float]] = [[], []]
    for rows in (range(239, 248), range(262, 271)):
        served = []
        for last in rows:
            panel = lay(values[:last])
            motion = see_motion(panel, 7)
            model = forecast(panel, "auto", (7 * DAY_S,), motion=motion).rows[0]
            ways = [motion, replace(motion, present={"A": replace(motion.present["A"], lasted=TAKES_OVER)})]
            made = [step_in(panel, None, [replace(model, shown=True)], 7, way)[0][-1].q50 for way in ways]
            (alone,) = lay_paths(panel, [replace(model, q50=float(motion.extrapolate("A", (7,))[0, 2]))])
            served.append((model.q50, alone.q50, *made))
        for was, now in pairwise(np.array(served)):
            gap, own = max(abs(was[0] - was[1]), abs(now[0] - now[1]), 1.0), np.abs(now[:2] - was[:2]).max()
            for part, moved in zip(found, np.abs(now[2:] - was[2:]), strict=True):
                part.append((moved - own) / gap)
    return max(found[0]), max(found[1])


@pytest.mark.parametrize("seeds", with_soak(1, 2))
def test_what_steps_in_takes_over_row_by_row(seeds):
    """Never by more than half of what lies between the two, also when it gives way again; a switch would be seen."""
    smooth, switched = np.max([find_jumps(seed) for seed in range(seeds)], axis=0)
    assert smooth <= 0.5 < switched


@pytest.mark.parametrize("nearer", [True, False])
def test_what_erred_less_takes_over_sooner(nearer):
    values = quiet(noise=0.1)
    values[-9:] += 5.0 * np.arange(1.0, 10.0)
    panel = lay(values)
    motion = see_motion(panel, 7)
    early = replace(motion, present={"A": replace(motion.present["A"], lasted=1)})
    still = fit_auto(panel, Block(240, 300), (1, 7))
    bent = still.mixed.copy()
    bent[:-1, :, 0] = 0.0 if nearer else values[-bent.shape[0] + 1 :, None]
    share = early.share_of("A", replace(still, mixed=bent))
    assert (share, early.share_of("A", None)) == (pytest.approx(0.5 if nearer else 0.1), pytest.approx(0.25))
    assert motion.share_of("A", still) == 1.0


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_what_steps_in_lies_on_one_path(way):
    """A law that fails tomorrow multiplies the velocity; twice the present one is as far as a path reaches."""
    panel = lay(collapse(lead=1.2, way=way))
    rows, _ = step_in(panel, None, [row(panel, "auto")], 7)
    made = extrapolate(panel.values[:, 0], [1])[0]
    (shown,) = [one for one in rows if one.model == "kinematic"]
    newest = way * float(panel.values[-1, 0] - panel.values[-2, 0])
    assert way * (made[2] - panel.values[-1, 0]) > 2.2 * newest
    assert newest < way * (shown.q50 - shown.data_value) < 2.0 * newest
    assert split_reason(shown.reason)[-1] == MOVED
    assert lay_paths(panel, [shown]) == [shown]


def test_targets_behind_the_failure_window_are_withheld():
    panel = lay(collapse(lead=6.0))
    rows, withheld = step_in(panel, None, [row(panel, "auto", h) for h in (DAY_S, 90 * DAY_S)], 90)
    assert [one.horizon_s for one in rows if one.model == "kinematic"] == [DAY_S]
    ends = Reason("forecast.window_ends", {"horizon": 90 * DAY_S})
    assert [(w.model, w.reason) for w in withheld] == [("kinematic", ends)]


def test_after_the_failure_window_nothing_is_foretold():
    values = collapse(lead=2.0)
    for more in range(1, 24):
        panel = lay(np.concatenate([values, values[-1] + 15.0 * np.arange(1.0, more + 1.0)]))
        rows, withheld = step_in(panel, None, [row(panel, "auto")], 7)
        if withheld:
            break
    assert {w.reason for w in withheld} == {Reason("forecast.window_passed")}
    assert not any(one.shown for one in choose_shown(rows))


def creep(rows=300, seed=1, noise=1.0, faster=0):
    """Two stations that creep; the first moves ten times faster over its last rows."""
    rng = np.random.default_rng(seed)
    values = 0.2 * np.arange(rows, dtype=float)[:, None] + rng.normal(0.0, noise, (rows, 2))
    if faster:
        values[-faster:, 0] += 2.0 * np.arange(1.0, faster + 1.0)
    return values


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
    reasons = {name: split_reason(row.reason) for name, row in rows.items()}
    assert WIDER in reasons["A"] or "outside experience" in convert_reason(rows["A"].reason)
    assert WIDER not in reasons["B"]

"""What is served follows the motion that the rows prove, and nothing else: over drawn motions, from fast to still.
Weights over simple forecasts: they follow errors, from the past alone, and never gamble.
The season of the year: found where years repeat, refused where they do not, and laid on what `auto` forecasts.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import Block
from forecasting.kinematics.velocity import fit_velocity
from forecasting.reasons import Reason
from forecasting.serving.issue import find_calibration
from forecasting.serving.jobs import forecast
from forecasting.serving.shown import choose_shown
from forecasting.simple import trend
from forecasting.simple.auto import Auto, fit_auto, fit_season
from forecasting.simple.baselines import fit_baseline
from forecasting.simple.regret import OTHERS, Rule, Shorter, compute_weights, find_noise_share, mix
from forecasting.simple.trend import Trend, follow
from tests.data.forecasts.motions import CADENCES, Cadence, draw_motion, foresee

RIVALS = ("persistence", "drift", "lld")
SEEDS = range(2)
CLEAR, NOISE = 4.0, 1.0
QUANTILES = ("q025", "q10", "q50", "q90", "q975")
HOURLY = CADENCES["hourly"]


def fit(values, cadence: Cadence, rows: int) -> tuple[Auto, Panel]:
    panel = Panel(0.0, cadence.step_s, ("A",), values[:, None])
    return fit_auto(panel.head(rows), find_calibration(rows), cadence.steps), panel


def compare(kind: str, ratio: float, cadence: Cadence, seeds: Sequence[int]) -> tuple[list[float], list[float]]:
    """Per horizon the error of what is served, over the lowest of the three that is known only afterwards."""
    # the change of pace comes at 45 % of the rows at the soonest
    first = round((0.35 if cadence.rows > 100 else 0.5) * cadence.rows)
    errors = {name: [[] for _ in cadence.steps] for name in (*RIVALS, "served", "floor")}
    for seed in seeds:
        auto, panel = fit(draw_motion(kind, ratio, cadence, seed), cadence, first)
        origins = np.arange(first - 1, cadence.rows)
        known, calibration = panel.head(first), find_calibration(first)
        fits = {name: fit_baseline(name, known, calibration, cadence.steps) for name in RIVALS}
        said = {name: one.predict(panel.values, origins)[:, 0] for name, one in fits.items()}
        said["served"] = auto.predict(panel.values, origins)[:, 0]
        foreseen = foresee(kind, ratio, cadence, seed)
        said["floor"] = said["served"] * np.nan if foreseen is None else foreseen[origins]
        for name, made in said.items():
            for i, h in enumerate(cadence.steps):
                errors[name][i].append(np.abs(panel.values[origins[:-h] + h, 0] - made[:-h, i]))
    mean = {name: np.array([np.concatenate(one).mean() for one in own]) for name, own in errors.items()}
    best = np.min([mean[name] for name in RIVALS], axis=0)
    return (mean["served"] / best).tolist(), (mean["served"] / np.fmax(best, mean["floor"])).tolist()


@pytest.mark.parametrize("kind", ["steady", "ramp", "bend", "stop", "step", "white"])
@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("daily", range(1)),
        ("monthly", range(2)),
        pytest.param("daily", range(8), marks=pytest.mark.soak),
        pytest.param("monthly", range(8), marks=pytest.mark.soak),
        pytest.param("hourly", range(8), marks=pytest.mark.soak),
    ],
)
def test_served_is_about_as_good_as_the_best_of_three(name, kind, seeds):
    every = [
        compare(kind, ratio, CADENCES[name], seeds) for ratio in ((0.1, 3.0, 1000.0) if kind != "white" else (1.0,))
    ]
    # of sixty rows a step takes some before it is told from a bend
    assert np.exp(np.log([best for best, _ in every]).mean()) <= (1.15 if kind == "step" else 1.10)
    assert max(max(own) for _, own in every) <= 1.3


@pytest.mark.parametrize("period", [8.0, 12.0, 24.0])
def test_a_tide_is_trusted_once_its_filters_are(period):
    """Whole periods ahead a tide is where it is: what the path erred before that was found is no doubt of it now."""
    values = 4000.0 * np.sin(2.0 * np.pi * np.arange(400.0) / period) + np.random.default_rng(2).normal(0.0, 1.0, 400)
    found = follow(values[:, None], HOURLY.steps, ((0,),))
    path, doubt, truth = found.path[240:328, :, 2:], found.doubt[240:328, :, 2:], values[312:400, None, None]
    assert np.abs(path - truth).mean() < 3.0
    assert doubt.max() < 5.0
    trend = Trend("trend", HOURLY.steps[2:], ((0,),))
    rest = path + 1000.0
    assert np.abs(trend.lean(path, doubt, rest) - truth).mean() < 3.0
    assert np.abs(trend.lean(path, doubt + 1000.0, rest) - truth).mean() > 100.0, "a doubt of the past would be seen"


@pytest.mark.parametrize("ratio", [3.0, 30.0, 1000.0])
def test_a_stop_is_followed_within_the_rows_that_prove_it(ratio):
    row = np.arange(500.0)
    noise = np.random.default_rng(1).normal(0.0, 1.0, 500)
    values = np.cumsum(np.where(row < 400, ratio, 0.0)) + noise
    auto, panel = fit(values, HOURLY, 390)
    made = auto.predict(panel.values, np.array([398, 415]))[:, 0] - 400.0 * ratio
    assert (made[0] > 0.8 * ratio * np.array(HOURLY.steps)).all(), "it still moves"
    assert (np.abs(made[1]) < 0.1 * ratio * np.array(HOURLY.steps) + 10.0).all(), "it stood for fifteen rows"


def draw_slide(slowing: int, seed: int):
    """Still for 200 rows, then up to 8 mm a row within twenty, as long at that, then slower until it stands."""
    rises, falls = np.linspace(0.4, 8.0, 20), np.linspace(8.0, 0.0, slowing)
    pace = np.concatenate([np.zeros(200), rises, np.full(20, 8.0), falls, np.zeros(40)])
    return np.cumsum(pace) + np.random.default_rng(seed).normal(0.0, 0.7, pace.size)


@pytest.mark.parametrize("slowing", [10, 20, 30])
def test_a_slide_that_slows_is_not_told_to_run_back(slowing, monkeypatch):
    def worst(seed: int) -> tuple[float, float]:
        values = draw_slide(slowing, seed)
        ahead = follow(values[:, None], (1, 7, 30), ((0,),)).path[:, 0, 2] - values
        moved = np.abs(values[30:] - values[:-30]).max()
        return -ahead.min() / moved, ahead.max() / moved

    bounds = np.array([0.38, 1.4])
    assert (np.mean([worst(seed) for seed in SEEDS], axis=0) < bounds).all()
    monkeypatch.setattr(trend, "LASTING", np.full(trend.LASTING.shape, np.inf))
    monkeypatch.setattr(trend, "_find_age", lambda slope, turn: np.full(slope.shape, np.inf))
    assert max(np.mean([worst(seed) for seed in SEEDS], axis=0) - bounds) > 0.2, "without end it would"


@pytest.mark.parametrize("kind", ["bend", "stop", "step"])
@pytest.mark.parametrize("name", ["hourly", "daily"])
def test_lines_begin_anew_where_the_pace_changes(name, kind, monkeypatch):
    cadence = CADENCES[name]
    values = np.stack([draw_motion(kind, ratio, cadence, seed) for ratio in (10.0, 100.0) for seed in SEEDS], axis=1)
    groups = [(s,) for s in range(values.shape[1])]

    def err() -> float:
        path = follow(values, cadence.steps, groups).path
        first, each = round(0.45 * cadence.rows), enumerate(cadence.steps)
        errors = [np.abs(path[first:-h, :, i] - values[first + h :]).mean(axis=0) for i, h in each]
        return float(np.exp(np.log(errors).mean()))

    anew = err()
    monkeypatch.setattr(trend, "LIMIT", np.full(trend.LIMIT.shape, np.inf))
    assert anew < 0.95 * err()


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1.0])
def test_a_change_without_noise_breaks_no_filter(noise):
    row = np.arange(120.0)
    values = np.where(row < 60, 0.0, 1e6 * (row - 60.0)) + noise * np.random.default_rng(4).normal(size=120)
    path = follow(values[:, None], (1, 7), ((0,),)).path[:, 0]
    assert np.isfinite(path).all()
    np.testing.assert_allclose(path[75:, 1], values[75:] + 7e6, rtol=1e-3)


def test_white_noise_stays_a_constant():
    for seed in SEEDS:
        auto, panel = fit(draw_motion("white", 1.0, HOURLY, seed), HOURLY, 300)
        made = auto.predict(panel.values, np.arange(299, 720))
        assert np.abs(made).mean() < 0.25
        assert np.abs(made).max() < 2.0


def test_east_and_north_of_one_slide_obey_one_choice():
    """North moves a seventh as far: alone its noise would leave in doubt what east proves."""
    row = np.arange(240.0)
    noise = np.random.default_rng(3).normal(0.0, 1.0, (240, 2))
    values = np.where(row < 150, 0.0, row - 150.0)[:, None] * np.array([2.0, 0.3]) + noise
    names = ("A.displacement_east", "A.displacement_north")
    panel = Panel(0.0, DAY_S, names, values)
    auto = fit_auto(panel, find_calibration(240), (1, 7, 30))
    trend = auto.member("trend")
    assert isinstance(trend, Trend)
    assert trend.groups == ((0, 1),)
    np.testing.assert_allclose(auto.weights[:, 0], auto.weights[:, 1], atol=1e-12)
    truth = values[-1] + 30.0 * np.array([2.0, 0.3])
    assert (np.abs(auto.predict(values, np.array([239]))[0, :, 2] - truth) < 5.0).all()


@pytest.mark.parametrize(
    ("begins", "rate"), [(0, 0.4), (0, -30.0), (180, -2.0), (180, 300.0), (236, 2.0), (236, -30.0), (236, 300.0)]
)
@pytest.mark.parametrize("name", ["hourly", "daily"])
def test_what_is_served_agrees_with_the_velocity_that_is_told(name, begins, rate):
    cadence = CADENCES[name]
    row = np.arange(240.0)
    values = rate * np.maximum(row - begins, 0.0) + np.random.default_rng(7).normal(0.0, 0.3, 240)
    panel = Panel(0.0, cadence.step_s, ("A",), values[:, None])
    newest = 4 if begins == 236 else 12
    assert agrees(panel, cadence, newest) is True
    turned = [replace(r, **{q: 2.0 * values[-1] - getattr(r, q) for q in QUANTILES}) for r in serve(panel, cadence)]
    assert agrees(panel, cadence, newest, turned) is False, "the same comparison can fail"


def serve(panel: Panel, cadence: Cadence):
    horizons_s = [h * cadence.step_s for h in cadence.steps]
    shown = [one for one in choose_shown(forecast(panel, "auto", horizons_s).rows) if one.shown]
    return sorted(shown, key=lambda one: one.horizon_s)


def agrees(panel: Panel, cadence: Cadence, newest: int, shown=None, column: int = 0) -> bool | None:
    """One sign at each horizon, and at the nearest one the two intervals meet; None where no velocity is clear."""
    values = panel.values[-newest:, column]
    known = np.flatnonzero(np.isfinite(values))
    now = fit_velocity((cadence.step_s * known).tolist(), values[known].tolist(), [0.0] * known.size)
    mine = [one for one in shown or serve(panel, cadence) if one.station == panel.stations[column]]
    if now is None or not mine or abs(now.rate) < CLEAR * now.error:
        return None
    level = values[known].mean()
    ahead = (mine[0].target_s - panel.end_s + cadence.step_s * (newest - 1 - known.mean())) / DAY_S
    middle, doubt = level + now.rate * ahead, 3.0 * now.error * ahead + NOISE
    meets = middle - doubt <= mine[0].q90 and middle + doubt >= mine[0].q10
    return bool(meets) and all(np.sign(one.q50 - level) == np.sign(now.rate) for one in mine)


NONE = np.zeros(3, dtype=np.int64)


def test_who_was_lucky_as_a_slide_ended_does_not_lead_behind_it():
    rng = np.random.default_rng(4)
    errors = np.abs(rng.normal(size=(2, 400, 1)))
    errors[1] *= 1.3  # the other is worse at any time, but for thirty rows in which errors are a hundred times as large
    errors[:, 100:130] = np.array([100.0, 40.0])[:, None, None]
    scale = np.where((np.arange(400) >= 100) & (np.arange(400) < 130), 100.0, 1.0)[:, None]
    made, least = np.zeros(errors.shape), np.zeros(2, dtype=np.int64)
    plain, scaled = (compute_weights(made, errors, 7, Rule(), least, None, one)[0][1, -1, 0] for one in (None, scale))
    assert scaled < 0.1
    assert plain > 2.0 * scaled, "taken as they are, thirty rows decide"


def drawn(seed: int, rows: int = 80, stations: int = 2):
    """Three forecasts and their errors, of which the second is good, the third bad; some answers and targets lack."""
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0, 1, (rows, stations)), axis=0)
    made = truth + np.array([1.0, 0.3, 4.0])[:, None, None] * rng.normal(0, 1, (3, rows, stations))
    made[rng.random(made.shape) < 0.1] = np.nan
    errors = np.abs(made - truth)
    errors[:, rng.random(rows) < 0.1] = np.nan
    return made, errors


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 12), cut=st.integers(5, 79))
@settings(max_examples=15, deadline=None)
def test_weights_are_shares_and_know_only_what_has_been_scored(seed, steps, cut):
    made, errors = drawn(seed)
    weights, _ = compute_weights(made, errors, steps, Rule(), NONE)
    answers = np.isfinite(made).any(axis=0)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=0)[answers], 1.0)
    assert (weights[~np.isfinite(made)] == 0).all(), "who does not answer has no weight"
    served = mix(made, weights)[answers]
    assert (served >= np.where(np.isfinite(made), made, np.inf).min(axis=0)[answers] - 1e-9).all()
    assert (served <= np.where(np.isfinite(made), made, -np.inf).max(axis=0)[answers] + 1e-9).all()
    # the standard alone until two spans of the horizon have been scored
    early = slice(0, Rule().blocks * steps)
    assert (weights[0, early][np.isfinite(made[0, early])] == 1.0).all()
    changed = errors.copy()
    changed[:, max(0, cut - steps + 1) :] = 1e6
    again, _ = compute_weights(made, changed, steps, Rule(), NONE)
    np.testing.assert_array_equal(again[:, : cut + 1], weights[:, : cut + 1])
    before = compute_weights(made[:, :cut], errors[:, :cut], steps, Rule(), NONE)[0]
    np.testing.assert_array_equal(before, weights[:, :cut])


def test_the_better_forecast_gains_weight_and_one_that_is_young_has_none():
    made, errors = drawn(1, rows=200)
    weights = compute_weights(made, errors, 1, Rule(), NONE)[0][:, -1]
    assert (weights[1] > 0.9).all()
    assert (weights[2] < 0.01).all()
    assert (compute_weights(made, errors, 1, Rule(), np.array([0, 500, 0]))[0][:, -1][1] == 0).all()
    # the same errors seven rows ahead are a seventh of the evidence
    assert (compute_weights(made, errors, 50, Rule(), NONE)[0][:, -1][0] > weights[0]).all()


@given(seed=st.integers(0, 10_000), steps=st.integers(2, 30), cut=st.integers(40, 199))
@settings(max_examples=15, deadline=None)
def test_what_the_shortest_horizon_tells_is_known_when_it_has_come_true(seed, steps, cut):
    made, errors = drawn(seed, rows=200)
    near = 0.1 * errors[0][::-1]
    weights, _ = compute_weights(made, errors, steps, Rule(), NONE, shorter=Shorter(near[None], 1, None, 1))
    answers = np.isfinite(made).any(axis=0)
    np.testing.assert_allclose(weights.sum(axis=0)[answers], 1.0)
    later, later_near = errors.copy(), near.copy()
    later[:, max(0, cut - steps + 1) :] = 1e6
    later_near[cut:] = 1e6
    again, _ = compute_weights(made, later, steps, Rule(), NONE, shorter=Shorter(later_near[None], 1, None, 1))
    np.testing.assert_array_equal(again[:, : cut + 1], weights[:, : cut + 1])
    told = []
    for newest in (0.0, 1.0):
        later_near[cut - 1] = newest
        told.append(find_noise_share(errors[0], steps, later_near, 1, Rule(), np.ones(near.shape))[cut])
    assert (told[0] != told[1]).any(), "the newest that has come true is heeded"


@given(seed=st.integers(0, 10_000), size=st.floats(1e-3, 1e3), ratio=st.floats(30.0, 300.0))
@settings(max_examples=8, deadline=None)
def test_where_errors_are_noise_a_better_forecast_leads_sooner_and_where_they_are_motion_nothing_changes(
    seed, size, ratio
):
    rng = np.random.default_rng(seed)
    rows, steps = 500, 30
    errors = size * np.array([1.0, 0.8, 1.0])[:, None, None] * np.abs(rng.normal(0.0, 1.0, (3, rows, 1)))
    made = np.zeros(errors.shape)

    def weight(near, shortest=1):
        shorter = None if near is None else Shorter(near[None], shortest, None, shortest)
        return compute_weights(made, errors, steps, Rule(), NONE, shorter=shorter)[0][1, 200:].mean()

    plain, noise, motion = weight(None), weight(errors[0]), weight(errors[0] / ratio)
    assert noise > 1.2 * plain, "it would not have followed noise at all"
    assert motion == pytest.approx(plain, rel=0.15)
    assert weight(errors[0], steps) == plain, "at the shortest horizon itself nothing is told"
    keep = np.ones((rows, 1))
    share = find_noise_share(errors[0], steps, errors[0], 1, Rule(), keep)
    assert (share[:steps] == 0).all(), "nothing has been scored yet"
    assert ((0 <= share) & (share < 1)).all()


def test_components_of_one_motion_share_one_noise():
    still, moving = np.full((300, 1), 1.0), np.full((300, 1), 9.0)
    both = np.hstack([still, moving])
    keep, near = np.ones((300, 2)), np.ones((300, 2))
    apart = find_noise_share(both, 30, near, 1, Rule(), keep)[-1]
    assert apart[0] > 3 * apart[1]
    assert find_noise_share(both, 30, near, 1, Rule(), keep, [(0, 1)])[-1] == pytest.approx([apart.mean()] * 2)


def draw_scored(rng, rows=400, stations=8, better=0.7):
    """|Errors| of a standard and of one that is better at all stations, and forecasts that answer, (2, rows, S)."""
    errors = np.array([1.0, better])[:, None, None] * np.abs(rng.normal(0.0, 1.0, (2, rows, stations)))
    return np.zeros(errors.shape), errors


def weigh_last(made, errors, steps, groups=(), shorter=None):
    """Weight of the other than the standard at the last row, by station."""
    least = np.zeros(2, dtype=np.int64)
    return compute_weights(made, errors, steps, Rule(), least, groups=groups, shorter=shorter)[0][1, -1]


@pytest.mark.parametrize("seed", range(3))
def test_stations_learn_of_each_other_what_noise_asks_for_and_nothing_of_motion(seed):
    rng = np.random.default_rng(seed)
    made, errors = draw_scored(rng)
    each = [(i,) for i in range(8)]
    noise, motion = (Shorter(near, 1, None, 1) for near in (errors[:1], errors[:1] / 300.0))
    alone, all_together = weigh_last(made, errors, 30, (), noise), weigh_last(made, errors, 30, each, noise)
    assert all_together.min() > alone.min()
    assert np.ptp(all_together) < np.ptp(alone)
    together, apart = (weigh_last(made, errors, 30, groups, motion) for groups in (each, ()))
    np.testing.assert_allclose(together, apart, atol=0.01)
    # forty others count for no more than a few: they err alike
    for count in (OTHERS, 40):
        many = np.repeat(errors[:, :, :1], 1 + count, axis=2)
        noise = Shorter(many[:1], 1, None, 1)
        found = weigh_last(np.zeros(many.shape), many, 30, [(i,) for i in range(1 + count)], noise)
        assert found[0] > alone[0]
        assert found == pytest.approx(np.full(1 + count, found[0]))
    assert weigh_last(np.zeros(many.shape), many, 30, [tuple(range(41))], noise) == pytest.approx(alone[:1].repeat(41))


@pytest.mark.parametrize("seed", range(3))
def test_what_a_forecast_cost_at_the_horizon_before_counts_as_far_as_that_is_shorter(seed):
    rng = np.random.default_rng(seed)
    made, errors = draw_scored(rng, stations=1, better=1.0)
    shortest = Shorter(errors[:1] / 300.0, 1, None, 1)
    plain = weigh_last(made, errors, 30, shorter=shortest)[0]
    scores = {}
    for better in (0.5, 2.0):
        worse = draw_scored(rng, stations=1, better=better)[1]
        _, passed_on = compute_weights(made, worse, 7, Rule(), np.zeros(2, dtype=np.int64), shorter=shortest)
        scores[better] = weigh_last(made, errors, 30, shorter=passed_on)[0]
    assert scores[0.5] > plain > scores[2.0]
    _, first = compute_weights(made, errors, 1, Rule(), np.zeros(2, dtype=np.int64))
    assert first.score is None, "the shortest horizon errs by noise: it says nothing of a longer one"


@pytest.mark.parametrize("seed", range(3))
def test_who_errs_to_one_side_at_the_shortest_horizon_loses_a_long_one_before_it_is_scored(seed):
    """Of a pace that changed 20 rows ago nothing has come true 30 rows ahead."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, 300)

    def weigh(bias, rows=20):
        near = noise + np.stack([np.zeros(300), np.where(np.arange(300) < 300 - rows, 0.0, bias)])
        far = np.abs(np.stack([noise, noise]))[:, :, None] * 10.0
        shorter = Shorter(near[:, :, None], 1, None, 1)
        return compute_weights(far, far, 30, Rule(), NONE[:2], shorter=shorter)[0][1, -1, 0]

    assert max(weigh(3.0), weigh(-3.0)) < 0.5 * weigh(0.0)
    assert weigh(3.0, rows=300) > 0.8 * weigh(0.0), "a bias that there always was is no pace that changed"


def test_after_an_acceleration_the_average_does_not_lose_what_a_switch_lost():
    """A pick took `drift` for a month, fitted to the acceleration, and erred by 1.4 times `median5`."""
    rng = np.random.default_rng(2)
    velocity = np.full(560, 0.15)
    velocity[300:380] = np.linspace(0.15, 2.5, 80)
    velocity[380:] = 1.2 * np.exp(-np.arange(180) / 120) + 0.2
    values = np.cumsum(velocity)[:, None] * rng.uniform(0.5, 1.5, 4) + rng.normal(0, 1.5, (560, 4))
    panel, calibration = Panel(0.0, DAY_S, tuple("ABCD"), values).head(400), Block(300, 400)
    auto = fit_auto(panel, calibration, (30,))
    origins, later = np.arange(400, 530), values[430:560]

    def error(made):
        return np.abs(later - made.predict(values, origins)[:, :, 0]).mean()

    def apart(name):
        return error(fit_baseline(name, panel, calibration, (30,)))

    assert error(auto) <= 1.05 * apart("median5")
    assert error(auto) <= min(apart(name) for name in ("persistence", "drift", "lld", "ewa"))
    assert auto.weights[0, 1, 0] >= 0.9, "what was scored before the surprise hardly counts"


def test_a_reason_names_the_shares():
    rng = np.random.default_rng(2)
    values = np.cumsum(rng.gamma(0.5, 0.8, (400, 4)), axis=0) + rng.normal(0, 1.5, (400, 4))
    auto = fit_auto(Panel(0.0, DAY_S, tuple("ABCD"), values), Block(300, 400), (7,))
    reason = auto.explain(0, 1)
    assert reason.code == "forecast.average"
    assert auto.chosen[0] in dict(auto.explain(0).values["weights"])
    shares = [share for _, share in reason.values["weights"]]
    assert shares == sorted(shares, reverse=True)
    assert 60 <= sum(shares) <= 101
    assert auto.weights.shape == (1, 4, len(auto.judged))


def test_fewer_than_two_months_scored_serve_the_standard_alone():
    values = np.cumsum(np.random.default_rng(3).normal(0.1, 1.0, (85, 1)), axis=0)
    auto = fit_auto(Panel(0.0, DAY_S, ("A",), values), Block(45, 85), (1, 30))
    assert (auto.explain(1, 0), auto.chosen[1]) == (Reason("forecast.simple", {"model": "trend"}), "trend")
    made = auto.predict(values, np.array([84]))[0, 0, 1]
    assert made == pytest.approx(auto.member("trend").predict(values, np.array([84]))[0, 0, 1])


YEAR = 365.25


def draw(rows: int, size: float, noise: float, seed: int, *, step_s: float = DAY_S, stations: int = 2) -> Panel:
    """A slow creep with a season of that size in mm, its second harmonic a third of it, and white noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None] * step_s / DAY_S
    phase = rng.uniform(0, YEAR, stations)
    season = size * np.cos(2 * np.pi * (t - phase) / YEAR) + size / 3 * np.cos(4 * np.pi * (t - phase) / YEAR)
    values = 0.01 * t + season + rng.normal(0, noise, (rows, stations))
    return Panel(0.0, step_s, tuple(f"S{i}" for i in range(stations)), values)


@settings(deadline=None, max_examples=15)
@given(
    years=st.floats(2.5, 5.0),
    size=st.floats(3.0, 30.0),
    step_d=st.sampled_from([1.0, 6.0, 12.0]),
    seed=st.integers(0, 99),
    gaps=st.floats(0.0, 0.2),
)
def test_a_season_that_repeats_is_found(years, size, step_d, seed, gaps):
    rows = int(years * YEAR / step_d)
    panel = draw(rows, size, size / 10, seed, step_s=step_d * DAY_S)
    panel.values[np.random.default_rng(seed + 1).random(panel.values.shape) < gaps] = np.nan
    true = draw(rows, size, 0.0, seed, step_s=step_d * DAY_S).values - 0.01 * np.arange(rows)[:, None] * step_d
    found = fit_season(panel, rows, (max(1, round(30 / step_d)),))
    assert found is not None
    off = found.compute(rows) - true
    assert np.abs(off - off.mean(axis=0)).max() < 0.35 * size


@settings(deadline=None, max_examples=15)
@given(years=st.floats(2.0, 4.0), seed=st.integers(0, 99), size=st.floats(20.0, 200.0))
def test_surges_of_other_months_in_each_year_are_no_season(years, seed, size):
    rng = np.random.default_rng(seed)
    rows = int(years * YEAR)
    begins = [int(YEAR * (k + share)) for k, share in enumerate((0.1, 0.6, 0.3, 0.8))]  # surges a third of a year apart
    moved = sum(size / (1 + np.exp(-(np.arange(rows) - b) / 5.0)) for b in begins)
    values = moved[:, None] + rng.normal(0, 0.5, (rows, 1))
    found = fit_season(Panel(0.0, DAY_S, ("A",), values), rows, (30,))
    assert found is None or np.ptp(found.compute(rows)) < 0.35 * size


def test_a_step_stays_out_and_a_station_without_a_season_keeps_none():
    panel = draw(1200, 10.0, 1.0, 3, stations=3)
    panel.values[:, 2] = np.random.default_rng(5).normal(0, 1.0, 1200)
    clean = fit_season(panel, 1200, (30,)).compute(1200)
    panel.values[700:, 0] += 500.0
    stepped = fit_season(panel, 1200, (30,))
    assert np.abs(stepped.compute(1200)[:, 0] - clean[:, 0]).max() < 2.0
    assert np.abs(clean[:, 2]).max() < 0.5
    assert stepped.is_at(0)


@pytest.mark.parametrize(
    ("rows", "step_s", "ahead"), [(600, DAY_S, 30), (1200, DAY_S, 3), (900, 3600.0, 720), (240, 30 * DAY_S, 1)]
)
def test_less_than_two_years_or_a_week_ahead_and_months_have_none(rows, step_s, ahead):
    assert fit_season(draw(rows, 20.0, 0.1, 1, step_s=step_s), rows, (ahead,)) is None


def test_nothing_after_the_end_is_read():
    panel = draw(1400, 10.0, 1.0, 7)
    before = fit_season(panel, 1100, (30,))
    panel.values[1100:] *= -40.0
    assert fit_season(panel, 1100, (30,)) == before


def test_the_average_forecasts_the_turn_of_a_season_and_names_it():
    panel = draw(1300, 10.0, 1.0, 11)
    end = 1240  # a month of rows behind it
    auto = fit_auto(panel.head(end), Block(1000, end), (7, 30))
    truth = draw(1300, 10.0, 0.0, 11).values
    origins = np.arange(end - 30, end)
    made = auto.predict(panel.values[:end], origins)
    error = np.abs(made[:, :, 1] - truth[origins + 30]).mean()
    assert error < 0.35 * np.abs(truth[origins] - truth[origins + 30]).mean()
    assert auto.explain(1, 0).code == "forecast.season"
    assert auto.member("lld") is None, "what forecasts the rest is not `lld` of the record"
    # at one origin alone the same, to the bit
    assert np.array_equal(auto.predict(panel.values[:end], origins[-1:])[0], made[-1])
    panel.values[end - 5 :] = np.nan
    assert np.array_equal(auto.predict(panel.values[: end - 5], origins[:20]), made[:20])

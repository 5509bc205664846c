"""Weights over simple forecasts: they follow errors, from the past alone, and never gamble."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import Block
from forecasting.simple.auto import fit_auto
from forecasting.simple.baselines import fit_baseline
from forecasting.simple.regret import OTHERS, Rule, Shorter, compute_weights, find_noise_share, mix

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
@settings(max_examples=25, deadline=None)
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
@settings(max_examples=25, deadline=None)
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
@settings(max_examples=25, deadline=None)
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


@pytest.mark.parametrize("seed", range(5))
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


@pytest.mark.parametrize("seed", range(5))
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


@pytest.mark.parametrize("seed", range(5))
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
    told = auto.explain(0, 1)
    assert told.startswith("average of simple forecasts, weights by past errors: ")
    assert auto.chosen[0] in auto.explain(0)
    shares = [int(part.split()[-2]) for part in told.partition(": ")[2].split(", ")]
    assert shares == sorted(shares, reverse=True)
    assert 60 <= sum(shares) <= 101
    assert auto.weights.shape == (1, 4, len(auto.judged))


def test_fewer_than_two_months_scored_serve_the_standard_alone():
    values = np.cumsum(np.random.default_rng(3).normal(0.1, 1.0, (85, 1)), axis=0)
    auto = fit_auto(Panel(0.0, DAY_S, ("A",), values), Block(45, 85), (1, 30))
    assert (auto.explain(1, 0), auto.chosen[1]) == ("simple forecast trend", "trend")
    made = auto.predict(values, np.array([84]))[0, 0, 1]
    assert made == pytest.approx(auto.member("trend").predict(values, np.array([84]))[0, 0, 1])

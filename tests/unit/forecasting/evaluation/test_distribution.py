"""Scores of fans and intervals of scores, beside closed forms and the libraries that know them."""

import tracemalloc

import numpy as np
import pytest

from forecasting.evaluation import resampling
from forecasting.evaluation.distribution import QUIET, RUSHING, STEADY, crps, find_stages, pit, roll
from forecasting.evaluation.resampling import block_bootstrap
from forecasting.metrics import inside
from forecasting.serving.quantiles import NORMAL


def _rng(seed):
    """Every test draws for itself: whatever ran before, it draws the same."""
    return np.random.default_rng(seed)


MEAN, SIGMA, SEEN = _rng(1).normal(size=300), _rng(2).uniform(0.5, 3.0, 300), _rng(3).normal(size=300) * 2.0
FANS = MEAN[:, None] + SIGMA[:, None] * NORMAL


def test_the_crps_of_a_normal_fan_is_the_closed_form():
    from scipy import stats  # half a second: not for every worker

    z = (SEEN - MEAN) / SIGMA  # Gneiting and Raftery 2007, equation 21
    closed = SIGMA * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert crps(FANS, SEEN) == pytest.approx(closed, rel=2e-3)


def test_the_crps_of_a_lopsided_fan_is_the_mean_distance_of_its_draws():
    fan = np.array([-1.0, 0.0, 1.0, 6.0, 11.0])
    drawn = np.sort(np.interp(_rng(29).normal(size=200_000), NORMAL, fan))  # E|X - y| - E|X - X'| / 2, tails left out
    n = drawn.size
    spread = 2.0 * (drawn * (2 * np.arange(1, n + 1) - n - 1)).sum() / n**2
    for seen in (-2.0, 1.5, 8.0):
        assert float(crps(fan, np.array(seen))) == pytest.approx(np.abs(drawn - seen).mean() - spread / 2.0, rel=0.03)


def test_the_pit_is_the_distribution_of_the_fan_and_even_where_fans_are_honest():
    from scipy import stats  # half a second: not for every worker

    assert pit(FANS, SEEN) == pytest.approx(stats.norm.cdf(SEEN, MEAN, SIGMA), abs=1e-6)
    honest = pit(FANS, MEAN + SIGMA * _rng(42).normal(size=300))
    assert stats.kstest(honest, "uniform").pvalue > 0.01
    assert stats.kstest(pit(FANS, MEAN + 2 * SIGMA * _rng(44).normal(size=300)), "uniform").pvalue < 1e-6
    flat = np.zeros(5)
    assert [float(pit(flat, np.array(y))) for y in (-1.0, 1.0)] == [0.0, 1.0]
    assert 0.0 < float(pit(flat, np.array(0.0))) < 1.0
    assert np.isnan(pit(np.array([0.0, np.nan, 1, 2, 3]), np.array(1.0)))


def test_rolling_coverage_finds_the_lapse():
    held = np.ones(100)
    held[40:60] = 0.0
    assert (roll(held).min(), roll(held[:29]).size) == (pytest.approx(1 / 3), 0)
    assert roll(inside(FANS[:, 1], FANS[:, 3], SEEN), 50).size == 251


def test_block_bootstrap_of_independent_scores_is_that_of_scipy():
    from scipy import stats  # half a second: not for every worker

    scores = _rng(73).exponential(size=400)
    theirs = stats.bootstrap((scores,), np.mean, method="percentile", n_resamples=2000, random_state=_rng(0))
    ours = block_bootstrap(scores, 1, draws=4000)
    assert ours is not None
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.04)


def test_block_bootstrap_draws_the_same_in_any_parts_and_never_all_at_once(monkeypatch):
    scores = _rng(83).normal(size=1500)
    tracemalloc.start()
    whole = block_bootstrap(scores, 1, draws=20_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * 20_000 * 125 / 4, "a quarter of the table of all draws"
    for cells in (1000, 1 << 30):
        monkeypatch.setattr(resampling, "CELLS_AT_ONCE", cells)
        assert block_bootstrap(scores, 1, draws=20_000) == whole


def test_block_bootstrap_knows_that_neighbours_are_alike():
    rho, n = 0.7, 4000
    noise = _rng(96).normal(size=n)
    scores = np.empty(n)
    scores[0] = noise[0]
    for i in range(1, n):
        scores[i] = rho * scores[i - 1] + noise[i]
    low, high = block_bootstrap(np.column_stack([scores, np.where(np.arange(n) % 3, scores, np.nan)]), 60) or (0, 0)
    closed = 2 * 1.96 / (1 - rho) / np.sqrt(n)  # the long-run standard error of an autoregression of order one
    assert high - low == pytest.approx(closed, rel=0.25)
    assert block_bootstrap(scores[:50], 30) is None


def test_stages_are_what_they_say():
    t = np.arange(200.0)
    values = np.column_stack([np.zeros(200), 2.0 * t, np.where(t < 185, 0.1 * t, 0.1 * t + 3.0 * (t - 185))])
    found = find_stages(values, np.array([199]), np.full(3, 0.2), 86_400.0)
    assert found.tolist() == [[QUIET, STEADY, RUSHING]]

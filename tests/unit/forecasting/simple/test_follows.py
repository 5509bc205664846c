"""What is served follows the motion that the rows prove, and nothing else: over drawn motions, from fast to still."""

import os
from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.kinematics.velocity import fit_velocity
from forecasting.serving.gate import choose_shown
from forecasting.serving.issue import find_calibration
from forecasting.serving.jobs import forecast
from forecasting.simple import trend
from forecasting.simple.auto import Auto, fit_auto
from forecasting.simple.baselines import fit_baseline
from forecasting.simple.trend import Trend, follow
from tests.data.forecasts.motions import CADENCES, Cadence, draw_motion, foresee

SOAK = bool(os.environ.get("SLOPEWARD_SOAK"))
RIVALS = ("persistence", "drift", "lld")
SEEDS = range(8 if SOAK else 2)
CLEAR, NOISE = 4.0, 1.0
QUANTILES = ("q025", "q10", "q50", "q90", "q975")
HOURLY = CADENCES["hourly"]


def fit(values, cadence: Cadence, rows: int) -> tuple[Auto, Panel]:
    panel = Panel(0.0, cadence.step_s, ("A",), values[:, None])
    return fit_auto(panel.head(rows), find_calibration(rows), cadence.steps), panel


def compare(kind: str, ratio: float, cadence: Cadence) -> tuple[list[float], list[float]]:
    """Per horizon the error of what is served, over the lowest of the three that is known only afterwards."""
    # the change of pace comes at 45 % of the rows at the soonest
    first = round((0.35 if cadence.rows > 100 else 0.5) * cadence.rows)
    errors = {name: [[] for _ in cadence.steps] for name in (*RIVALS, "served", "floor")}
    for seed in SEEDS if SOAK or cadence.rows <= 100 else SEEDS[:1]:
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


@pytest.mark.turns
@pytest.mark.parametrize("kind", ["steady", "ramp", "bend", "stop", "step", "white"])
@pytest.mark.parametrize("name", ["daily", "monthly", *(["hourly"] if SOAK else [])])
def test_served_is_about_as_good_as_the_best_of_three(name, kind):
    every = [compare(kind, ratio, CADENCES[name]) for ratio in ((0.1, 3.0, 1000.0) if kind != "white" else (1.0,))]
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
    """Nor one that speeds up to go on doing so for longer than it was seen to."""

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


@pytest.mark.turns
@pytest.mark.parametrize("kind", ["bend", "stop", "step"])
@pytest.mark.parametrize("name", ["hourly", "daily"])
def test_lines_begin_anew_where_the_pace_changes(name, kind, monkeypatch):
    """Behind a change of ten or a hundred times the noise the path errs less than by lanes that only forget."""
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
    """Also where the usual miss is nothing, and the change is a million times as large."""
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


@pytest.mark.turns
@pytest.mark.parametrize(
    ("begins", "rate"), [(0, 0.4), (0, -30.0), (180, -2.0), (180, 300.0), (236, 2.0), (236, -30.0), (236, 300.0)]
)
@pytest.mark.parametrize("name", ["hourly", "daily"])
def test_what_is_served_agrees_with_the_velocity_that_is_told(name, begins, rate):
    """Also while the kinematic forecast takes over, three rows after a motion began."""
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

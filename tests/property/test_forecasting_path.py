"""Forecasts of all horizons are one path: it meets the last reading, makes no jump without a cause, never narrows."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.series import DAY_S, Panel, panel_from_samples, read_long_csv
from forecasting.serving.jobs import forecast
from forecasting.serving.path import APART, CHANCE, MOVED, find_reach, lay, lay_paths
from forecasting.serving.quantiles import NORMAL
from tests.bench.forecasting.motion_scenes import control, crack, extensometer, sudden
from tests.data.forecasts.absurdity import Fan, find_absurd, see_present

STEPS = (1, 7, 30)
ASKED = (*STEPS, *(b - a for a, b in pairwise(STEPS)))


def draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    """120 days of one kind of motion with noise and gaps."""
    day = np.arange(120.0)
    path = {
        "still": 0.0 * day,
        "creep": 0.3 * day,
        "backward": -0.8 * day,
        "rush": np.cumsum(np.where(day > 100, 0.2 * (day - 100), 0.1)),
        "season": 12.0 * np.sin(2 * np.pi * day / 60),
    }[kind]
    values = path + rng.normal(0, 1.0, day.size)
    values[rng.random(day.size) < 0.1] = np.nan
    values[-1] = path[-1]
    return values[:, None]


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["still", "creep", "backward", "rush", "season"]),
    wild=st.sampled_from([0.1, 3.0, 60.0, 1000.0]),
)
@settings(max_examples=60, deadline=None)
def test_any_fan_becomes_one_path(seed, kind, wild):
    rng = np.random.default_rng(seed)
    values = draw(kind, rng)
    reach = find_reach(values, ASKED)
    last, noise = float(values[-1, 0]), float(reach.noise[0])
    medians = last + rng.normal(0, wild, 3)
    fan = medians[:, None] + np.abs(rng.normal(0, 5, (3, 1))) * NORMAL
    made = lay(fan, STEPS, last, reach, 0)
    assert (np.diff(made, axis=1) >= 0).all(), "quantiles are in order"
    half = np.abs(made - made[:, 2:3])
    assert (np.diff(half, axis=0) >= -1e-9).all(), "no width shrinks with the horizon"
    for (near, low), (far, high) in pairwise([(0, last), *zip(STEPS, made[:, 2], strict=True)]):
        slack = (APART if near else CHANCE) * noise + 1e-9
        assert reach.low[far - near][0] - slack <= high - low <= reach.high[far - near][0] + slack
    # as the horizon goes to 0 only noise is left between the forecast and the last reading
    assert find_reach(values, [0]).high[0][0] == find_reach(values, [0]).low[0][0] == 0.0
    np.testing.assert_allclose(lay(made, STEPS, last, reach, 0), made)
    if kind in {"creep", "rush"} and np.nanmin(values[7:] - values[:-7]) > -CHANCE * noise:
        assert made[1, 2] >= last - (CHANCE + APART) * noise, "what only ever moved forward does not come back"


def absurd(scene, fan):
    """Rules broken by a fan before and after it is laid on a path."""
    panel = panel_from_samples({"A": (scene.times_s, scene.values)}, scene.step_s)
    steps = [panel.steps(h) for h in scene.horizons_s]
    reach = find_reach(panel.values, (*steps, *(b - a for a, b in pairwise((0, *steps)))))
    present = see_present(list(scene.times_s), list(scene.values))
    found = []
    for one in (fan, lay(fan, steps, float(panel.values[-1, 0]), reach, 0)):
        fans = [Fan(h, *map(float, row)) for h, row in zip(scene.horizons_s, one, strict=True)]
        found.append({rule for rules in find_absurd(fans, present).values() for rule in rules})
    return found


def spread(*medians: float, half: tuple[float, ...]) -> np.ndarray:
    """A fan from medians and half widths of the 80 % interval."""
    return np.array([m + h / 1.2816 * NORMAL for m, h in zip(medians, half, strict=True)])


@pytest.mark.parametrize(
    ("scene", "fan", "rules"),
    [
        (crack(), spread(150.0, 180.0, 76.8, half=(3.0, 4.0, 4.4)), {"heals", "turns back"}),
        (extensometer(), spread(125.0, 524.0, 439.0, half=(5.0, 9.0, 30.0)), {"runs away", "turns back"}),
        (sudden(), spread(90.0, 95.0, 83.05, half=(1.0, 2.0, 0.35)), {"turns back", "narrows"}),
        (control(), spread(0.0, 0.1, 0.2, half=(0.2, 0.3, 0.1)), {"below noise", "narrows"}),
    ],
    ids=["crack", "extensometer", "sudden", "control"],
)
def test_absurdities_that_were_once_shown_are_gone(scene, fan, rules):
    before, after = absurd(scene, fan)
    assert rules <= before
    assert not rules & after


def test_what_is_served_of_measured_slopes_is_a_path(measured):
    panel = read_long_csv(measured("benchmarks/SK.csv"))
    # through the rush of September 2017
    panel = Panel(panel.start_s, panel.step_s, panel.stations[:4], panel.values[150:450, :4])
    every = forecast(panel, "lld", [h * DAY_S for h in STEPS]).rows
    rows = [row for row in every if row.model == "lld"]
    assert len(rows) == 12
    assert lay_paths(panel, rows) == rows, "they lie on a path already"
    reach = find_reach(panel.values, ASKED)
    for s, name in enumerate(panel.stations):
        own = sorted((r for r in rows if r.station == name), key=lambda r: r.horizon_s)
        widths = [r.q90 - r.q10 for r in own]
        assert widths == sorted(widths)
        assert abs(own[0].q50 - own[0].data_value) <= max(reach.high[1][s], -reach.low[1][s]) + CHANCE * reach.noise[s]


def test_a_moved_median_says_so_and_its_quantiles_go_with_it():
    values = np.concatenate([np.zeros(60), np.arange(1.0, 41.0)])[:, None]
    panel = Panel(0.0, DAY_S, ("A",), values)
    row = forecast(panel, "persistence", [DAY_S]).rows[0]
    gone = replace(row, q025=-30.0, q10=-28.0, q50=-27.0, q90=-26.0, q975=-24.0)
    (laid,) = lay_paths(panel, [gone])
    assert laid.reason.endswith(MOVED)
    noise = float(find_reach(values, (1,)).noise[0])
    assert 0.0 < noise < 0.05, "the one bend alone"
    assert laid.q50 == pytest.approx(40.0, abs=APART * noise + 1e-6), "the record never went back"
    assert laid.q90 - laid.q10 >= 2.0


def test_no_interval_is_narrower_than_what_a_logger_rounds_to():
    """Readings in whole mm of a slope that creeps: half of them lie on the line through their neighbours."""
    values = np.round(0.05 * np.arange(300.0))[:, None]
    reach = find_reach(values, (1,))
    assert reach.noise[0] == pytest.approx(np.sqrt(0.1 / 6), rel=0.05)
    fan = np.full((1, 5), values[-1, 0])
    assert np.ptp(lay(fan, (1,), float(values[-1, 0]), reach, 0)[0]) > 0.3

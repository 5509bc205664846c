"""No forecast knows the future, none is shown that does not beat the simple one, and no score rests on the level.
Rules 12 and 13 over whole lives: what is shown has earned it lately and covers, and worth is counted in movement.
Forecasts of all horizons are one path: it meets the last reading, makes no jump without a cause, never narrows.
No quantile of any forecast passes what was declared that the values of its series cannot pass.
"""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from forecasting.serving.jobs import forecast
from forecasting.serving.path import APART, CHANCE, LEAST_WIDTH, MOVED, find_reach, hold, hold_rows, lay, lay_paths
from forecasting.serving.shown import choose_shown
from hypothesis import given, settings
from hypothesis import strategies as st

import forecasting
from forecasting.data.series import DAY_S, Panel, panel_from_samples, read_long_csv
from forecasting.decomposition.components import list_methods
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.leakage import run_decomposition_test, run_leak_test
from forecasting.evaluation.scoring import score_all
from forecasting.reasons import split_reason
from forecasting.registry import BASELINES, list_networks
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import KINEMATIC, Limits
from monitor.errors import ConfigError
from monitor.features.forecasts.drivers import Driving
from monitor.features.forecasts.read_site import make_record
from monitor.features.forecasts.tasks import ModelRequest, SiteForecastRequest
from monitor.features.forecasts.worker import forecast_site
from monitor.models.samples import SeriesSamples
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES
from monitor.text.reasons import convert_reason
from tests.data.forecast_rows import row
from tests.data.forecasts.absurdity import Fan, find_absurd, see_present
from tests.data.forecasts.motion_scenes import control, crack, extensometer, sudden
from tests.fixtures.soak import with_soak

HORIZONS = (DAY_S, 7 * DAY_S, 30 * DAY_S)
DEAR, YEARLY = {"auto", "ewa", "local-trend", "trend"}, {"seasonal", "climatology"}


def slopes(rows=250, stations=20, seed=3):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.gamma(0.5, 0.8, (rows, stations)), axis=0) + rng.normal(0, 0.8, (rows, stations))
    values[rng.random(values.shape) < 0.05] = np.nan
    return Panel(0.0, DAY_S, tuple(f"S{i:02}" for i in range(stations)), values)


@pytest.mark.parametrize(
    "name", [*sorted(BASELINES), *(pytest.param(name, marks=pytest.mark.soak) for name in sorted(list_networks()))]
)
def test_a_thousand_forecasts_do_not_move_with_their_future(name):
    count = 250 if name in DEAR else 1000
    panel = slopes(rows=900 if name in YEARLY else 250, stations=20 if name in BASELINES else 6)
    (result,) = run_leak_test(panel, [name], HORIZONS if name in BASELINES else HORIZONS[:2], count=count)
    assert (result.forecasts >= count, result.changed, result.refits_changed) == (True, 0, 0)


@pytest.mark.parametrize("count", with_soak(5, 1000))
@pytest.mark.parametrize("method", sorted(list_methods()))
def test_forecasts_from_components_do_not_move(method, count):
    if count == 5:
        rows, steps = 60, (1,)
    elif method in {"ceemdan", "emd"}:
        rows, steps = 450, tuple(range(1, 9))
    else:
        rows, steps = 1500, (1, 2, 3)
    rng = np.random.default_rng(1)
    months = np.arange(rows)
    series = 8.0 * months + 30 * np.sin(2 * np.pi * months / 12) + rng.normal(0, 10, rows)
    ((result, worth),) = run_decomposition_test(series, steps, period=12, count=count, methods=[method], seed=2)
    assert result.changed == 0
    assert result.forecasts == worth["issues"] * len(steps) >= count
    if method != "trailing":  # a trailing mean is the same whenever it is taken
        assert worth["differ"] > 0


def test_a_whole_series_decomposition_cannot_be_reached_from_a_forecast():
    root = Path(forecasting.__file__).parent
    paths = [p for p in root.rglob("*.py") if "display_whole" in p.read_text() and p.name != "components.py"]
    users = {str(path.relative_to(root)) for path in paths}
    assert users == {"evaluation/leakage.py"}


NUMBERS = st.integers(0, 10_000)


@given(networks=st.integers(0, 3), simple=st.sets(st.sampled_from(sorted(BASELINES))), outside=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_network_is_never_the_forecast(networks, simple, outside):
    """One forecast at most, a network's own never, a simple one where there is one inside experience."""
    rows = [row(f"n{i}", shown=False, baseline="ewa") for i in range(networks)]
    rows += [replace(row(name, baseline="ewa", shown=not outside), outside=outside) for name in sorted(simple)]
    shown = [r.model for r in choose_shown(rows) if r.shown]
    assert len(shown) == (1 if simple and not outside else 0)
    for model in shown:
        if "auto" in simple:
            assert model == "auto"
        elif "ewa" in simple:
            assert model == "ewa"


@given(seed=NUMBERS, shift=st.integers(-10_000, 10_000))
@settings(max_examples=3, deadline=None)
def test_scores_rest_on_movement_not_on_the_level(seed, shift):
    """Rule 13: where the zero of a series lies changes no score."""
    panel = slopes(rows=160, stations=2, seed=seed)
    moved = Panel(0.0, DAY_S, panel.stations, panel.values + float(shift))
    one, two = (
        [s.to_json() for t in run_trials(p, ["persistence"], [DAY_S], folds=1) for s in score_all(t)]
        for p in (panel, moved)
    )
    for a, b in zip(one, two, strict=True):
        assert a["n"] == b["n"] > 0
        assert "r2" not in a
        for key in ("mae", "rmse", "skill_persistence", "coverage_80", "winkler_80"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=2e-3)


@pytest.mark.parametrize("creep", [0.5, 3.0])
def test_a_forecast_without_skill_gets_no_credit_for_the_level(creep):
    """R² on the cumulative curve praises persistence, which missed all movement; the score by origin does not."""
    rng = np.random.default_rng(3)
    values = np.cumsum(creep * (1 + 0.3 * rng.normal(size=(220, 2))), axis=0)
    panel = Panel(0.0, DAY_S, ("A", "B"), values)
    trials = run_trials(panel, ["persistence", "drift"], [7 * DAY_S], folds=1)
    scores = {s.model: s.to_json() for t in trials for s in score_all(t) if s.station is None}
    missed, spread = values[7:] - values[:-7], values[7:] - values[7:].mean()
    assert 1.0 - (missed**2).sum() / (spread**2).sum() > 0.95, "what papers report gives it full marks"
    lost = scores["persistence"]
    assert lost["mae"] == pytest.approx(7 * creep, rel=0.1), "counted in movement: all of it was missed"
    assert lost["skill_persistence"] == 0.0
    assert lost["skill_best_baseline"] < -1.0
    assert scores["drift"]["skill_persistence"] > 0.7


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
@settings(max_examples=25, deadline=None)
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
    assert split_reason(laid.reason)[-1] == MOVED
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


HORIZONS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
SITE = """
[site]
id = "walls"
name = "Walls"
latitude = 46.2
longitude = 8.9
[[station]]
id = "C1"
[[station.series]]
quantity = "crack_opening"
unit = "cm"
interval = "1d"
"""


@st.composite
def cases(draw):
    """A fan in any order of size, a newest reading, its noise, and limits of which some are missing."""
    size = st.floats(-200.0, 200.0)
    fan = np.sort(np.array([draw(size) for _ in range(5)]))
    low, high = sorted((draw(size), draw(size)))
    given_low, given_high, falls, rises = (draw(st.booleans()) for _ in range(4))
    motion = st.floats(0.0, 50.0)
    bounds = (low if given_low else -np.inf, high if given_high else np.inf)
    limits = Limits(*bounds, draw(motion) if falls else np.inf, draw(motion) if rises else np.inf)
    return fan, draw(size), draw(st.floats(0.0, 5.0)), limits


@given(cases())
@settings(max_examples=80, deadline=None)
def test_any_fan_keeps_to_any_limits(case):
    fan, value, noise, limits = case
    held = hold(fan, value, noise, limits)
    assert (np.diff(held) >= 0.0).all(), "quantiles stay in order"
    assert held[0] >= min(limits.low, value)
    assert held[-1] <= max(limits.high, value)
    chance = CHANCE * np.sqrt(2.0) * noise
    spread = LEAST_WIDTH * noise * NORMAL[-1]
    assert held[2] >= value - limits.may_fall - chance or held[2] == limits.high
    assert held[2] <= value + limits.may_rise + chance or held[2] == limits.low
    assert held[0] >= value - limits.may_fall - chance - spread - 1e-9 or held[0] == limits.high
    np.testing.assert_allclose(hold(held, value, noise, limits), held, atol=1e-9)
    assert hold(fan, value, noise, Limits()).tolist() == fan.tolist()
    moved = hold(fan + 7.0, value, noise, limits)
    assert (np.abs(moved - held) <= 7.0 + 1e-9).all(), "what is near stays near: no jump is added to a path"
    if limits.low == -np.inf and limits.high == np.inf:
        asked = LEAST_WIDTH * noise * np.diff(NORMAL)
        assert (np.diff(held) >= np.minimum(np.diff(fan), asked) - 1e-9).all(), "not narrower than a reading allows"


def test_a_crack_that_opens_does_not_close_beyond_what_cracks_do():
    scene = crack()
    panel = panel_from_samples({"C1": (scene.times_s, scene.values)}, scene.step_s)
    limits = {"C1": Limits(may_fall=QUANTITIES["crack_opening"].may_fall)}
    rows = forecast(panel, "persistence", scene.horizons_s, limits=limits).rows
    assert KINEMATIC in {one.model for one in rows}
    fallen = [replace(one, q025=60.0, q10=70.0, q50=76.8, q90=80.0, q975=81.2) for one in rows]
    for one in hold_rows(panel, fallen, limits):
        assert one.q025 > one.data_value - 52.0
        assert convert_reason(one.reason).endswith(f"; held above {one.q025:.6g} mm, a physical bound")
    assert [one.q50 for one in hold_rows(panel, rows, limits)] == [one.q50 for one in rows]


def test_a_site_file_says_more_than_the_quantity():
    def walls(text, quantity="crack_opening"):
        own = SITE.replace('"crack_opening"', f'"{quantity}"')
        return parse_site(own + text, "x.toml").stations[0].series[0].physical_limits

    assert walls("") == (-np.inf, np.inf, 50.0, np.inf)
    # 2 cm; a range that is only that of the instrument binds no forecast
    assert walls("may_fall = 0.2\nhigh = 15.0") == (-np.inf, np.inf, 2.0, np.inf)
    assert walls('low = -1.0\nhigh = 15.0\nphysical = ["high", "low"]\nmay_rise = 0') == (-10.0, 150.0, 50.0, 0.0)
    rain = SITE.replace('"crack_opening"', '"rain"').replace('"cm"', '"mm"')
    assert parse_site(rain, "x.toml").stations[0].series[0].physical_limits == (0.0, np.inf, np.inf, np.inf)
    assert parse_site(rain + "low = 0.2", "x.toml").stations[0].series[0].physical_limits.low == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('physical = ["low"]', ["physical", "set low, or delete it"]),
        ('low = 1.0\nphysical = ["floor"]', ["physical", "low"]),
        ("may_fall = -1.0", ["may_fall", "0"]),
        ("may_fall = nan", ["may_fall", "finite"]),
    ],
)
def test_a_wrong_declaration_is_named(text, words):
    with pytest.raises(ConfigError) as error:
        parse_site(SITE + text, "x.toml")
    assert all(word in str(error.value) for word in words)


def test_what_a_site_declares_reaches_its_forecasts():
    site = parse_site(SITE + "may_fall = 0.0", "x.toml")
    times = DAY_S * np.arange(150.0)
    values = -2.0 * np.arange(150.0) + np.random.default_rng(4).normal(0.0, 0.2, 150)
    station = site.stations[0]
    now = datetime.fromtimestamp(times[-1], UTC)
    sample = SeriesSamples("C1.crack_opening", station, station.series[0], 1, "crack_opening", times, values, now)
    record = make_record(site, [sample], DAY_S, now, Driving())

    def issue(record):
        return forecast_site(SiteForecastRequest(record, HORIZONS_S, (ModelRequest("lld", "lld"),), {})).rows

    held, free = issue(record), issue(replace(record, limits={}))
    assert len(held) == len(free) == 3
    for one, before in zip(held, free, strict=True):
        assert before.q025 < one.q025
        assert one.q025 > one.data_value - 1.5
        assert "held above" in convert_reason(one.reason)

"""Rules of forecasts that hold over whole records.

No forecast uses later readings. A forecast of a network is never shown alone. Scores measure movement and not the
level. No quantile exceeds a physical limit of its series.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forecasting
from forecasting.data.series import DAY_S, Panel, panel_from_samples, read_long_csv
from forecasting.decomposition.components import list_methods
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.leakage import run_decomposition_test, run_leak_test
from forecasting.evaluation.scoring import score_all
from forecasting.registry import COMBINED, SIMPLE_FORECASTS, list_networks
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.limits import LEAST_WIDTH, NOISE_SIGMAS, apply_limits, clip_to_limits
from forecasting.serving.networks import NetworkForecasts
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import Checkpoint, Limits
from monitor.errors import ConfigError
from monitor.features.forecasts.drivers import Driving
from monitor.features.forecasts.read_site import make_record
from monitor.features.forecasts.tasks import PanelForecastRequest
from monitor.features.forecasts.worker import forecast_panel
from monitor.models.samples import SeriesSamples
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES
from monitor.text.reasons import convert_reason
from tests.data.forecasts.motion_scenes import crack
from tests.fixtures.soak import with_soak

HORIZONS = (DAY_S, 7 * DAY_S, 30 * DAY_S)
WITHOUT_TRAINING = (COMBINED, *SIMPLE_FORECASTS)


def slopes(rows=250, stations=20, seed=3):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.gamma(0.5, 0.8, (rows, stations)), axis=0) + rng.normal(0, 0.8, (rows, stations))
    values[rng.random(values.shape) < 0.05] = np.nan
    return Panel(0.0, DAY_S, tuple(f"S{i:02}" for i in range(stations)), values)


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    "name", [*WITHOUT_TRAINING, *(pytest.param(name, marks=pytest.mark.soak) for name in sorted(list_networks()))]
)
@pytest.mark.parametrize("count", with_soak(200, 1000))
def test_forecasts_do_not_depend_on_later_rows(name, count):
    is_trained = name not in WITHOUT_TRAINING
    panel = slopes(stations=6 if is_trained else 20)
    (result,) = run_leak_test(panel, [name], HORIZONS[:2] if is_trained else HORIZONS, count=count)
    assert (result.forecasts >= count, result.changed, result.refits_changed) == (True, 0, 0)


@pytest.mark.parametrize("count", with_soak(5, 1000))
@pytest.mark.parametrize("method", sorted(list_methods()))
def test_forecasts_from_components_do_not_depend_on_later_rows(method, count):
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
    if method != "trailing":  # A trailing mean does not depend on later rows.
        assert worth["differ"] > 0


def test_a_whole_series_decomposition_cannot_be_reached_from_a_forecast():
    root = Path(forecasting.__file__).parent
    paths = [p for p in root.rglob("*.py") if "display_whole" in p.read_text() and p.name != "components.py"]
    users = {str(path.relative_to(root)) for path in paths}
    assert users == {"evaluation/leakage.py"}


NUMBERS = st.integers(0, 10_000)


@given(seed=NUMBERS, networks=st.integers(0, 3), error_mm=st.sampled_from([0.0, 0.1, 100.0]))
@settings(max_examples=8, deadline=None)
def test_a_network_is_never_the_forecast(seed, networks, error_mm):
    """Only the combined forecast is shown for a station and horizon, however good the networks are."""
    panel = slopes(rows=90, stations=2, seed=seed)

    def run_drawn(panel, horizons_s, checkpoint, _first_row=0):
        steps = [panel.steps(horizon_s) for horizon_s in horizons_s]
        target = [np.roll(panel.values, -rows, axis=0) for rows in steps]
        medians = np.stack(target, axis=-1) + error_mm
        return NetworkForecasts(checkpoint, medians[..., None] + NORMAL, drivers=())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.serving.issue.run_network", run_drawn)
        checkpoints = [Checkpoint("gru", f"{number}", "") for number in range(networks)]
        issue = issue_forecasts(panel, HORIZONS[:2], checkpoints=checkpoints)
    shown = [(row.station, row.horizon_s) for row in issue.rows if row.shown]
    assert len(shown) == len({*shown})
    assert {row.model for row in issue.rows if row.shown} <= {COMBINED}
    for station, horizon_s in shown:
        weights = [r.weight for r in issue.rows if r.model_hash and (r.station, r.horizon_s) == (station, horizon_s)]
        assert sum(weights) <= 0.5 + 1e-9


@pytest.mark.soak
@given(seed=NUMBERS, shift=st.integers(-10_000, 10_000))
@settings(max_examples=3, deadline=None)
def test_scores_measure_movement_and_not_the_level(seed, shift):
    """Rule 13: the zero of a series changes no score."""
    panel = slopes(rows=160, stations=2, seed=seed)
    moved = Panel(0.0, DAY_S, panel.stations, panel.values + float(shift))
    plain_scores, shifted_scores = (
        [s.to_json() for t in run_trials(p, [], [DAY_S], folds=1) for s in score_all(t)] for p in (panel, moved)
    )
    for a, b in zip(plain_scores, shifted_scores, strict=True):
        assert a["n"] == b["n"] > 0
        assert "r2" not in a
        for key in ("mae", "rmse", "skill_persistence", "coverage_80", "winkler_80"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=2e-3)


@pytest.mark.parametrize("creep", [0.5, 3.0])
def test_a_forecast_without_skill_gets_no_credit_for_the_level(creep):
    """R² of the cumulative curve is high for persistence, which missed all movement; the score by origin is not."""
    rng = np.random.default_rng(3)
    values = np.cumsum(creep * (1 + 0.3 * rng.normal(size=(220, 2))), axis=0)
    panel = Panel(0.0, DAY_S, ("A", "B"), values)
    trials = run_trials(panel, [], [7 * DAY_S], folds=1)
    scores = {s.model: s.to_json() for t in trials for s in score_all(t) if s.station is None}
    missed, spread = values[7:] - values[:-7], values[7:] - values[7:].mean()
    assert 1.0 - (missed**2).sum() / (spread**2).sum() > 0.95, "R² of the cumulative curve is high"
    lost = scores["persistence"]
    assert lost["mae"] == pytest.approx(7 * creep, rel=0.1), "the error is the whole movement"
    assert lost["skill_persistence"] == 0.0
    assert lost["skill_best_baseline"] < -1.0
    assert scores["line"]["skill_persistence"] > 0.7


def test_quantiles_of_measured_slopes_are_in_order_and_widen_with_the_horizon(measured):
    panel = read_long_csv(measured("benchmarks/SK.csv"))
    # includes the fast movement of September 2017
    panel = Panel(panel.start_s, panel.step_s, panel.stations[:4], panel.values[150:450, :4])
    rows = [row for row in issue_forecasts(panel, HORIZONS).rows if row.shown]
    assert len(rows) == 12
    for name in panel.stations:
        own = sorted((row for row in rows if row.station == name), key=lambda row: row.horizon_s)
        assert all(list(row.quantiles) == sorted(row.quantiles) for row in own)
        widths = [row.q90 - row.q10 for row in own]
        assert widths == sorted(widths)


def test_no_interval_is_narrower_than_what_a_logger_rounds_to():
    """Readings of a creeping slope in whole mm: half of them are on the line through their neighbours."""
    values = np.round(0.05 * np.arange(300.0))[:, None]
    issue = issue_forecasts(Panel(0.0, DAY_S, ("A",), values), HORIZONS)
    shown = [row for row in issue.rows if row.shown]
    assert len(shown) == len(HORIZONS)
    assert min(row.q975 - row.q025 for row in shown) > 0.3


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
    """Draw quantiles in any order, a newest reading, its noise, and limits of which some are missing."""
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
def test_quantiles_are_within_the_limits(case):
    fan, value, noise, limits = case
    clipped = clip_to_limits(fan, value, noise, limits)
    assert (np.diff(clipped) >= 0.0).all(), "quantiles stay in order"
    assert clipped[0] >= min(limits.low, value)
    assert clipped[-1] <= max(limits.high, value)
    chance = NOISE_SIGMAS * np.sqrt(2.0) * noise
    spread = LEAST_WIDTH * noise * NORMAL[-1]
    assert clipped[2] >= value - limits.may_fall - chance or clipped[2] == limits.high
    assert clipped[2] <= value + limits.may_rise + chance or clipped[2] == limits.low
    assert clipped[0] >= value - limits.may_fall - chance - spread - 1e-9 or clipped[0] == limits.high
    np.testing.assert_allclose(clip_to_limits(clipped, value, noise, limits), clipped, atol=1e-9)
    assert clip_to_limits(fan, value, noise, Limits()).tolist() == fan.tolist()
    moved = clip_to_limits(fan + 7.0, value, noise, limits)
    assert (np.abs(moved - clipped) <= 7.0 + 1e-9).all(), "limits add no jump between horizons"
    if limits.low == -np.inf and limits.high == np.inf:
        asked = LEAST_WIDTH * noise * np.diff(NORMAL)
        assert (np.diff(clipped) >= np.minimum(np.diff(fan), asked) - 1e-9).all(), (
            "the interval is not narrower than the resolution of a reading"
        )


@pytest.mark.soak
def test_forecast_of_a_crack_has_the_limit_of_its_quantity():
    scene = crack()
    panel = panel_from_samples({"C1": (scene.times_s, scene.values)}, scene.step_s)
    may_fall_mm = QUANTITIES["crack_opening"].may_fall
    limits = {"C1": Limits(may_fall=may_fall_mm)}
    rows = issue_forecasts(panel, scene.horizons_s, limits=limits).rows
    assert COMBINED in {row.model for row in rows}
    fallen = [replace(row, q025=60.0, q10=70.0, q50=76.8, q90=80.0, q975=81.2) for row in rows]
    for row in apply_limits(panel, fallen, limits):
        assert row.q025 > row.data_value - may_fall_mm - 2.0
        bound_mm = row.data_value - may_fall_mm
        assert convert_reason(row.reason).endswith(f"; held above {bound_mm:.6g} mm, a physical bound")
    assert [row.q50 for row in apply_limits(panel, rows, limits)] == [row.q50 for row in rows]


def test_limits_of_the_site_file_override_those_of_the_quantity():
    def read_limits(text, quantity="crack_opening"):
        site_text = SITE.replace('"crack_opening"', f'"{quantity}"')
        return parse_site(site_text + text, "x.toml").stations[0].series[0].physical_limits

    assert read_limits("") == (-np.inf, np.inf, 50.0, np.inf)
    # 2 cm. The range of the instrument alone limits no forecast.
    assert read_limits("may_fall = 0.2\nhigh = 15.0") == (-np.inf, np.inf, 2.0, np.inf)
    assert read_limits('low = -1.0\nhigh = 15.0\nphysical = ["high", "low"]\nmay_rise = 0') == (-10.0, 150.0, 50.0, 0.0)
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
def test_wrong_declaration_is_rejected_by_name(text, words):
    with pytest.raises(ConfigError) as error:
        parse_site(SITE + text, "x.toml")
    assert all(word in str(error.value) for word in words)


def test_declared_limits_apply_to_forecasts():
    site = parse_site(SITE + "may_fall = 0.0", "x.toml")
    times = DAY_S * np.arange(150.0)
    values = -2.0 * np.arange(150.0) + np.random.default_rng(4).normal(0.0, 0.2, 150)
    station = site.stations[0]
    now = datetime.fromtimestamp(times[-1], UTC)
    sample = SeriesSamples("C1.crack_opening", station, station.series[0], 1, "crack_opening", times, values, now)
    record = make_record(site, [sample], DAY_S, now, Driving())

    def issue(record):
        return forecast_panel(PanelForecastRequest(record, HORIZONS_S)).rows

    limited, free = issue(record), issue(replace(record, limits={}))
    assert len(limited) == len(free) == 9
    for limited_row, free_row in zip(limited, free, strict=True):
        assert free_row.q025 < limited_row.q025
        assert limited_row.q025 > limited_row.data_value - 1.5
        assert "held above" in convert_reason(limited_row.reason)

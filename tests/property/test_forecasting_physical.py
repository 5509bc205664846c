"""No quantile of any forecast passes what was declared that the values of its series cannot pass."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.series import DAY_S, panel_from_samples
from forecasting.serving.jobs import forecast
from forecasting.serving.path import CHANCE, LEAST_WIDTH, hold, hold_rows
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import KINEMATIC, Limits
from monitor.config.service import parse_site
from monitor.domain.errors import ConfigError
from monitor.domain.quantities import QUANTITIES
from monitor.jobs.forecasts.drivers import Driving
from monitor.jobs.forecasts.read_site import make_record
from monitor.jobs.forecasts.tasks import ModelRequest, SiteForecastRequest
from monitor.jobs.forecasts.worker import forecast_site
from monitor.jobs.samples import SeriesSamples
from tests.bench.forecasting.motion_scenes import crack

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
@settings(max_examples=200, deadline=None)
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
    assert KINEMATIC in {row.model for row in rows}
    fallen = [replace(row, q025=60.0, q10=70.0, q50=76.8, q90=80.0, q975=81.2) for row in rows]
    for row in hold_rows(panel, fallen, limits):
        assert row.q025 > row.data_value - 52.0
        assert row.reason.endswith(f"; held above {row.q025:.6g} mm, a physical bound")
    assert [row.q50 for row in hold_rows(panel, rows, limits)] == [row.q50 for row in rows]


def test_a_site_file_says_more_than_the_quantity():
    def walls(text, quantity="crack_opening"):
        own = SITE.replace('"crack_opening"', f'"{quantity}"')
        return parse_site(own + text, "x.toml").stations[0].series[0].walls

    assert walls("") == (-np.inf, np.inf, 50.0, np.inf)
    # 2 cm; a range that is only that of the instrument binds no forecast
    assert walls("may_fall = 0.2\nhigh = 15.0") == (-np.inf, np.inf, 2.0, np.inf)
    assert walls('low = -1.0\nhigh = 15.0\nphysical = ["high", "low"]\nmay_rise = 0') == (-10.0, 150.0, 50.0, 0.0)
    rain = SITE.replace('"crack_opening"', '"rain"').replace('"cm"', '"mm"')
    assert parse_site(rain, "x.toml").stations[0].series[0].walls == (0.0, np.inf, np.inf, np.inf)
    assert parse_site(rain + "low = 0.2", "x.toml").stations[0].series[0].walls.low == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('physical = ["low"]', ["physical", "expected a number at low"]),
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
    for row, before in zip(held, free, strict=True):
        assert before.q025 < row.q025
        assert row.q025 > row.data_value - 1.5
        assert "held above" in row.reason

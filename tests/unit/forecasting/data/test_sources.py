"""A network of several sources: rain is heard, a missing source is missed, no later rain is known; physics, slopes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecasting.data.covariates import covariates_from_samples, features, rows_from_covariates
from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import ForecastingError, PanelError
from forecasting.evaluation.leakage import run_leak_test
from forecasting.neural.checkpoint import model_hash, read, to_bytes, write
from forecasting.neural.graph import slope_graph, slope_supports
from forecasting.neural.learner import Settings
from forecasting.neural.physics import FASTEST, Physics, creep_term, rain_term, voight_change, voight_term, wet
from forecasting.neural.pooled import fine_tune
from forecasting.neural.source_scale import fit_scale
from forecasting.neural.training import prepare, train_network
from tests.data.slopes import rain_driven

HORIZON = (3 * DAY_S,)
LIVELY = Settings(epochs=8, learning_rate=1e-2, batch=16, dropout=0.05, patience=14, window=14, hidden=16)


PANEL = rain_driven()
PARTS = split(PANEL.values.shape[0])


@pytest.fixture(scope="module")
def taught():
    return train_network("multi-source", PANEL, PARTS, HORIZON, LIVELY).forecaster


def error_of(forecaster, drivers):
    origins = PARTS.calibration.origins
    came = PARTS.calibration.targets(PANEL.values, origins, 3)
    made = forecaster.quantiles(PANEL.values, origins, drivers=drivers)[:, :, 0, 2]
    return float(np.nanmean(np.abs(made - came)))


def test_rain_is_heard_and_can_be_missed(taught):
    assert set(taught.network.encoders) == {"rain", "water", "neighbours"}
    with_rain, without = error_of(taught, PANEL.drivers), error_of(taught, None)
    deaf = train_network("multi-source", PANEL, PARTS, HORIZON, replace(LIVELY, off=("rain",))).forecaster
    assert set(deaf.network.encoders) == {"water", "neighbours"}
    assert with_rain < 0.8 * error_of(deaf, PANEL.drivers)
    assert np.isfinite(without)
    assert without > with_rain
    # a source that falls silent is the same as one that is not there
    silent = replace(PANEL.drivers, values=np.full_like(PANEL.drivers.values, np.nan))
    assert error_of(taught, silent) == without
    assert 0.0 < float(taught.network.gates["rain"]) < 1.0


def test_neither_later_rain_nor_later_motion_changes_a_forecast(taught):
    (result,) = run_leak_test(PANEL, ["multi-source"], HORIZON, count=20)
    assert result.forecasts >= 20
    assert not result.leaks
    origins = np.array([300])
    before = taught.quantiles(PANEL.values, origins, drivers=PANEL.drivers)
    wetter = PANEL.drivers.values.copy()
    wetter[301:] = 1e4
    later = replace(PANEL.drivers, values=wetter)
    np.testing.assert_array_equal(before, taught.quantiles(PANEL.values, origins, drivers=later))
    wetter[300] += 40.0
    assert np.abs(before - taught.quantiles(PANEL.values, origins, drivers=later)).max() > 1e-3
    parts = split(PANEL.values.shape[0], 300)
    other = replace(PANEL, drivers=later)
    assert prepare("multi-source", PANEL, parts, HORIZON, LIVELY) == prepare(
        "multi-source", other, parts, HORIZON, LIVELY
    )


def test_the_checkpoint_keeps_what_was_read_and_tuning_asks_for_the_same(taught, tmp_path):
    content = to_bytes(taught, "d")
    loaded, _ = read(write(tmp_path, content, {"model_hash": model_hash(content)}))
    assert loaded.recipe == taught.recipe
    origins = np.arange(300, 320)
    np.testing.assert_array_equal(
        loaded.quantiles(PANEL.values, origins, drivers=PANEL.drivers),
        taught.quantiles(PANEL.values, origins, drivers=PANEL.drivers),
    )
    shuffled = PANEL.drivers.without(("water",))
    turned = DriverRows(shuffled.names[::-1], shuffled.kinds[::-1], shuffled.values[:, ::-1])
    np.testing.assert_array_equal(
        loaded.quantiles(PANEL.values, origins, drivers=turned),
        loaded.quantiles(PANEL.values, origins, drivers=shuffled),
    )
    with pytest.raises(ForecastingError, match="other drivers"):
        fine_tune(taught, replace(PANEL, drivers=shuffled), PARTS)


def test_driver_rows_and_their_scale():
    times = np.arange(10) * DAY_S
    panel = Panel(0.0, DAY_S, ("A",), np.zeros((10, 1)))
    found = covariates_from_samples(
        {"R.rain_mm": (times, times), "P.ndvi": (times[::3], times[::3]), "W.level_m": (times, times)}, panel
    )
    assert {c.name: c.kind for c in found} == {"R.rain_mm": "rain", "P.ndvi": "image", "W.level_m": "water"}
    assert list(features(found[0], DAY_S)) == ["P.ndvi"]
    rows = rows_from_covariates(found, DAY_S)
    assert set(rows.kinds) == {"rain", "image", "water"}
    assert rows_from_covariates((), DAY_S) is None
    scale = fit_scale(rows, 5)
    assert fit_scale(replace(rows, values=np.vstack([rows.values[:5], rows.values[5:] * 9])), 5) == scale
    cut = scale.cut(rows, np.array([4, 9]), 6)
    assert cut.shape == (2, 6, len(rows.names), 2)
    assert not cut[0, 0].any(), "before the record nothing is known"
    assert not scale.cut(None, np.array([4]), 6).any()
    with pytest.raises(PanelError, match="source"):
        DriverRows(("x",), ("sun",), np.zeros((2, 1)))
    with pytest.raises(PanelError, match="rows of drivers"):
        replace(panel, drivers=rows.head(4))


def test_terms_of_the_loss_are_what_they_say():
    assert float(creep_term(torch.tensor([[[1.0, 2.0, 2.0]]]))) == 0.0
    assert float(creep_term(torch.tensor([[[1.0, 0.5]]]))) == pytest.approx(0.25)
    dry, wetter = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[2.0, 0.0]]])
    assert float(rain_term(dry, wetter)) == pytest.approx(0.5)
    window = torch.ones(1, 3, 2, 2)
    more = wet(window, ("rain", "water"))
    assert more[0, -1, 0, 0] == 2.0
    assert (more - window).count_nonzero() == 1


def test_the_voight_relation_continues_an_accelerating_slope():
    # alpha = 2: 1/v falls linearly, failure at t = 40 d: displacement = -ln(40 - t)
    t = torch.arange(0.0, 40.0, dtype=torch.float64)
    moved = -torch.log(40.0 - t)
    earlier, later = (moved[10] - moved[0]) / 10, (moved[20] - moved[10]) / 10
    made = voight_change(earlier, later, 10.0, torch.tensor([5.0, 10.0], dtype=torch.float64), 2.0)
    truth = torch.stack([moved[25] - moved[20], moved[30] - moved[20]])
    torch.testing.assert_close(made, truth, rtol=0.1, atol=0.0)
    soon = voight_change(torch.tensor(0.1), torch.tensor(5.0), 10.0, torch.tensor([30.0]), 2.0)
    assert float(soon[0]) <= FASTEST * 5.0 * 30.0 + 1e-3
    values = moved[:21].reshape(1, 1, 21)
    options = {"lag": 10, "steps": (5, 10), "alpha": 2.0}
    noise = torch.full((1, 1), 1e-6, dtype=torch.float64)
    good = voight_term(values, made.reshape(1, 1, 2), noise, **options)
    assert float(good) == pytest.approx(0.0, abs=1e-9)
    assert float(voight_term(values, 0.3 * made.reshape(1, 1, 2), noise, **options)) > 0.01
    steady = torch.arange(21.0, dtype=torch.float64).reshape(1, 1, 21)
    assert float(voight_term(steady, made.reshape(1, 1, 2), noise, **options)) == 0.0


def test_physics_is_off_unless_asked_for_and_bends_when_asked():
    quick = replace(LIVELY, epochs=1, stride=3)
    plain = train_network("multi-source", PANEL, PARTS, HORIZON, quick).forecaster
    zero = train_network("multi-source", PANEL, PARTS, HORIZON, replace(quick, physics=Physics())).forecaster
    assert to_bytes(plain, "d") == to_bytes(zero, "d")
    for physics in (Physics(rain=5.0), Physics(creep=5.0), Physics(voight=1.0)):
        bent = train_network("multi-source", PANEL, PARTS, HORIZON, replace(quick, physics=physics)).forecaster
        assert to_bytes(bent, "d") != to_bytes(plain, "d"), physics


def test_edges_lead_down_the_slope():
    places = np.array([[0.0, 100.0], [0.0, 0.0], [100.0, 0.0]])  # the first lies north of the second
    heights = np.array([200.0, 100.0, 100.0])
    down = slope_graph(places, heights, None, 3)
    assert down[0, 1] > 0
    assert down[1, 0] == 0
    assert down[1, 2] == down[2, 1] == 0, "side by side on a contour"
    np.testing.assert_allclose(down, slope_graph(places, None, 180.0, 3))
    assert not slope_graph(places, None, None, 3).any()
    assert not slope_graph(None, heights, None, 3).any()
    assert not slope_graph(places, np.full(3, 7.0), None, 3).any(), "flat ground falls nowhere"
    values = np.cumsum(np.random.default_rng(0).normal(size=(80, 3)), axis=0)
    walk = slope_supports(values, places, heights, None, lag=7, directed=True)
    assert walk[0, 0, 1] > 0
    assert walk[1, 1, 0] > 0
    both = slope_supports(values, places, heights, None, lag=7, directed=False)
    np.testing.assert_allclose(both, both.transpose(0, 2, 1))
    panel = replace(PANEL, xy_m=np.array([[0.0, 90.0], [0.0, 0.0], [40.0, 40.0]]), heights_m=np.array([9.0, 0.0, 4.0]))
    settings = replace(LIVELY, epochs=1, edges="slope")
    made = train_network("diffusion-gru", panel, PARTS, HORIZON, settings).forecaster
    assert made.recipe.supports[0][0][1] > 0 == made.recipe.supports[0][1][0]

"""A network that reads drivers: rain is heard, a missing source is missed, no later rain is known."""

from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.covariates import covariates_from_samples, features, rows_from_covariates
from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import ForecastingError, PanelError
from forecasting.neural.checkpoint import model_hash, read, to_bytes, write
from forecasting.neural.learner import Settings
from forecasting.neural.source_scale import fit_scale
from forecasting.neural.training import prepare, train_network
from forecasting.neural.tuning import fine_tune
from tests.data.slopes import rain_driven

HORIZON = (3 * DAY_S,)
LIVELY = Settings(epochs=25, learning_rate=1e-2, batch=16, dropout=0.05, patience=14, window=14, hidden=16)


PANEL = rain_driven()
PARTS = split(PANEL.values.shape[0])


@pytest.fixture(scope="module")
def taught():
    return train_network("lstm", PANEL, PARTS, HORIZON, LIVELY).forecaster


def error_of(forecaster, drivers):
    origins = PARTS.calibration.origins
    came = PARTS.calibration.targets(PANEL.values, origins, 3)
    made = forecaster.quantiles(PANEL.values, origins, drivers=drivers)[:, :, 0, 2]
    return float(np.nanmean(np.abs(made - came)))


@pytest.mark.soak
def test_rain_is_heard_and_can_be_missed(taught):
    with_rain, without = error_of(taught, PANEL.drivers), error_of(taught, None)
    panel = replace(PANEL, drivers=PANEL.drivers.without(("rain",)))
    deaf = train_network("lstm", panel, PARTS, HORIZON, LIVELY).forecaster
    # Three seeds reach 0.75 to 0.84. Which of them a seed reaches depends on the processor.
    assert with_rain < 0.9 * error_of(deaf, PANEL.drivers)
    assert np.isfinite(without)
    assert without > with_rain
    # a source that falls silent is the same as one that is not there
    silent = replace(PANEL.drivers, values=np.full_like(PANEL.drivers.values, np.nan))
    assert error_of(taught, silent) == without


@pytest.mark.soak
def test_neither_later_rain_nor_later_motion_changes_a_forecast(taught):
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
    assert prepare("lstm", PANEL, parts, HORIZON, LIVELY) == prepare("lstm", other, parts, HORIZON, LIVELY)


def test_the_checkpoint_keeps_what_was_read_and_tuning_asks_for_the_same(taught, tmp_path):
    content = to_bytes(taught, "d")
    loaded, _ = read(write(tmp_path, content, {"model_hash": model_hash(content)}))
    assert loaded.recipe == taught.recipe
    origins = np.arange(300, 320)
    one, two = (f.quantiles(PANEL.values, origins, drivers=PANEL.drivers) for f in (loaded, taught))
    np.testing.assert_array_equal(one, two)
    shuffled = PANEL.drivers.without(("water",))
    turned = DriverRows(shuffled.names[::-1], shuffled.kinds[::-1], shuffled.values[:, ::-1])
    one, two = (loaded.quantiles(PANEL.values, origins, drivers=rows) for rows in (turned, shuffled))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(ForecastingError, match="other drivers"):
        fine_tune(taught, replace(PANEL, drivers=shuffled), PARTS, LIVELY)


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

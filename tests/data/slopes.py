"""Synthetic slopes for tests of forecasts."""

import numpy as np

from forecasting.data.covariates import Covariate, rows_from_covariates
from forecasting.data.rain_forecasts import Outlook
from forecasting.data.series import DAY_S, Panel


def rain_driven(rows=460, seed=3):
    """Return a slope driven by the rain of three and four days before, which its own past cannot predict."""
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(rows) < 0.08, rng.gamma(2.0, 10.0, rows), 0.0)
    late = 0.1 * (np.roll(rain, 3) + np.roll(rain, 4))
    late[:4] = 0.0
    values = np.cumsum(late[:, None] * [1.0, 0.7, 1.2], axis=0) + rng.normal(0, 0.15, (rows, 3))
    level = np.cumsum(rng.normal(0, 0.3, rows))
    drivers = rows_from_covariates(
        (Covariate("R.rain_mm", "rain", rain), Covariate("W.level_m", "water", level)), DAY_S
    )
    places = np.column_stack([np.arange(3) * 50.0, np.zeros(3)])
    return Panel(0.0, DAY_S, ("A", "B", "C"), values, places, drivers=drivers)


def rain_to_come(rows=330, seed=5):
    """Return a slope that moves with the rain of the day, the measured rain, and the rain forecast for two days."""
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(rows + 2) < 0.15, rng.gamma(2.0, 10.0, rows + 2), 0.0)
    fallen = rain[:rows]
    values = np.cumsum(0.1 * fallen[:, None] * [1.0, 0.8], axis=0) + rng.normal(0, 0.15, (rows, 2))
    times = DAY_S * np.arange(rows, dtype=np.float64)
    expected = (rain[1 : rows + 1] + rain[2 : rows + 2]) * rng.lognormal(0.0, 0.3, rows)
    issued = times - 3600.0
    panel = Panel(0.0, DAY_S, ("A", "B"), values, np.array([[0.0, 0.0], [40.0, 0.0]]))
    return panel, (times, fallen), Outlook("R.rain_next_2d_mm", 2 * DAY_S + 3600.0, issued, issued + 600.0, expected)

"""Forecasts that the combination is compared with, from the same origins: simple ones, other libraries, a regression.

The libraries take no gaps: straight lines between readings close them, and the last reading stays until the origin.
A model of `statsforecast` is estimated again every `REFIT` origins, on the newest rows up to that origin. Between
them it is brought forward with the parameters that it has.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.splits import split
from forecasting.data.windows import lagged, last_value, trailing

SLOPE_ROWS: Final = (1, 3, 7, 14, 30, 60, 90)  # over which the slope of the straight line may be taken
DEFAULT_SLOPE_ROWS: Final = 60  # where fewer pairs than these are known
LEAST_PAIRS: Final = 30
REFIT: Final = 10  # origins between two estimations
MOST_ROWS: Final = 500  # that a library is fitted on
FEWEST_ROWS: Final = 20
OWN_DAYS: Final = (1, 3, 7, 30)  # of the own increments in the regression on drivers
PENALTY: Final = 1.0
INPUT_ROWS: Final = 60  # that a network of neuralforecast sees
TRAINING_STEPS: Final = 200
TRAINING_WINDOWS: Final = 128  # of one step
QUANTILE_KEYS: Final = ("lo-95", "lo-80", "mean", "hi-80", "hi-95")


def repeat_last_value(panel: Panel, origins: Ints, steps: Sequence[int]) -> Floats:
    """Return the newest value for every horizon, shape (N, S, H)."""
    level, _ = last_value(panel.values, origins)
    return np.repeat(level[:, :, None], len(steps), axis=2)


def draw_line(panel: Panel, origins: Ints, steps: Sequence[int]) -> Floats:
    """Return the newest value and a least-squares slope, shape (N, S, H).

    How many rows the slope is taken over is chosen for each horizon every `REFIT` origins: the length with the smallest
    mean absolute error on the newest fifth of the rows so far.
    """
    out = np.empty((origins.size, panel.values.shape[1], len(steps)))
    for first in range(0, origins.size, REFIT):
        some = slice(first, first + REFIT)
        row = int(origins[first])
        calibration = split(row + 1).calibration
        past = _extend_slopes(panel.values[: row + 1], calibration.origins, steps)
        made = _extend_slopes(panel.values, origins[some], steps)
        for k, h in enumerate(steps):
            observed = calibration.targets(panel.values[: row + 1], calibration.origins, h)
            errors = np.abs(past[..., k] - observed)
            is_known = np.isfinite(errors).all(axis=0)
            best = SLOPE_ROWS.index(DEFAULT_SLOPE_ROWS)
            if is_known.sum() >= LEAST_PAIRS:
                best = int(errors[:, is_known].mean(axis=1).argmin())
            out[some, :, k] = made[best, ..., k]
    return out


def _extend_slopes(values: Floats, origins: Ints, steps: Sequence[int]) -> Floats:
    """Return the newest value and the slope over each of `SLOPE_ROWS`, shape (lengths, N, S, H)."""
    level, age = last_value(values, origins)
    moments = trailing(values, origins, {rows + 1 for rows in SLOPE_ROWS})
    ahead = np.asarray(steps) + age[..., None]
    return np.stack([level[..., None] + moments[rows + 1].slope[..., None] * ahead for rows in SLOPE_ROWS])


def is_installed(library: str) -> bool:
    """Return whether a library of peers is installed."""
    return find_spec(library) is not None


def forecast_by_statsforecast(
    name: str, panel: Panel, origins: Ints, steps: Sequence[int], columns: Sequence[int]
) -> Floats:
    """Return the fans of `AutoETS` or `AutoARIMA`, shape (N, C, H, 5), NaN where a model cannot be estimated."""
    make = getattr(import_module("statsforecast.models"), name)
    out = np.full((origins.size, len(columns), len(steps), len(QUANTILE_KEYS)), np.nan)
    for place, column in enumerate(columns):
        fitted: Any = None
        for i, origin in enumerate(origins):
            rows = _close_gaps(panel.values[: origin + 1, column])
            if rows.size < FEWEST_ROWS:
                continue
            try:
                if fitted is None or i % REFIT == 0:
                    fitted = make(season_length=1).fit(rows)
                made = fitted.forward(rows, h=max(steps), level=[80, 95])
            except Exception:
                fitted = None
                continue
            fan = np.stack([np.asarray(made[key], dtype=np.float64) for key in QUANTILE_KEYS], axis=-1)
            out[i, place] = fan[np.asarray(steps) - 1]
    return out


def _close_gaps(values: Floats, most_rows: int = MOST_ROWS) -> Floats:
    newest = values[-most_rows:]
    seen = np.flatnonzero(np.isfinite(newest))
    if not seen.size:
        return np.empty(0)
    closed: Floats = np.interp(np.arange(seen[0], newest.size), seen, newest[seen])
    return closed


def forecast_by_neuralforecast(
    name: str, panel: Panel, origins: Ints, steps: Sequence[int], columns: Sequence[int]
) -> Floats:
    """Return the fans of `GRU` or `LSTM`, trained once on the rows up to the first origin, shape (N, C, H, 5).

    A network sees the newest rows of each origin as a series of its own, so that all origins are one pass.
    """
    import pandas as pd

    values = panel.values  # noqa: PD011 - of a panel
    library = import_module("neuralforecast")
    losses = import_module("neuralforecast.losses.pytorch")
    make = getattr(import_module("neuralforecast.models"), name)
    model = make(
        h=max(steps),
        input_size=INPUT_ROWS,
        max_steps=TRAINING_STEPS,
        windows_batch_size=TRAINING_WINDOWS,
        loss=losses.MQLoss(level=[80, 95]),
        scaler_type="robust",
        random_seed=7,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
    )

    def make_frame(ends: Ints, most_rows: int) -> Any:
        parts = []
        for column in columns:
            for end in ends:
                rows = _close_gaps(values[: end + 1, column], most_rows)
                identity = f"{column} {end}"
                parts.append(pd.DataFrame({"unique_id": identity, "ds": np.arange(rows.size), "y": rows}))
        return pd.concat(parts, ignore_index=True)

    forecaster = library.NeuralForecast(models=[model], freq=1)
    forecaster.fit(make_frame(origins[:1], values.shape[0]))
    made = forecaster.predict(make_frame(origins, 2 * INPUT_ROWS))
    keys = [f"{name}{end}" for end in ("-lo-95", "-lo-80", "-median", "-hi-80", "-hi-95")]
    out = np.full((origins.size, len(columns), len(steps), len(QUANTILE_KEYS)), np.nan)
    fans = {identity: rows[keys].to_numpy(float) for identity, rows in made.groupby("unique_id")}
    for place, column in enumerate(columns):
        for i, origin in enumerate(origins):
            out[i, place] = fans[f"{column} {origin}"][np.asarray(steps) - 1]
    return out


def regress_on_drivers(panel: Panel, origins: Ints, steps: Sequence[int], columns: Sequence[int]) -> Floats:
    """Return forecasts of a ridge regression on drivers, shape (N, C, H).

    The move to the target is regressed on own increments, on levels and their changes, and on sums of rain, with the
    coefficients estimated at every origin from all pairs that end before it. With one gauge and one piezometer the
    regression has 14 coefficients.
    """
    drivers = panel.drivers
    assert drivers is not None
    weather = _fill_forward(_choose_channels(drivers))
    values = panel.values  # noqa: PD011 - of a panel
    rows = np.arange(values.shape[0])
    level, _ = last_value(values, rows)
    out = np.full((origins.size, len(columns), len(steps)), np.nan)
    lags = sorted({max(1, round(d * DAY_S / panel.step_s)) for d in OWN_DAYS})
    for place, column in enumerate(columns):
        own = np.stack([level[:, column] - lagged(level, rows, lag)[:, column] for lag in lags], axis=1)
        table = np.column_stack([own, weather])
        usable = np.isfinite(table).all(axis=1) & np.isfinite(level[:, column])
        for k, h in enumerate(steps):
            moved = np.full(rows.size, np.nan)
            moved[:-h] = values[h:, column] - level[:-h, column]
            for i, origin in enumerate(origins):
                known = usable & np.isfinite(moved) & (rows + h <= origin)
                if known.sum() < table.shape[1] + 2 or not usable[origin]:
                    continue
                out[i, place, k] = level[origin, column] + _solve(table[known], moved[known], table[origin])
    return out


def _choose_channels(drivers: DriverRows) -> Floats:
    kept = [i for i, name in enumerate(drivers.names) if not name.endswith(".antecedent")]
    return drivers.values[:, kept]  # noqa: PD011 - of driver rows


def _fill_forward(values: Floats) -> Floats:
    """Repeat the newest value of each channel; before the first one its value there."""
    known = np.isfinite(values)
    place = np.maximum.accumulate(np.where(known, np.arange(values.shape[0])[:, None], 0), axis=0)
    filled = np.take_along_axis(values, place, axis=0)
    return np.where(np.isfinite(filled), filled, 0.0)


def _solve(table: Floats, moved: Floats, now: Floats) -> float:
    middle = table.mean(axis=0)
    size = table.std(axis=0)
    size = np.where(size > 0, size, 1.0)
    scaled = (table - middle) / size
    square = scaled.T @ scaled + PENALTY * np.eye(table.shape[1])
    weights = np.linalg.solve(square, scaled.T @ (moved - moved.mean()))
    return float(moved.mean() + weights @ ((now - middle) / size))


def forecast_by_sarimax(panel: Panel, origins: Ints, steps: Sequence[int], columns: Sequence[int]) -> Floats:
    """Return the fans of SARIMAX(1, 1, 1) with drivers as exogenous terms, shape (N, C, H, 5).

    The velocity follows the drivers, so that the displacement follows their sums over time. The drivers of the rows
    ahead are unknown: their newest values stay. The model is estimated as often as those of `statsforecast`.
    """
    sarimax = import_module("statsmodels.tsa.statespace.sarimax").SARIMAX
    drivers = panel.drivers
    assert drivers is not None
    weather = _fill_forward(_choose_channels(drivers))
    values = panel.values  # noqa: PD011 - of a panel
    out = np.full((origins.size, len(columns), len(steps), len(QUANTILE_KEYS)), np.nan)
    for place, column in enumerate(columns):
        parameters: Any = None
        for i, origin in enumerate(origins):
            rows = _close_gaps(values[: origin + 1, column])
            if rows.size < FEWEST_ROWS + weather.shape[1]:
                continue
            known = weather[origin + 1 - rows.size : origin + 1]
            size = np.where(known.std(axis=0) > 0, known.std(axis=0), 1.0)
            known = np.column_stack([np.ones(rows.size), (known - known.mean(axis=0)) / size])
            ahead_rows = np.repeat(known[-1:], max(steps), axis=0)
            sums = np.cumsum(known, axis=0)
            model = sarimax(rows - rows[-1], exog=sums, order=(1, 1, 1), enforce_stationarity=False)
            try:
                if parameters is None or i % REFIT == 0:
                    parameters = model.fit(disp=False, maxiter=50, method="lbfgs").params
                ahead = model.smooth(parameters).get_forecast(max(steps), exog=sums[-1] + np.cumsum(ahead_rows, axis=0))
            except Exception:
                parameters = None
                continue
            wide, narrow = (np.asarray(ahead.conf_int(alpha=alpha)) for alpha in (0.05, 0.2))
            middle = np.asarray(ahead.predicted_mean)
            fan = np.stack([wide[:, 0], narrow[:, 0], middle, narrow[:, 1], wide[:, 1]], axis=-1)
            out[i, place] = rows[-1] + fan[np.asarray(steps) - 1]
    return out

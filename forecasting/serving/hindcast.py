"""Forecasts as they would have been issued at moments of the past."""

from collections.abc import Sequence

import numpy as np

from forecasting.combination.combination import LINE
from forecasting.combination.run import run
from forecasting.data.components import group_components
from forecasting.data.series import Ints, Panel
from forecasting.data.windows import STALE_ROWS, last_value
from forecasting.kinematics.extrapolation import measure_grid_noise
from forecasting.reasons import Reason
from forecasting.registry import COMBINED
from forecasting.serving.limits import NOISE_ROWS, widen
from forecasting.serving.networks import run_network
from forecasting.serving.records import Checkpoint, Forecast, name_quantiles

MADE_AFTERWARDS = Reason("forecast.made_after")


def forecast_past(
    panel: Panel, horizons_s: Sequence[float], origins: Ints, checkpoints: Sequence[Checkpoint] = ()
) -> list[Forecast]:
    """Return the forecasts of all models from past rows; none is shown.

    No forecast reads a row after its own. Physical limits and failure windows are not applied, and the baseline is
    always the straight line.

    Args:
        panel: The record.
        horizons_s: Horizons in seconds that reach at least one row.
        origins: Rows to forecast from, shape (N,).
        checkpoints: Networks that were trained on rows before the first origin only.

    Raises:
        ForecastingError: A network cannot run.
    """
    # horizons that are the same number of rows have the same forecast
    horizon_by_steps = {panel.steps(h): h for h in sorted(horizons_s, reverse=True)}
    steps = sorted(horizon_by_steps)
    distinct_s = tuple(horizon_by_steps[rows] for rows in steps)
    networks = [run_network(panel, distinct_s, checkpoint) for checkpoint in checkpoints]
    fans = {network.checkpoint.model_hash: network.fans for network in networks}
    combined = run(panel, distinct_s, networks=fans, groups=group_components(panel.stations))
    hash_by_model = {network.checkpoint.model: network.checkpoint.model_hash for network in networks}
    fans_by_model = {
        COMBINED: combined.fans,
        **combined.simple,
        **{model: combined.network_fans[model_hash] for model, model_hash in hash_by_model.items()},
    }
    newest, age_rows = last_value(panel.values, origins)
    forecasts: list[Forecast] = []
    for number, origin in enumerate(origins.tolist()):
        issued_s = panel.start_s + panel.step_s * origin
        for column, station in enumerate(panel.stations):
            if not age_rows[number, column] <= STALE_ROWS:
                continue
            noise = measure_grid_noise(panel.values[: origin + 1, column], NOISE_ROWS)
            for horizon_s in horizons_s:
                index = steps.index(panel.steps(horizon_s))
                for model, model_fans in fans_by_model.items():
                    quantiles = model_fans[origin, column, index]
                    baseline_q50 = float(combined.simple[LINE][origin, column, index, 2])
                    if not np.isfinite(quantiles).all() or not np.isfinite(baseline_q50):
                        continue
                    forecasts.append(
                        Forecast(
                            station=station,
                            model=model,
                            model_hash=hash_by_model.get(model),
                            horizon_s=horizon_s,
                            issued_s=issued_s,
                            target_s=issued_s + panel.steps(horizon_s) * panel.step_s,
                            data_until_s=issued_s - panel.step_s * float(age_rows[number, column]),
                            data_value=float(newest[number, column]),
                            **name_quantiles(widen(quantiles, noise)),
                            baseline=LINE,
                            baseline_q50=baseline_q50,
                            shown=False,
                            reason=MADE_AFTERWARDS,
                        )
                    )
    return forecasts

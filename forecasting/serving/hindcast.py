"""Forecasts of a past that a model has not seen: fitted on the rows before a cut, issued from rows after it.

Every choice is made before the cut; weights and intervals then follow what each issue could know, as in the service.
"""

from collections.abc import Sequence

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.windows import last_value
from forecasting.message import Message, Template
from forecasting.registry import BASELINES, is_blend
from forecasting.serving.issue import HISTORY, STALE_STEPS, find_calibration, load_network, read_network, weight_of
from forecasting.serving.quantiles import blend_fan, conform, point_fan, widen
from forecasting.serving.records import Forecast
from forecasting.simple.auto import Auto, fit_auto
from forecasting.simple.baselines import fit_baseline

_MADE_AFTER: Message = Template("forecast.made_after", "made afterwards from what came before, to be scored")()


def forecast_past(
    panel: Panel, model: str, horizons_s: Sequence[float], cut: int, origins: Ints, checkpoint: str | None = None
) -> list[Forecast]:  # fmt: skip
    """Forecasts of one model from past rows; none is shown.

    Args:
        panel: The record.
        model: Its id, of a network or of its blend too.
        horizons_s: Those that reach a row.
        cut: Row from which on nothing was known when the model was fitted, or its checkpoint trained.
        origins: Rows from `cut` on, shape (N,).
        checkpoint: Its path; networks only.

    Raises:
        ForecastingError: As of `jobs.forecast`.
    """
    steps = tuple(panel.steps(h) for h in horizons_s)
    auto = fit_auto(panel.head(cut), find_calibration(cut), steps)
    rows = np.arange(max(0, cut - HISTORY), int(origins.max()) + 1, dtype=np.int64)
    best = auto.predict(panel.values, rows)
    fans, weights, digest = _find_fans(panel, model, horizons_s, cut, rows, auto, best, checkpoint)
    value, age = last_value(panel.values, origins)
    at = origins - rows[0]
    out = []
    for i, horizon_s in enumerate(horizons_s):
        fan = fans.get(i)
        if fan is None:
            continue
        margins = conform(fan, panel.values, rows, steps[i]).margins
        made = widen(fan, margins)[at]
        ready = np.isfinite(made).all(axis=2) & (age <= STALE_STEPS) & np.isfinite(best[at, :, i])
        for n, s in zip(*np.nonzero(ready), strict=True):
            issued_s = panel.start_s + panel.step_s * float(origins[n])
            q025, q10, q50, q90, q975 = (float(q) for q in made[n, s])
            out.append(Forecast(
                station=panel.stations[s], model=model, model_hash=digest, horizon_s=horizon_s, issued_s=issued_s,
                target_s=issued_s + steps[i] * panel.step_s, data_until_s=issued_s - panel.step_s * float(age[n, s]),
                data_value=float(value[n, s]), q025=q025, q10=q10, q50=q50, q90=q90, q975=q975,
                margins={str(level): float(one[at[n], s]) for level, one in margins.items()},
                baseline=auto.chosen[i], baseline_q50=float(best[at[n], s, i]), weight=weights.get(i), shown=False,
                reason=_MADE_AFTER,
            ))  # fmt: skip
    return out


def _find_fans(
    panel: Panel, model: str, horizons_s: Sequence[float], cut: int, rows: Ints, auto: Auto, best: Floats,
    checkpoint: str | None,
) -> tuple[dict[int, Floats], dict[int, float], str | None]:  # fmt: skip
    """By place of the horizon the fans without interval and, of a blend, the weights; the hash of a checkpoint."""
    if model in BASELINES:
        made = best
        if model != "auto":
            fitted = auto.member(model) or fit_baseline(model, panel.head(cut), find_calibration(cut), auto.steps)
            made = fitted.predict(panel.values, rows)
        return {i: point_fan(made[:, :, i]) for i in range(len(horizons_s))}, {}, None
    forecaster, card = load_network(model, checkpoint)
    made, known = read_network(forecaster, panel, rows), forecaster.recipe.horizons_s
    own = {i: made[:, :, known.index(h)] for i, h in enumerate(horizons_s) if h in known}
    if not is_blend(model):
        return own, {}, str(card["model_hash"])
    weights = {i: w for i in own if (w := weight_of(card["gates"], horizons_s[i]))}
    blends = {i: blend_fan(point_fan(best[:, :, i]), own[i], w) for i, w in weights.items()}
    return blends, weights, str(card["model_hash"])

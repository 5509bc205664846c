"""Judges a trained network on its calibration block, horizon by horizon: weight, quantiles, gate."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Split
from forecasting.serving.experience import see_pace
from forecasting.serving.gate import Gate, blend_weight, decide
from forecasting.serving.quantiles import blend_quantiles, conform, repeat_point, widen
from forecasting.simple.auto import Auto, answer_in_halves
from forecasting.simple.baselines import Baseline, fit_lld
from forecasting.simple.trend import Trend


class QuantileForecaster(Protocol):
    """What a trained network looks like from outside; this room imports no torch."""

    def quantiles(
        self, values: Floats, origins: Ints, noise_mm: Floats | None = None, drivers: DriverRows | None = None
    ) -> Floats:
        """Quantiles in mm, shape (N, S, H, 5)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One network at one horizon over consecutive origins from the early-stop block on."""

    gate: Gate  # the verdict, from the calibration block alone
    quantiles: Floats  # quantiles of the blend with its interval, shape (N, S, 5)
    own: Floats  # quantiles of the network itself with an interval of its own, shape (N, S, 5)


def calibrate(
    forecaster: QuantileForecaster,
    base: Baseline,
    auto: Auto,
    panel: Panel,
    parts: Split,
    *,
    horizons_s: tuple[float, ...],
    last: int | None = None,
) -> tuple[Ints, list[Judged]]:
    """Blend, conform and gate every horizon.

    Args:
        base: The simple forecast that it corrects, chosen on the calibration block: where that is judged a choice
            stands in its place that has not seen it, as the candidates of `auto` are judged.
        auto: The best simple forecast per horizon, fitted on the same calibration block: the network is judged beside
            it, and served in a blend with it.
    """
    end = parts.calibration.end if last is None else last
    origins = np.arange(parts.early_stop.first, end, dtype=np.int64)
    inside = (origins >= parts.calibration.first) & (origins < parts.calibration.end)
    made = forecaster.quantiles(panel.values, origins, drivers=panel.drivers)
    seen = origins < parts.calibration.end
    fit = (lambda *of: replace(base, rest=fit_lld(*of))) if isinstance(base, Trend) else fit_lld
    judged = answer_in_halves(fit, base, panel, parts.calibration, base.steps)
    unseen = judged.predict(panel.values, origins[seen])
    made[seen] += (unseen - base.predict(panel.values, origins[seen]))[..., None]
    best, pace = auto.predict(panel.values, origins), see_pace(panel.values, origins)
    out = []
    for i, horizon_s in enumerate(horizons_s):
        steps = panel.steps(horizon_s)
        observed = parts.calibration.targets(panel.values, origins[inside], steps)
        simple, own = repeat_point(best[:, :, i]), made[:, :, i]
        weight = blend_weight(observed, best[inside, :, i], own[inside, :, 2])
        fans = simple, own, blend_quantiles(simple, own, weight)
        simple, own, quantiles = (widen(f, conform(f, panel.values, origins, steps, pace).margins) for f in fans)
        gate = decide(
            observed,
            quantiles[inside],
            simple[inside],
            baseline=auto.chosen[i],
            horizon_s=horizon_s,
            steps=steps,
            weight=weight,
        )
        out.append(Judged(gate, quantiles, own))
    return origins, out

"""Judges a trained network on its calibration block, horizon by horizon: weight, fan, gate."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Split
from forecasting.data.units import spell_span
from forecasting.serving.gate import Gate, blend_weight, decide
from forecasting.serving.quantiles import Conformed, blend_fan, bounds, conform, rebase, widen
from forecasting.simple.auto import Auto
from forecasting.simple.baselines import Baseline


class QuantileForecaster(Protocol):
    """What a trained network looks like from outside; this room imports no torch."""

    def quantiles(
        self, values: Floats, origins: Ints, noise_mm: Floats | None = None, drivers: DriverRows | None = None
    ) -> Floats:
        """Quantiles in mm, shape (N, S, H, 5)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One network at one horizon over consecutive origins from the early-stop block on.

    Attributes:
        gate: The verdict, from the calibration block alone.
        fan: Published quantiles of the blend, shape (N, S, 5).
        network: The network's own median, shape (N, S).
        conformed: Margins and final state.
    """

    gate: Gate
    fan: Floats
    network: Floats
    conformed: Conformed


def judge(
    forecaster: QuantileForecaster,
    lld: Baseline,
    auto: Auto,
    panel: Panel,
    parts: Split,
    *,
    horizons_s: tuple[float, ...],
    last: int | None = None,
) -> tuple[Ints, list[Judged]]:
    """Blend, conform and gate every horizon.

    Args:
        forecaster: The trained network.
        lld: The simple forecast that it learnt to correct.
        auto: The best simple forecast per horizon, fitted on the same calibration block: the correction is judged, and
            served, on top of it.
        panel: The record.
        parts: The split it was trained with.
        horizons_s: Horizons in seconds.
        last: Row after the last origin; default is the end of calibration.

    Returns:
        The origins, and one result per horizon.
    """
    end = parts.calibration.end if last is None else last
    origins = np.arange(parts.early_stop.first, end, dtype=np.int64)
    inside = (origins >= parts.calibration.first) & (origins < parts.calibration.end)
    made = forecaster.quantiles(panel.values, origins, drivers=panel.drivers)
    base, best = lld.predict(panel.values, origins), auto.predict(panel.values, origins)
    out = []
    for i, horizon_s in enumerate(horizons_s):
        steps = panel.steps(horizon_s)
        observed = parts.calibration.targets(panel.values, origins[inside], steps)
        simple = best[:, :, i]
        fan = rebase(made[:, :, i], base[:, :, i], simple)
        network = fan[inside, :, 2]
        weight = blend_weight(observed, simple[inside], network)
        fan = blend_fan(simple, fan, weight)
        conformed = conform(fan, panel.values, origins, steps)
        fan = widen(fan, conformed.margins)
        gate = decide(
            observed,
            network,
            simple[inside],
            {level: bounds(fan[inside], level) for level in (0.8, 0.95)},
            baseline=auto.chosen[i],
            horizon=spell_span(horizon_s),
            steps=steps,
            weight=weight,
        )
        out.append(Judged(gate, fan, made[:, :, i, 2], conformed))
    return origins, out

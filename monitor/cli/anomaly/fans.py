"""Forecasts for a record that has none stored, as a backtest would have issued them: for the bench of detectors."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detection.anomaly.detector import Detector
    from detection.anomaly.stages import Array
    from detection.anomaly.windows import Series

FITTED_UNTIL = 0.5  # share of the record that the simple model is fitted on; intervals adapt from its begin on
AHEAD_ROWS = 7  # horizon: the shortest one that is longer than the six readings that are judged together


def build_fan_detector() -> "Detector":
    """The detector beside forecasts, with fans of the simple model `lld` and adaptive intervals."""
    from detection.anomaly.detector import Detector
    from detection.anomaly.running.fan import FAN
    from detection.anomaly.threshold import Threshold

    return Detector(FAN, {FAN: Threshold(1.0, 0, 0.0, "the interval itself")}, fans=make_fans())


def make_fans() -> "Callable[[Mapping[str, Series]], dict[str, Array]]":
    """What lays a fan on each reading of a record and says how far out it lies."""
    import numpy as np

    from detection.anomaly.parts import lay_out
    from detection.anomaly.running.fan import exceed
    from forecasting.data.series import Panel
    from forecasting.data.splits import Block
    from forecasting.serving.quantiles import conform, simple_fans, widen
    from forecasting.simple.baselines import fit_lld

    def lay(samples: "Mapping[str, Series]") -> "dict[str, Array]":
        names, table, _, begins = lay_out(samples)
        values, step_s = table.T.copy(), next(iter(samples.values())).step_s
        rows = len(values)
        panel = Panel(0.0, step_s, tuple(names), values)
        fitted = fit_lld(panel, Block(0, int(rows * FITTED_UNTIL)), (AHEAD_ROWS,))
        origins = np.arange(rows - AHEAD_ROWS, dtype=np.int64)
        (base,) = simple_fans(fitted, values, origins)
        fan = widen(base, conform(base, values, origins, AHEAD_ROWS).margins)
        out = {}
        for column, (name, begin) in enumerate(zip(names, begins, strict=True)):
            row = np.full(rows, np.nan)
            row[AHEAD_ROWS:] = exceed(
                values[AHEAD_ROWS:, column], fan[:, column, 0], fan[:, column, 2], fan[:, column, 4]
            )
            out[name] = row[begin : begin + len(samples[name].values)]
        return out

    return lay

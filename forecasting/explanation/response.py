"""What a network makes of rain: its answer to more of it on the last day, within what the record has seen."""

import re
from dataclasses import replace
from typing import Any

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.explanation.groups import Batch, correct
from forecasting.neural.forecaster import NeuralForecaster

SHARES = (0.5, 0.75, 0.9, 0.95, 1.0)
_SUMS = re.compile(r"\.(sum_\d+d|antecedent)$")


def rain_response(
    forecaster: NeuralForecaster, panel: Panel, origins: Ints, batch: Batch, *, until: int
) -> dict[str, Any]:  # fmt: skip
    """Mean change of the median in mm when rain of the last day is added to that which fell, per horizon.

    The amounts are 0 and quantiles (50, 75, 90, 95, 100 %) of the wet days up to row `until`; every gauge gets the
    same. Rain of the last day adds to each of its trailing sums and to the antecedent index alike.

    Args:
        forecaster: The network.
        panel: The record with its drivers.
        origins: Rows of the batch.
        batch: The windows.
        until: Row after the last one from which amounts are taken.
    """
    sources = forecaster.recipe.sources
    rain = [] if sources is None else [i for i, kind in enumerate(sources.kinds) if kind == "rain"]
    if sources is None or not rain or panel.drivers is None:
        return {"reason": "the network reads no rain"}
    daily = panel.drivers.in_order([sources.names[i] for i in rain])[:until].min(axis=1, initial=np.inf)
    wet = daily[np.isfinite(daily) & (daily > 0)]
    if not wet.size:
        return {"reason": "no wet day on record"}
    amounts = [0.0, *np.quantile(wet, SHARES).tolist()]
    raw = sources.raw(panel.drivers, origins, forecaster.recipe.window)
    grows = np.array([bool(_SUMS.search(sources.names[i])) and i in rain for i in range(len(sources.names))])
    plain = correct(forecaster, batch)
    curves: list[Floats] = []
    for amount in amounts:
        wetter = raw.copy()
        wetter[:, -1, grows] += amount
        other = replace(batch, drivers=sources.scaled(wetter))
        curves.append((correct(forecaster, other) - plain).mean(axis=(0, 1)))
    return {
        "added": [round(a, 3) for a in amounts],
        "change_mm": np.round(np.array(curves).T, 5).tolist(),
        "words": "rain added on the last day (unit of the gauge), change of the median per horizon in mm; "
        "what the network has learnt, not a law of the slope",
    }

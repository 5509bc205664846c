"""Learning from some points of a record and forecasting others: what one network for thousands of series is worth."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.data.series import Panel
from forecasting.data.splits import Block, Split
from forecasting.errors import NotEnoughDataError

if TYPE_CHECKING:
    from forecasting.neural.training import Training

COLUMNS = 256
"""Points of one piece: a batch is a few issue times of it, so that no step holds more than a few hundred windows."""
BATCH_WINDOWS = 256
MOST_WINDOWS = 90_000  # windows of one pass; where there are more, every second, third... issue time is taken
MINIMUM_POINTS = 20
LEARNING = {"epochs": 10, "patience": 4, "learning_rate": 3e-3, "dropout": 0.0}
"""Thousands of series teach in few passes."""


def hold_out(panel: Panel, seed: int) -> tuple[Panel, Panel]:
    """Two panels without a common point: one to learn from, one to be forecast; drawn by seed."""
    count = len(panel.stations)
    cut = round(count / 2)
    if min(cut, count - cut) < MINIMUM_POINTS:
        raise NotEnoughDataError(f"{count} points are too few to hold some out: {2 * MINIMUM_POINTS} are needed")
    drawn = np.random.default_rng(seed).permutation(count)
    return _take(panel, np.sort(drawn[:cut])), _take(panel, np.sort(drawn[cut:]))


def train_elsewhere(
    model: str, learn: Panel, panel: Panel, parts: Split, horizons_s: tuple[float, ...], settings: Mapping[str, Any]
) -> "Training":
    """Train on the points of `learn` before the test, then take the weights to the points of `panel` as they are.

    What belongs to the forecast points alone (noise floors, spread, the simple forecast) comes from their own rows
    before the test; no weight has seen any of them. The points learnt from need no calibration of their own: they fit
    on all rows before it and stop early by it. Each piece takes other issue times, so that all dates are seen.
    """
    from forecasting.neural.learner import Settings
    from forecasting.neural.pooled import adopt, train_pooled
    from forecasting.neural.training import Training

    known, end = learn.head(parts.calibration.end), parts.calibration.first
    count = len(known.stations)
    pieces = [_take(known, rows) for rows in np.array_split(np.arange(count), -(-count // COLUMNS))]
    wanted = Settings(**{**LEARNING, **settings})
    stride = max(wanted.stride, -(-(end - wanted.window + 1) * count // MOST_WINDOWS))
    batch = max(1, BATCH_WINDOWS // max(len(piece.stations) for piece in pieces))
    wanted = replace(wanted, stride=stride, batch=batch)
    calm = parts.calibration
    records = [
        (piece, Split(Block(max(0, wanted.window - 1) + k % stride, end), calm, calm, parts.test))
        for k, piece in enumerate(pieces)
    ]
    pooled = train_pooled(model, records, horizons_s, wanted)
    forecaster = adopt(pooled, panel, parts)
    return Training(forecaster, len(pooled.losses) - 1, pooled.losses, pooled.seconds, pooled.stopped)


def _take(panel: Panel, columns: Any) -> Panel:
    return replace(
        panel,
        stations=tuple(panel.stations[i] for i in columns),
        values=np.ascontiguousarray(panel.values[:, columns]),
        xy_m=None if panel.xy_m is None else panel.xy_m[columns],
    )

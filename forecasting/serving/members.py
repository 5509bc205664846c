"""Networks as members of an average: what each forecasts itself, and what it erred since its training ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.data.series import Floats, Panel
from forecasting.data.windows import targets
from forecasting.serving.issue import load_network, read_network


@dataclass(frozen=True, slots=True)
class NetworkMember:
    """One network on the rows that it did not learn from.

    Attributes:
        model: Its id.
        model_hash: Of its checkpoint.
        first: First row that it did not learn from; the last row of the panel where it learnt from all.
        points: Its own medians from row `first` to the last one, mm, shape (N, S, H); NaN where it says nothing.
        errors: What came minus these, NaN where it has not come, shape (N, S, H).
    """

    model: str
    model_hash: str
    first: int
    points: Floats
    errors: Floats


def read_members(panel: Panel, checkpoints: Mapping[str, str], horizons_s: Sequence[float]) -> list[NetworkMember]:
    """Every network with its own forecasts and scored errors; nothing after a row counts for the row.

    Args:
        panel: The record; its last row is the moment of issue.
        checkpoints: Id of each network to its path.
        horizons_s: Horizons in seconds; one that a network was not trained for is NaN.
    """
    rows = panel.values.shape[0]
    out = []
    for model, path in checkpoints.items():
        forecaster, card = load_network(model, path)
        known = forecaster.recipe.horizons_s
        learnt = int((float(card["data"]["end_s"]) - panel.start_s) // panel.step_s) + 1
        first = min(max(learnt, 0), rows - 1)
        origins = np.arange(first, rows, dtype=np.int64)
        made = read_network(forecaster, panel, origins)[..., 2]
        nothing = np.full(made.shape[:2], np.nan)
        points = np.stack([made[:, :, known.index(h)] if h in known else nothing for h in horizons_s], axis=2)
        came = np.stack([targets(panel.values, origins, panel.steps(h)) for h in horizons_s], axis=2)
        out.append(NetworkMember(model, str(card["model_hash"]), first, points, came - points))
    return out

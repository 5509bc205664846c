"""Compare forecasts with those of the library statsforecast, at the same origins and targets of one record.

A model of the library is fitted again at each origin, to the newest rows up to the origin. The library does not accept
gaps: they are interpolated linearly, and the last reading is repeated until the origin.
"""

from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block, rolling_folds
from forecasting.evaluation.backtest import Progress, run_trials
from forecasting.evaluation.scoring import ModelForecasts, Score, pool_scores, score_all
from forecasting.metrics import or_none

LIBRARY: Final = "statsforecast"
PEERS: Final = ("AutoETS", "AutoARIMA", "Theta")
# Models that are not compared, because their training takes hours.
OTHERS: Final = {"neuralforecast": ("PatchTST", "NHITS")}
# Newest rows to which a model is fitted. More rows take minutes and change little.
MAX_ROWS: Final = 500
# Observations that a model needs.
MIN_ROWS: Final = 20
_QUANTILE_KEYS: Final = ("lo-95", "lo-80", "mean", "hi-80", "hi-95")


class PeerScore(NamedTuple):
    """The score of one model at one horizon, over all folds and stations."""

    model: str
    horizon_s: float
    n: int  # scored pairs: those with a forecast of every model, except models with fewer than half of them
    mae_mm: float
    crps_mm: float | None  # of the five quantiles
    skill: float | None  # 1 - error / error of the straight line


def score_with_peers(
    panel: Panel,
    models: Sequence[str],
    horizons_s: Sequence[float],
    *,
    peers: Sequence[str] = PEERS,
    folds: int = 3,
    origins: int = 10,
    on_progress: Progress = lambda _: None,
) -> list[PeerScore]:
    """Score models of this package and of the library at origins of rolling folds. Sorted by horizon.

    Args:
        panel: The record.
        models: Models of this package.
        horizons_s: Horizons.
        peers: Models of the library.
        folds: Number of folds.
        origins: Origins of each fold.
        on_progress: Called with a line of text.
    """
    longest = max(panel.steps(h) for h in horizons_s)
    blocks = [parts.test for parts in rolling_folds(panel.values.shape[0], folds)]
    fans: dict[tuple[int, str], Floats] = {}
    scores_by_model: dict[tuple[float, str], list[Score]] = defaultdict(list)
    for trial in run_trials(panel, models, horizons_s, folds=folds, on_progress=on_progress):
        rows = spread_origins(blocks[trial.fold], longest, origins)
        added: list[ModelForecasts] = []
        for name in peers:
            if (trial.fold, name) not in fans:
                on_progress(f"fold {trial.fold + 1}: {name}, {rows.size} origins of {len(panel.stations)} stations")
                fans[trial.fold, name] = forecast_by_peer(name, panel.values, rows, longest)
            quantiles = fans[trial.fold, name][:, :, trial.steps - 1]
            added.append(ModelForecasts(name, quantiles[..., 2], quantiles, 0.0))
        for score in score_all(trial.select_origins(rows - blocks[trial.fold].first, added)):
            scores_by_model[trial.horizon_s, score.model].append(score)
    return [
        PeerScore(
            name,
            horizon_s,
            sum(score.n for score in scores),
            pool_scores(scores, "mae_mm"),
            or_none(2.0 * pool_scores(scores, "pinball")),
            or_none(pool_scores(scores, "skill_line")),
        )
        for (horizon_s, name), scores in sorted(scores_by_model.items(), key=lambda item: item[0][0])
        if any(score.n for score in scores)
    ]


def spread_origins(block: Block, longest: int, count: int) -> Ints:
    """Return evenly spaced origins of a block, if possible only those whose longest horizon ends in the block.

    >>> spread_origins(Block(10, 20), 4, 3).tolist()
    [10, 12, 15]
    """
    last = block.end - 1 - longest
    return np.unique(np.linspace(block.first, last if last >= block.first else block.end - 2, count).astype(np.int64))


def forecast_by_peer(name: str, values: Floats, origins: Ints, longest: int) -> Floats:
    """Return the quantiles of a model of the library for each row ahead, shape (N, S, longest, 5).

    They are NaN if a series has too few rows or the model cannot be fitted.
    """
    model_class = getattr(import_module(f"{LIBRARY}.models"), name)
    fans = np.full((origins.size, values.shape[1], longest, len(_QUANTILE_KEYS)), np.nan)
    for i, origin in enumerate(origins):
        for station in range(values.shape[1]):
            newest = values[: origin + 1, station][-MAX_ROWS:]
            observed = np.flatnonzero(np.isfinite(newest))
            if observed.size < MIN_ROWS:
                continue
            filled = np.interp(np.arange(observed[0], newest.size), observed, newest[observed])
            try:
                forecast = model_class(season_length=1).forecast(filled, h=longest, level=[80, 95])
            except Exception:  # noqa: S112 - a series that the library cannot fit has no forecast
                continue
            columns = [np.asarray(forecast[key], dtype=np.float64) for key in _QUANTILE_KEYS]
            fans[i, station] = np.stack(columns, axis=-1)
    return fans

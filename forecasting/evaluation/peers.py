"""Forecasts of another library (statsforecast) beside ours: on one record, from the same origins, for the same targets.

A peer is fitted anew at each origin, on the newest rows up to it and on none after it. It takes no gaps: they are
closed by straight lines between readings, and the last reading stands until the origin.
"""

from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block, rolling_folds
from forecasting.evaluation.backtest import Progress, run_trials
from forecasting.evaluation.scoring import Answer, Score, pooled, score_all
from forecasting.metrics import or_none

LIBRARY: Final = "statsforecast"
PEERS: Final = ("AutoETS", "AutoARIMA", "Theta")
OTHERS: Final = {"neuralforecast": ("PatchTST", "NHITS")}
"""Known peers that are not asked: each is trained for hours, in an environment of its own."""
MOST_ROWS: Final = 500  # that a peer is fitted on: the newest; more cost minutes and change little
FEWEST_ROWS: Final = 20
_QUANTILE_KEYS: Final = ("lo-95", "lo-80", "mean", "hi-80", "hi-95")


class PeerScore(NamedTuple):
    """One model at one horizon over all folds and stations."""

    model: str
    horizon_s: float
    n: int  # pairs: those that all answer; of a model that answers under half of them those that are left
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
    """Score models and peers on the origins of rolling folds, in order of horizon and model."""
    longest = max(panel.steps(h) for h in horizons_s)
    blocks = [parts.test for parts in rolling_folds(panel.values.shape[0], folds)]
    fans: dict[tuple[int, str], Floats] = {}
    found: dict[tuple[float, str], list[Score]] = defaultdict(list)
    for trial in run_trials(panel, models, horizons_s, folds=folds, on_progress=on_progress):
        at = spread_origins(blocks[trial.fold], longest, origins)
        for name in peers:
            if (trial.fold, name) not in fans:
                on_progress(f"fold {trial.fold + 1}: {name}, {at.size} origins of {len(panel.stations)} stations")
                fans[trial.fold, name] = forecast_by_peer(name, panel.values, at, longest)
        theirs = [(name, fans[trial.fold, name][:, :, trial.steps - 1]) for name in peers]
        answers = [Answer(name, quantiles[..., 2], quantiles, 0.0) for name, quantiles in theirs]
        for score in score_all(trial.at(at - blocks[trial.fold].first, trial.answers, answers)):
            found[trial.horizon_s, score.model].append(score)
    return [
        PeerScore(
            name,
            horizon_s,
            sum(s.n for s in scores),
            pooled(scores, "mae_mm"),
            or_none(2.0 * pooled(scores, "pinball")),
            or_none(pooled(scores, "skill_line")),
        )
        for (horizon_s, name), scores in sorted(found.items(), key=lambda one: one[0][0])
        if any(s.n for s in scores)
    ]


def spread_origins(block: Block, longest: int, count: int) -> Ints:
    """Origins over a block; those whose farthest target lies in it, where there are such.

    >>> spread_origins(Block(10, 20), 4, 3).tolist()
    [10, 12, 15]
    """
    last = block.end - 1 - longest
    return np.unique(np.linspace(block.first, last if last >= block.first else block.end - 2, count).astype(np.int64))


def forecast_by_peer(name: str, values: Floats, origins: Ints, longest: int) -> Floats:
    """Quantiles of a peer for each row ahead, shape (N, S, longest, 5); NaN where it has too few rows or gives up."""
    make = getattr(import_module(f"{LIBRARY}.models"), name)
    out = np.full((origins.size, values.shape[1], longest, len(_QUANTILE_KEYS)), np.nan)
    for i, origin in enumerate(origins):
        for station in range(values.shape[1]):
            newest = values[: origin + 1, station][-MOST_ROWS:]
            seen = np.flatnonzero(np.isfinite(newest))
            if seen.size < FEWEST_ROWS:
                continue
            whole = np.interp(np.arange(seen[0], newest.size), seen, newest[seen])
            try:
                made = make(season_length=1).forecast(whole, h=longest, level=[80, 95])
            except Exception:  # noqa: S112 - what another library cannot fit has no forecast, and its pairs are left out
                continue
            out[i, station] = np.stack([np.asarray(made[key], dtype=np.float64) for key in _QUANTILE_KEYS], axis=-1)
    return out

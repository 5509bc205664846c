"""Forecasts of another library (statsforecast) beside ours: on one record, from the same origins, for the same targets.

A peer is fitted anew at each origin, on the newest rows up to it and on none after it. It takes no gaps: they are
closed by straight lines between readings, and the last reading stands until the origin.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block, rolling_folds
from forecasting.evaluation.backtest import Progress, run_trials
from forecasting.evaluation.distribution import crps
from forecasting.evaluation.scoring import spell_horizon
from forecasting.metrics import mae, or_none, skill
from forecasting.registry import NETWORKS

LIBRARY: Final = "statsforecast"
PEERS: Final = ("AutoETS", "AutoARIMA", "Theta")
LINE: Final = "drift"
"""The straight line, shown under that name."""
MOST_ROWS: Final = 500
"""That a peer is fitted on: the newest; more cost minutes and change little."""
FEWEST_ROWS: Final = 20
_LEVELS: Final = (80, 95)
_FAN: Final = ("lo-95", "lo-80", "mean", "hi-80", "hi-95")


@dataclass(frozen=True, slots=True)
class PeerScore:
    """One model at one horizon over all folds and stations.

    Attributes:
        model: Its name.
        horizon_s: Horizon, s.
        n: Pairs scored: those that all answer; of a model that answers under half of them those that are left.
        mae_mm: Mean absolute error.
        crps_mm: Mean continuous ranked probability score; None without intervals.
        skill: 1 - error / error of the straight line.
    """

    model: str
    horizon_s: float
    n: int
    mae_mm: float
    crps_mm: float | None
    skill: float | None

    def to_json(self) -> dict[str, Any]:
        """One line of the report."""
        return asdict(self) | {"horizon": spell_horizon(self.horizon_s)}


def score_beside_peers(
    panel: Panel, models: Sequence[str], horizons_s: Sequence[float], *, peers: Sequence[str] = PEERS, folds: int = 3,
    origins: int = 10, seed: int = 7, told: Progress = lambda _: None,
) -> list[PeerScore]:  # fmt: skip
    """Score models and peers on the origins of rolling folds, in order of horizon and model.

    Args:
        panel: The record.
        models: Ids of ours; of a network its own forecast.
        horizons_s: Horizons, s.
        peers: Of `PEERS`; the library must be there.
        folds: Tests that follow one another.
        origins: Of each fold, spread over it: what a peer is fitted at.
        seed: Of every network.
        told: Takes progress.
    """
    longest = max(panel.steps(h) for h in horizons_s)
    blocks = [parts.test for parts in rolling_folds(panel.values.shape[0], folds)]
    fans: dict[tuple[int, str], Floats] = {}
    errors: dict[tuple[float, str], list[Floats]] = defaultdict(list)
    scores: dict[tuple[float, str], list[Floats]] = defaultdict(list)
    for trial in run_trials(panel, models, horizons_s, folds=folds, seed=seed, on_progress=told):
        at = spread_origins(blocks[trial.fold], longest, origins)
        rows = at - blocks[trial.fold].first
        for name in peers:
            if (trial.fold, name) not in fans:
                told(f"fold {trial.fold + 1}: {name}, {at.size} origins of {len(panel.stations)} stations")
                fans[trial.fold, name] = ask_peer(name, panel.values, at, longest)
        answers = {
            a.model: a.fan[rows] if a.fan is not None else np.repeat(a.point[rows][..., None], len(_FAN), axis=-1)
            for a in trial.answers if a.variant == ("ungated" if a.model in NETWORKS else "plain")
        }  # fmt: skip
        answers |= {name: fans[trial.fold, name][:, :, trial.steps - 1] for name in peers}
        for name, (error, score) in _score(answers, trial.observed[rows]).items():
            errors[trial.horizon_s, name].append(error)
            scores[trial.horizon_s, name].append(score)
    return list(_pool(errors, scores))


def spread_origins(block: Block, longest: int, count: int) -> Ints:
    """Origins over a block; those whose farthest target lies in it, where there are such.

    >>> spread_origins(Block(10, 20), 4, 3).tolist()
    [10, 12, 15]
    """
    last = max(block.first, block.end - 1 - longest) if block.end - 1 - longest >= block.first else block.end - 2
    return np.unique(np.linspace(block.first, last, count).astype(np.int64))


def ask_peer(name: str, values: Floats, origins: Ints, longest: int) -> Floats:
    """Quantiles of a peer for each row ahead, shape (N, S, longest, 5); NaN where it has too few rows or gives up."""
    make = getattr(import_module(f"{LIBRARY}.models"), name)
    out = np.full((origins.size, values.shape[1], longest, len(_FAN)), np.nan)
    for i, origin in enumerate(origins):
        for station in range(values.shape[1]):
            known = _close_gaps(values[: origin + 1, station][-MOST_ROWS:])
            if known.size < FEWEST_ROWS:
                continue
            try:
                made: Mapping[str, Any] = make(season_length=1).forecast(known, h=longest, level=list(_LEVELS))
            except Exception:  # noqa: S112 - what another library cannot fit has no forecast, and its pairs are left out
                continue
            fan = np.stack([np.asarray(made.get(key, np.full(longest, np.nan)), dtype=np.float64) for key in _FAN])
            out[i, station] = fan.T
    return out


def _close_gaps(values: Floats) -> Floats:
    """Rows from the first reading on; nothing after the last row is looked at."""
    seen = np.flatnonzero(np.isfinite(values))
    if not seen.size:
        return np.empty(0)
    return np.interp(np.arange(seen[0], values.size), seen, values[seen])


def _score(answers: Mapping[str, Floats], observed: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Errors and CRPS of each model on the pairs that all have; one that answers under half of them stands aside."""
    known = np.isfinite(observed)
    same = known.copy()
    for fan in answers.values():
        mine = np.isfinite(fan[..., 2]) & known
        if mine.sum() * 2 >= known.sum():
            same &= mine
    seen = np.where(same, observed, np.nan)
    return {name: (np.abs(seen - fan[..., 2]), crps(fan, seen)) for name, fan in answers.items()}


def _pool(
    errors: Mapping[tuple[float, str], list[Floats]], scores: Mapping[tuple[float, str], list[Floats]]
) -> Iterator[PeerScore]:
    """Over all folds; a model without a pair is left out."""
    for horizon_s, name in sorted(errors, key=lambda key: key[0]):
        every, fans, line = (
            np.concatenate([part.ravel() for part in one])
            for one in (errors[horizon_s, name], scores[horizon_s, name], errors[horizon_s, LINE])
        )
        if not (count := int(np.isfinite(every).sum())):
            continue
        own, beside = mae(every), mae(np.where(np.isfinite(every), line, np.nan))
        yield PeerScore(name, horizon_s, count, own, or_none(mae(fans)), or_none(skill(own, beside)))
